"""Tables are distributed while their writers go on (--concurrently)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from acceptance import depot
from acceptance.round_trip import checksums
from citus.cluster import Place
from citus.conftest import Business
from citus.cycle import (
    DISTRIBUTE,
    KILLED,
    PREPARE,
    Make,
    Writing,
    assert_apart,
    assert_back,
    assert_sound,
    distributed,
    shards,
    tables_of,
)
from tenantry import RollbackOptions, migrate, rollback, status
from tenantry.errors import Failed, Refused
from tenantry.execution.concurrent_move import move_concurrently
from tenantry.execution.events import Event, Notice, ignore
from tenantry.execution.transaction import LockPolicy, run_autocommit
from tenantry.model.backup import BackupKind
from tenantry.model.name import Name
from tenantry.model.plan import ExecutionMode, Lock, LockMode, Statement
from tenantry.postgres.activity import rows_copied
from tenantry.postgres.connect import connect
from tenantry.steps.citus_concurrent_move import ANCHOR, ConcurrentMove

CONCURRENTLY = replace(DISTRIBUTE, concurrently=True)


def leftovers(there: Business) -> list[str]:
    """What Citus leaves where it failed, and tenantry's own table for the snapshot."""
    found = []
    for place in there.cluster.places:
        with psycopg.connect(there.cluster.dsn(there.database.name, place), autocommit=True) as connection:
            for query in (
                "SELECT 'slot ' || slot_name FROM pg_replication_slots WHERE database = current_database()",
                "SELECT 'publication ' || pubname FROM pg_publication WHERE pubname LIKE 'citus%'",
                "SELECT 'subscription ' || subname FROM pg_subscription s"
                " WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())",
                "SELECT 'cleanup of ' || object_name FROM pg_dist_cleanup",
                sql.SQL("SELECT 'the table of the snapshot' WHERE {} IS NOT NULL").format(ANCHOR.oid),
            ):
                found += [f"{place}: {row[0]}" for row in connection.execute(query)]
    return found


@pytest.mark.parametrize("name", ["estoque", "depot", "enterprise"])
def test_there_and_back(business: Make, name: str) -> None:
    there = business(name)
    dump, rows = there.database.dump(), checksums(there.database)
    migrate(there.target, there.spec, CONCURRENTLY)
    assert migrate(there.target, there.spec, CONCURRENTLY).applied == 0, "a second run finds everything in force"
    assert migrate(there.target, there.spec, DISTRIBUTE).applied == 0, "and so does one without the option"
    assert set(tables_of(there)) <= distributed(there.database).keys()
    assert leftovers(there) == []
    assert_sound(there)
    assert_apart(there)
    assert_back(there, dump, rows)


def test_writers_go_on(business: Make) -> None:
    """No row of three of them is lost; they wait for the switch, and not for the copy."""
    there = business("depot")
    migrate(there.target, there.spec, PREPARE)
    there.database.execute(
        f"ALTER ROLE {there.login} IN DATABASE {there.database.name} SET citus.propagate_set_commands = 'local';"
        "INSERT INTO people (id, firm_id, name) SELECT 500000 + i, CASE i % 2 WHEN 0 THEN 'the north' ELSE 'the south'"
        " END, 'x' FROM generate_series(1, 50000) AS i"
    )
    before = there.database.rows("SELECT count(*) FROM people")[0][0]
    writing, told = Writing(there.cluster, there), list[str]()

    def observer(event: Event) -> None:
        if isinstance(event, Notice):
            told.append(event.message)

    with ThreadPoolExecutor(3) as threads:
        running = [threads.submit(writing.write, number) for number in (1, 2, 3)]
        began = time.monotonic()
        try:
            migrate(there.target, there.spec, CONCURRENTLY, observer)
            seconds = time.monotonic() - began
            time.sleep(0.5)
        finally:
            writing.stop.set()
        for one in running:
            one.result()
    print(
        f"distributed in {seconds:.1f} s; {writing.written} transactions of three writers, the longest took"
        f" {writing.longest:.2f} s; errors: {dict(writing.errors)}"
    )
    assert "public.people is distributed; its rows are compared while writers go on" in told
    assert there.database.rows("SELECT count(*) FROM people")[0][0] == before + writing.written
    assert sum(writing.errors.values()) <= 12, writing.errors
    assert writing.longest < 10
    assert leftovers(there) == []
    assert_sound(there)
    back = rollback(there.target, RollbackOptions(backup=BackupKind.NONE))
    assert [one.message for one in back.findings if one.severity.serious] == []


