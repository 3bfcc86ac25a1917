"""Distribute with Citus: tables are distributed while the application writes, tenants stay apart, and back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
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
from tenantry import InspectionOptions, MigrateOptions, RollbackOptions, migrate, plan, rollback, status, validate
from tenantry.errors import Failed, Refused
from tenantry.model.backup import BackupKind
from tenantry.model.plan import Phase
from tenantry.postgres.connect import Target

GOLDEN = Path(__file__).parents[1] / "acceptance" / "golden"


# --- the whole cycle


@pytest.mark.parametrize("name", ["estoque", "depot", "enterprise"])
def test_there_and_back(business: Make, name: str) -> None:
    """From the user's schema to distributed tables in one run, and back to the same dump and rows."""
    there = business(name)
    dump, rows = there.database.dump(), checksums(there.database)
    migrate(there.target, there.spec, DISTRIBUTE)
    assert migrate(there.target, there.spec, DISTRIBUTE).applied == 0, "a second run finds everything in force"
    assert migrate(there.target, there.spec, PREPARE).applied == 0
    owned = set(tables_of(there))
    assert owned <= distributed(there.database).keys()
    local = there.database.rows(
        "SELECT logicalrelid::text FROM pg_dist_partition WHERE pg_relation_size(logicalrelid) > 0"
    )
    assert local == [], "no rows are left behind on the coordinator"
    assert_sound(there)
    assert_apart(there)
    assert_back(there, dump, rows)


def test_tables_of_another_owner_are_left_alone(business: Make) -> None:
    """A superuser does not run the code of an owner's tables on all nodes: checks, index expressions."""
    there = business("depot")
    owner = f"{there.spec.application.role}_owner"
    there.database.execute(
        f"ALTER TABLE notes OWNER TO {owner}; GRANT SELECT, REFERENCES ON ALL TABLES IN SCHEMA public TO {owner};"
        f"GRANT CREATE ON SCHEMA public TO {owner}"
    )
    migrate(there.target, there.spec, PREPARE)
    with pytest.raises(Refused) as refusal:
        migrate(there.target, there.spec, DISTRIBUTE)
    assert "public.notes belongs to" in " ".join([str(refusal.value), *refusal.value.details])
    assert distributed(there.database) == {}


def test_what_would_be_lost_is_refused_before_and_on_the_way_back(business: Make) -> None:
    """A function that returns rows of a table is dropped with it by Citus, and so by nobody."""
    there = business("depot")
    there.database.execute("CREATE FUNCTION all_notes() RETURNS SETOF notes LANGUAGE sql AS 'SELECT * FROM notes'")
    migrate(there.target, there.spec, PREPARE)
    careful = MigrateOptions(until=Phase.DISTRIBUTE, backup=BackupKind.NONE)
    with pytest.raises(Refused) as refusal:
        migrate(there.target, there.spec, careful)
    assert "function public.all_notes()" in " ".join([str(refusal.value), *refusal.value.details])
    assert distributed(there.database) == {}
    migrate(there.target, there.spec, DISTRIBUTE)
    with pytest.raises(Failed, match=r"function public\.all_notes"):
        rollback(there.target, RollbackOptions(backup=BackupKind.NONE))
    there.database.execute("DROP FUNCTION all_notes()")
    back = rollback(there.target, RollbackOptions(backup=BackupKind.NONE))
    assert [one.message for one in back.findings if one.severity.serious] == []
    assert distributed(there.database) == {}


def test_partitioned_tables_stop_before_it(business: Make) -> None:
    """Also once they have the form for it; and they come back from that where the extension is."""
    there = business("partitioned")
    dump = there.database.dump()
    migrate(there.target, there.spec, PREPARE)
    with pytest.raises(Refused) as refusal:
        migrate(there.target, there.spec, DISTRIBUTE)
    said = [str(refusal.value), *refusal.value.details]
    assert {"public.trips", "public.carriers"} <= {text.split(" is partitioned")[0].split()[-1] for text in said}
    assert not any("outside-key" in text for text in said)
    assert distributed(there.database) == {}
    rollback(there.target, RollbackOptions(backup=BackupKind.NONE))
    assert there.database.dump() == dump


def test_statements(business: Make) -> None:
    """All that Citus is told, word for word."""
    there = business("estoque")
    found = "".join(
        f"-- {planned.step.table}: {planned.step.title}\n" + "".join(f"{one.text};\n" for one in planned.statements)
        for planned in plan(there.target, there.spec, until=Phase.DISTRIBUTE).steps
        if planned.step.engine
    ).replace(there.spec.application.role, "tenantry_app")  # fmt: skip
    path = GOLDEN / "citus-estoque.sql"
    if os.environ.get("TENANTRY_WRITE_GOLDEN"):
        path.write_text(found)
    assert found == path.read_text()


# --- tenants are apart, wherever the application connects


def rows_on(business: Business, place: Place, table: str) -> int:
    with psycopg.connect(business.cluster.dsn(business.database.name, place)) as connection:
        ((count,),) = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.SQL(table))).fetchall()
    return int(count)


