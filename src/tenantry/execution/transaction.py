"""Statements that stop writers for a moment, and never for longer.

All locks of a group are taken first, one by one, under one deadline: lock_timeout counts for each lock, so a statement
that needs four could keep writers waiting four times as long (hazard 14). Once a lock is held, all waits together,
counted from when a writer could first queue behind us, are shorter than deadlock_timeout: a deadlock with the
application is broken by us giving up.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_delay,
    wait_random_exponential,
)

from tenantry.errors import Failed
from tenantry.model.plan import Lock, LockMode, Manner, Statement
from tenantry.postgres.connect import PIN
from tenantry.postgres.locks import Blocker
from tenantry.postgres.session import holders, relation_kinds

RETRIED = (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled, psycopg.errors.DeadlockDetected)
UNNOTICED = 0.7
"""Seconds in which a writer that began to wait when we did looks for no deadlock: below deadlock_timeout, 1 s unless
configured. While a lock is held, no wait goes beyond them but for GLANCE."""
GLANCE = 0.01
FIRST_LOOK = 0.1
"""Seconds for which the first try waits for a further lock; each try waits as much longer. Who holds that lock and
wants the one we hold does not let go of it before we do: many short tries find a moment, and cost writers less."""
BETWEEN_LOOKS = (0.1, 1.0)
"""Seconds between such tries, drawn from this range: what they cost the writers does not grow, nor do the pauses."""
VALIDATION_LOCK_TIMEOUT = 30.0


@dataclass(slots=True, kw_only=True)
class Patience:
    """Seconds that a statement may wait, and that all its tries together may take."""

    timeout: float = 2.0
    budget: float = 600.0


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What it took: milliseconds in all, the longest wait for a lock, the longest that locks which stop writers were
    held, tries, and who stood in the way."""

    milliseconds: float = 0.0
    waited: float = 0.0
    held: float = 0.0
    held_since: float | None = None
    """When the try that is under way got its first lock, by time.monotonic()."""
    tries: int = 0
    crossed: bool = False
    """True where the last try had a lock, and did not get a further one."""
    blocked_by: list[Blocker] = field(default_factory=list)


def run_together(
    connection: psycopg.Connection[Any],
    statements: Sequence[Statement],
    *,
    patience: Patience,
    prepare: Callable[[], None] = lambda: None,
    behind: int = 0,
    finish: Callable[[], None] = lambda: None,
    retrying: Callable[[str, Sequence[str], float], None] = lambda reason, blockers, pause: None,
    ran: Callable[[Statement, float], None] = lambda statement, milliseconds: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Outcome:
    """Run statements in one transaction, with `prepare` before all but the first `behind` of them, and `finish` after
    all, in the same one.

    Locks that stop writers are waited for briefly, and the whole is tried again with growing pauses until it succeeds
    or the budget is spent. `retrying` is told the reason, the blockers, and the pause in seconds, which `sleep` then
    takes, and `ran` each statement and its milliseconds. Raises Failed, naming the blockers.
    """
    outcome = Outcome()
    started = time.monotonic()
    growing = wait_random_exponential(multiplier=0.2, max=15)

    def pause_after(state: RetryCallState) -> float:
        return random.uniform(*BETWEEN_LOOKS) if outcome.crossed else growing(state)

    def before_sleep(state: RetryCallState) -> None:
        outcome.blocked_by = holders(connection, *_wanted(statements))
        blockers = [str(blocker) for blocker in outcome.blocked_by]
        pause = state.next_action.sleep if state.next_action is not None else 0.0
        names = "; ".join(blockers) or "nobody is seen now"
        retrying(f"no lock within {patience.timeout:g} s ({names})", blockers, pause)

    def attempt() -> None:
        outcome.tries += 1
        outcome.held_since = None
        try:
            with connection.transaction():
                _attempt(connection, statements, patience, outcome, prepare, behind, finish, ran)
        finally:
            if outcome.held_since is not None:
                outcome.held = max(outcome.held, (time.monotonic() - outcome.held_since) * 1000)

    try:
        for once in Retrying(
            retry=retry_if_exception_type(RETRIED), stop=stop_after_delay(patience.budget), reraise=True,
            wait=pause_after, before_sleep=before_sleep, sleep=sleep,
        ):  # fmt: skip
            with once:
                attempt()
    except RETRIED as error:
        outcome.blocked_by = holders(connection, *_wanted(statements)) or outcome.blocked_by
        tables = ", ".join(dict.fromkeys(str(lock.table) for lock in _locks(statements)))
        raise Failed(
            f"No lock on {tables} within {patience.budget:g} s, in {outcome.tries} tries: {_first_line(error)}",
            remedy="End or wait for those who hold it, then run the same command again; nothing is half-done.",
            details=[str(blocker) for blocker in outcome.blocked_by],
        ) from error
    outcome.milliseconds = (time.monotonic() - started) * 1000
    return outcome


def run_alone(
    connection: psycopg.Connection[Any], statement: Statement, *, patience: Patience,
    ran: Callable[[Statement, float], None] = lambda statement, milliseconds: None,
) -> None:  # fmt: skip
    """Run a statement outside a transaction. It stops nobody while it waits (hazard 14), so it waits for each older
    transaction as long as the budget allows. Raises Failed, naming the blockers."""
    if statement.when is not None and not truth(connection, statement.when):
        return
    connection.execute(sql.SQL("SET lock_timeout = {}").format(sql.Literal(_milliseconds(patience.budget))))
    try:
        _execute(connection, statement, ran)
    except psycopg.errors.LockNotAvailable as error:
        tables, _ = _wanted([statement])
        blockers = [str(blocker) for blocker in holders(connection, tables, LockMode.ACCESS_EXCLUSIVE)]
        raise Failed(
            f"Transactions on {', '.join(map(str, tables))} did not end within {patience.budget:g} s"
            + (f": {'; '.join(blockers)}" if blockers else ""),
            remedy="End or wait for them, then run the same command again; what is half-built is built again.",
            details=blockers,
        ) from error
    finally:
        if not connection.closed:
            connection.execute("SET lock_timeout = 0")


def _execute(
    connection: psycopg.Connection[Any], statement: Statement, ran: Callable[[Statement, float], None]
) -> None:
    started = time.monotonic()
    connection.execute(sql.Composed([statement.sql]))
    ran(statement, (time.monotonic() - started) * 1000)


def truth(connection: psycopg.Connection[Any], query: sql.Composable) -> bool:
    """The one boolean of a query."""
    row = connection.execute(sql.Composed([query])).fetchone()
    return bool(row is not None and row[0])


def _attempt(
    connection: psycopg.Connection[Any], statements: Sequence[Statement], patience: Patience, outcome: Outcome,
    prepare: Callable[[], None], behind: int, finish: Callable[[], None], ran: Callable[[Statement, float], None],
) -> None:  # fmt: skip
    needed = [statement for statement in statements if statement.when is None or truth(connection, statement.when)]
    if any(statement.manner is Manner.VALIDATION for statement in needed):
        _limit(connection, VALIDATION_LOCK_TIMEOUT, 0.0)
    else:
        _take(connection, _locks(needed), patience.timeout, outcome)
    for number, statement in enumerate(statements):
        if number == behind:
            if behind:
                # What goes back may have set a path for the user's own code.
                connection.execute(b"SET CONSTRAINTS ALL IMMEDIATE; " + PIN)
            prepare()
        if statement.when is not None and not truth(connection, statement.when):
            continue
        if statement.acting_as is not None:
            connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(statement.acting_as)))
        _execute(connection, statement, ran)
        if statement.acting_as is not None:
            connection.execute("RESET ROLE")
    if behind >= len(statements):
        prepare()
    # Triggers of the user's run with the path that the statements have set for them, and may set any other; those that
    # were put off, now.
    connection.execute(b"SET CONSTRAINTS ALL IMMEDIATE; " + PIN)
    finish()


