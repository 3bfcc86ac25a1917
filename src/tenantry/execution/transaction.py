"""Statements that block writers for a moment, and never for longer.

All locks of a group are taken first, one by one, under one deadline: lock_timeout counts for each lock separately, so a
statement that needs four could block writers four times as long (hazard 14). Once a lock is held, all waits together,
counted from when a writer could first queue behind this session, are shorter than deadlock_timeout: a deadlock with the
application ends when this session gives up.

Locks and statements are sent to the server in one message, together with the changes of the journal, and are executed
there one after the other: while a lock is held there is a single round trip, for COMMIT. Exceptions, which are sent
separately, are statements that would run code of a table's owner (tenantry.postgres.owner_context), and what the caller
does in between.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
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

from tenantry.errors import END_HOLDERS, Failed
from tenantry.execution.message import (
    FORBIDDEN,
    LOCKING,
    UNSETTLED,
    MessageLimits,
    OwnStatement,
    doing,
    lock_held_before_failure,
    send,
    taking,
)
from tenantry.model.plan import ExecutionMode, Lock, LockMode, Statement
from tenantry.postgres.connect import PIN
from tenantry.postgres.locks import Blocker
from tenantry.postgres.owner_context import reads_catalog_only
from tenantry.postgres.session import holders

DEADLOCK_SAFE_WAIT = 0.7
"""Seconds within which a writer that began to wait together with this session does not yet check for a deadlock: below
deadlock_timeout, 1 s unless configured. While a lock is held, no wait exceeds them by more than MIN_WAIT."""
MIN_WAIT = 0.01
LEAST = 0.1
"""Seconds that statements may at least wait for locks that cannot be taken ahead, however long the other locks took."""
INITIAL_WAIT = 0.1
"""Seconds for which the first try waits for a further lock; each later try waits that much longer. A session that holds
that lock and waits for one held here does not release it before this session does: many short tries will find a moment,
and block writers less."""
BETWEEN_LOOKS = (0.1, 1.0)
"""The range, in seconds, from which the pause between such tries is drawn. Neither the time for which they block
writers nor the pauses grow."""
VALIDATION_LOCK_TIMEOUT = 30.0
_ENGINE = sql.SQL("SET LOCAL citus.propagate_set_commands = 'local'; SET LOCAL synchronous_commit = on")
"""Before a transaction on several nodes: its timeouts then apply on all of them, and a crash of this server cannot lose
a commit that the others have."""
SLOW_TRIES = 2
"""How often a statement may exceed its limit without waiting for a lock: the machine may be busy once."""
_SETTLE = (sql.SQL("SET CONSTRAINTS ALL IMMEDIATE"), sql.SQL(PIN.decode()))
"""Deferred triggers run now. They, and others of the user's, may have set any search_path."""


class _TooSlow(Exception):
    """A statement took longer than it may, and not because of a lock, for which it would have waited less long."""

    def __init__(self, error: psycopg.Error, statement: str, seconds: float) -> None:
        super().__init__(f"took more than {seconds:.1f} s without waiting for a lock: {statement}")
        self.error = error
        self.statement = statement


class _Renamed(Exception):
    """While this session waited for its lock, a table became another one, so the transaction has other statements,
    too."""