def test_a_row_that_changes_its_tenant_meanwhile_is_found(business: Make) -> None:
    """Citus leaves the old row where it was: the comparison says so, keeps the rows from before, and goes on when
    somebody has looked at them."""
    there = business("depot")
    migrate(there.target, there.spec, PREPARE)
    there.database.execute(
        "INSERT INTO people (id, firm_id, name) SELECT 500000 + i, 'the north', 'x' FROM generate_series(1, 60000) AS i"
    )
    stop = False

    def move() -> int:
        moved = 0
        with there.database.connect(autocommit=True) as connection:
            while not stop:
                # In the one shard before the change, in the distributed table after it, which refuses it.
                try:
                    connection.execute("UPDATE people SET firm_id = 'the south' WHERE id = %s", [500001 + moved])
                    moved += 1
                except psycopg.Error:
                    time.sleep(0.01)
        return moved

    with ThreadPoolExecutor(1) as threads:
        mover = threads.submit(move)
        try:
            with pytest.raises(Failed, match=r"The rows of public\.people differ") as failure:
                migrate(there.target, there.spec, CONCURRENTLY)
        finally:
            stop = True
        assert mover.result() > 0
    with pytest.raises(Failed, match="differed once it was distributed"):
        migrate(there.target, there.spec, CONCURRENTLY)
    kept = str(failure.value.remedy).partition(" are in ")[2].partition(":")[0]
    before = f"SELECT id, firm_id FROM {kept} ORDER BY 1, 2"
    whole = there.database.rows(before)
    assert len(whole) == len({row[0] for row in whole}), "each row once"
    there.database.execute(f"DROP TABLE {kept}")
    with there.database.connect(autocommit=True) as connection:
        connection.execute("DELETE FROM people WHERE id > 500000")
    migrate(there.target, there.spec, CONCURRENTLY)
    assert leftovers(there) == []


def test_tables_that_cannot_are_named_and_wait_with_force(business: Make) -> None:
    """Citus's decoder crashes the server where a column was dropped, so such a table is distributed as without the
    option."""
    there = business("depot")
    there.database.execute("ALTER TABLE notes ADD COLUMN gone int; ALTER TABLE notes DROP COLUMN gone")
    migrate(there.target, there.spec, PREPARE)
    with pytest.raises(Refused) as refusal:
        migrate(there.target, there.spec, replace(CONCURRENTLY, force=False))
    assert "1 column of public.notes was dropped" in " ".join([str(refusal.value), *refusal.value.details])
    assert distributed(there.database) == {}
    migrate(there.target, there.spec, CONCURRENTLY)
    assert_sound(there)


def test_what_would_be_lost_is_refused_with_force_as_well(business: Make) -> None:
    there = business("depot")
    there.database.execute("CREATE FUNCTION all_notes() RETURNS SETOF notes LANGUAGE sql AS 'SELECT * FROM notes'")
    migrate(there.target, there.spec, PREPARE)
    with pytest.raises(Refused, match=r"function public\.all_notes"):
        migrate(there.target, there.spec, CONCURRENTLY)
    assert distributed(there.database) == {}


def test_killed_in_the_middle_of_a_table(business: Make, tmp_path: Path) -> None:
    """Wherever it dies, the same command goes on; so does the one without the option, and a rollback."""
    there = business("depot")
    dump, rows = there.database.dump(), checksums(there.database)
    role = there.spec.application.role
    (tmp_path / "tenantry.toml").write_text(depot.SPEC.format(role=role, legacy=f"{role}_old"))
    (tmp_path / "killed.py").write_text(KILLED.replace("force=True", "force=True, concurrently=True"))
    migrate(there.target, there.spec, PREPARE)
    for wait in (2.0, 3.0, 3.7, 4.5, 5.3, 6.1):
        run = subprocess.Popen(
            [sys.executable, tmp_path / "killed.py", "migrate", there.database.dsn, tmp_path / "tenantry.toml", "0"]
        )
        time.sleep(wait)
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        wait_for_the_server(there)
        assert status(there.target, there.spec) is not None
        print(sorted(distributed(there.database).items()))
    migrate(there.target, there.spec, CONCURRENTLY)
    assert leftovers(there) == []
    assert_sound(there)
    assert_apart(there)
    assert_back(there, dump, rows)


