"""Whether the rows of mixed tables that belong to all tenants can get a tenant of their own, the sentinel tenant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from tenantry.execution.existing import MISSING
from tenantry.model.name import Name, quoted
from tenantry.model.ownership import Owned
from tenantry.model.schema import ForeignKey, Table
from tenantry.planning.context import PlanContext
from tenantry.planning.distribute import bound_references
from tenantry.planning.expand import new_tenant
from tenantry.planning.tenant_rows import is_text, needs_value
from tenantry.steps.derivation import equal, literal_key
from tenantry.steps.introspection import identifiers, raw
from tenantry.steps.sentinel import SENTINEL, SENTINEL_NAME

Reason = tuple[str, str]
"""Why there can be no sentinel tenant, and the remedy."""
SAMPLES = 20


def taken_by(connection: psycopg.Connection[Any], context: PlanContext) -> Iterator[Reason]:
    """The tenants that have its key or its slug already."""
    tenant = context.ownership.tenant
    if tenant.name not in context.schema.tables or tenant.sentinel is None:
        return
    row = sql.Identifier("tenant")
    query = sql.SQL(
        "SELECT {row}.{key} = {zero}, {row}.{slug}::pg_catalog.text FROM {table} AS {row}"
        " WHERE {row}.{key} = {zero} OR {row}.{slug}::pg_catalog.text OPERATOR(pg_catalog.=) {sentinel}"
    ).format(
        row=row, key=sql.Identifier(tenant.key), slug=sql.Identifier(tenant.slug), table=tenant.name.identifier,
        zero=literal_key(tenant.sentinel, context.setting_type), sentinel=sql.Literal(SENTINEL),
    )  # fmt: skip
    for same_key, slug in connection.execute(query).fetchall():
        what = "key" if same_key else "slug"
        yield (
            f"{tenant.name} has a tenant with this {what}, {slug!r}",
            f"Give that tenant another {what}, with all its rows, before the phase distribute.",
        )


def wanting(context: PlanContext) -> Iterator[Reason]:
    """The columns of the tenant table for which no value is known."""
    tenant = context.ownership.tenant
    table = context.schema.tables.get(tenant.name)
    for column in () if table is None else table.columns:
        place = f"{tenant.name}.{quoted(column.name)}"
        if column.name == tenant.key and column.generated:
            yield f"{place} is generated", f"ALTER TABLE {tenant.name} ALTER {quoted(column.name)} DROP EXPRESSION."
        elif column.name not in (tenant.key, tenant.slug) and needs_value(column) and not is_text(column):
            yield f"{place} ({column.type}) needs a value, and has no default", f"Give {place} a default."


def forbidding(connection: psycopg.Connection[Any], context: PlanContext) -> Iterator[Reason]:
    """Domains and CHECK constraints that do not accept the sentinel's row in the tenant table, or its key in mixed
    tables' rows of all tenants."""
    tenant = context.ownership.tenant
    table = context.schema.tables.get(tenant.name)
    if tenant.sentinel is None or table is None:
        return
    zero = literal_key(tenant.sentinel, context.setting_type)
    texts = new_tenant(context, SENTINEL, SENTINEL_NAME).row_values()
    values: dict[str, sql.Composable] = {name: sql.Literal(value) for name, value in texts.items()}
    values[tenant.key] = zero
    row = [
        sql.SQL("{}::{} AS {}").format(
            values.get(column.name, sql.SQL("NULL")), raw(column.base_type), sql.Identifier(column.name)
        )
        for column in table.columns
    ]
    yield from _forbidding(connection, table, tenant.key, zero, row, sql.SQL("LIMIT 1"), everywhere=True)
    for owned in context.ownership.owned:
        mixed = context.schema.tables[owned.table]
        if owned.mixed and mixed.column(owned.column) is not None:
            row = [
                sql.SQL("{} AS {}").format(
                    zero if column.name == owned.column else sql.Identifier(column.name), sql.Identifier(column.name)
                )
                for column in mixed.columns
            ]  # fmt: skip
            those = sql.SQL("WHERE {} IS NULL").format(sql.Identifier(owned.column))
            yield from _forbidding(connection, mixed, owned.column, zero, row, those, everywhere=False)