def test_a_policy_of_one_shard_is_enough(business: Make) -> None:
    """Somebody opens one shard, on its node alone: validate names the table, and migrate the shard."""
    there = business("depot")
    migrate(there.target, there.spec, DISTRIBUTE)
    place, shard = next(
        (place, shard) for place, shard in shards(there, "notes")
        if rows_on(there, place, shard)
    )  # fmt: skip
    with psycopg.connect(there.cluster.dsn(there.database.name, place), autocommit=True) as connection:
        connection.execute(f"CREATE POLICY opened ON {shard} USING (true)")
    with pytest.raises(AssertionError):
        assert_apart(there)
    found = {one.name: one for one in validate(there.target, there.spec).findings if str(one.table) == "public.notes"}
    assert {"not-in-force", "tenants-not-apart"} <= found.keys()
    assert "`tenantry migrate --until distribute`" in found["not-in-force"].remedy
    with pytest.raises(Failed) as failure:
        migrate(there.target, there.spec, DISTRIBUTE)
    assert shard.rpartition("_")[2] in str(failure.value)
    with psycopg.connect(there.cluster.dsn(there.database.name, place), autocommit=True) as connection:
        connection.execute(f"DROP POLICY opened ON {shard}")
    assert migrate(there.target, there.spec, DISTRIBUTE).applied == 0
    assert_sound(there)


def test_without_the_setting_a_tenant_sees_nothing_and_validate_says_so(business: Make) -> None:
    """An empty answer is no proof: a session whose tenant does not reach the nodes is not called isolated."""
    there = business("depot")
    migrate(there.target, there.spec, DISTRIBUTE)
    there.database.execute(
        f"ALTER ROLE {there.login} IN DATABASE {there.database.name} RESET citus.propagate_set_commands"
    )
    application = Target(there.cluster.dsn(there.database.name, user=there.login))
    found = {
        one.name
        for one in validate(there.target, there.spec, InspectionOptions(application=application)).findings
        if one.severity.serious
    }
    assert {"not-in-force", "tenant-not-propagated"} <= found


# --- while the application writes


def test_writers_go_on(business: Make) -> None:
    """Three of them, from the form for Citus to distributed tables: no row is lost, and none waits without end."""
    there = business("depot")
    migrate(there.target, there.spec, PREPARE)
    there.database.execute(
        f"ALTER ROLE {there.login} IN DATABASE {there.database.name} SET citus.propagate_set_commands = 'local'"
    )
    before = there.database.rows("SELECT count(*) FROM people")[0][0]
    writing = Writing(there.cluster, there)
    with ThreadPoolExecutor(3) as threads:
        running = [threads.submit(writing.write, number) for number in (1, 2, 3)]
        began = time.monotonic()
        try:
            migrate(there.target, there.spec, DISTRIBUTE)
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
    assert there.database.rows("SELECT count(*) FROM people")[0][0] == before + writing.written
    assert sum(writing.errors.values()) <= 3, writing.errors
    assert writing.longest < 10
    assert_sound(there)


# --- nodes come and go


def test_drain_and_rebalance(business: Make) -> None:
    """Shards take their policies along, and the way back finds them wherever they are."""
    there = business("depot")
    dump, rows = there.database.dump(), checksums(there.database)
    migrate(there.target, there.spec, DISTRIBUTE)
    worker = there.cluster.workers[0]
    with there.database.connect(autocommit=True) as connection:
        connection.execute("SELECT citus_drain_node(%s, %s, 'block_writes')", [worker.host, worker.port])
        assert {place for place, _ in shards(there, "notes")} == set(there.cluster.workers[1:])
        assert_apart(there)
        connection.execute(
            "SELECT citus_set_node_property(%s, %s, 'shouldhaveshards', true)", [worker.host, worker.port]
        )
        connection.execute("SELECT rebalance_table_shards(shard_transfer_mode => 'block_writes')")
    assert {place for place, _ in shards(there, "notes")} == set(there.cluster.workers)
    assert_sound(there)
    assert_apart(there)
    assert_back(there, dump, rows)


# --- what dies half-way


def test_killed_between_steps_there_and_back(business: Make, tmp_path: Path) -> None:
    """After every fifth step of those that need Citus: the same command goes on from there."""
    there = business("depot")
    dump, rows = there.database.dump(), checksums(there.database)
    role = there.spec.application.role
    (tmp_path / "tenantry.toml").write_text(depot.SPEC.format(role=role, legacy=f"{role}_old"))
    (tmp_path / "killed.py").write_text(KILLED)
    migrate(there.target, there.spec, PREPARE)
    for command in ("migrate", "rollback"):
        deaths = 0
        for _ in range(40):
            run = subprocess.run(
                [sys.executable, tmp_path / "killed.py", command, there.database.dsn, tmp_path / "tenantry.toml", "5"],
                capture_output=True, text=True,
            )  # fmt: skip
            if run.returncode == 0:
                break
            assert run.returncode == -signal.SIGKILL, run.stderr
            deaths += 1
            assert status(there.target, there.spec) is not None
        assert run.returncode == 0
        assert deaths >= 5, command
        if command == "migrate":
            assert_sound(there)
            assert_apart(there)
    assert there.database.dump() == dump
    assert checksums(there.database) == rows


def test_killed_in_the_middle_of_a_table(business: Make, tmp_path: Path) -> None:
    """The server ends what it was doing, and no table is half distributed."""
    there = business("depot")
    role = there.spec.application.role
    (tmp_path / "tenantry.toml").write_text(depot.SPEC.format(role=role, legacy=f"{role}_old"))
    (tmp_path / "killed.py").write_text(KILLED)
    migrate(there.target, there.spec, PREPARE)
    for wait in (1.5, 2.0, 2.5, 3.0):
        run = subprocess.Popen(
            [sys.executable, tmp_path / "killed.py", "migrate", there.database.dsn, tmp_path / "tenantry.toml", "0"]
        )
        time.sleep(wait)
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
    migrate(there.target, there.spec, DISTRIBUTE)
    assert_sound(there)
    assert_apart(there)