def _take(connection: psycopg.Connection[Any], locks: Sequence[Lock], timeout: float, outcome: Outcome) -> None:
    """Take the locks in order, all within `timeout`; later statements of the transaction have what is left of it."""
    begun, look = time.monotonic(), FIRST_LOOK * outcome.tries
    deadline = begun + timeout
    outcome.crossed = False
    if outcome.tries % 2 == 0:
        # Whoever crosses us in one order may not in the other.
        locks = locks[::-1]
    kinds = relation_kinds(connection, [lock.table for lock in locks])
    first = True
    for lock in locks:
        # LOCK TABLE on a view locks the tables under it as well, and a table yet to be made cannot be locked.
        if not lock.mode.blocks_writers or kinds.get(lock.table) not in ("r", "p"):
            continue
        left = max(deadline - time.monotonic(), 0.001)
        wait = left if first else min(left, look, _unnoticed(begun))
        _limit(connection, wait, wait)
        started = time.monotonic()
        connection.execute(sql.SQL("LOCK TABLE ONLY {} IN {} MODE").format(lock.table.identifier, _mode(lock.mode)))
        outcome.waited = max(outcome.waited, (time.monotonic() - started) * 1000)
        outcome.held_since = outcome.held_since or time.monotonic()
        first, outcome.crossed = False, True
    outcome.crossed = False
    left = max(deadline - time.monotonic(), 0.1)
    _limit(connection, left if first else min(left, _unnoticed(begun)), max(left, timeout / 2))


def _unnoticed(begun: float) -> float:
    """Seconds that may still be waited, with a lock held, for what was begun then."""
    return max(begun + UNNOTICED - time.monotonic(), GLANCE)


def _mode(mode: LockMode) -> sql.SQL:
    return {
        LockMode.SHARE: sql.SQL("SHARE"), LockMode.SHARE_ROW_EXCLUSIVE: sql.SQL("SHARE ROW EXCLUSIVE"),
        LockMode.EXCLUSIVE: sql.SQL("EXCLUSIVE"), LockMode.ACCESS_EXCLUSIVE: sql.SQL("ACCESS EXCLUSIVE"),
    }[mode]  # fmt: skip


def _limit(connection: psycopg.Connection[Any], lock: float, statement: float) -> None:
    """Set lock_timeout and statement_timeout of this transaction, in seconds; 0 is none."""
    connection.execute(
        sql.SQL("SET LOCAL lock_timeout = {}; SET LOCAL statement_timeout = {}").format(
            sql.Literal(_milliseconds(lock)), sql.Literal(_milliseconds(statement))
        )
    )


def _milliseconds(seconds: float) -> int:
    return 0 if seconds == 0 else max(1, int(seconds * 1000))


def _locks(statements: Iterable[Statement]) -> list[Lock]:
    """Each table once, in the order of first mention, with the strongest mode that any statement wants."""
    strongest: dict[Any, LockMode] = {}
    for statement in statements:
        for lock in statement.locks:
            known = strongest.get(lock.table)
            if known is None or lock.mode.strength > known.strength:
                strongest[lock.table] = lock.mode
    return [Lock(table, mode) for table, mode in strongest.items()]


def _wanted(statements: Iterable[Statement]) -> tuple[list[Any], LockMode]:
    locks = _locks(statements)
    strongest = max((lock.mode for lock in locks), key=lambda mode: mode.strength, default=LockMode.ACCESS_SHARE)
    return [lock.table for lock in locks], strongest


def _first_line(error: psycopg.Error) -> str:
    return (error.diag.message_primary or str(error)).splitlines()[0]
