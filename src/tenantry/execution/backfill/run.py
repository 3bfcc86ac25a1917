"""Gives every existing row its tenant, in batches by page range, while the application goes on writing."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg
from psycopg import sql

from tenantry.errors import Failed
from tenantry.execution.backfill.progress import QUERIES, Stripes, divided, extent, open_units, stripes_for
from tenantry.execution.backfill.throttle import Throttle
from tenantry.execution.backfill.workers import (
    AGAIN,
    TRANSIENT_ERRORS,
    BackfillPass,
    BatchSizer,
    RewrittenError,
    Worker,
    WorkerPool,
    failure,
    interrupted,
    locked,
    names_of_holders,
    refuse_guarded,
)
from tenantry.execution.events import FillFinished, FillStarted, Observer
from tenantry.model.name import Name
from tenantry.model.wording import counted
from tenantry.steps.fill import Backfill, RelationFill


@dataclass(slots=True, kw_only=True)
class Probe:
    """Tests single rows. `step` is the fill's key. All methods raise Failed if the server fails, and Interrupted once
    `stop` is set."""

    control: Worker
    step: str
    stop: threading.Event
    filled: Counter[Name]
    """The fill's rows by relation, including those that are filled here."""

    def ask(self, relation: Name, query: sql.Composed | bytes) -> Any:
        """The first value of a query; `relation` is the relation that it is about."""

        def once() -> Any:
            with self.control.connection.transaction():
                self.control.begin()
                row = self.control.cursor.execute(query, prepare=False).fetchone()
                return None if row is None else row[0]

        return self.guarded(once, relation)

    def guarded(self, action: Callable[[], Any], relation: Name) -> Any:
        """Runs `action`, and again after a transient error."""
        if self.stop.is_set():
            raise interrupted()
        try:
            return self.control.patiently(action)
        except TRANSIENT_ERRORS as error:
            raise locked(self.control, relation, error) from error
        except psycopg.Error as error:
            raise failure(relation, error, self.control.connection) from error

    def advances(self, relation_fill: RelationFill, since: str | None) -> bool:
        """Fill a page with a row that no other session has locked, if there is one. Raises Failed if no row changes."""

        def once() -> bool:
            with self.control.connection.transaction():
                rows = self._page(relation_fill, since)
                if rows == 0:
                    refuse_guarded(self.control, relation_fill)
            self.filled[relation_fill.relation] += rows or 0
            return rows is not None

        return bool(self.guarded(once, relation_fill.relation))

    def refuse_taken_back(self, unfinished: Sequence[RelationFill], since: str | None) -> None:
        """Raises Failed if a trigger reverts the change in rows that no other session has locked. It is tried three
        times: a row may have moved between its change and the check."""

        def taken_back(relation_fill: RelationFill) -> bool:
            with self.control.connection.transaction():
                changed = self._page(relation_fill, since)
                row = self.control.cursor.execute(relation_fill.undone()).fetchone() if changed else None
            self.filled[relation_fill.relation] += changed or 0
            return changed == 0 or (row is not None and bool(row[0]))

        for one in unfinished:
            if all(self.guarded(partial(taken_back, one), one.relation) for _ in range(3)):
                self.guarded(partial(refuse_guarded, self.control, one), one.relation)

    def locked_rows_failure(
        self, unfinished: Sequence[RelationFill], since: str, waited: float, worker: Worker
    ) -> Failed:
        """Rows that other sessions have locked for `waited` seconds; `worker` waits for one of them, to find out which
        session it is."""
        names = [name for one in unfinished for name in names_of_holders(self.control, worker, one)]
        count = sum(int(self.ask(one.relation, one.count(since))) for one in unfinished)
        return Failed(
            f"{counted(count, 'row')} of {', '.join(str(one.relation) for one in unfinished)}"
            f" {'was' if count == 1 else 'were'} locked by other sessions for {waited:.0f} s"
            + (f": {'; '.join(names)}" if names else ""),
            remedy=f"wait until those transactions end, or end them, then {AGAIN}",
            details=names,
        )

    def _page(self, relation_fill: RelationFill, since: str | None) -> int | None:
        """Fill the page of a row that no other session has locked; returns how many rows changed, None if there is no
        such row."""
        cursor = self.control.cursor
        self.control.begin()
        row = cursor.execute(relation_fill.free(since)).fetchone()
        if row is None:
            return None
        page = int(row[0].strip("()").split(",")[0])
        statement = sql.Composed([relation_fill.batch(self.step).sql])
        cursor.execute(statement, [f"({page},0)", f"({page + 1},0)", 1, 0])
        return cursor.rowcount


