"""Whether the rows of mixed tables that belong to all tenants can get a tenant of their own, the sentinel tenant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from tenantry.execution.existing import MISSING
from tenantry.model.name import Name, quoted
from tenantry.model.ownership import Owned
from tenantry.model.schema import ForeignKey
from tenantry.planning.context import PlanContext
from tenantry.planning.distribute import bound_references
from tenantry.planning.tenant_rows import is_text, needs_value
from tenantry.steps.derivation import equal, literal_key
from tenantry.steps.introspection import identifiers
from tenantry.steps.sentinel import SENTINEL

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
