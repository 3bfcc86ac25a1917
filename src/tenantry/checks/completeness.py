"""Completeness: does every row have an existing tenant, and how are the rows spread over the tenants?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from psycopg import sql

from tenantry.checks.base import ROW, Check, CheckContext, QueryCheck, Rows, column
from tenantry.checks.unfilled import unfilled, unfilled_tables
from tenantry.model.distribution import Distribution
from tenantry.model.finding import Family, Finding, Severity
from tenantry.model.name import Name, quoted
from tenantry.model.plan import Phase
from tenantry.planning.context import OwnedRelation
from tenantry.steps.derivation import equal


def completeness(context: CheckContext) -> Iterator[Check | Finding]:
    """Rows without a tenant, and rows whose tenant does not exist; before the backfill, rows that would prevent it."""
    yield from _tenant_table(context)
    yield from unfilled(context)
    empty = unfilled_tables(context)
    for unit in context.planning.units():
        if context.wants(unit.name) and context.has(unit.name, unit.owned.column):
            if not unit.owned.mixed:
                waiting = unit.owned.late and unit.owned.table not in empty and not context.reached(Phase.CONTRACT)
                yield _without(unit, waiting=waiting)
            yield from _unknown(context, unit)
    yield from _without_members(context)


def _without_members(context: CheckContext) -> Iterator[Check]:
    """Rows that no tenant sees, because no link leads from one to them."""
    for member in context.ownership.members:
        tenant = context.planning.column(member.link)
        if not (context.wants(member.table) and context.has(member.link, tenant, *member.columns)):
            continue
        key = context.schema.tables[member.table].primary_key or member.own_columns
        match = equal(ROW, member.own_columns, sql.Identifier("member"), member.columns, member.operators)
        yield Check(
            name="rows-without-member", family=Family.COMPLETENESS, table=member.table, severity=Severity.INFO,
            message=f"{{rows}} of {member.table} not linked to any tenant by {member.link}: no tenant sees them",
            remedy=f"Add rows to {member.link}, unless no tenant is to see these yet.",
            question=QueryCheck(
                query=sql.SQL(
                    "SELECT {} FROM {} AS t"
                    " WHERE NOT EXISTS (SELECT FROM {} AS member WHERE {} AND member.{} IS NOT NULL)"
                ).format(
                    sql.SQL(", ").join(column(name) for name in key), member.table.identifier,
                    member.link.identifier, match, sql.Identifier(tenant),
                )
            ),
        )  # fmt: skip


def _tenant_table(context: CheckContext) -> Iterator[Finding]:
    tenant = context.ownership.tenant
    if not context.has(tenant.name) and not tenant.create:
        yield Finding(
            name="tenant-table-missing", family=Family.COMPLETENESS, severity=Severity.ERROR, table=tenant.name,
            message=f"The tenant table {tenant.name} does not exist",
            remedy="Correct its name in the spec, or set create = true to have it created.",
        )  # fmt: skip


def _without(unit: OwnedRelation, *, waiting: bool) -> Check:
    """`waiting`: from the backfill until contract, a parent that gets its tenant from its children may wait for the
    first of them."""
    return Check(
        name="rows-without-tenant", family=Family.COMPLETENESS, table=unit.name,
        severity=Severity.WARNING if waiting else Severity.ERROR,
        message=f"{{rows}} of {unit.name} without a tenant",
        remedy="Nothing to do: each gets its tenant with the first row that refers to it."
        if waiting
        else "Run `tenantry migrate`: each row gets the tenant that its paths lead to. For rows that no path leads to a"
        " tenant, set `orphans` in the spec.",
        question=Rows(violates=sql.SQL("{} IS NULL").format(column(unit.owned.column)), by_tenant=True),
    )  # fmt: skip


def _unknown(context: CheckContext, unit: OwnedRelation) -> Iterator[Check]:
    tenant = context.ownership.tenant
    if not context.has(tenant.name, tenant.key):
        return
    known = sql.SQL("{own} NOT IN (SELECT tenant.{key} FROM {table} AS tenant WHERE tenant.{key} IS NOT NULL)")
    own = column(unit.owned.column)
    yield Check(
        name="tenant-unknown", family=Family.COMPLETENESS, table=unit.name,
        message=f"{{rows}} of {unit.name} with a tenant that does not exist in {tenant.name}",
        remedy=f"Insert the tenant into {tenant.name}, or correct {quoted(unit.owned.column)} in these rows.",
        shows=((unit.owned.column, own),),
        question=Rows(
            violates=known.format(own=own, key=sql.Identifier(tenant.key), table=tenant.name.identifier), by_tenant=True
        ),
    )  # fmt: skip


# --- the distribution


def slugs(context: CheckContext) -> Mapping[str, str]:
    """The slug of every tenant by its key as text; the key itself where it has no slug."""
    tenant = context.ownership.tenant
    if not context.has(tenant.name, tenant.key):
        return {}
    shown = tenant.slug if context.has(tenant.name, tenant.slug) else tenant.key
    query = sql.SQL("SELECT t.{}::text, t.{}::text FROM {} AS t").format(
        sql.Identifier(tenant.key), sql.Identifier(shown), tenant.name.identifier
    )
    return {
        key: slug if slug is not None else key for key, slug in context.connection.execute(query) if key is not None
    }


def distributions(
    context: CheckContext, rows: Mapping[Name, Mapping[str | None, int]], known: Mapping[str, str]
) -> tuple[Distribution, ...]:
    """The distribution of every relation of an owned table that has its tenant column."""
    return tuple(
        Distribution.of(unit.name, rows[unit.name], known, context.ownership.tenant.sentinel)
        for unit in context.planning.units()
        if unit.name in rows and context.has(unit.name, unit.owned.column)
    )


def spread(context: CheckContext, found: Sequence[Distribution], known: Mapping[str, str]) -> Iterator[Finding]:
    """Tables of which nearly all rows belong to one of several tenants, and tenants without any row."""
    limit = context.spec.limits.largest_share
    chosen = "largest_share" in context.spec.limits.model_fields_set
    several = len(known) > 1
    for one in found:
        if several and one.tenants and one.share > limit:
            yield Finding(
                name="largest-share", family=Family.COMPLETENESS, table=one.table,
                severity=Severity.WARNING if chosen else Severity.INFO,
                message=f"{one.share:.0%} of the rows of {one.table} belong to one tenant, {one.largest[0][0]!r}",
                remedy="Nothing to do if that is right; [limits] largest_share in the spec sets the limit.",
                samples=tuple({"tenant": slug, "rows": count} for slug, count in one.largest[: context.samples]),
            )  # fmt: skip


def empty_tenants(
    context: CheckContext, rows: Mapping[Name, Mapping[str | None, int]], known: Mapping[str, str]
) -> Iterator[Finding]:
    """Tenants without a row in any owned table."""
    if context.tables is not None or not rows:
        return
    used = {key for counts in rows.values() for key in counts}
    tenant = context.ownership.tenant
    known = {key: slug for key, slug in known.items() if key != tenant.sentinel}
    empty = [slug for key, slug in sorted(known.items(), key=lambda item: item[1]) if key not in used]
    reserved = {tenant.quarantine, tenant.default}
    empty = [slug for slug in empty if slug not in reserved]
    if empty:
        yield Finding(
            name="empty-tenants", family=Family.COMPLETENESS, severity=Severity.INFO, count=len(empty),
            table=context.ownership.tenant.name,
            message=f"{len(empty)} of {len(known)} tenants have no row in any table",
            remedy="Nothing to do if they are new.",
            samples=tuple({"tenant": slug} for slug in empty[: context.samples]),
        )  # fmt: skip
