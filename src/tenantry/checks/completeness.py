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


def completeness(ground: CheckContext) -> Iterator[Check | Finding]:
    """Rows without a tenant, and rows whose tenant does not exist; before the backfill, rows that would prevent it."""
    yield from _tenant_table(ground)
    yield from unfilled(ground)
    empty = unfilled_tables(ground)
    for unit in ground.planning.units():
        if ground.wants(unit.name) and ground.has(unit.name, unit.owned.column):
            if not unit.owned.mixed:
                waiting = unit.owned.late and unit.owned.table not in empty and not ground.reached(Phase.CONTRACT)
                yield _without(unit, waiting=waiting)
            yield from _unknown(ground, unit)
    yield from _without_members(ground)


def _without_members(ground: CheckContext) -> Iterator[Check]:
    """Rows that no tenant sees, because no link leads from one to them."""
    for member in ground.ownership.members:
        tenant = ground.planning.column(member.link)
        if not (ground.wants(member.table) and ground.has(member.link, tenant, *member.columns)):
            continue
        key = ground.schema.tables[member.table].primary_key or member.own_columns
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


def _tenant_table(ground: CheckContext) -> Iterator[Finding]:
    tenant = ground.ownership.tenant
    if not ground.has(tenant.name) and not tenant.create:
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


def _unknown(ground: CheckContext, unit: OwnedRelation) -> Iterator[Check]:
    tenant = ground.ownership.tenant
    if not ground.has(tenant.name, tenant.key):
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


def slugs(ground: CheckContext) -> Mapping[str, str]:
    """The slug of every tenant by its key as text; the key itself where it has no slug."""
    tenant = ground.ownership.tenant
    if not ground.has(tenant.name, tenant.key):
        return {}
    shown = tenant.slug if ground.has(tenant.name, tenant.slug) else tenant.key
    query = sql.SQL("SELECT t.{}::text, t.{}::text FROM {} AS t").format(
        sql.Identifier(tenant.key), sql.Identifier(shown), tenant.name.identifier
    )
    return {key: slug if slug is not None else key for key, slug in ground.connection.execute(query) if key is not None}


def distributions(
    ground: CheckContext, rows: Mapping[Name, Mapping[str | None, int]], known: Mapping[str, str]
) -> tuple[Distribution, ...]:
    """The distribution of every relation of an owned table that has its tenant column."""
    return tuple(
        Distribution.of(unit.name, rows[unit.name], known)
        for unit in ground.planning.units()
        if unit.name in rows and ground.has(unit.name, unit.owned.column)
    )


def spread(ground: CheckContext, found: Sequence[Distribution], known: Mapping[str, str]) -> Iterator[Finding]:
    """Tables of which nearly all rows belong to one of several tenants, and tenants without any row."""
    limit = ground.spec.limits.largest_share
    chosen = "largest_share" in ground.spec.limits.model_fields_set
    several = len(known) > 1
    for one in found:
        if several and one.tenants and one.share > limit:
            yield Finding(
                name="largest-share", family=Family.COMPLETENESS, table=one.table,
                severity=Severity.WARNING if chosen else Severity.INFO,
                message=f"{one.share:.0%} of the rows of {one.table} belong to one tenant, {one.largest[0][0]!r}",
                remedy="Nothing to do if that is right; [limits] largest_share in the spec sets the limit.",
                samples=tuple({"tenant": slug, "rows": count} for slug, count in one.largest[: ground.samples]),
            )  # fmt: skip


def empty_tenants(
    ground: CheckContext, rows: Mapping[Name, Mapping[str | None, int]], known: Mapping[str, str]
) -> Iterator[Finding]:
    """Tenants without a row in any owned table."""
    if ground.tables is not None or not rows:
        return
    used = {key for counts in rows.values() for key in counts}
    empty = [slug for key, slug in sorted(known.items(), key=lambda item: item[1]) if key not in used]
    reserved = {ground.ownership.tenant.quarantine, ground.ownership.tenant.default}
    empty = [slug for slug in empty if slug not in reserved]
    if empty:
        yield Finding(
            name="empty-tenants", family=Family.COMPLETENESS, severity=Severity.INFO, count=len(empty),
            table=ground.ownership.tenant.name,
            message=f"{len(empty)} of {len(known)} tenants have no row in any table",
            remedy="Nothing to do if they are new.",
            samples=tuple({"tenant": slug} for slug in empty[: ground.samples]),
        )  # fmt: skip
