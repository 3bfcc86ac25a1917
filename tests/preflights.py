"""Preflights on a small shop, and what they find."""

from collections.abc import Sequence
from typing import Any

import psycopg

from tenantry.execution.preflight import preflight
from tenantry.model.finding import Finding
from tenantry.model.plan import Phase
from tenantry.model.schema import ManagedObjects, Schema
from tenantry.model.spec import Spec
from tenantry.planning import Plan, make_plan
from tenantry.postgres.catalog import read_schema

SHOP = """
    CREATE TABLE tenants (id int PRIMARY KEY, slug text UNIQUE);
    CREATE TABLE shops (id int PRIMARY KEY, owner int REFERENCES tenants, name text);
    CREATE TABLE orders
        (id int PRIMARY KEY, shop int NOT NULL REFERENCES shops, total numeric, changed timestamptz);
    CREATE TABLE archive (id int, shop int, total numeric, changed timestamptz);
    CREATE TABLE log (at timestamptz DEFAULT now());
    INSERT INTO tenants VALUES (1, 'north');
    INSERT INTO shops VALUES (1, 1, 'corner');
    INSERT INTO orders SELECT i, 1, i FROM generate_series(1, 100) i;
"""
TABLES = """
[[table]]
name = "shops"
paths = [["owner"]]
[[table]]
name = "orders"
paths = [["shop"]]
[[table]]
name = "archive"
shared = true
[[table]]
name = "log"
shared = true
"""
CONSTANT = TABLES.replace('paths = [["shop"]]', 'assign = { tenant = "north" }')


def session(database: Any, **parameters: Any) -> psycopg.Connection[Any]:
    connection = database.connect(autocommit=True, **parameters)
    connection.execute("SET search_path = pg_catalog")
    return connection  # type: ignore[no-any-return]


def planned(
    connection: psycopg.Connection[Any], tables: str, application: str = "", tenant: str = 'table = "tenants"'
) -> tuple[Schema, Plan]:
    schema = read_schema(connection, ("public",), managed=ManagedObjects())
    text = f"version = 1\n[tenant]\n{tenant}\n[application]\n{application}\n{tables}"
    return schema, make_plan(Spec.parse(text), schema)


def check(
    database: Any,
    *,
    until: Phase = Phase.ENFORCE,
    tables: str = TABLES,
    application: str = "",
    tenant: str = 'table = "tenants"',
    free_space: int | None = 2**40,
    workers: int = 2,
    **parameters: Any,
) -> list[Finding]:
    """The findings of a preflight; `parameters` of the session, such as its user."""
    with session(database, **parameters) as connection:
        schema, plan = planned(connection, tables, application, tenant)
        found = preflight(connection, schema=schema, plan=plan, until=until, free_space=free_space, workers=workers)
    return list(found)


def named(findings: Sequence[Finding], name: str) -> list[Finding]:
    return [finding for finding in findings if finding.name == name]


def names(findings: Sequence[Finding]) -> set[str]:
    """The findings' names, without what every test database without pg_stat_statements has."""
    return {finding.name for finding in findings} - {"statements-unknown"}


def refusals(findings: Sequence[Finding]) -> set[tuple[str, bool]]:
    """The refusals' names, and whether they can be forced."""
    return {(finding.name, finding.forcible) for finding in findings if finding.refuses}
