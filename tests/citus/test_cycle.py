"""Distribute with Citus: tables are distributed while the application writes, tenants stay apart, and back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from acceptance import depot
from acceptance.round_trip import checksums
from citus.cluster import CitusCluster, Place
from citus.conftest import Business
from servers import Database
from tenantry import InspectionOptions, MigrateOptions, RollbackOptions, migrate, plan, rollback, status, validate
from tenantry.errors import Failed, Refused
from tenantry.model.backup import BackupKind
from tenantry.model.plan import Phase
from tenantry.postgres.connect import Target
from tenantry.steps.sentinel import SENTINEL

pytestmark = pytest.mark.citus
PREPARE = MigrateOptions(until=Phase.DISTRIBUTE, prepare=True, force=True, backup=BackupKind.NONE)
DISTRIBUTE = MigrateOptions(until=Phase.DISTRIBUTE, force=True, backup=BackupKind.NONE)
GOLDEN = Path(__file__).parents[1] / "acceptance" / "golden"
Make = Callable[..., Business]


def distributed(database: Database) -> dict[str, str | None]:
    """The tables that Citus has, with the column by which they are distributed."""
    return dict(
        database.rows(
            "SELECT logicalrelid::text, CASE partmethod WHEN 'h' THEN column_to_column_name(logicalrelid, partkey) END"
            " FROM pg_dist_partition"
        )
    )


def assert_sound(business: Business) -> None:
    """But for a table that refers to itself, which Citus does not follow, and validate says so."""
    found = validate(business.target, business.spec).findings
    serious = [(one.name, one.message) for one in found if one.severity.serious and one.name != "not-checked-on-citus"]
    assert serious == []
    assert "not-checked-on-citus" in {one.name for one in found}
    (tried,) = [one for one in found if one.name == "tenants-tried"]
    assert f"on {len(tables_of(business))} distributed tables; on {len(tables_of(business))} the rows" in tried.message


def tables_of(business: Business) -> list[str]:
    """The tables under row-level security, the tenant table included."""
    return [
        name for (name,) in business.database.rows(
            "SELECT oid::regclass::text FROM pg_class WHERE relrowsecurity AND relkind = 'r' ORDER BY 1"
        )
    ]  # fmt: skip


def assert_back(business: Business, dump: str, rows: dict[str, tuple[int, str]]) -> None:
    back = rollback(business.target, RollbackOptions(backup=BackupKind.NONE))
    assert [one.message for one in back.findings if one.severity.serious] == []
    assert distributed(business.database) == {}
    assert business.database.dump() == dump
    assert checksums(business.database) == rows


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


@contextmanager
def as_tenant(dsn: str, tenant: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(dsn, autocommit=True) as connection, connection.transaction(force_rollback=True):
        connection.execute(sql.SQL("SET LOCAL app.tenant_id = {}").format(sql.Literal(tenant)))
        yield connection


def assert_apart(business: Business) -> None:
    """Through the coordinator, through each worker, and on the shards themselves: a tenant sees all of its rows, and no
    others; all tenants together see all rows; and who names no tenant sees none."""
    cluster, name = business.cluster, business.database.name
    owned = {table: column for table, column in distributed(business.database).items() if column is not None}
    assert owned
    quarantined, everybodys = key_of(business, business.spec.tenant.quarantine), key_of(business, SENTINEL)
    for table, column in owned.items():
        query = f"SELECT {column}::text, count(*) FROM {table} GROUP BY 1"
        whole = dict(business.database.rows(query))
        assert whole
        for place in cluster.places:
            dsn = cluster.dsn(name, place, business.login)
            seen = {tenant: count_as(dsn, tenant, query) for tenant in ("", *whole)}
            shared = {tenant: rows for tenant, rows in whole.items() if tenant == everybodys}
            assert seen.pop("") == shared
            assert seen == {
                tenant: {} if tenant == quarantined else {tenant: rows} | shared for tenant, rows in whole.items()
            }
        summed: Counter[str] = Counter()
        for place, shard in shards(business, table):
            dsn = cluster.dsn(name, place, business.login)
            direct = f"SELECT {column}::text, count(*) FROM {shard} GROUP BY 1"
            assert count_as(dsn, "", direct).keys() <= {everybodys}
            for tenant in whole.keys() - {everybodys}:
                seen_here = count_as(dsn, tenant, direct)
                assert seen_here.keys() <= {tenant, everybodys} - {quarantined}
                summed.update({one: rows for one, rows in seen_here.items() if one == tenant})
        assert dict(summed) == {
            tenant: rows for tenant, rows in whole.items() if tenant not in (quarantined, everybodys)
        }


def count_as(dsn: str, tenant: str, query: str) -> dict[str, int]:
    with as_tenant(dsn, tenant) as connection:
        return dict(connection.execute(query).fetchall())


def key_of(business: Business, slug: str | None) -> str | None:
    """The key of a tenant, if there is one with this slug."""
    tenant = business.spec.tenant
    found = business.database.rows(
        sql.SQL("SELECT id::text FROM {} WHERE slug = {}").format(sql.SQL(tenant.table), sql.Literal(slug)).as_string()
    )
    return str(found[0][0]) if found else None


def shards(business: Business, table: str) -> list[tuple[Place, str]]:
    return [
        (Place(host, port), name) for host, port, name in business.database.rows(
            "SELECT nodename, nodeport, shard_name(logicalrelid, shardid) FROM pg_dist_shard"
            " JOIN pg_dist_shard_placement USING (shardid) WHERE logicalrelid = %s::regclass",
            [table],
        )
    ]  # fmt: skip


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


@dataclass(slots=True)
class Writing:
    """Sessions of the application, each for one tenant at a time."""

    cluster: CitusCluster
    business: Business
    stop: threading.Event = field(default_factory=threading.Event)
    written: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    longest: float = 0.0

    def write(self, number: int) -> None:
        dsn = self.cluster.dsn(self.business.database.name, user=self.business.login)
        tenants = ("the north", "the south")
        with psycopg.connect(dsn, autocommit=True) as connection:
            at = number * 1_000_000
            while not self.stop.is_set():
                at += 1
                tenant, began = tenants[at % 2], time.monotonic()
                try:
                    with connection.transaction():
                        connection.execute(sql.SQL("SET LOCAL app.tenant_id = {}").format(sql.Literal(tenant)))
                        connection.execute(
                            "INSERT INTO people (id, firm_id, name) VALUES (%s, %s, 'new')", [at, tenant]
                        )
                        connection.execute(
                            "UPDATE people SET name = 'newer' WHERE firm_id = %s AND id = %s", [tenant, at]
                        )
                    self.written += 1
                except psycopg.Error as error:
                    self.errors[f"{error.sqlstate} {(error.diag.message_primary or '')[:80]}"] += 1
                self.longest = max(self.longest, time.monotonic() - began)


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

KILLED = """
import os, signal, sys
from tenantry import InspectionOptions, MigrateOptions, RollbackOptions, migrate, rollback
from tenantry.execution.events import StepEvent
from tenantry.model.backup import BackupKind
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target
from tenantry.steps.sentinel import SENTINEL

command, dsn, spec, left = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])

def watch(event):
    global left
    if isinstance(event, StepEvent) and event.step.engine and event.action in ("applied", "reverted"):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

if command == "migrate":
    options = MigrateOptions(until=Phase.DISTRIBUTE, force=True, backup=BackupKind.NONE)
    migrate(Target(dsn), Spec.parse(open(spec).read()), options, watch)
else:
    rollback(Target(dsn), RollbackOptions(backup=BackupKind.NONE), watch)
"""


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