def _forbidding(
    connection: psycopg.Connection[Any], table: Table, column: str, zero: sql.Composable,
    row: Sequence[sql.Composable], those: sql.Composable, *, everywhere: bool,
) -> Iterator[Reason]:  # fmt: skip
    """`row` are the columns of rows as they would be, made from `those` rows; `everywhere`: with all checks of the
    table, not only those of the `column`. Each query names the table, so that code of its owner runs as the owner."""
    name = table.name
    place, known = f"{name}.{quoted(column)}", table.column(column)
    if known is not None and known.domain:
        cast = sql.SQL("SELECT {}::{} FROM {} LIMIT 1").format(zero, raw(known.type), name.identifier)
        if _fails(connection, cast):
            yield f"the domain {known.type} of {place} does not accept it", f"Let {known.type} accept this key."
    checks = sql.SQL(
        "SELECT c.conname, pg_catalog.pg_get_expr(c.conbin, c.conrelid) FROM pg_catalog.pg_constraint c"
        " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attname = {}"
        " WHERE c.conrelid = {} AND c.contype = 'c' AND ({} OR a.attnum = ANY (c.conkey)) ORDER BY 1"
    ).format(sql.Literal(column), name.oid, sql.Literal(everywhere))
    for check, expression in connection.execute(checks).fetchall():
        broken = sql.SQL("SELECT FROM (SELECT {} FROM {} {}) AS {} WHERE ({}) IS FALSE LIMIT 1").format(
            sql.SQL(", ").join(row), name.identifier, those, sql.Identifier(name.name), raw(expression)
        )
        if _finds(connection, broken):
            remedy = f"Let {quoted(check)} of {name} accept it, or drop that constraint."
            yield f"the constraint {quoted(check)} of {name} does not accept such a row", remedy


def _fails(connection: psycopg.Connection[Any], query: sql.Composed) -> bool:
    """Whether a domain refuses a value."""
    try:
        # A transaction, so that an error here does not abort that of the caller.
        with connection.transaction():
            connection.execute(query)
    except psycopg.IntegrityError:
        return True
    return False


def _finds(connection: psycopg.Connection[Any], query: sql.Composed) -> bool:
    """Whether a query has rows; not if it cannot be run, such as for a check of the whole row."""
    try:
        with connection.transaction():
            return connection.execute(query).fetchone() is not None
    except (psycopg.ProgrammingError, psycopg.DataError):
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """Rows of a table that refer by a key to a row that has, or will have, another tenant than themselves: either of
    the two belongs to all tenants, and the other to one."""

    table: Name
    key: ForeignKey
    rows: int
    samples: tuple[Mapping[str, Any], ...]


def mismatches(connection: psycopg.Connection[Any], context: PlanContext) -> Iterator[Mismatch]:
    """Along the foreign keys that composite keys are to keep within a tenant. Tables that have no tenant column yet are
    left out."""
    for owned, key, parent in bound_references(context):
        try:
            # A transaction, so that an error here does not abort that of the caller.
            with connection.transaction():
                row = connection.execute(_differing(context, owned, key, parent)).fetchone()
        except MISSING:
            continue
        if row is not None and row[0]:
            yield Mismatch(
                table=owned.table, key=key, rows=row[0], samples=tuple({"row": one} for one in row[1] or ())
            )  # fmt: skip


def _differing(context: PlanContext, owned: Owned, key: ForeignKey, parent: Owned) -> sql.Composed:
    assert context.ownership.tenant.sentinel is not None
    zero = literal_key(context.ownership.tenant.sentinel, context.setting_type)
    child, above = sql.Identifier("child"), sql.Identifier("parent")
    shown = (*context.schema.tables[owned.table].primary_key, *key.columns)
    return sql.SQL(
        "SELECT pg_catalog.count(*), (pg_catalog.array_agg(ROW({shown})::text))[1:{samples}] FROM {table} AS {child}"
        " JOIN {parent} AS {above} ON {match}"
        " WHERE COALESCE({child}.{own}, {zero}) <> COALESCE({above}.{theirs}, {zero})"
    ).format(
        shown=identifiers(tuple(dict.fromkeys(shown)), child), samples=sql.Literal(SAMPLES),
        table=owned.table.identifier, child=child, parent=key.parent.identifier, above=above,
        match=equal(above, key.parent_columns, child, key.columns, key.operators), zero=zero,
        own=sql.Identifier(owned.column), theirs=sql.Identifier(parent.column),
    )  # fmt: skip
