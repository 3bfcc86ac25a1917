"""A small migrated database, whose tenants are isolated_orders, and what the checks find once somebody has been at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from servers import Database
from tenantry import MigrateOptions, migrate
from tenantry.checks.base import CheckContext, FamilyOf
from tenantry.execution.session import Session, open_session
from tenantry.model.finding import Finding, Severity
from tenantry.model.plan import Phase
from tenantry.model.schema import ManagedObjects
from tenantry.model.spec import Spec
from tenantry.postgres.catalog import read_schema
from tenantry.postgres.connect import Target

ROLE, LEGACY = "apart_app", "apart_legacy"
BESIDE = """
CREATE TABLE event (id bigint, at date NOT NULL, order_id bigint NOT NULL REFERENCES "Order" ON DELETE CASCADE,
  PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE event_2025 PARTITION OF event FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE event_rest PARTITION OF event DEFAULT;
CREATE TABLE country (code text PRIMARY KEY);
INSERT INTO country VALUES ('br');
CREATE VIEW totals AS SELECT code, total FROM "Order";
CREATE VIEW codes AS SELECT code FROM totals;
"""
"""Events in partitions, a shared table, a view and a view of that."""
TABLES = """
[[table]]
name = '"Order"'
paths = [["org"]]
[[table]]
name = "line"
paths = [["order_id"]]
[[table]]
name = "event"
paths = [["order_id"]]
[[table]]
name = "tag"
paths = [["org"]]
orphans = "shared"
[[table]]
name = "country"
shared = true
"""
SCHEMA = f"""
CREATE TABLE tenants (id uuid PRIMARY KEY, slug text NOT NULL UNIQUE, name text NOT NULL);
INSERT INTO tenants VALUES ('00000000-0000-0000-0000-000000000001', 'one', 'One'),
  ('00000000-0000-0000-0000-000000000002', 'two', 'Two'), ('00000000-0000-0000-0000-000000000003', 'three', 'Three');
CREATE TABLE "Order" (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, org uuid NOT NULL REFERENCES tenants,
  code text NOT NULL UNIQUE, total numeric NOT NULL DEFAULT 0, doubled numeric GENERATED ALWAYS AS (total * 2) STORED);
CREATE TABLE line (id serial PRIMARY KEY, order_id bigint NOT NULL REFERENCES "Order" ON DELETE CASCADE, number int,
  what text NOT NULL, tag int);
CREATE TABLE tag (id int PRIMARY KEY, org uuid REFERENCES tenants, name text NOT NULL UNIQUE);
ALTER TABLE line ADD FOREIGN KEY (tag) REFERENCES tag;
{BESIDE}CREATE VIEW amounts AS SELECT count(*) FROM "Order";
INSERT INTO "Order" (org, code, total) SELECT t.id, t.slug || n, n FROM tenants t, generate_series(1, 5) n
  WHERE t.slug <> 'three';
INSERT INTO tag SELECT 1, NULL, 'everybody';
INSERT INTO tag SELECT 2, id, 'ones' FROM tenants WHERE slug = 'one';
INSERT INTO tag SELECT 3, id, 'twos' FROM tenants WHERE slug = 'two';
INSERT INTO line (order_id, number, what, tag) SELECT id, 1, 'thing', 1 FROM "Order";
INSERT INTO event SELECT id, date '2025-06-01', id FROM "Order" UNION ALL SELECT id, date '2027-01-01', id FROM "Order";
CREATE FUNCTION pg_temp.roles() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
  CREATE ROLE apart_legacy; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
SELECT pg_temp.roles();
"""
SPEC = f"""
[tenant]
table = "tenants"
[application]
role = "{ROLE}"
legacy_roles = ["{LEGACY}"]
{TABLES}"""


def build(database: Database) -> None:
    database.execute(SCHEMA)
    migrate(Target(database.dsn), Spec.parse(SPEC), MigrateOptions(until=Phase.ISOLATE, force=True))
    database.execute("ANALYZE")


@pytest.fixture
def isolated_orders(template: Callable[..., Database]) -> Database:
    """Migrated until isolate: orders, lines, events (partitioned) and tags (mixed) of two tenants out of three."""
    return template("apart", build)


@contextmanager
def check_context(database: Database, spec: str = SPEC, **parts: Any) -> Iterator[CheckContext]:
    """What checks stand on, for the database as it is now."""
    target, parsed = Target(parts.pop("dsn", database.dsn)), Spec.parse(spec)
    with open_session(target, purpose="test") as connection:
        session = Session.begin(target, connection, parsed)
        live = read_schema(connection, parsed.schemas, managed=ManagedObjects())
        connection.execute("SET default_transaction_read_only = on")
        yield CheckContext(
            target=target, connection=connection, spec=parsed, schema=session.schema, live=live, plan=session.plan,
            entries=session.entries, **parts,
        )  # fmt: skip


def findings_of(database: Database, *families: FamilyOf, spec: str = SPEC, **parts: Any) -> list[Finding]:
    with check_context(database, spec, **parts) as standing:
        findings = [finding for family in families for finding in family(standing)]
    assert all(isinstance(finding, Finding) for finding in findings)
    return findings  # type: ignore[return-value]


def serious(findings: list[Finding]) -> list[tuple[str, str, int | None]]:
    """Name, table and count of what makes a validation fail."""
    return [
        (finding.name, str(finding.table or ""), finding.count)
        for finding in findings
        if finding.severity is not Severity.INFO
    ]
