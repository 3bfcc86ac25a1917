"""Databases that are distributed, and their phase distribute."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest

from acceptance import depot, partitioned
from servers import Database
from tenantry import MigrateOptions, RollbackOptions, migrate, rollback, validate
from tenantry.execution.session import Session
from tenantry.model.backup import BackupKind
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target, connect
from tenantry.presets import load, spec_path

NORTH, SOUTH = "the north", "the south"
DISTRIBUTE = MigrateOptions(until=Phase.DISTRIBUTE, prepare=True, force=True, backup=BackupKind.NONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Depot:
    """A copy of a database, the depot's or another, with a spec whose roles are its own."""

    database: Database
    spec: Spec
    role: str
    text: str

    @property
    def target(self) -> Target:
        return Target(self.database.dsn)

    def distribute(self) -> None:
        migrate(self.target, self.spec, DISTRIBUTE)

    def as_tenant(self, tenant: str, query: str) -> list[tuple[object, ...]]:
        with self.database.connect() as connection, connection.transaction():
            connection.execute(f"SET LOCAL ROLE {self.role}")
            connection.execute("SELECT set_config('app.tenant_id', %s, true)", [tenant])
            return connection.execute(query).fetchall()


@pytest.fixture
def there(template: Callable[..., Database], role: Callable[..., str]) -> Depot:
    return _copy("depot", depot.SCHEMA, depot.SPEC, template, role)


@pytest.fixture
def fleet(template: Callable[..., Database], role: Callable[..., str]) -> Depot:
    """The one with partitioned tables."""
    return _copy("partitioned", partitioned.SCHEMA, partitioned.SPEC, template, role)


def _copy(name: str, schema: str, spec: str, template: Callable[..., Database], role: Callable[..., str]) -> Depot:
    database = template(name, lambda database: database.execute(schema))
    application = role(create=False, name="app")
    text = spec.format(role=application, legacy=role(name="legacy"))
    return Depot(database=database, spec=Spec.parse(text), role=application, text=text)


def assert_sound(there: Depot, spec: Spec) -> None:
    found = [one for one in validate(there.target, spec).findings if one.severity.serious]
    assert found == [], [one.message for one in found]


def assert_back(there: Depot, dump: str) -> None:
    back = rollback(there.target, RollbackOptions())
    assert [one for one in back.findings if one.severity.serious] == []
    assert there.database.dump() == dump


TABLES = """
WITH owned AS (
  SELECT t.name::regclass::oid AS oid, a.attnum AS tenant FROM unnest(%(owned)s::text[], %(columns)s::text[]) AS t(name, col)
  LEFT JOIN pg_attribute a ON a.attrelid = t.name::regclass AND a.attname = t.col
), copied AS (SELECT t.name::regclass::oid AS oid FROM unnest(%(copied)s::text[]) AS t(name)),
every AS (SELECT oid FROM owned UNION SELECT oid FROM copied)
"""
RULES = {
    "UNIQUE, PRIMARY KEY or EXCLUDE without the tenant": """
      SELECT i.indexrelid::regclass FROM pg_index i JOIN owned o ON o.oid = i.indrelid
      WHERE (i.indisunique OR i.indisexclusion) AND NOT o.tenant = ANY (i.indkey[0:i.indnkeyatts - 1])""",
    "a foreign key without the tenant, or that sets it": """
      SELECT c.conname FROM pg_constraint c JOIN owned o ON o.oid = c.conrelid LEFT JOIN owned p ON p.oid = c.confrelid
      WHERE c.contype = 'f' AND (
        p.oid IS NOT NULL AND NOT EXISTS (
          SELECT FROM unnest(c.conkey, c.confkey) AS k(here, there) WHERE k.here = o.tenant AND k.there = p.tenant)
        OR c.confupdtype <> 'a' OR c.condeferrable OR c.confdeltype IN ('n', 'd') AND o.tenant = ANY (c.conkey))""",
    "a foreign key from a reference table to a distributed one": """
      SELECT c.conname FROM pg_constraint c JOIN copied f ON f.oid = c.conrelid JOIN owned o ON o.oid = c.confrelid
      WHERE c.contype = 'f'""",
    "a row without a tenant": """
      SELECT o.oid::regclass FROM owned o JOIN pg_attribute a ON a.attrelid = o.oid AND a.attnum = o.tenant
      WHERE NOT a.attnotnull""",
    "a generated tenant": """
      SELECT o.oid::regclass FROM owned o JOIN pg_attribute a ON a.attrelid = o.oid AND a.attnum = o.tenant
      WHERE a.attgenerated <> ''""",
    "a trigger, enabled or not": """
      SELECT t.tgname FROM pg_trigger t JOIN every e ON e.oid = t.tgrelid WHERE NOT t.tgisinternal""",
    "a policy with a subquery, or RESTRICTIVE": """
      SELECT p.polname FROM pg_policy p JOIN every e ON e.oid = p.polrelid
      WHERE NOT p.polpermissive OR concat(p.polqual, p.polwithcheck) LIKE '%%{SUBLINK %%'""",
    "inheritance": """
      SELECT i.inhrelid::regclass FROM pg_inherits i JOIN every e ON e.oid IN (i.inhparent, i.inhrelid)
      JOIN pg_class c ON c.oid = i.inhparent WHERE c.relkind <> 'p'""",
}
"""By what Citus refuses, a query of what it would refuse of the distributed tables and of those that are copied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distributed:
    """The tables that are distributed, each with its tenant column, and those that are copied to each node."""

    columns: Mapping[str, str]
    copied: tuple[str, ...]
    members: frozenset[str]
    mixed: frozenset[str]

    @property
    def parameters(self) -> dict[str, list[str]]:
        return {"owned": list(self.columns), "columns": list(self.columns.values()), "copied": list(self.copied)}


def distributed(target: Target, spec: Spec) -> Distributed:
    """By the spec, in a migrated database."""
    with connect(target, purpose="rules") as connection:
        ownership = Session.begin(target, connection, spec).plan.ownership
    copied = dict.fromkeys((*ownership.shared, ownership.tenant.name))
    return Distributed(
        columns={owned.table.identifier.as_string(None): owned.column for owned in ownership.owned},
        copied=tuple(name.identifier.as_string(None) for name in copied),
        members=frozenset(member.table.identifier.as_string(None) for member in ownership.members),
        mixed=frozenset(owned.table.identifier.as_string(None) for owned in ownership.owned if owned.mixed),
    )


def refused_by_citus(target: Target, spec: Spec) -> set[str]:
    """The rules that find something in a migrated database."""
    names = distributed(target, spec).parameters
    with connect(target, purpose="rules") as connection:
        return {rule for rule, query in RULES.items() if connection.execute(TABLES + query, names).fetchall()}


def _load(database: Database, preset: str) -> None:
    with database.connect() as connection:
        load(connection, preset=preset, rows=2000, seed=1)


def business(preset: str, template: Callable[..., Database], role: Callable[..., str]) -> tuple[Database, Spec]:
    database = template(f"preset {preset}", lambda database: _load(database, preset))
    spec = Spec.parse(spec_path(preset).read_text())
    application = spec.application.model_copy(update={"role": role(create=False, name="app")})
    return database, spec.model_copy(update={"application": application})