def wait_for_the_server(there: Business) -> None:
    """Until the sessions of the run have ended: the server notices only at the end of a statement."""
    deadline = time.monotonic() + 60
    query = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name LIKE 'tenantry %' AND datname = current_database()"
    )
    while there.database.rows(query) != [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_row_in_the_shard_of_another_tenant_is_counted(business: Make) -> None:
    """The sum of all rows would not show it, and a query by the tenant would not find it."""
    there = business("depot")
    with there.database.connect(autocommit=True) as connection:
        connection.execute("CREATE TABLE apart (firm_id text, id int, PRIMARY KEY (firm_id, id))")
        connection.execute("INSERT INTO apart SELECT i % 20, i FROM generate_series(1, 1000) AS i")
        connection.execute("SELECT create_distributed_table('apart', 'firm_id')")
        misplaced = ConcurrentMove(table=Name("public", "apart"), column="firm_id").misplaced
        assert connection.execute(misplaced).fetchall() == [(0,)]
        by_place: dict[Place, list[str]] = {}
        for place, shard in shards(there, "apart"):
            by_place.setdefault(place, []).append(shard)
        place, (one, other, *_) = next(iter(by_place.items()))
        with psycopg.connect(there.cluster.dsn(there.database.name, place), autocommit=True) as inside:
            moved = inside.execute(f"INSERT INTO {one} SELECT * FROM {other}").rowcount
        assert connection.execute(misplaced).fetchall() == [(moved,)]
        assert moved > 0


def test_a_transaction_that_stays_open_at_the_switch(business: Make) -> None:
    """Writers wait behind it no longer than the lock timeout; then nothing is distributed, and it can be repeated."""
    there, stop = business("depot"), threading.Event()
    target = there.target
    move = ConcurrentMove(table=Name("public", "apart"), column="firm_id")
    statement = Statement(sql=move.statement, manner=ExecutionMode.SNAPSHOT, locks=(Lock(move.table, LockMode.SHARE),))
    there.database.execute(
        "CREATE SCHEMA tenantry; CREATE TABLE apart (firm_id text, id int, PRIMARY KEY (firm_id, id));"
        "INSERT INTO apart SELECT i % 20, i FROM generate_series(1, 10000) AS i;"
        "SELECT citus_add_local_table_to_metadata('apart')"
    )

    def stay_open(number: int) -> None:
        with there.database.connect(autocommit=True) as connection:
            stop.wait(number)
            while not stop.is_set():
                with connection.transaction():
                    connection.execute("INSERT INTO apart VALUES ('1', %s)", [-number])
                    connection.execute("DELETE FROM apart WHERE firm_id = '1' AND id = %s", [-number])
                    stop.wait(2)

    def longest_wait() -> float:
        longest, number = 0.0, 100_000
        with there.database.connect(autocommit=True) as connection:
            while not stop.wait(0.005):
                began, number = time.monotonic(), number + 1
                connection.execute("INSERT INTO apart VALUES ('2', %s)", [number])
                longest = max(longest, time.monotonic() - began)
        return longest

    def distribute(seconds: float) -> None:
        with connect(target, purpose="test") as first:
            patience = LockPolicy(timeout=seconds, budget=seconds)
            move_concurrently(
                first, move, lambda: run_autocommit(first, statement, patience=patience),
                lambda purpose: connect(target, purpose=purpose), ignore,
            )  # fmt: skip
            first.execute("CALL citus_cleanup_orphaned_resources()")

    with ThreadPoolExecutor(3) as threads:
        staying, waiting = [threads.submit(stay_open, 1), threads.submit(stay_open, 2)], threads.submit(longest_wait)
        try:
            with pytest.raises(Failed, match=r"Transactions on public\.apart did not end within 0\.5 s"):
                distribute(0.5)
        finally:
            stop.set()
        assert waiting.result() < 1.5, "less than a transaction that stays open"
        for one in staying:
            one.result()
    assert distributed(there.database)["apart"] is None
    distribute(10)
    assert distributed(there.database) == {"apart": "firm_id"}
    assert leftovers(there) == []


def test_rows_that_citus_copies_are_counted_while_it_does(business: Make) -> None:
    there = business("depot")
    place = there.cluster.workers[0]
    dsn = there.cluster.dsn(there.database.name, place)
    with (
        psycopg.connect(dsn, application_name="citus_internal gpid=10000000001") as worker,
        there.database.connect(autocommit=True) as coordinator,
    ):
        assert rows_copied(coordinator) == 0
        worker.execute("CREATE TEMPORARY TABLE copied (id int)")
        with worker.cursor().copy("COPY copied FROM STDIN") as copy:
            copy.write("1\n" * 100_000)
            deadline = time.monotonic() + 10
            while not (found := rows_copied(coordinator)):
                assert time.monotonic() < deadline
        assert 0 < found <= 100_000
        assert rows_copied(coordinator) == 0
