"""Hazard 14: lock_timeout counts for each lock; CONCURRENTLY and VALIDATE wait longer, and stop no writer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pytest

from latency import unblocked_session
from servers import wait_until
from stronger_locks import unnamed_locks
from tenantry.execution.events import Event, StepEvent
from tenantry.execution.message import MessageLimits, send, taking
from tenantry.execution.transaction import DEADLOCK_SAFE_WAIT, INITIAL_WAIT, MIN_WAIT
from tenantry.model.name import Name
from tenantry.model.plan import Lock, LockMode, Phase

pytestmark = pytest.mark.server

Business = Callable[..., Any]

TIMEOUT = 1.0
SLACK = 0.9  # for a busy machine, besides what it adds to a statement that nobody can stop
PARTS = 4
HELD = TIMEOUT * 0.6  # of which four are far above a timeout with its slack

SHOP = """
CREATE TABLE stores (id integer PRIMARY KEY, owner integer NOT NULL REFERENCES tenants);
CREATE TABLE sales (id integer, store integer NOT NULL REFERENCES stores, PRIMARY KEY (id)) PARTITION BY RANGE (id);
INSERT INTO stores VALUES (1, 1), (2, 2);
""" + "".join(
    f"CREATE TABLE sales_{part} PARTITION OF sales FOR VALUES FROM ({part * 10}) TO ({part * 10 + 10});"
    f"INSERT INTO sales VALUES ({part * 10}, 1);"
    for part in range(PARTS)
)
TABLES = """
[[table]]
name = "stores"
paths = [["owner"]]
[[table]]
name = "sales"
paths = [["store"]]
"""
PLAIN = (
    SHOP.partition("CREATE TABLE sales")[0]
    + """
