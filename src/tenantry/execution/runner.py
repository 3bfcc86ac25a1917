"""Applies the steps that are not applied yet; tenantry.execution.rollback.executor reverts them.

Every step commits its journal row together with its change if the statement can run in a transaction; otherwise the
step is recognised from the catalog.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import psycopg
from psycopg import sql

from tenantry.errors import CONTINUES, ConnectionFailed, Failed, Interrupted, Refused, TenantryError
from tenantry.execution.concurrent_move import Connect, move_concurrently
from tenantry.execution.events import LocksRefused, Notice, Observer, StatementRan, StepEvent, ignore
from tenantry.execution.existing import MISSING
from tenantry.execution.message import OwnStatement
from tenantry.execution.transaction import (
    RETRIED,
    LockPolicy,
    Outcome,
    OwnStatements,
    fetch_bool,
    run_autocommit,
    run_in_transaction,
)
from tenantry.model.plan import ExecutionMode, Statement
from tenantry.model.run import StepAction
from tenantry.model.wording import without_tenant
from tenantry.planning.diff import State, changed, ended, enders, state_of
from tenantry.postgres.cancellation import Cancellation
from tenantry.postgres.journal import Entry, Journal
from tenantry.postgres.owner_context import reads_catalog_only
from tenantry.postgres.transient_errors import failed
from tenantry.steps import Backfill, Step, from_json, to_json
from tenantry.steps.citus_concurrent_move import ConcurrentMove

RunBackfill = Callable[[Backfill], int]
"""Runs a backfill and returns the number of rows that it changed."""


LONG = (ExecutionMode.VALIDATION, ExecutionMode.ENGINE)
"""Transactions that may take long and can be cancelled."""
LATE = 10
"""The number of times that a backfill is repeated for rows whose tenant is found only after its last pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalState:
    """The journal at the beginning, and what each step needs of all of it: which steps have ended another one's work,
    and the fills, by key."""

    entries: Mapping[str, Entry]
    enders: Mapping[str, tuple[str, ...]]
    fills: Mapping[str, Backfill]

    @classmethod
    def of(cls, entries: Mapping[str, Entry]) -> JournalState:
        steps = {key: from_json(entry.value) for key, entry in entries.items()}
        fills = {key: step.filling for key, step in steps.items() if step.filling is not None}
        return cls(entries=entries, enders=enders(entries), fills=fills)


def no_connection(purpose: str) -> psycopg.Connection[Any]:
    raise AssertionError(f"these steps need no session for {purpose}")


