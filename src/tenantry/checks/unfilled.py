"""Before the backfill: rows that find no tenant or several, by the same census that migrate makes."""

from __future__ import annotations

from collections.abc import Iterator

from tenantry.checks.base import CheckContext
from tenantry.discovery.profile import census
from tenantry.errors import TenantryError
from tenantry.model.evidence import Sample, TableEvidence
from tenantry.model.finding import Family, Finding, Severity
from tenantry.model.name import Name
from tenantry.model.plan import Phase
from tenantry.model.spec import Orphans
from tenantry.model.wording import counted
from tenantry.postgres.census import run_census


def unfilled(context: CheckContext) -> Iterator[Finding]:
    """Orphans and conflicts of the tables that are not filled yet. After that, the columns themselves are checked."""
    wanted = unfilled_tables(context)
    if not wanted or not context.has(context.ownership.tenant.name) or context.hidden:
        return
    if context.standby:
        yield Finding(
            name="census-not-made", family=Family.COMPLETENESS, severity=Severity.INFO,
            message="Whether each row finds a tenant was not checked: that needs temporary tables, which a standby"
            " does not allow",
            remedy="Run the command on the primary server.",
        )  # fmt: skip
        return
    context.looking("the rows, and whether each finds its tenant")
    try:
        # Temporary tables, in a transaction that is rolled back: no row is changed.
        with context.session("census", read_only=False) as connection:
            evidence = run_census(connection, census(context.ownership, context.schema, samples=context.samples))
    except TenantryError as error:
        yield Finding(
            name="census-not-made", family=Family.COMPLETENESS, severity=Severity.WARNING,
            message=f"Whether each row finds a tenant was not checked: {error}",
            remedy=error.remedy,
        )  # fmt: skip
        return
    for name, table in evidence.tables.items():
        if name in wanted:
            yield from _troubles(table)


def unfilled_tables(context: CheckContext) -> frozenset[Name]:
    """Included owned tables with rows that have no tenant yet."""
    made = {key for key, entry in context.entries.items() if entry.state == "done"}
    heirs = context.ownership.heirs
    tables = {
        heirs.get(relation, relation)
        for step in context.plan.steps
        if step.phase.position <= Phase.BACKFILL.position and step.key not in made
        for relation in step.allotted
    }
    return frozenset(owned.table for owned in context.owned() if owned.table in tables)


def _troubles(table: TableEvidence) -> Iterator[Finding]:
    if table.orphans:
        refused = table.policy is Orphans.FAIL
        yield Finding(
            name="orphans", family=Family.COMPLETENESS, table=table.table, count=table.orphans,
            severity=Severity.ERROR if refused else Severity.INFO,
            message=f"{table.table} has {counted(table.orphans, 'orphan')}: rows that no path leads to a tenant",
            remedy='Correct them, or set orphans = "default", "quarantine" or "shared" in the spec.' if refused
            else f"Nothing to do: the spec sets orphans = {table.policy.value!r}.",
            samples=tuple(map(_shown, table.orphan_samples)),
        )  # fmt: skip
    if table.conflicts:
        yield Finding(
            name="conflicts", family=Family.COMPLETENESS, severity=Severity.ERROR, table=table.table,
            count=table.conflicts,
            message=f"{table.table} has {counted(table.conflicts, 'conflict')}: rows whose paths lead to different"
            f" tenants",
            remedy="Correct these rows, or choose another path for them in the spec.",
            samples=tuple(map(_shown, table.conflict_samples)),
        )  # fmt: skip


def _shown(sample: Sample) -> dict[str, str | None]:
    key = {name: None if value is None else str(value) for name, value in sample.key.items()}
    return key | {path: ", ".join(tenants) for path, tenants in sample.tenants.items()}
