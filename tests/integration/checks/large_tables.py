"""Tables that are large enough to have plans and costs, migrated."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from servers import Database
from tenantry import MigrateOptions, migrate
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

ROLE = "wide_app"
SCHEMA = """
CREATE TABLE tenants (id int PRIMARY KEY, slug text UNIQUE);
INSERT INTO tenants SELECT n, 'tenant ' || n FROM generate_series(1, 20) n;
CREATE TABLE shops (id int PRIMARY KEY, owner int NOT NULL REFERENCES tenants);
INSERT INTO shops SELECT n, n % 20 + 1 FROM generate_series(1, 100) n;
CREATE TABLE sales (id bigint PRIMARY KEY, shop int NOT NULL REFERENCES shops, sold_at timestamptz NOT NULL, note text);
CREATE INDEX sales_shop ON sales (shop);
CREATE INDEX sales_sold_at ON sales (sold_at);
INSERT INTO sales SELECT n, n % 100 + 1, timestamptz '2026-01-01' + n * interval '1 minute', repeat('x', 80)
  FROM generate_series(1, 30000) n;
CREATE TABLE visits (id bigint, at date NOT NULL, shop int NOT NULL REFERENCES shops, note text) PARTITION BY RANGE (at);
CREATE TABLE visits_old PARTITION OF visits FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE visits_new PARTITION OF visits DEFAULT;
INSERT INTO visits SELECT n, date '2025-12-01' + n % 3, n % 100 + 1, repeat('y', 80) FROM generate_series(1, 9000) n;
"""
SPEC = f"""
[tenant]
table = "tenants"
[application]
role = "{ROLE}"
[[table]]
name = "shops"
paths = [["owner"]]
[[table]]
name = "sales"
paths = [["shop"]]
[[table]]
name = "visits"
paths = [["shop"]]
[limits]
policy_cost = 20
unused_index_days = 30
"""
AT_ONCE = SPEC.replace("unused_index_days = 30", "unused_index_days = 0")


def build(database: Database) -> None:
    database.execute(SCHEMA)
    migrate(Target(database.dsn), Spec.parse(SPEC), MigrateOptions(until=Phase.ISOLATE, force=True))
    database.execute("ANALYZE")


@pytest.fixture
def sales_database(template: Callable[..., Database]) -> Database:
    """Migrated: sales of more than 3 MB, visits of a megabyte and nearly all in one partition, shops that are few."""
    return template("wide", build)


def drop_tenant_indexes(database: Database, *tables: str) -> None:
    for (name,) in database.rows(
        "SELECT i.indexrelid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        " JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] AND a.attname IN ('tenant_id', 'owner')"
        " WHERE i.indrelid = ANY(%s::regclass[]) AND NOT i.indisunique AND NOT c.relispartition",
        [list(tables)],
    ):
        database.execute(f"DROP INDEX {name}")