_NO_LOCK = (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled, psycopg.errors.DeadlockDetected)
RETRIED = (*_NO_LOCK, _TooSlow, _Renamed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard(OwnStatement):
    """A query of one boolean; if that is true, nothing is done, and `refuse` is called, outside the transaction, to
    raise the reason."""

    guard: bool = True
    refuse: Callable[[], None]


OwnStatements = Sequence[OwnStatement] | Callable[[], None]
"""As SQL, in the message of the statements; or as a function, for which they are sent in several parts."""
_Work = Statement | OwnStatement | Callable[[], None]


@dataclass(slots=True, kw_only=True)
class LockPolicy:
    """Seconds for which a statement may wait, and for which all its tries together may take."""

    timeout: float = 2.0
    budget: float = 600.0


@dataclass(slots=True, kw_only=True)
class Outcome:
    """Times and blockers: milliseconds in total, the longest wait for a lock, the longest time for which locks that
    block writers were held, the number of tries, and the sessions that blocked them."""

    milliseconds: float = 0.0
    waited: float = 0.0
    lock_held: float = 0.0
    locked_since: float | None = None
    """When the try in progress got its first lock, by time.monotonic()."""
    tries: int = 0
    crossed: bool = False
    """True if the last try had a lock and did not get a further one."""
    blocked_by: list[Blocker] = field(default_factory=list)


def run_in_transaction(
    connection: psycopg.Connection[Any],
    statements: Sequence[Statement],
    *,
    patience: LockPolicy,
    prepare: OwnStatements = (),
    behind: int = 0,
    finish: OwnStatements = (),
    retrying: Callable[[str, Sequence[str], float], None] = lambda reason, blockers, pause: None,
    ran: Callable[[Statement, float], None] = lambda statement, milliseconds: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Outcome:
    """Run statements in one transaction, with `prepare` before all but the first `behind` of them, and `finish` after
    all of them, in the same transaction.

    Waits for locks that block writers are short, and the transaction is tried again with growing pauses until it
    succeeds or the budget is spent. `retrying` is called with the reason, the blockers, and the pause in seconds, for
    which `sleep` then waits, and `ran` with each statement and its milliseconds. Raises Failed, naming the blockers, or
    the statement that takes longer than it may while it blocks writers.
    """
    started = time.monotonic()
    growing = wait_random_exponential(multiplier=0.2, max=15)
    transaction = _Transaction(
        connection=connection, statements=statements, work=_in_order(statements, prepare, behind, finish),
        patience=patience, ran=ran,
    )  # fmt: skip
    outcome = transaction.outcome

    def stop(state: RetryCallState) -> bool:
        return transaction.slow >= SLOW_TRIES or stop_after_delay(patience.budget)(state)

    def pause_after(state: RetryCallState) -> float:
        return random.uniform(*BETWEEN_LOOKS) if outcome.crossed else growing(state)

    def before_sleep(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        pause = state.next_action.sleep if state.next_action is not None else 0.0
        if isinstance(error, _TooSlow | _Renamed):
            retrying(str(error), (), pause)
            return
        outcome.blocked_by = holders(connection, *_tables_and_mode(statements))
        blockers = [str(blocker) for blocker in outcome.blocked_by]
        names = "; ".join(blockers) or "the holder is no longer there"
        retrying(f"no lock within {patience.timeout:g} s ({names})", blockers, pause)

    try:
        for once in Retrying(
            retry=retry_if_exception_type(RETRIED), stop=stop, reraise=True,
            wait=pause_after, before_sleep=before_sleep, sleep=sleep,
        ):  # fmt: skip
            with once:
                transaction.attempt()
    except _TooSlow as slow:
        raise Failed(
            f"A statement that blocks writers {slow}",
            remedy="Find out what takes the time, such as an event trigger, or allow it more with --lock-timeout; then"
            " run the same command again: nothing is half-done.",
            details=_within(slow.error, slow.statement),
        ) from slow.error
    except _Renamed as error:
        raise Failed("A table was renamed meanwhile", remedy="Run the same command again.") from error
    except _NO_LOCK as error:
        outcome.blocked_by = holders(connection, *_tables_and_mode(statements)) or outcome.blocked_by
        tables = ", ".join(dict.fromkeys(str(lock.table) for lock in _locks(statements)))
        raise Failed(
            f"Could not lock {tables} within {patience.budget:g} s, in {outcome.tries} tries: {_first_line(error)}",
            remedy=f"{END_HOLDERS}, then run the same command again: nothing is half-done.",
            details=[str(blocker) for blocker in outcome.blocked_by],
        ) from error
    outcome.milliseconds = (time.monotonic() - started) * 1000
    return outcome


def run_autocommit(
    connection: psycopg.Connection[Any], statement: Statement, *, patience: LockPolicy,
    ran: Callable[[Statement, float], None] = lambda statement, milliseconds: None,
) -> None:  # fmt: skip
    """Run a statement outside a transaction. It blocks nobody while it waits (hazard 14), so it waits for each older
    transaction as long as the budget allows. Raises Failed, naming the blockers."""
    if statement.when is not None and not fetch_bool(connection, statement.when):
        return
    connection.execute(sql.SQL("SET lock_timeout = {}").format(sql.Literal(_milliseconds(patience.budget))))
    try:
        _execute(connection, statement, ran)
    except psycopg.errors.LockNotAvailable as error:
        tables, _ = _tables_and_mode([statement])
        blockers = [str(blocker) for blocker in holders(connection, tables, LockMode.ACCESS_EXCLUSIVE)]
        raise Failed(
            f"Transactions on {', '.join(map(str, tables))} did not end within {patience.budget:g} s"
            + (f": {'; '.join(blockers)}" if blockers else ""),
            remedy=f"{END_HOLDERS}, then run the same command again: what is incomplete is built again.",
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


def fetch_bool(connection: psycopg.Connection[Any], query: sql.Composable) -> bool:
    """The single boolean of a query."""
    row = connection.execute(sql.Composed([query])).fetchone()
    return bool(row is not None and row[0])


def _in_order(
    statements: Sequence[Statement], prepare: OwnStatements, behind: int, finish: OwnStatements
) -> list[_Work]:
    """The work of a transaction after it has taken its locks."""
    settle = [OwnStatement(sql=one) for one in _SETTLE]
    before, after = ([part] if callable(part) else [*part] for part in (prepare, finish))
    first: list[_Work] = [*statements[:behind], *settle] if behind else []
    return [*first, *before, *statements[behind:], *settle, *after]


@dataclass(slots=True, kw_only=True)
class _Transaction:
    """Statements and the functions that belong to them, tried until all locks are taken."""

    connection: psycopg.Connection[Any]
    statements: Sequence[Statement]
    work: Sequence[_Work]
    patience: LockPolicy
    ran: Callable[[Statement, float], None]
    outcome: Outcome = field(default_factory=Outcome)
    slow: int = 0
    """Tries in which a statement was too slow."""
    validates: bool = False
    engine: bool = False
    separate: frozenset[int] = frozenset()
    """Positions in the work of the parts that are sent to the server separately."""

    def __post_init__(self) -> None:
        self.validates = any(statement.manner is ExecutionMode.VALIDATION for statement in self.statements)
        self.engine = any(statement.manner is ExecutionMode.ENGINE for statement in self.statements)
        given = [one for one in self.work if isinstance(one, Statement)]
        texts = [text for one in given for text in (one.sql, one.when) if text is not None]
        together = reads_catalog_only(self.connection, texts)
        self.separate = frozenset(
            place
            for place, one in enumerate(self.work)
            if not isinstance(one, OwnStatement)
            and not (isinstance(one, Statement) and self._goes_along(one, together))
        )

    def _goes_along(self, one: Statement, together: bool) -> bool:
        if self.validates or self.engine:
            # It takes long; separate, it can be seen in pg_stat_activity and cancelled alone.
            return False
        texts = [text for text in (one.sql, one.when) if text is not None]
        return together or reads_catalog_only(self.connection, texts)

    def attempt(self) -> None:
        outcome = self.outcome
        outcome.tries += 1
        outcome.locked_since, outcome.crossed = None, False
        try:
            with self.connection.transaction():
                self._run()
        except psycopg.Error as error:
            if error.sqlstate == FORBIDDEN:
                self._refuse()
            if error.sqlstate == UNSETTLED:
                # Parts that are sent separately are checked once more, under their locks.
                self.separate = frozenset(
                    place for place, one in enumerate(self.work) if not isinstance(one, OwnStatement)
                )
                raise _Renamed("a table was replaced by another one meanwhile") from error
            raise
        finally:
            if outcome.locked_since is not None:
                outcome.lock_held = max(outcome.lock_held, (time.monotonic() - outcome.locked_since) * 1000)

    def _refuse(self) -> None:
        """Raise, outside the transaction, what a guard has found."""
        for one in self.work:
            if isinstance(one, Guard):
                one.refuse()
        raise Failed("Another session changed the object meanwhile", remedy="Run the same command again.")

    def _run(self) -> None:
        first = b""
        if self.validates:
            _limit(self.connection, VALIDATION_LOCK_TIMEOUT, 0.0)
        elif self.engine:
            self._send(self._taking(self._needed()), [])
            # A message of its own: Citus passes on what is set after it.
            self.connection.execute(_ENGINE)
            _limit(self.connection, self.patience.timeout, 0.0)
        else:
            first = self._taking(self._needed())
        for separate, places in groupby(range(len(self.work)), key=self.separate.__contains__):
            group = [self.work[place] for place in places]
            if not separate:
                self._send(first, [one for one in group if isinstance(one, Statement | OwnStatement)])
            elif first:
                self._send(first, [])
            first = b""
            for one in group if separate else ():
                self._by_itself(one)

    def _needed(self) -> list[Statement]:
        """The statements whose condition is true now. Conditions that run no user's code are checked by one query."""
        asked = {place: one.when for place, one in enumerate(self.statements) if one.when is not None}
        if len(asked) > 1 and reads_catalog_only(self.connection, list(asked.values())):
            query = sql.SQL("SELECT {}").format(
                sql.SQL(", ").join(sql.SQL("({})").format(one) for one in asked.values())
            )
            met = dict(zip(asked, self.connection.execute(query).fetchone() or (), strict=True))
        else:
            met = {place: fetch_bool(self.connection, one) for place, one in asked.items()}
        return [one for place, one in enumerate(self.statements) if met.get(place, one.when is None)]

    def _by_itself(self, one: _Work) -> None:
        if isinstance(one, OwnStatement):
            self.connection.execute(sql.Composed([one.sql]))
        elif isinstance(one, Statement):
            if one.when is not None and not fetch_bool(self.connection, one.when):
                return
            if one.acting_as is not None:
                self.connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(one.acting_as)))
            with self._timed([one]):
                _execute(self.connection, one, self.ran)
            if one.acting_as is not None:
                self.connection.execute("RESET ROLE")
        else:
            with self._timed([]):
                one()

    def _taking(self, needed: Sequence[Statement]) -> bytes:
        """The locks of these statements, as SQL."""
        locks = [lock for lock in _locks(needed) if lock.mode.blocks_writers]
        # In reverse order every second time: a session that conflicts with one order may not with the other.
        reverse = self.outcome.tries % 2 == 0
        limits = MessageLimits(
            timeout=self.patience.timeout, look=INITIAL_WAIT * self.outcome.tries, unnoticed=DEADLOCK_SAFE_WAIT,
            glance=MIN_WAIT, least=LEAST,
        )  # fmt: skip
        return taking(locks, limits, self.connection, reverse=reverse)

    def _send(self, first: bytes, group: Sequence[Statement | OwnStatement]) -> None:
        with self._timed([one for one in group if isinstance(one, Statement)]):
            result = send(self.connection, first, doing(group, self.connection) if group else b"")
        self.outcome.waited = max(self.outcome.waited, result.waited)
        if self.outcome.locked_since is None and result.lock_held is not None:
            self.outcome.locked_since = time.monotonic() - result.lock_held / 1000
        for place, one in enumerate(group):
            if isinstance(one, Statement) and place in result.part_times:
                self.ran(one, result.part_times[place])

    @contextmanager
    def _timed(self, statements: Sequence[Statement]) -> Iterator[None]:
        """Raises _TooSlow if one of these was ended by its timeout: not by a wait for a lock, and not by a person."""
        begun = time.monotonic()
        try:
            yield
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
            lock_held = lock_held_before_failure(error)
            if lock_held is not None:
                self.outcome.crossed, self.outcome.locked_since = True, time.monotonic() - lock_held / 1000
            raise
        except psycopg.errors.QueryCanceled as error:
            seconds, context = time.monotonic() - begun, error.diag.context or ""
            if self.validates or self.engine or f'"{LOCKING} ' in context or seconds < self.patience.timeout / 2:
                raise
            self.slow += 1
            self.outcome.locked_since = self.outcome.locked_since or begun
            texts = [one.sql.as_string(self.connection) for one in statements]
            found = next((text for text in texts if f'"{text}"' in context), "")
            raise _TooSlow(error, found or "; ".join(texts) or "a query of tenantry's own", seconds) from error


def _within(error: psycopg.Error, statement: str) -> list[str]:
    """What was running within a statement, innermost first, according to the error's context."""
    inner = (error.diag.context or "").partition(f'SQL statement "{statement}"')[0]
    return [line for line in inner.splitlines() if line.strip()]


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
    """Each table once, in the order of first mention, with the strongest mode that a statement needs."""
    strongest: dict[Any, LockMode] = {}
    for statement in statements:
        for lock in statement.locks:
            known = strongest.get(lock.table)
            if known is None or lock.mode.strength > known.strength:
                strongest[lock.table] = lock.mode
    return [Lock(table, mode) for table, mode in strongest.items()]


def _tables_and_mode(statements: Iterable[Statement]) -> tuple[list[Any], LockMode]:
    locks = _locks(statements)
    strongest = max((lock.mode for lock in locks), key=lambda mode: mode.strength, default=LockMode.ACCESS_SHARE)
    return [lock.table for lock in locks], strongest


def _first_line(error: psycopg.Error) -> str:
    return (error.diag.message_primary or str(error)).splitlines()[0]