CREATE TABLE sales (id integer PRIMARY KEY, store integer NOT NULL REFERENCES stores);
INSERT INTO stores VALUES (1, 1), (2, 2);
INSERT INTO sales VALUES (1, 1), (2, 2);
"""
)


class Longest:
    """An application that runs a statement again and again, and the longest that it took, in seconds."""

    def __init__(self, shop: Any, statement: str) -> None:
        self.shop = shop
        self.statement = statement
        self.seconds = 0.0
        self.over = threading.Event()

    def __call__(self) -> None:
        with closing(self.shop.connect(autocommit=True)) as session:
            while not self.over.is_set():
                started = time.monotonic()
                session.execute(self.statement)
                self.seconds = max(self.seconds, time.monotonic() - started)
                time.sleep(0.005)


@contextmanager
def applications(shop: Any, pool: ThreadPoolExecutor, *statements: str) -> Iterator[list[Longest]]:
    running = [Longest(shop, statement) for statement in statements]
    futures = [pool.submit(one) for one in running]
    wait_until(lambda: all(one.seconds for one in running))
    try:
        yield running
    finally:
        for one in running:
            one.over.set()
        for future in futures:
            future.result()


def hold_one_after_the_other(shop: Any, ready: threading.Barrier, over: threading.Event) -> None:
    """Each partition is read by a session of its own, each for a while after somebody has begun to wait for it."""
    sessions = [shop.connect() for _ in range(PARTS)]
    for part, session in enumerate(sessions):
        session.execute(f"SELECT FROM sales_{part}")
    ready.wait()
    for part, session in enumerate(sessions):
        wait_until(lambda part=part: over.is_set() or shop.rows(WANTED.format(part)) != [])
        time.sleep(HELD)
        session.close()


WANTED = "SELECT FROM pg_locks WHERE NOT granted AND relation = 'sales_{}'::regclass AND mode = 'AccessExclusiveLock'"
READ, WRITE = "SELECT FROM sales WHERE id = 1000", "UPDATE sales SET store = store WHERE id = 1000"


def test_a_timeout_for_each_lock_shows_the_hazard(business: Business, pool: ThreadPoolExecutor) -> None:
    """Each of the four waits is within the timeout; together they keep a reader waiting much longer."""
    shop, ready = business(SHOP, TABLES), threading.Barrier(2)
    holding = pool.submit(hold_one_after_the_other, shop, ready, threading.Event())
    with applications(shop, pool, READ) as (reader,), closing(shop.connect()) as session:
        ready.wait()
        session.execute(
            f"SET LOCAL lock_timeout = '{int(TIMEOUT * 1000)}ms'; ALTER TABLE sales ADD COLUMN tenant_id integer"
        )
        session.commit()
    holding.result()
    assert reader.seconds > TIMEOUT + SLACK


def test_all_locks_within_one_timeout(business: Business, pool: ThreadPoolExecutor) -> None:
    """Neither readers nor writers wait longer than the timeout in sum, and the run comes to its end."""
    shop, ready, over = business(SHOP, TABLES), threading.Barrier(2), threading.Event()
    holding = pool.submit(hold_one_after_the_other, shop, ready, over)
    with applications(shop, pool, READ, WRITE) as running, unblocked_session(shop) as noise:
        ready.wait()
        result = shop.migrate(Phase.EXPAND, lock_timeout=TIMEOUT)
        over.set()
    holding.result()
    assert result.retries > 0
    assert max(one.seconds for one in running) < TIMEOUT + SLACK + noise.seconds


def test_a_writer_that_has_waited_as_long_as_we_is_not_in_a_deadlock(
    business: Business, pool: ThreadPoolExecutor
) -> None:
    """A writer looks for a deadlock once, deadlock_timeout after it began to wait: behind our first lock, that is as
    long as we have waited for it. With a second lock in hand by then, it would be the writer that dies."""
    shop = business("CREATE TABLE first (n int); CREATE TABLE second (n int);", TABLES)
    locks = [Lock(Name("public", table), LockMode.ACCESS_EXCLUSIVE) for table in ("first", "second")]
    # The look is that of the try in which a further lock is waited for the longest.
    limits = MessageLimits(
        timeout=30.0, look=51 * INITIAL_WAIT, unnoticed=DEADLOCK_SAFE_WAIT, glance=MIN_WAIT, least=0.1
    )
    looks = {"options": "-c deadlock_timeout=2500ms"}  # long before that, and long after the first lock is free
    with closing(shop.connect(autocommit=True)) as ours, shop.connect() as holder, shop.connect(**looks) as writer:
        holder.execute("INSERT INTO first VALUES (1)")
        writer.execute("INSERT INTO second VALUES (1)")

        def take() -> None:
            with ours.transaction():
                send(ours, taking(locks, limits, ours))

        trying = pool.submit(take)
        wait_until(lambda: shop.rows(f"SELECT cardinality(pg_blocking_pids({ours.info.backend_pid}))") == [(1,)])
        writing = pool.submit(writer.execute, "INSERT INTO first VALUES (2)")
        wait_until(lambda: shop.rows(f"SELECT cardinality(pg_blocking_pids({writer.info.backend_pid}))") == [(1,)])
        time.sleep(0.8)
        holder.commit()
        writing.result()
        assert isinstance(trying.exception(), psycopg.errors.LockNotAvailable | psycopg.errors.QueryCanceled)


def test_attaching_an_index_holds_nothing_that_a_writer_of_the_partition_wants(
    business: Business, pool: ThreadPoolExecutor
) -> None:
    """ATTACH PARTITION wants the partition's index alone, which LOCK TABLE cannot take ahead."""
    shop = business(SHOP, TABLES)
    shop.migrate(Phase.BACKFILL)
    begun = threading.Event()
    waiting = (
        "SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation"
        " WHERE NOT l.granted AND l.mode = 'AccessExclusiveLock' AND c.relkind = 'i'"
    )
    with shop.connect() as writer:

        class Watcher:
            def __call__(self, event: Event) -> None:
                match event:
                    case StepEvent():
                        if event.step.kind == "index_attached" and not begun.is_set():
                            writer.execute("UPDATE sales SET store = store")
                            begun.set()

        migrating = pool.submit(shop.migrate, Phase.ENFORCE, Watcher())
        begun.wait()
        wait_until(lambda: shop.rows(waiting) == [(1,)])
        writer.execute("SET LOCAL lock_timeout = '1s'")
        for part in range(PARTS):
            writer.execute("INSERT INTO sales VALUES (%s, 1)", [part * 10 + 2])
        writer.commit()
        migrating.result()
    assert shop.rows("SELECT count(*) FROM pg_inherits h JOIN pg_index i ON i.indexrelid = h.inhparent"
                     " WHERE i.indisvalid AND i.indrelid = 'sales'::regclass AND i.indexrelid::regclass::text ~ 'tenantry'") == [(2 * PARTS,)]  # fmt: skip


