"""One batch of a fill: its transaction, its retries, and what its failure means."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

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
from tenantry.execution.backfill.checkpoint import QUERIES, PageRange, regclass
from tenantry.execution.backfill.pace import Pace
from tenantry.model.name import Name
from tenantry.postgres.connect import PinnedConnection
from tenantry.postgres.owner_context import context, raw_cursor
from tenantry.postgres.queries import filled

TRANSIENT_ERRORS = (errors.DeadlockDetected, errors.SerializationFailure, errors.LockNotAvailable)
AGAIN = "run the same command again"

MOVING_TRIES = 6
"""A parent that moves to another tenant while a batch derives from it makes the batch break its key: once, or twice."""

Result = TypeVar("Result")


class RewrittenError(Exception):
    """The relation's rows are in another file than when its fill began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a batch did; `hot` of its session's `updates` lately were HOT. `rewritten`: what it filled stays so, but the
    relation's rows are in another file than when its fill began, so that no checkpoint is worth anything."""

    rows: int
    hot: int = 0
    updates: int = 0
    rewritten: bool = False


Checkpoint = Callable[[int], sql.Composed]
"""The statement that records a batch of so many rows; returns the counters of Done, or no row."""


@dataclass(slots=True, kw_only=True)
class Worker:
    """A session, and what it has done so far. It is used by one thread at a time."""

    connection: psycopg.Connection[Any]
    pace: Pace
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
    ) -> Done:  # fmt: skip
        """One batch and its checkpoint, in one transaction. Raises psycopg.Error and Interrupted."""
        if self.overhead is None:
            _, self.overhead = self.patiently(lambda: self._run(statement, (0, 0), 1, 0, None))
        done, seconds = self.patiently(lambda: self._run(statement, pages, stripes, stripe, checkpoint))
        self.overhead = min(self.overhead, seconds)
        self.pace.took(pages[1] - pages[0], seconds - self.overhead)
        self.longest_batch = max(self.longest_batch, seconds)
        self.batches += 1
        return done

    def _run(
        self, statement: sql.Composed, pages: tuple[int, int], stripes: int, stripe: int, checkpoint: Checkpoint | None
    ) -> tuple[Done, float]:
        """What a try did, and the seconds that it took."""
        begun = time.monotonic()
        parameters = [f"({pages[0]},0)", f"({pages[1]},0)", stripes, stripe]
        # What goes to the server with BEGIN and COMMIT names nothing of the user's, and needs no fence.
        ours = psycopg.Cursor(self.connection)
        try:
            ours.execute(sql.SQL("BEGIN; {}").format(self._settings))
            # Never prepared: a plan made for any range of pages knows nothing of this one's size.
            self.cursor.execute(statement, parameters, prepare=False)
            rows = self.cursor.rowcount
            # Rows are held meanwhile: so the network is crossed once.
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
        return Done(rows=rows, hot=hot, updates=updates, rewritten=row is None), time.monotonic() - begun

    def patiently(self, action: Callable[[], Result]) -> Result:
        """Try again after a deadlock, or a lock that was not to be had, with growing pauses."""

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
    return Interrupted("Stopped after the batch in hand", remedy=f"{AGAIN}: it goes on from there")


def failure(relation: Name, error: psycopg.Error, connection: psycopg.Connection[Any]) -> Failed:
    """What an error of the server in the fill of `relation` means for the user."""
    said = (error.diag.message_primary or str(error).strip() or type(error).__name__).splitlines()[0]
    if connection.closed:
        return Failed(f"The connection was lost while {relation} was being filled: {said}", remedy=AGAIN)
    details = [error.diag.message_detail or "", *(context(error) or "").splitlines()]
    return Failed(
        f"{relation} cannot be filled: {said}",
        remedy=f"put this right, then {AGAIN}",
        details=list(filter(None, details)),
    )
