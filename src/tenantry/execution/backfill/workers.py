"""The sessions of a fill: a batch, its pages, why rows stay without a tenant, and a pass of all sessions."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

import psycopg
from psycopg import errors, pq, sql
from tenacity import (
    RetryCallState,
    Retrying,
    stop_after_delay,
    stop_when_event_set,
    wait_exponential_jitter,
)
from tenacity.nap import sleep_using_event

from tenantry.errors import Failed, Interrupted
from tenantry.execution.backfill.progress import QUERIES, PageRange, Stripes, regclass
from tenantry.execution.backfill.throttle import Throttle
from tenantry.execution.events import Event, FillAdvanced, FillPaused, Observer
from tenantry.model.name import Name
from tenantry.model.wording import without_tenant
from tenantry.postgres.connect import PinnedConnection
from tenantry.postgres.locks import blockers, exclusive
from tenantry.postgres.owner_context import error_context, raw_cursor
from tenantry.postgres.queries import filled
from tenantry.steps.fill import RelationFill

TRANSIENT_ERRORS = (errors.DeadlockDetected, errors.SerializationFailure, errors.LockNotAvailable)
AGAIN = "run the same command again"

MOVING_TRIES = 6
"""The number of tries: a parent that moves to another tenant while a batch derives from it makes the batch violate its
key, once, or twice."""

Result = TypeVar("Result")


class RewrittenError(Exception):
    """The relation's rows are in another file than when its fill began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResult:
    """The result of a batch; `hot` of its session's recent `updates` were HOT. `rewritten`: the rows stay filled, but
    the relation has another file than when its fill began, so that no checkpoint is valid."""

    rows: int
    hot: int = 0
    updates: int = 0
    rewritten: bool = False


Checkpoint = Callable[[int], sql.Composed]
"""The statement that records a batch of this number of rows; returns the counters of Done, or no row."""


@dataclass(slots=True, kw_only=True)
class Worker:
    """A session, and its counters. It is used by one thread at a time."""

    connection: psycopg.Connection[Any]
    pace: BatchSizer
    budget: float
    lock_timeout: float
    stop: threading.Event
    batches: int = 0
    retries: int = 0
    longest_batch: float = 0.0
    overhead: float | None = None
    """Seconds that a batch takes for the network and the like, however few its pages; None before the first one."""
    cursor: psycopg.RawCursor[Any] = field(init=False)

    def __post_init__(self) -> None:
        self.cursor = raw_cursor(self.connection)

    @property
    def pid(self) -> int:
        return self.connection.info.backend_pid

    def begin(self) -> None:
        """The settings of a transaction that fills."""
        psycopg.Cursor(self.connection).execute(self._settings)

    @property
    def _settings(self) -> sql.Composed:
        return filled(QUERIES["settings"], lock_timeout=sql.Literal(f"{self.lock_timeout * 1000:.0f}ms"))

    def fill(
        self, statement: sql.Composed, pages: tuple[int, int], stripes: int, stripe: int,
        checkpoint: Checkpoint | None,
    ) -> BatchResult:  # fmt: skip
        """One batch and its checkpoint, in one transaction. Raises psycopg.Error and Interrupted."""
        if self.overhead is None:
            _, self.overhead = self.patiently(lambda: self._run(statement, (0, 0), 1, 0, None))
        done, seconds = self.patiently(lambda: self._run(statement, pages, stripes, stripe, checkpoint))
        self.overhead = min(self.overhead, seconds)
        self.pace.record(pages[1] - pages[0], seconds - self.overhead)
        self.longest_batch = max(self.longest_batch, seconds)
        self.batches += 1
        return done

    def _run(
        self, statement: sql.Composed, pages: tuple[int, int], stripes: int, stripe: int, checkpoint: Checkpoint | None
    ) -> tuple[BatchResult, float]:
        """The result of a try, and the seconds that it took."""
        begun = time.monotonic()
        parameters = [f"({pages[0]},0)", f"({pages[1]},0)", stripes, stripe]
        # What is sent together with BEGIN and COMMIT names nothing of the user's, and can run no code of an owner.
        ours = psycopg.Cursor(self.connection)
        try:
            ours.execute(sql.SQL("BEGIN; {}").format(self._settings))
            # Never prepared: a plan made for any range of pages does not know the size of this one.
            self.cursor.execute(statement, parameters, prepare=False)
            rows = self.cursor.rowcount
            # Rows are locked meanwhile: so there is one round trip only.
            ours.execute(sql.SQL("COMMIT") if checkpoint is None else sql.SQL("{}; COMMIT").format(checkpoint(rows)))
        except BaseException:
            if self.connection.info.transaction_status in (pq.TransactionStatus.INTRANS, pq.TransactionStatus.INERROR):
                self.connection.rollback()
            raise
        if isinstance(self.connection, PinnedConnection):
            # A trigger of the user's may have set the search_path for the rest of the session.
            self.connection.pin()
        row = (0, 0) if checkpoint is None else ours.fetchone()
        hot, updates = row or (0, 0)
        return BatchResult(rows=rows, hot=hot, updates=updates, rewritten=row is None), time.monotonic() - begun

    def patiently(self, action: Callable[[], Result]) -> Result:
        """Try again after a deadlock, or a lock that could not be taken, with growing pauses."""

        def count(_: RetryCallState) -> None:
            self.retries += 1

        retrying = Retrying(
            retry=_passes,
            wait=wait_exponential_jitter(multiplier=0.05, max=5.0, jitter=0.1),
            stop=stop_after_delay(self.budget) | stop_when_event_set(self.stop),
            sleep=sleep_using_event(self.stop),
            before_sleep=count,
            reraise=True,
        )
        try:
            return retrying(action)
        except TRANSIENT_ERRORS:
            if self.stop.is_set():
                raise interrupted() from None
            raise