def test_no_lock_but_those_taken_ahead(business: Business, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stronger lock than was said would be asked for behind others, which a writer may want meanwhile: what a step says
    is what it takes, there and back."""
    shop, more = business(SHOP, TABLES), unnamed_locks(monkeypatch)
    shop.migrate(Phase.CONTRACT)
    shop.rollback()
    assert more == set()


def test_set_local_outside_a_transaction_shows_the_hazard(business: Business) -> None:
    """It is said in a warning, which nobody reads, and does nothing."""
    shop = business(PLAIN, TABLES)
    with closing(shop.connect(autocommit=True)) as session:
        session.execute("SET LOCAL lock_timeout = '1s'")
        assert session.execute("SHOW lock_timeout").fetchone() == ("0",)


# --- CONCURRENTLY

INVALID = "SELECT count(*) FROM pg_index WHERE NOT indisvalid"
BUILDING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    " AND query LIKE 'CREATE%%INDEX CONCURRENTLY%%'"
)


@contextmanager
def older_snapshot(shop: Any) -> Iterator[None]:
    """Somebody else's transaction that still sees the database as it was."""
    with closing(shop.connect()) as session:
        session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT 1")
        yield


def test_a_timeout_for_concurrently_shows_the_hazard(business: Business) -> None:
    """It dies on an older snapshot of a session that has nothing to do with the table, and leaves an invalid index."""
    shop = business(PLAIN, TABLES)
    with older_snapshot(shop), closing(shop.connect(autocommit=True)) as session:
        session.execute(f"SET lock_timeout = '{int(TIMEOUT * 1000)}ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            session.execute("CREATE INDEX CONCURRENTLY ON sales (store)")
    assert shop.rows(INVALID) == [(1,)]


def test_concurrently_waits_and_stops_nobody(business: Business, pool: ThreadPoolExecutor) -> None:
    """It outwaits the older snapshot, far beyond the timeout; writers go on meanwhile."""
    shop = business(PLAIN, TABLES)
    shop.migrate(Phase.BACKFILL)
    with applications(
        shop, pool, "UPDATE sales SET store = store", "INSERT INTO stores VALUES (7, 1) ON CONFLICT DO NOTHING"
    ) as writers:
        with older_snapshot(shop), unblocked_session(shop) as noise:
            running = pool.submit(shop.migrate, Phase.ENFORCE, lock_timeout=TIMEOUT)
            wait_until(lambda: shop.rows(BUILDING) != [(0,)])
            for writer in writers:
                writer.seconds = 0.0
            time.sleep(2 * TIMEOUT)
            assert shop.rows(BUILDING) == [(1,)]
            assert not running.done()
            waited = max(writer.seconds for writer in writers)
        running.result(timeout=60)
    assert waited < SLACK + noise.seconds
    assert shop.rows(INVALID) == [(0,)]


# --- VALIDATE


class Vacuuming:
    """Holds the lock that VACUUM takes from the moment at which a step begins, until it was waited for `seconds`."""

    def __init__(self, shop: Any, pool: ThreadPoolExecutor, kind: str, seconds: float) -> None:
        self.shop = shop
        self.pool = pool
        self.kind = kind
        self.seconds = seconds
        self.tries: list[tuple[int, float]] = []

    def __call__(self, event: Event) -> None:
        match event:
            case StepEvent():
                if getattr(event.step, "kind", "") != self.kind or event.step.table.name != "sales":
                    return
                if event.action == "started":
                    session = self.shop.connect()
                    session.execute("LOCK TABLE sales IN SHARE UPDATE EXCLUSIVE MODE")
                    self.pool.submit(self._let_go, session)
                elif event.action == "applied":
                    self.tries.append((event.tries, event.milliseconds / 1000))

    def _let_go(self, session: psycopg.Connection[Any]) -> None:
        waits = "SELECT FROM pg_locks WHERE NOT granted AND mode = 'ShareUpdateExclusiveLock'"
        wait_until(lambda: self.shop.rows(waits) != [])
        time.sleep(self.seconds)
        session.close()


@pytest.mark.parametrize("kind", ["foreign_key_valid", "not_null_check_valid"])
def test_validate_waits_for_a_vacuum(business: Business, pool: ThreadPoolExecutor, kind: str) -> None:
    """It waits longer than others, at its first try, as it stops no writer; above deadlock_timeout."""
    shop = business(PLAIN, TABLES)
    watcher = Vacuuming(shop, pool, kind, 1.5)
    with applications(shop, pool, "INSERT INTO stores VALUES (7, 1) ON CONFLICT DO NOTHING"):
        shop.migrate(Phase.ENFORCE, watcher, lock_timeout=TIMEOUT)
    assert watcher.tries
    assert all(tries == 1 for tries, _ in watcher.tries)
    assert max(seconds for _, seconds in watcher.tries) > 1.2


def test_a_short_timeout_for_validate_shows_the_hazard(business: Business) -> None:
    """It gives up beside a vacuum, though it would have stopped nobody."""
    shop = business(PLAIN, TABLES)
    shop.execute("ALTER TABLE sales ADD CHECK (id > 0) NOT VALID")
    with closing(shop.connect()) as vacuum, closing(shop.connect()) as session:
        vacuum.execute("LOCK TABLE sales IN SHARE UPDATE EXCLUSIVE MODE")
        session.execute(f"SET LOCAL lock_timeout = '{int(TIMEOUT * 1000)}ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            session.execute("ALTER TABLE sales VALIDATE CONSTRAINT sales_id_check")
