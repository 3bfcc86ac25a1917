"""A fill among others: the application's writers, locks, triggers, VACUUM FULL, kills, Ctrl-C."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from backfill_business import (
    BY_STORE,
    EQUAL,
    EVERY_ROW_IS_RIGHT,
    SALES,
    STORES,
    Watcher,
    assign,
    build,
    fill_of,
    relation_fill,
    run,
)
from conftest import ROOT
from daily import daily
from servers import Database, Server, wait_until
from tenantry.errors import Failed, Interrupted
from tenantry.steps.derivation import ByChildren

pytestmark = pytest.mark.server

COUNTED_AND_FILLED = """
SELECT coalesce((SELECT sum(rows) FROM tenantry.progress), 0)::int,
       (SELECT count(*) FROM sales WHERE tenant_id IS NOT NULL)::int
"""
FILLERS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'fill 1'"
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"


@pytest.fixture
def business(database: Database) -> Database:
    """Sales of twenty stores, and the trigger that gives new ones their tenant."""
    build(database)
    assign(database)
    return database


def everything_is_right(database: Database) -> bool:
    return database.rows(EVERY_ROW_IS_RIGHT) == [(0,)]


# -- Hazard 4: what moves while a fill runs


def test_rewritten_table_starts_again(business: Database) -> None:
    """Hazard 4: VACUUM FULL between two checkpoints moves rows to pages that are already done."""
    business.execute("DELETE FROM sales WHERE id BETWEEN 1000 AND 3000")

    def rewrite(batch: int) -> None:
        if batch == 2:
            with business.connect(autocommit=True) as connection:
                connection.execute("VACUUM FULL sales")

    watcher = Watcher(between=rewrite)
    assert run(business, watcher=watcher, stripes=1).rows == 2_999
    assert watcher.reasons == ["public.sales was rewritten meanwhile: its backfill starts again"]
    assert everything_is_right(business)


def test_sweep_repairs_what_was_in_flight(business: Database) -> None:
    """Hazard 4: sales in flight while their store gets its tenant, or another, commit after the fill."""
    business.execute("UPDATE stores SET tenant_id = NULL WHERE id = 7")
    with business.connect() as early, business.connect() as moved:
        early.execute("INSERT INTO sales (id, store_id, note) VALUES (-1, 7, '')")
        moved.execute("INSERT INTO sales (id, store_id, note) VALUES (-2, 8, '')")
        business.execute("UPDATE stores SET tenant_id = 2 WHERE id = 7")
        business.execute("UPDATE stores SET tenant_id = 3 - tenant_id WHERE id = 8")
        run(business)
    assert business.rows("SELECT id, tenant_id FROM sales WHERE id < 0 ORDER BY id") == [(-2, 1), (-1, None)]
    sweep = fill_of(relation_fill(overrides=True), purpose="sweep")
    run(business, sweep)
    assert everything_is_right(business)
    assert run(business, sweep).rows == 0


def test_sweep_ends_while_rows_move_without_end(business: Database) -> None:
    """A store moves to another tenant behind the back of every batch; a row that nobody touches is repaired all the
    same, and so is one that was held the first time."""
    run(business)
    business.execute(
        "ALTER TABLE sales DISABLE TRIGGER USER; UPDATE sales SET tenant_id = 3 - tenant_id WHERE id <= 40"
    )
    holder = business.connect()
    holder.execute("SELECT FROM sales WHERE id = 17 FOR UPDATE")

    def between(batch: int) -> None:
        business.execute("UPDATE stores SET tenant_id = 3 - tenant_id WHERE id = 1")
        if batch == 8:
            holder.rollback()
        assert batch < 200, "it never ends"

    watcher = Watcher(between=between)
    run(business, fill_of(relation_fill(overrides=True), purpose="sweep"), watcher=watcher)
    holder.close()
    assert any("keep moving between tenants" in reason for reason in watcher.reasons)
    assert business.rows(EVERY_ROW_IS_RIGHT + " AND stores.id <> 1") == [(0,)]


def test_sweep_waits_for_a_row_that_is_held_while_others_move(business: Database) -> None:
    """However many passes go by in which other rows move, what is held is nobody's refusal."""
    run(business)
    business.execute("ALTER TABLE sales DISABLE TRIGGER USER; UPDATE sales SET tenant_id = 3 - tenant_id WHERE id = 17")
    holder = business.connect()
    holder.execute("SELECT FROM sales WHERE id = 17 FOR UPDATE")

    def between(batch: int) -> None:
        business.execute("UPDATE stores SET tenant_id = 3 - tenant_id WHERE id = 1")
        if batch == 60:
            holder.rollback()

    run(business, fill_of(relation_fill(overrides=True), purpose="sweep"), watcher=Watcher(between=between))
    holder.close()
    assert business.rows(EVERY_ROW_IS_RIGHT + " AND stores.id <> 1") == [(0,)]