def _passes(state: RetryCallState) -> bool:
    error = state.outcome.exception() if state.outcome is not None else None
    moved = isinstance(error, errors.ForeignKeyViolation) and state.attempt_number < MOVING_TRIES
    return moved or isinstance(error, TRANSIENT_ERRORS)


def checkpointed(step: str, relation: Name, unit: PageRange, position: int) -> Checkpoint:
    """Record that the unit is done until before page `position`."""

    def record(rows: int) -> sql.Composed:
        values = {
            "step": step, "relation": str(relation), "first": unit.first, "position": position, "rows": rows,
            "table": regclass(relation),
        }  # fmt: skip
        return filled(QUERIES["checkpoint"], **{name: sql.Literal(value) for name, value in values.items()})

    return record


def interrupted() -> Interrupted:
    return Interrupted("Stopped after the current batch", remedy=f"{AGAIN}: it continues from there")


def failure(relation: Name, error: psycopg.Error, connection: psycopg.Connection[Any]) -> Failed:
    """The error for the user for a server error in the fill of `relation`."""
    said = (error.diag.message_primary or str(error).strip() or type(error).__name__).splitlines()[0]
    if connection.closed:
        return Failed(f"The connection was lost during the backfill of {relation}: {said}", remedy=AGAIN)
    details = [error.diag.message_detail or "", *(error_context(error) or "").splitlines()]
    return Failed(
        f"{relation} cannot be backfilled: {said}",
        remedy=f"correct this, then {AGAIN}",
        details=list(filter(None, details)),
    )


# A batch is at most twice as large as the one before: pages differ, and a first batch is no reliable measure.
STEEPEST = 2.0
SHORTEST_TARGET = 0.02
RECOVERY = 1.1