Connections = Callable[[str], AbstractContextManager[psycopg.Connection[Any]]]
LONGEST_PAUSE = 5.0
# The number of passes that may change rows without lowering the number of rows to be filled: then a trigger reverts
# them. A sweep along a long chain of rows that refer to each other can look like that for a while.
IDLE_PASSES = 3
IDLE_SWEEPS = 30
# While the application keeps moving rows between tenants, each pass finds some that moved during the pass before. They
# are followed for this number of passes; after that a fill is complete when no row is left that is unchanged since
# before the fill began. Rows written later have fired tenantry's triggers, and the next sweep corrects them.
FOLLOWING = 3
FIRST = ("fill", "everybody")
"""The purposes of fills that go through all rows for the first time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillOptions:
    """How a fill proceeds; times in seconds, sizes in pages.

    `batch_seconds` is the target time of a batch, without the network: a writer that needs its locks waits about as
    long. The size of a batch grows from `first_batch` until it takes that time: how slow a page is, is not known
    before. `budget` is how long a fill waits for rows or tables that other sessions have locked, before it fails.
    `unit` is the maximum that a worker takes at a time: between two stripes of a page it processes the rest of its
    unit, which takes long enough for other transactions, including those of the other workers, to end, so that the old
    row versions of the stripe can be pruned; a unit must be small enough to stay in memory. `lock_timeout` and the time
    of a batch are together less than deadlock_timeout (1 s unless configured): if a trigger fired by a batch waits for
    the application, and the application for the batch, the batch gives up.
    """

    batch_seconds: float = 0.05
    first_batch: int = 1
    unit: int = 8192
    stripes: int | None = None
    """None: a number that fits the width of the rows."""
    budget: float = 600.0
    lock_timeout: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class FillResult:
    """The result of this run; times in seconds."""

    rows: int
    seconds: float
    batches: int
    longest_batch: float
    retries: int


class FillSessions:
    """Sessions that stay open from one fill to the next, one for each purpose: opening them takes longer than filling a
    small table. A block that fails closes its session."""

    def __init__(self, connect: Callable[[str], psycopg.Connection[Any]]) -> None:
        self._connect = connect
        self._kept: dict[str, psycopg.Connection[Any]] = {}

    @contextmanager
    def __call__(self, purpose: str) -> Iterator[psycopg.Connection[Any]]:
        kept = self._kept.pop(purpose, None)
        connection = kept if kept is not None and _lives(kept) else self._connect(purpose)
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        self._kept[purpose] = connection

    def close(self) -> None:
        """Close all of them."""
        for connection in self._kept.values():
            connection.close()
        self._kept.clear()


def _lives(connection: psycopg.Connection[Any]) -> bool:
    """Whether its server process still exists, which an idle session notices only when it is used."""
    try:
        connection.execute("SELECT 1")
    except psycopg.Error:
        connection.close()
        return False
    return True


def backfill(
    fill: Backfill, *, connections: Connections, workers: int, observer: Observer, stop: threading.Event,
    throttle: Throttle, options: BackfillOptions,
) -> FillResult:  # fmt: skip
    """Run `fill` until no row is left to which it can give a tenant; it may be killed at any instant and run again.

    `connections` opens a session in autocommit mode for a purpose, for a block; `workers` + 2 of them are used. Setting
    `stop` ends it after the batch in progress. Raises Interrupted; and Failed, also if rows stay locked for longer than
    the budget or a trigger keeps them from changing.
    """
    begun = time.monotonic()
    with ExitStack() as stack:
        sessions = [stack.enter_context(connections(f"fill {n}")) for n in range(1, max(1, workers) + 1)]
        pool = WorkerPool(
            workers=[_worker(session, stop, options) for session in sessions],
            observer=observer,
            throttle=throttle,
            stop=stop,
        )
        control = _worker(stack.enter_context(connections("fill control")), stop, options)
        # For queries between transactions, such as a relation's size.
        control.cursor.execute(QUERIES["impatience"], [f"{options.lock_timeout * 1000:.0f}ms"])
        watch = stack.enter_context(connections("fill watch"))
        stack.enter_context(_watched(throttle, watch, [worker.pid for worker in pool.workers]))
        probe = Probe(control=control, step=fill.key, stop=stop, filled=Counter())
        _Run(fill=fill, pool=pool, probe=probe, options=options).go()
    everyone = [control, *pool.workers]
    return FillResult(
        rows=probe.filled.total(),
        seconds=time.monotonic() - begun,
        batches=sum(worker.batches for worker in everyone),
        longest_batch=max(worker.longest_batch for worker in everyone),
        retries=sum(worker.retries for worker in everyone),
    )


def _worker(connection: psycopg.Connection[Any], stop: threading.Event, options: BackfillOptions) -> Worker:
    return Worker(
        connection=connection,
        pace=BatchSizer(target=options.batch_seconds, pages=options.first_batch, most=options.unit),
        budget=options.budget,
        lock_timeout=options.lock_timeout,
        stop=stop,
    )


@contextmanager
def _watched(throttle: Throttle, connection: psycopg.Connection[Any], workers: list[int]) -> Iterator[None]:
    ended = threading.Event()
    thread = threading.Thread(target=throttle.watch, args=(connection, workers, ended), name="throttle")
    thread.start()
    try:
        throttle.seen.wait()
        yield
    finally:
        ended.set()
        thread.join()


@dataclass(slots=True, kw_only=True)
class _Run:
    fill: Backfill
    pool: WorkerPool
    probe: Probe
    options: BackfillOptions
    begun: str = ""
    """The first transaction id that was not yet assigned when the fill began."""

    def go(self) -> None:
        """A first pass over each relation that needs one, then more until nothing is left: relations that derive from
        each other fill each other, and rows that were locked become free."""
        self.begun = self.probe.ask(self.fill.table, QUERIES["next_transaction"])
        for relation_fill in self.fill.fills:
            self._first_pass(relation_fill)
        self._complete()
        self._finish()

    def _first_pass(self, relation_fill: RelationFill) -> None:
        relation = relation_fill.relation
        striped = self.fill.purpose in FIRST
        while True:
            if not self.probe.ask(relation, relation_fill.pending()):
                self.pool.tell(FillStarted(relation, 0))
                return
            passing = self._recorded(relation_fill) if striped else self._full_pass(relation_fill)
            pages = sum(unit.past - unit.next for unit in passing.units) if striped else 0
            self.pool.tell(FillStarted(relation, pages))
            try:
                self._pass(passing)
                return
            except RewrittenError:
                self.pool.pause(f"{relation} was rewritten meanwhile: its backfill starts again")

    def _complete(self) -> None:
        waited, pause, idle, remaining, passes = 0.0, 0.1, 0, -1, 0
        while unfinished := self._unfinished(passes):
            passes += 1
            if sum(self._pass(self._full_pass(one)) for one in unfinished) > 0:
                before, remaining = remaining, sum(self._remaining(one) for one in unfinished)
                idle = idle + 1 if remaining == before else 0
                if idle >= (IDLE_SWEEPS if any(one.overrides for one in unfinished) else IDLE_PASSES):
                    self.probe.refuse_taken_back(unfinished, self.begun)
                    idle = 0
                waited, pause = 0.0, 0.1
                continue
            if any(self.probe.advances(one, self.begun) for one in unfinished):
                continue
            if waited >= self.options.budget:
                raise self.probe.locked_rows_failure(unfinished, self.begun, waited, self.pool.workers[0])
            if waited == 0.0:
                self.pool.pause(
                    f"{unfinished[0].relation}: the remaining rows are locked by other sessions; waiting for them"
                )
            time_to_wait = min(pause, self.options.budget - waited)
            if self.pool.stop.wait(time_to_wait):
                raise interrupted()
            waited, pause = waited + time_to_wait, min(pause * random.uniform(1.5, 2.5), LONGEST_PAUSE)

    def _unfinished(self, passes: int) -> list[RelationFill]:
        """The relations that need another pass after this number."""
        lasting = self.begun if self.fill.purpose in FIRST else None
        # A sweep follows the fill: deriving every row again only to compare is left to the sweep.
        unfinished = [one for one in self.fill.fills if self.probe.ask(one.relation, one.pending(lasting))]
        if not unfinished or lasting or passes < FOLLOWING:
            return unfinished
        still = [one for one in unfinished if self.probe.ask(one.relation, one.pending(self.begun))]
        if not still:
            self._leave_to_sweep(unfinished)
        return still

    def _finish(self) -> None:
        cursor = self.probe.control.cursor
        for one in self.fill.fills:
            relation, rows = one.relation, self.probe.filled[one.relation]
            if rows > 0:
                # The plans of the steps that follow depend on the number of tenants. If another session vacuums or
                # analyzes the table now, that is sufficient.
                analyze = sql.SQL("ANALYZE (SKIP_LOCKED) {} ({})").format(
                    relation.identifier, sql.Identifier(one.column)
                )
                with suppress(psycopg.Error):
                    cursor.execute(analyze)
            self.pool.tell(FillFinished(relation, rows))
        # The step may be reverted and applied again, and then begins from the first page.
        self.probe.guarded(lambda: cursor.execute(QUERIES["forget_step"], [self.fill.key]), self.fill.table)

    def _recorded(self, relation_fill: RelationFill) -> BackfillPass:
        relation, cursor = relation_fill.relation, self.probe.control.cursor
        units = self.probe.guarded(
            lambda: open_units(cursor, self.fill.key, relation, workers=len(self.pool.workers), most=self.options.unit),
            relation,
        )
        first = units[0].next if units else 0
        stripes = self.options.stripes or self.probe.guarded(
            lambda: stripes_for(cursor, relation, relation_fill.column, first=first), relation
        )
        return self._new_pass(relation_fill, units=deque(units), stripes=Stripes(count=stripes), recorded=True)

    def _full_pass(self, relation_fill: RelationFill) -> BackfillPass:
        relation, cursor = relation_fill.relation, self.probe.control.cursor
        now = self.probe.guarded(lambda: extent(cursor, relation), relation)
        units = deque(divided(now.pages, self.options.unit))
        return self._new_pass(relation_fill, units=units, stripes=Stripes(count=1), recorded=False)

    def _new_pass(self, relation_fill: RelationFill, *, units: Any, stripes: Stripes, recorded: bool) -> BackfillPass:
        # So that a unit has several batches in each stripe, and snapshots of other sessions end in the meantime.
        most = self.options.unit // 4 if stripes.count > 1 else self.options.unit
        for worker in self.pool.workers:
            worker.pace.most = max(1, most)
            worker.pace.pages = min(worker.pace.pages, worker.pace.most)
        return BackfillPass(fill=relation_fill, step=self.fill.key, units=units, stripes=stripes, recorded=recorded)

    def _pass(self, passing: BackfillPass) -> int:
        try:
            return self.pool.go(passing)
        finally:
            self.probe.filled[passing.relation] += passing.rows

    def _leave_to_sweep(self, unfinished: list[RelationFill]) -> None:
        """Leave rows that keep moving to the next sweep. Raises Failed if a trigger reverts the changes."""
        self.probe.refuse_taken_back(unfinished, None)
        moving = ", ".join(str(one.relation) for one in unfinished)
        self.pool.pause(f"rows of {moving} keep moving between tenants: the next sweep corrects those")

    def _remaining(self, relation_fill: RelationFill) -> int:
        query = relation_fill.count(self.begun) if relation_fill.overrides else relation_fill.empty()
        return int(self.probe.ask(relation_fill.relation, query))