def test_trigger_that_takes_a_repair_back_is_named(business: Database) -> None:
    """The rows change, and yet they do not."""
    run(business)
    business.execute("""
        ALTER TABLE sales DISABLE TRIGGER USER; UPDATE sales SET tenant_id = 3 - tenant_id WHERE id <= 10;
        CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS
          'BEGIN NEW.tenant_id := OLD.tenant_id; RETURN NEW; END';
        CREATE TRIGGER "Keep it" BEFORE UPDATE ON sales FOR EACH ROW EXECUTE FUNCTION keep()
    """)
    with pytest.raises(Failed, match=r'^10 rows of public.sales still have no tenant: .* probably trigger "Keep it"$'):
        run(business, fill_of(relation_fill(overrides=True), purpose="sweep"))


def test_checkpoint_and_batch_are_one(business: Database) -> None:
    """What the checkpoints count is what is filled, at any instant at which somebody looks."""
    ended, looked = threading.Event(), threading.Semaphore(0)

    def look() -> list[tuple[int, int]]:
        with business.connect(autocommit=True) as connection:
            seen: list[tuple[int, int]] = []
            while not ended.is_set():
                seen += connection.execute(COUNTED_AND_FILLED).fetchall()
                looked.release()
            return seen[:-1]

    def between(batch: int) -> None:
        if batch == 200:
            ended.set()
        elif batch < 200:
            assert looked.acquire(timeout=60), "between two batches somebody looks, however quick they are"

    with ThreadPoolExecutor() as pool:
        looking = pool.submit(look)
        try:
            run(business, unit=16, watcher=Watcher(between=between))
        finally:
            ended.set()
    assert len(set(looking.result())) > 20
    assert [pair for pair in looking.result() if pair[0] != pair[1]] == []


# -- Hazard 5: the user's triggers and rules


def test_other_columns_stay(business: Database) -> None:
    """Hazard 5: the user's trigger that sets updated_at leaves no trace."""
    business.execute("""
        CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
          'BEGIN NEW.updated_at := now(); NEW.note := ''touched''; RETURN NEW; END';
        CREATE TRIGGER touch BEFORE UPDATE ON sales FOR EACH ROW EXECUTE FUNCTION touch()
    """)
    run(business)
    assert everything_is_right(business)
    touched = "SELECT count(*) FROM sales WHERE note = 'touched' OR updated_at <> '2020-01-01'"
    assert business.rows(touched) == [(0,)]


@pytest.mark.parametrize("answer", ["NULL", "OLD"])
def test_trigger_that_keeps_rows_is_named(business: Database, answer: str) -> None:
    """Hazard 5: rows that a trigger silently keeps as they are end the fill, which names it."""
    business.execute(f"""
        CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS
          'BEGIN IF NEW.id > 4990 THEN RETURN {answer}; END IF; RETURN NEW; END';
        CREATE TRIGGER "Keep it" BEFORE UPDATE ON sales FOR EACH ROW EXECUTE FUNCTION keep()
    """)
    with pytest.raises(Failed, match=r'^10 rows of public.sales still have no tenant: .* probably trigger "Keep it"$'):
        run(business)


def test_rule_that_keeps_rows_is_named(business: Database) -> None:
    """Hazard 5: a rule DO INSTEAD NOTHING updates nothing and says so to nobody."""
    business.execute("CREATE RULE frozen AS ON UPDATE TO sales WHERE OLD.id <= 3 DO INSTEAD NOTHING")
    with pytest.raises(Failed, match=r"rule frozen|cannot be filled"):
        run(business)


def test_trigger_that_raises_is_told(business: Database) -> None:
    """Hazard 5: an append-only guard's own words reach the user."""
    business.execute("""
        CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS
          'BEGIN RAISE EXCEPTION ''sales are append-only''; END';
        CREATE TRIGGER guard BEFORE UPDATE ON sales FOR EACH ROW EXECUTE FUNCTION guard()
    """)
    with pytest.raises(Failed, match=r"public\.sales cannot be backfilled: sales are append-only") as caught:
        run(business)
    assert "guard()" in caught.value.details[0]


# -- Hazard 6: locks


def test_held_rows_are_come_back_for(business: Database) -> None:
    """Rows that somebody holds are passed over, and filled once they are free."""
    holder = business.connect()
    holder.execute("UPDATE sales SET note = 'mine' WHERE id % 1000 = 0")
    watcher = Watcher()
    with ThreadPoolExecutor() as pool:
        filling = pool.submit(run, business, watcher=watcher)
        wait_until(lambda: any("locked by other sessions" in reason for reason in watcher.reasons))
        left = business.rows("SELECT count(*) FROM sales WHERE tenant_id IS NULL")
        holder.rollback()
        filling.result()
    holder.close()
    assert left == [(5,)]
    assert everything_is_right(business)