@dataclass(slots=True, kw_only=True)
class BatchSizer:
    """For one worker; `target` in seconds. The size is halved while others wait for the fill's locks, then recovers
    slowly."""

    target: float
    pages: int
    most: int
    _aim: float = 0.0

    def __post_init__(self) -> None:
        self._aim = self.target

    def ask(self, *, crowded: bool) -> int:
        """The number of pages for the next batch."""
        if crowded:
            self._aim = max(self._aim / 2, min(SHORTEST_TARGET, self.target))
            self.pages = max(1, self.pages // 2)
        else:
            self._aim = min(self._aim * RECOVERY, self.target)
        return self.pages

    def record(self, pages: int, seconds: float) -> None:
        """Learn from a batch; one that was cut short, by the end of its unit, only shows what is too slow."""
        if pages < self.pages and seconds < self._aim:
            return
        factor = min(max(self._aim / max(seconds, 1e-4), 1 / STEEPEST), STEEPEST)
        self.pages = min(max(1, round(pages * factor)), self.most)


LOOK_SECONDS = 0.5


def refuse_guarded(control: Worker, relation_fill: RelationFill) -> NoReturn:
    """Raises Failed: rows that no session has locked do not change, because of a trigger or rule that is named."""
    row = control.cursor.execute(relation_fill.count()).fetchone()
    count = row[0] if row is not None else 0
    found = control.cursor.execute(QUERIES["guards"], [regclass(relation_fill.relation)]).fetchall()
    guards = [name for (name,) in found]
    raise Failed(
        f"{without_tenant(count, relation_fill.relation)}:"
        " something prevents their update" + (f", probably {', '.join(guards)}" if guards else ""),
        remedy=f"allow updates of this table while the backfill runs, then {AGAIN}",
        details=guards,
    )


def locked(worker: Worker, relation: Name, error: psycopg.Error) -> Failed:
    """The table could not be locked within the budget, or every try ended in a deadlock."""
    names: list[str] = []
    with suppress(psycopg.Error):
        names = [str(one) for one in exclusive(worker.connection) if one.relation == relation]
    return Failed(
        f"{relation} was locked for longer than {worker.budget:g} s: {error.diag.message_primary}"
        + (f" ({'; '.join(names)})" if names else ""),
        remedy=f"wait until that session ends, or terminate it, then {AGAIN}",
        details=names,
    )


def names_of_holders(control: Worker, worker: Worker, relation_fill: RelationFill) -> list[str]:
    """The sessions that hold a lock on one of the remaining rows: `worker` waits for it a moment, so that the server
    reports them."""

    def wait() -> None:
        with suppress(psycopg.Error), worker.connection.transaction(force_rollback=True):
            worker.begin()
            worker.cursor.execute(
                sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(f"{LOOK_SECONDS * 1000:.0f}ms"))
            )
            worker.cursor.execute(relation_fill.wait())

    waiting = threading.Thread(target=wait, name="look for holders")
    waiting.start()
    found: list[str] = []
    while waiting.is_alive() and not found:
        found = [str(blocker) for blocker in blockers(control.connection, worker.pid)]
        time.sleep(0.02)
    waiting.join()
    return found


FUTILE = (
    "{}: old row versions cannot be removed while an older transaction is open; the table grows as after an"
    " ordinary UPDATE"
)


@dataclass(slots=True, kw_only=True)
class BackfillPass:
    """Processes every page of a relation once. `recorded`: with checkpoints in the journal."""

    fill: RelationFill
    step: str
    units: deque[PageRange]
    stripes: Stripes
    recorded: bool
    halted: threading.Event = field(default_factory=threading.Event)
    rows: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def relation(self) -> Name:
        return self.fill.relation

    def take(self) -> PageRange | None:
        """The next unit; None if there is none left or another worker has failed."""
        with self._lock:
            return self.units.popleft() if self.units and not self.halted.is_set() else None

    def count(self, rows: int) -> None:
        with self._lock:
            self.rows += rows


