"""The workers of a fill and one pass of theirs over a relation."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from tenantry.execution.backfill.batch import (
    TRANSIENT_ERRORS,
    Done,
    RewrittenError,
    Worker,
    checkpointed,
    failure,
    interrupted,
)
from tenantry.execution.backfill.checkpoint import PageRange
from tenantry.execution.backfill.obstacle import locked
from tenantry.execution.backfill.stripes import Stripes
from tenantry.execution.backfill.throttle import Throttle
from tenantry.execution.events import Event, FillAdvanced, FillPaused, Observer
from tenantry.model.name import Name
from tenantry.steps.fill import RelationFill

FUTILE = (
    "{}: old row versions cannot be removed while an older transaction is open; the table grows as after an"
    " ordinary UPDATE"
)


@dataclass(slots=True, kw_only=True)
class Pass:
    """Every page of a relation once. `recorded`: with checkpoints in the journal."""

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
        """The next unit; None where there is none left or another worker has failed."""
        with self._lock:
            return self.units.popleft() if self.units and not self.halted.is_set() else None

    def count(self, rows: int) -> None:
        with self._lock:
            self.rows += rows


@dataclass(slots=True, kw_only=True)
class Crew:
    """Workers that go through the units of a pass together."""

    workers: list[Worker]
    observer: Observer
    throttle: Throttle
    stop: threading.Event
    _telling: threading.Lock = field(default_factory=threading.Lock)

    def go(self, passing: Pass) -> int:
        """The rows that were filled. Raises Failed, Interrupted and RewrittenError."""
        most = max(1, min(len(self.workers), len(passing.units)))
        with ThreadPoolExecutor(max_workers=most, thread_name_prefix="fill") as pool:
            futures = [pool.submit(self._work, worker, passing) for worker in self.workers[:most]]
            try:
                wait(futures)
            except BaseException:
                passing.halted.set()
                raise
        problems = [problem for future in futures if (problem := future.exception()) is not None]
        # What was rewritten is started again, whatever else happened, but for a failure.
        problems.sort(key=lambda problem: isinstance(problem, RewrittenError))
        if problems:
            raise problems[0]
        return passing.rows

    def tell(self, event: Event) -> None:
        """Tell the observer, one thread at a time."""
        with self._telling:
            self.observer(event)

    def pause(self, reason: str) -> None:
        self.tell(FillPaused(reason))

    def _work(self, worker: Worker, passing: Pass) -> None:
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

    def _go_through(self, worker: Worker, passing: Pass, unit: PageRange) -> None:
        stripes = passing.stripes.next()
        hot = updates = 0
        before = Done(rows=0)
        for stripe in range(stripes):
            position = unit.next
            while position < unit.past and not passing.halted.is_set():
                past = min(position + self._admitted(worker), unit.past)
                done = self._batch(worker, passing, unit, (position, past), stripes, stripe)
                # The server's counters start again from zero whenever the session hands them in.
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
        self, worker: Worker, passing: Pass, unit: PageRange, pages: tuple[int, int], stripes: int, stripe: int
    ) -> Done:
        # Until its last stripe nothing of a unit is done for good: it is begun again after a crash.
        position = pages[1] if stripe == stripes - 1 else unit.next
        checkpoint = checkpointed(passing.step, passing.relation, unit, position) if passing.recorded else None
        return worker.fill(sql.Composed([passing.fill.batch(passing.step).sql]), pages, stripes, stripe, checkpoint)

    def _advance(
        self, passing: Pass, unit: PageRange, pages: tuple[int, int], stripes: int, stripe: int, rows: int
    ) -> None:
        """A unit's pages are done by as much as its stripes are."""
        length = unit.past - unit.next
        begun, ended = (((position - unit.next) + length * stripe) // stripes for position in pages)
        passing.count(rows)
        advanced = ended - begun if passing.recorded else 0
        self.tell(FillAdvanced(passing.relation, advanced, rows))