@dataclass(slots=True, kw_only=True)
class Runner:
    """Runs a list of steps over one connection, which must be direct and in autocommit mode."""

    connection: psycopg.Connection[Any]
    journal: Journal
    run: str
    patience: LockPolicy = field(default_factory=LockPolicy)
    backfill: RunBackfill
    connect: Connect = field(default=no_connection)
    """For further sessions of the run."""
    observer: Observer = ignore
    stop: threading.Event = field(default_factory=threading.Event)
    cancellation: Cancellation = field(init=False)
    """Allowed while a statement runs that may take long and can be cancelled safely."""

    def __post_init__(self) -> None:
        self.cancellation = Cancellation(self.connection)

    # --- states

    def definition(self, step: Step) -> str | None:
        """The definition of a step's object in the catalog."""
        value = self._value(step.definition())
        return None if value is None else str(value)

    def state(self, step: Step, entry: Entry | None, over: Collection[str]) -> State:
        """The state of a step now; `over` as in diff.state_of."""
        try:
            found = self.definition(step)
        except MISSING:
            found = None
        return state_of(step, entry, {step.key: found}, over)

    # --- applying

    @contextmanager
    def flushing_late(self) -> Iterator[None]:
        """Within the block no commit waits for the disk; the next commit after it, such as that of the run's end,
        flushes all. The WAL is written in order: if the server crashes, the last steps are lost together with their
        journal rows, as if the run had been killed before."""
        self.connection.execute("SET synchronous_commit = off")
        try:
            yield
        finally:
            with suppress(psycopg.OperationalError):  # The connection may be lost.
                self.connection.execute("RESET synchronous_commit")

    def apply_all(self, steps: Sequence[Step]) -> int:
        """Apply, in order, the steps that are not applied; returns their number."""
        with self.flushing_late():
            return self._apply_all(steps)

    def _apply_all(self, steps: Sequence[Step]) -> int:
        entries, applied = self.journal.entries(), 0
        over, noted = ended(entries, steps), JournalState.of(entries)
        for number, step in enumerate(steps, start=1):
            self.halt()
            entry = entries.get(step.key)
            if self.state(step, entry, over).in_force:
                if entry is not None and entry.state == "running" and step.key not in over:
                    self._left_uncompared(entry)
                    self.journal.finish(step.key, self.definition(step))
                if entry is not None and entry.state != "kept" and (entry.phase != step.phase or changed(step, entry)):
                    self.journal.adopt(key=step.key, phase=step.phase, value=to_json(step), wanted=step.wanted)
                self.observer(StepEvent(step=step, action=StepAction.FOUND, number=number, total=len(steps)))
                continue
            self.guarded(step, StepAction.APPLIED, number, len(steps), lambda step=step: self._apply(step, noted))  # type: ignore[misc]
            applied += 1
        return applied

    def _apply(self, step: Step, noted: JournalState) -> tuple[Outcome, int | None]:
        if step.filling is not None:
            return self._fill(step.filling, noted)
        entry, undo = noted.entries.get(step.key), tuple[Statement, ...]()
        if entry is not None and changed(step, entry) and not step.in_place:
            undo = from_json(entry.value).revert(entry.before)
        statements = step.apply()
        if all(statement.manner in (ExecutionMode.TRANSACTION, *LONG) for statement in (*undo, *statements)):
            outcome = self.together(
                (*undo, *statements), behind=len(undo),
                prepare=self._beginning(step, noted, anew=bool(undo)), finish=self._finishing(step),
            )  # fmt: skip
            return outcome, None
        if undo:
            # Once it is reverted, it is as if it had never been applied: if a run dies in between, its journal has the
            # old step.
            self.groups(undo)
            self.journal.forget(step.key)
        with self.connection.transaction():
            self._begin(step, noted)
        outcome = self.groups(statements, step.concurrent_move)
        with self.connection.transaction():
            self._finish(step)
        return outcome, None

    def _left_uncompared(self, entry: Entry) -> None:
        """A run has died between the moment at which rows moved and the end of their comparison."""
        step = from_json(entry.value)
        if step.concurrent_move is not None:
            self.observer(
                Notice(f"{step.table} was distributed by a run that ended before it had compared all rows")
            )  # fmt: skip

    def _fill(self, step: Backfill, noted: JournalState) -> tuple[Outcome, int]:
        begun = step.key in noted.fills and noted.entries[step.key].state == "running"
        step = step.over(noted.fills.values(), under_way=noted.fills[step.key] if begun else None)
        with self.connection.transaction():
            if changed(step, noted.entries.get(step.key)):
                self.journal.restart(step.key)
            self._begin(step, noted)
        rows = 0
        for last in (False,) * LATE + (True,):
            rows += self.backfill(step)
            with self.connection.transaction():
                if self.definition(step) is not None:
                    self._finish(step)
                    break
                # Rows that were written after the backfill's last pass, such as a child before its parent.
                pending = any(self._value(fill.pending()) for fill in step.fills)
                if last or (not pending and self.definition(step) is None):
                    raise self._left_over(step)
        return Outcome(tries=1), rows

    def _left_over(self, step: Backfill) -> Refused:
        """Rows without a tenant remain, for which no path gives one: written since the census, or hidden from it."""
        left = {relation: self._value(query) for relation, query in step.left_over()}
        counts = {str(relation): count for relation, count in left.items() if count}
        return Refused(
            "; ".join(without_tenant(count, name) for name, count in counts.items()),
            remedy='Give them one, or set orphans = "default", "quarantine" or "shared" in the spec; then run the same'
            " command again.",
            details=[f"rows of {relation} where {column} IS NULL" for relation, column in step.complete],
        )

    def _value(self, query: sql.Composable) -> Any:
        row = self.connection.execute(sql.Composed([query])).fetchone()
        return None if row is None else row[0]

    def _begin(self, step: Step, noted: JournalState, *, anew: bool = False) -> None:
        query = step.record()
        before: Mapping[str, Any] = (self._value(query) if query is not None else None) or {}
        # The work of the step that was ended is to be done once more.
        for ender in noted.enders.get(step.key, ()):
            self.journal.forget(ender)
        self.journal.begin(
            key=step.key, run=self.run, phase=step.phase, value=to_json(step), wanted=step.wanted, table=step.table,
            before=before, anew=anew,
        )  # fmt: skip

    def _beginning(self, step: Step, noted: JournalState, *, anew: bool) -> OwnStatements:
        """`_begin`, for a transaction of several statements."""
        record = step.record()
        if record is not None and not reads_catalog_only(self.connection, [record]):
            return lambda: self._begin(step, noted, anew=anew)
        begun = self.journal.beginning(
            key=step.key, run=self.run, phase=step.phase, value=to_json(step), wanted=step.wanted, table=step.table,
            record=record, anew=anew,
        )  # fmt: skip
        forgotten = [self.journal.forgetting(ender) for ender in noted.enders.get(step.key, ())]
        return [OwnStatement(sql=text) for text in (*forgotten, begun)]

    def _finishing(self, step: Step) -> OwnStatements:
        if not reads_catalog_only(self.connection, [step.definition()]):
            return lambda: self._finish(step)
        return [OwnStatement(sql=self.journal.finishing(step.key, step.definition()))]

    def _finish(self, step: Step) -> None:
        self.journal.finish(step.key, self.definition(step))

    # --- statements

    def groups(self, statements: Sequence[Statement], move: ConcurrentMove | None = None) -> Outcome:
        """Statements in their order: those of a transaction together, each of the others separately. `move` is what
        one of these does."""
        whole = Outcome()
        for alone, group in groupby(statements, key=lambda statement: statement.manner.alone):
            if not alone:
                part = self.together(tuple(group))
                whole.waited = max(whole.waited, part.waited)
                whole.lock_held = max(whole.lock_held, part.lock_held)
                whole.tries = max(whole.tries, part.tries)
                continue
            for statement in group:
                if statement.manner is ExecutionMode.SNAPSHOT:
                    assert move is not None
                    self._move(move, statement)
                    continue
                with self.cancellation.allowed(self.halt):
                    run_autocommit(self.connection, statement, patience=self.patience, ran=self._ran)
        whole.tries = max(whole.tries, 1)
        return whole

    def _move(self, move: ConcurrentMove, statement: Statement) -> None:
        if statement.when is not None and not fetch_bool(self.connection, statement.when):
            return

        def run() -> None:
            # Writers wait behind it, at the end.
            brief = replace(self.patience, budget=self.patience.timeout)
            with self.cancellation.allowed(self.halt):
                run_autocommit(self.connection, statement, patience=brief, ran=self._ran)

        move_concurrently(self.connection, move, run, self.connect, self.observer)

    def together(
        self, statements: Sequence[Statement], prepare: OwnStatements = (), finish: OwnStatements = (), *,
        behind: int = 0,
    ) -> Outcome:  # fmt: skip
        """Statements in one transaction: `prepare` runs once it has its locks and the first `behind` statements have
        run, `finish` at its end."""

        def retrying(reason: str, blockers: Sequence[str], pause: float) -> None:
            self.observer(LocksRefused(reason, blockers, pause))
            self.halt()

        if any(statement.manner in LONG for statement in statements):
            with self.cancellation.allowed(self.halt):
                return run_in_transaction(
                    self.connection, statements, patience=self.patience, prepare=prepare, behind=behind, finish=finish,
                    retrying=retrying, sleep=self._pause, ran=self._ran,
                )  # fmt: skip
        return run_in_transaction(
            self.connection, statements, patience=self.patience, prepare=prepare, behind=behind, finish=finish,
            retrying=retrying, sleep=self._pause, ran=self._ran,
        )  # fmt: skip

    # --- errors

    def halt(self) -> None:
        """Raises Interrupted if a stop was requested."""
        if self.stop.is_set():
            raise Interrupted("Stopped between two steps", remedy=CONTINUES)

    def _ran(self, statement: Statement, milliseconds: float) -> None:
        self.observer(StatementRan(statement, milliseconds))

    def _pause(self, seconds: float) -> None:
        self.stop.wait(seconds)
        self.halt()

    def interrupt(self) -> None:
        """Stop after the current step or batch; a long statement that can be cancelled is cancelled. Called in another
        thread than the one that runs the steps."""
        self.stop.set()
        self.cancellation.request()

    def guarded(
        self, step: Step, action: StepAction, number: int, total: int, work: Callable[[], tuple[Outcome, int | None]]
    ) -> None:
        """Run a step, and report and record the result. Raises TenantryError."""
        started = time.monotonic()
        self.observer(StepEvent(step=step, action=StepAction.STARTED, number=number, total=total))
        try:
            outcome, rows = work()
        except (psycopg.Error, TenantryError) as error:
            failure = self._explained(step, error)
            self._note_failure(step, started, failure, (number, total))
            raise failure from (None if failure is error else error)
        milliseconds = (time.monotonic() - started) * 1000
        self.journal.event(
            run=self.run, key=step.key, action=action, milliseconds=milliseconds, waited=outcome.waited,
            tries=outcome.tries, rows=rows,
        )  # fmt: skip
        self.observer(
            StepEvent(step=step, action=action, number=number, total=total, milliseconds=milliseconds,
                  waited=outcome.waited, lock_held=outcome.lock_held, tries=outcome.tries, rows=rows)
        )  # fmt: skip

    def _note_failure(self, step: Step, started: float, failure: TenantryError, place: tuple[int, int]) -> None:
        milliseconds, (number, total) = (time.monotonic() - started) * 1000, place
        if not isinstance(failure, Interrupted):
            self.observer(StepEvent(step=step, action=StepAction.FAILED, number=number, total=total,
                                    milliseconds=milliseconds, message=failure.message))  # fmt: skip
        # The server may be gone, which an idle connection notices only now.
        with suppress(psycopg.OperationalError):
            self.journal.event(
                run=self.run, key=step.key, action=StepAction.FAILED, milliseconds=milliseconds, error=failure.message
            )

    def _explained(self, step: Step, error: psycopg.Error | TenantryError) -> TenantryError:
        """The error of a step, as one sentence."""
        what = f"{step.table}: {step.title}"
        again = CONTINUES
        if isinstance(error, ConnectionFailed) and self._lost():
            return Failed(f"The connection was lost during: {what}", remedy=again, details=[error.message])
        if self.stop.is_set() and isinstance(error.__cause__, RETRIED):
            # Cancelled, or a time limit was exceeded meanwhile: the code that requested the stop has the reason.
            return Interrupted(f"Stopped during: {what}", remedy=again)
        if isinstance(error, TenantryError):
            return error
        said = (error.diag.message_primary or str(error)).splitlines()[0]
        if self.connection.closed or self.connection.broken:
            return Failed(f"The connection was lost during: {what}", remedy=again, details=[said])
        if isinstance(error, psycopg.errors.QueryCanceled) and self.stop.is_set():
            return Interrupted(f"Stopped during: {what}", remedy=again)
        if isinstance(error, psycopg.errors.InsufficientPrivilege):
            return ConnectionFailed(
                f"Missing privileges for: {what}: {said}",
                remedy="Run as the owner of the tables, or get the privilege granted; then run the same command again.",
            )
        if isinstance(error, psycopg.errors.IntegrityError) or (isinstance(error, psycopg.DataError) and step.remedy):
            return Refused(
                f"The data does not allow: {what}: {said}",
                remedy=step.remedy or "Correct the rows listed below, then run the same command again.",
                details=[error.diag.message_detail or ""],
            )
        return failed(error, what, again)

    def _lost(self) -> bool:
        """Whether the server is gone, which an idle connection notices only when it is used."""
        with suppress(psycopg.OperationalError):
            self.connection.execute("SELECT")
        return self.connection.closed or self.connection.broken