@dataclass(slots=True, kw_only=True)
class WorkerPool:
    """Workers that go through the units of a pass together."""

    workers: list[Worker]
    observer: Observer
    throttle: Throttle
    stop: threading.Event
    _telling: threading.Lock = field(default_factory=threading.Lock)

    def go(self, passing: BackfillPass) -> int:
        """The number of rows that were filled. Raises Failed, Interrupted and RewrittenError."""
        most = max(1, min(len(self.workers), len(passing.units)))
        with ThreadPoolExecutor(max_workers=most, thread_name_prefix="fill") as pool:
            futures = [pool.submit(self._work, worker, passing) for worker in self.workers[:most]]
            try:
                wait(futures)
            except BaseException:
                passing.halted.set()
                raise
        problems = [problem for future in futures if (problem := future.exception()) is not None]
        # A rewritten table is started again, unless there was a failure.
        problems.sort(key=lambda problem: isinstance(problem, RewrittenError))
        if problems:
            raise problems[0]
        return passing.rows

    def tell(self, event: Event) -> None:
        """Call the observer, from one thread at a time."""
        with self._telling:
            self.observer(event)

    def pause(self, reason: str) -> None:
        self.tell(FillPaused(reason))

    def _work(self, worker: Worker, passing: BackfillPass) -> None:
        try:
            while (unit := passing.take()) is not None:
                self._go_through(worker, passing, unit)
        except TRANSIENT_ERRORS as error:
            passing.halted.set()
            raise locked(worker, passing.relation, error) from error
        except psycopg.Error as error:
            passing.halted.set()
            raise failure(passing.relation, error, worker.connection) from error
        except BaseException:
            passing.halted.set()
            raise

    def _go_through(self, worker: Worker, passing: BackfillPass, unit: PageRange) -> None:
        stripes = passing.stripes.next()
        hot = updates = 0
        before = BatchResult(rows=0)
        for stripe in range(stripes):
            position = unit.next
            while position < unit.past and not passing.halted.is_set():
                past = min(position + self._admitted(worker), unit.past)
                done = self._batch(worker, passing, unit, (position, past), stripes, stripe)
                # The server's counters start again from zero whenever the session reports them to the statistics
                # system.
                kept = done.updates >= before.updates
                if stripe > 0:
                    hot += done.hot - before.hot if kept else done.hot
                    updates += done.updates - before.updates if kept else done.updates
                before = done
                self._advance(passing, unit, (position, past), stripes, stripe, done.rows)
                position = past
                if done.rewritten:
                    raise RewrittenError
        if passing.stripes.learn(hot=hot, updates=updates):
            self.pause(FUTILE.format(passing.relation))

    def _admitted(self, worker: Worker) -> int:
        """The pages of the next batch, once it may run."""
        crowded = self.throttle.admit(worker.pid, self.stop, self.pause)
        if self.stop.is_set():
            raise interrupted()
        return worker.pace.ask(crowded=crowded)

    def _batch(
        self, worker: Worker, passing: BackfillPass, unit: PageRange, pages: tuple[int, int], stripes: int, stripe: int
    ) -> BatchResult:
        # Before its last stripe no part of a unit is complete: it is started again after a crash.
        position = pages[1] if stripe == stripes - 1 else unit.next
        checkpoint = checkpointed(passing.step, passing.relation, unit, position) if passing.recorded else None
        return worker.fill(sql.Composed([passing.fill.batch(passing.step).sql]), pages, stripes, stripe, checkpoint)

    def _advance(
        self, passing: BackfillPass, unit: PageRange, pages: tuple[int, int], stripes: int, stripe: int, rows: int
    ) -> None:
        """The pages of a unit count as done by the share of its stripes that are done."""
        length = unit.past - unit.next
        begun, ended = (((position - unit.next) + length * stripe) // stripes for position in pages)
        passing.count(rows)
        advanced = ended - begun if passing.recorded else 0
        self.tell(FillAdvanced(passing.relation, advanced, rows))
