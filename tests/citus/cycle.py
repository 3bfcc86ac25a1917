"""Distributing a business with Citus: options, what has to hold afterwards, and writers meanwhile."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from acceptance.round_trip import checksums
from citus.cluster import CitusCluster, Place
from citus.conftest import Business
from servers import Database
from tenantry import MigrateOptions, RollbackOptions, rollback, validate
from tenantry.model.backup import BackupKind
from tenantry.model.plan import Phase
from tenantry.steps.sentinel import SENTINEL

PREPARE = MigrateOptions(until=Phase.DISTRIBUTE, prepare=True, force=True, backup=BackupKind.NONE)


DISTRIBUTE = MigrateOptions(until=Phase.DISTRIBUTE, force=True, backup=BackupKind.NONE)


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