def test_who_holds_rows_for_too_long_is_named(business: Database) -> None:
    """After the budget the fill fails, and names the session."""
    with business.connect(application_name="slow report") as holder:
        holder.execute("SELECT FROM sales WHERE id IN (17, 18) FOR UPDATE")
        with pytest.raises(Failed, match=r"^2 rows of public.sales were locked by other sessions for 1 s") as caught:
            run(business, budget=1.0)
        assert f"pid {holder.info.backend_pid} " in caught.value.details[0]
        assert "slow report" in caught.value.details[0]
    assert run(business).rows == 2


def test_writer_is_never_the_deadlocks_victim(business: Database) -> None:
    """Hazard 6: a writer that holds a late row and wants an early one never waits for who waits for it."""
    # The writer looks for deadlocks sooner than we do, so that it would be the one to fail.
    writer = business.connect(options="-c deadlock_timeout=50ms")
    writer.execute("UPDATE sales SET note = 'late' WHERE id = 4000")
    watcher = Watcher()
    with ThreadPoolExecutor() as pool:
        filling = pool.submit(run, business, watcher=watcher, stripes=1, first_batch=1000, lock_timeout=20.0)
        wait_until(lambda: watcher.batches > 0 or business.rows(WAITING) != [(0,)])
        assert writer.execute("UPDATE sales SET note = 'early' WHERE id = 5").rowcount == 1
        writer.commit()
        assert filling.result().retries == 0
    writer.close()
    assert everything_is_right(business)


def test_writers_in_every_order(business: Database) -> None:
    """Hazard 6: writers that take rows in any order: none fails because of us."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def write(first: int) -> None:
        with business.connect() as connection:
            turn = 0
            while not stop.is_set():
                turn += 1
                # Writers have rows of their own, so that they cannot deadlock with each other.
                pair = [first + 4 * (turn * 37 % 1200), first + 4 * (turn * 101 % 1200)]
                try:
                    for number in pair:
                        connection.execute("UPDATE sales SET note = note || '.' WHERE id = %s", [number])
                    connection.commit()
                except psycopg.Error as error:
                    failures.append(error)
                    return

    with ThreadPoolExecutor() as pool:
        for number in range(1, 4):
            pool.submit(write, number)
        try:
            result = run(business, workers=2, batch_seconds=0.05)
        finally:
            stop.set()
    assert failures == []
    assert result.retries == 0
    assert everything_is_right(business)


def test_locked_table_is_waited_for(business: Database) -> None:
    """A short exclusive lock costs retries, a long one fails and names who has it."""
    holder = business.connect(application_name="reindexer")
    holder.execute("SELECT 1")

    def lock(batch: int) -> None:
        if batch == 2:
            holder.execute("LOCK TABLE sales")

    with ThreadPoolExecutor() as pool:
        watcher = Watcher(between=lock)
        filling = pool.submit(run, business, watcher=watcher, lock_timeout=0.1)
        # Two waits that are not one: the fill has given up in between.
        for _ in range(2):
            wait_until(lambda: business.rows(WAITING) != [(0,)])
            wait_until(lambda: business.rows(WAITING) == [(0,)])
        holder.commit()
        assert filling.result().retries > 0
    business.execute("ALTER TABLE sales DISABLE TRIGGER USER; UPDATE sales SET tenant_id = NULL")
    holder.execute("LOCK TABLE sales IN SHARE MODE")
    with pytest.raises(Failed, match=r"public.sales was locked for longer than 0.5 s"):
        run(business, lock_timeout=0.1, budget=0.5)
    holder.execute("LOCK TABLE sales")
    with pytest.raises(Failed, match=r"reindexer"):
        run(business, lock_timeout=0.1, budget=0.5)
    holder.close()


def test_child_and_parent_written_at_once(database: Database) -> None:
    """Stores that learn from their sales, while sales are written: every one ends with a tenant."""
    build(database, 2_000)
    database.execute("UPDATE sales SET tenant_id = 1 + store_id % 2; UPDATE stores SET tenant_id = NULL")
    children = ByChildren(table=SALES, columns=("store_id",), own_columns=("id",), operators=EQUAL, column="tenant_id")
    assign(database, table=STORES, sources=(children,), watched=())
    assign(database)
    with database.connect() as writer:
        writer.execute("INSERT INTO sales (id, store_id, note) VALUES (-1, 3, '')")
        run(database, fill_of(relation_fill(STORES, (children,)), relation_fill(SALES, (BY_STORE,))))
    run(database, fill_of(relation_fill(STORES, (children,)), relation_fill(overrides=True), purpose="sweep"))
    assert everything_is_right(database)
    assert database.rows("SELECT count(*) FROM sales WHERE tenant_id IS NULL") == [(0,)]


# -- Interruptions


def test_stop_ends_after_the_batch_in_hand(business: Database) -> None:
    """Ctrl-C: what is done stays done, and the next run goes on from there."""
    stop = threading.Event()

    def interrupt(batch: int) -> None:
        if batch == 3:
            stop.set()

    watcher = Watcher(between=interrupt)
    with pytest.raises(Interrupted):
        run(business, watcher=watcher, stop=stop, stripes=1)
    assert watcher.batches == 3
    again = Watcher()
    assert run(business, watcher=again, stripes=1).rows == 5_000 - watcher.rows
    assert again.begun[SALES] == watcher.begun[SALES] - watcher.pages > 0
    assert everything_is_right(business)


def test_stop_while_rows_are_held(business: Database) -> None:
    """Ctrl-C ends a wait for others at once."""
    stop = threading.Event()
    with business.connect() as holder, ThreadPoolExecutor() as pool:
        holder.execute("SELECT FROM sales WHERE id = 5 FOR UPDATE")
        watcher = Watcher()
        filling = pool.submit(run, business, watcher=watcher, stop=stop, budget=300.0)
        wait_until(lambda: any("locked by other sessions" in reason for reason in watcher.reasons))
        stop.set()
        with pytest.raises(Interrupted):
            filling.result(timeout=60)


def test_lost_connection(business: Database) -> None:
    """Somebody ends our session: the message says what to do, and doing it finishes the work."""

    def end(batch: int) -> None:
        if batch == 3:
            business.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'fill 1'")

    with pytest.raises(Failed, match=r"connection was lost during the backfill of public.sales") as caught:
        run(business, watcher=Watcher(between=end))
    assert caught.value.remedy == "run the same command again"
    run(business)
    assert everything_is_right(business)


KILLED = """
import os, signal, sys
from backfill_business import Watcher, run
def die(batch):
    if batch == {batch}:
        os.kill(os.getpid(), signal.SIGKILL)
run(sys.argv[1], watcher=Watcher(between=die), unit=16)
"""


def filling_process(database: Database, *, dies_after: int) -> subprocess.Popen[bytes]:
    paths = os.pathsep.join(map(str, (ROOT / "tests", ROOT / "src")))
    return subprocess.Popen(
        [sys.executable, "-c", KILLED.format(batch=dies_after), database.dsn],
        env=os.environ | {"PYTHONPATH": paths},
    )


@pytest.mark.parametrize("batch", daily([1, 40, 4, 100], 2))
def test_killed_after_a_batch(business: Database, batch: int) -> None:
    """kill -9 after a batch, in a unit's first stripe or its last: the next run goes on and finishes."""
    assert filling_process(business, dies_after=batch).wait(60) == -signal.SIGKILL
    filled = business.rows("SELECT count(*) FROM sales WHERE tenant_id IS NOT NULL")[0][0]
    assert 0 < filled < 5_000
    assert run(business, unit=16).rows == 5_000 - filled
    assert everything_is_right(business)


@pytest.mark.parametrize("seed", daily(range(4)))
def test_killed_at_any_instant(business: Database, seed: int) -> None:
    """kill -9 again and again, in the midst of batches: what is filled and what is counted stay the same."""
    chance = random.Random(seed)
    for _ in range(3):
        process = filling_process(business, dies_after=-1)
        wait_until(
            lambda: business.rows(FILLERS) != [(0,)] or process.poll() is not None  # noqa: B023
        )
        time.sleep(chance.uniform(0, 0.3))
        process.kill()
        process.wait()
        wait_until(lambda: business.rows(FILLERS) == [(0,)])
    ((counted, filled),) = business.rows(COUNTED_AND_FILLED)
    assert counted in (filled, 0)
    assert run(business, unit=16).rows == 5_000 - filled
    assert everything_is_right(business)


def test_killed_server(crashable: Server) -> None:
    """The server dies in the middle: batches and checkpoints are lost together, and the next run finishes."""
    database = crashable.create("shop")
    build(database, 20_000)
    assign(database)

    def kill(batch: int) -> None:
        if batch == 20:
            crashable.kill()

    with pytest.raises(Failed, match=r"connection was lost"):
        run(database, watcher=Watcher(between=kill), unit=64)
    crashable.start()
    counted = database.rows("SELECT coalesce(sum(rows), 0)::int FROM tenantry.progress")
    assert database.rows("SELECT count(*)::int FROM sales WHERE tenant_id IS NOT NULL") == counted
    run(database)
    assert everything_is_right(database)
