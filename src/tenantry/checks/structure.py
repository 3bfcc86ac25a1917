"""Structure: is every step of the plan applied, as tenantry made it?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tenantry.checks.base import Check, CheckContext
from tenantry.execution.existing import altered, definitions, survey
from tenantry.model.finding import Family, Finding, Severity
from tenantry.model.name import Name, quoted
from tenantry.model.plan import Phase
from tenantry.planning import until_option
from tenantry.planning.diff import Comparison, State
from tenantry.planning.ownership import MISFIT
from tenantry.postgres.queries import read_queries
from tenantry.steps import Step, from_json

_QUERIES = read_queries(Path(__file__).with_name("sql") / "structure.sql")


def structure(context: CheckContext) -> Iterator[Check | Finding]:
    """Missing and altered objects of tenantry by name; incomplete phases; entries of the spec that do not fit the
    database."""
    context.looking("which steps are applied")
    steps = [step for step in context.plan.steps if context.wants(step.table)]
    comparison = survey(context.connection, context.plan, context.entries, exact=False)
    yield from _misfits(context)
    yield from _undecided(context)
    yield from _hidden(context)
    yield from _types(context)
    yield from _tenants(context)
    yield from _missing(context, comparison.of(steps, State.MISSING))
    yield from _refusals(context)
    yield from _changed(comparison.of(steps, State.CHANGED))
    yield from _early(context, [step for step in comparison.early if context.wants(step.table)])
    yield from _orphaned(context, comparison)
    for phase in Phase:
        yield from _pending(context, phase, steps, comparison.of(steps, State.PENDING))
    yield from _altered(context, comparison)


def _error(name: str, message: str, remedy: str, table: Name, family: Family = Family.STRUCTURE) -> Finding:
    return Finding(name=name, family=family, severity=Severity.ERROR, message=message, remedy=remedy, table=table)


def _misfits(context: CheckContext) -> Iterator[Finding]:
    for message in context.ownership.misfits if context.tables is None else ():
        yield Finding(
            name="spec-does-not-fit", family=Family.STRUCTURE, severity=Severity.ERROR,
            message=f"The spec does not fit the database: {message}",
            remedy="Restore what is missing, or correct the spec.",
        )  # fmt: skip


def _undecided(context: CheckContext) -> Iterator[Finding]:
    for table, reason in sorted(context.ownership.undecided.items()):
        if context.wants(table) and reason != MISFIT:
            yield Finding(
                name="undecided", family=Family.STRUCTURE, severity=Severity.WARNING, table=table,
                message=f"{table} is undecided: {reason}",
                remedy="Give it paths, children, assign, or shared = true in the spec.",
            )  # fmt: skip


def _hidden(context: CheckContext) -> Iterator[Finding]:
    """A count could be wrong, so the rows are not counted."""
    for table in sorted(context.hidden):
        if table in context.schema.tables and context.wants(table):
            yield _error(
                "rows-hidden",
                f"Row-level security of {table} may hide rows from {context.schema.user}, so its rows were not checked",
                "Connect as the operator, or as a role with BYPASSRLS.",
                table,
            )


def _types(context: CheckContext) -> Iterator[Finding]:
    """Each relation's tenant column has the type of the tenant key."""
    wanted = context.ownership.tenant.type
    for unit in context.planning.units():
        for table in unit.all if context.wants(unit.name) else ():
            column = context.live.tables[table.name].column(unit.owned.column) if context.has(table.name) else None
            if column is not None and column.base_type != wanted:
                yield _error(
                    "tenant-column-type",
                    f"{table.name}.{column.name} is of type {column.type}, but the tenant key of type {wanted}",
                    "Change the column's type back to that of the tenant key.",
                    table.name,
                )


def _tenants(context: CheckContext) -> Iterator[Finding]:
    """In a tenant table that tenantry made, key and slug are unique and NOT NULL, and the key has a default."""
    tenant = context.ownership.tenant
    known = context.live.tables.get(tenant.name)
    if not tenant.create or known is None or not context.wants(tenant.name):
        return
    unique = {one.columns for one in known.uniques if one.valid and not one.partial}
    for name in (tenant.key, tenant.slug):
        column = known.column(name)
        if (name,) not in unique or column is None or not column.not_null:
            yield _error(
                "tenant-not-unique",
                f"The column {quoted(name)} of the tenant table {tenant.name} does not forbid NULL and duplicates",
                f"ALTER TABLE {tenant.name} ALTER {quoted(name)} SET NOT NULL, ADD UNIQUE ({quoted(name)}).",
                tenant.name,
            )
    key = known.column(tenant.key)
    if key is not None and key.default is None:
        yield _error(
            "tenant-key-default",
            f"The key {quoted(tenant.key)} of the tenant table {tenant.name} no longer has a default",
            f"ALTER TABLE {tenant.name} ALTER {quoted(tenant.key)} SET DEFAULT gen_random_uuid().",
            tenant.name,
        )


def _refusals(context: CheckContext) -> Iterator[Finding]:
    """What keeps `tenantry migrate` from applying the spec."""
    for finding in context.plan.refusals:
        if finding.table is None or context.wants(finding.table):
            yield replace(finding, family=Family.STRUCTURE)


def _changed(changed: Sequence[Step]) -> Iterator[Finding]:
    """Objects that tenantry made for another spec than this one."""
    for step in changed:
        yield _error(
            "spec-changed", f"{step.subject} was made for an earlier spec, and the spec now asks for another"
            " definition",
            "Run `tenantry migrate`: it replaces it.", step.table,
        )  # fmt: skip


def _early(context: CheckContext, early: Sequence[Step]) -> Iterator[Finding]:
    """Objects that tenantry made for an earlier spec in a phase in which this one does not ask for them yet."""
    found = definitions(context.connection, early)
    for step in early:
        if found[step.key] is not None:
            yield _error(
                "orphaned", f"{step.subject} is applied, and the spec no longer asks for it before {step.phase}",
                f"Run `tenantry migrate`, which removes it until then; or `tenantry migrate {step.phase.option}`.",
                step.table,
            )  # fmt: skip


def _orphaned(context: CheckContext, comparison: Comparison) -> Iterator[Finding]:
    """Existing objects that tenantry made, and that the spec no longer asks for."""
    orphans = [(from_json(entry.value), entry) for entry in comparison.orphans]
    there = [step for step, entry in orphans if context.wants(step.table) and step.revert(entry.before)]
    found = definitions(context.connection, there)
    for step in there:
        if found[step.key] is not None:
            yield _error(
                "orphaned", f"{step.subject} is applied, and the spec no longer asks for it",
                "Run `tenantry migrate`, which removes it; or put back into the spec what asked for it.", step.table,
            )  # fmt: skip


def _missing(context: CheckContext, missing: Sequence[Step]) -> Iterator[Finding]:
    """Objects that tenantry made, and that no longer exist. Where a tenant column is missing, all that depended on it
    is, too."""
    bare = {step.table for step in missing if step.tenant_column is not None}
    remedy = f"Run {context.repair_command}: it creates it again."
    for step in missing:
        if step.table in bare and step.tenant_column is None:
            continue
        if step.tenant_row is not None:
            if step.table in context.hidden:
                continue
            yield _error("tenant-gone", f"{step.subject} no longer exists", remedy, step.table, Family.COMPLETENESS)
            continue
        detail = _security(context, step) if step.policies else ""
        yield _error("not-in-force", f"{step.subject} is missing{detail}", remedy, step.table)


def _security(context: CheckContext, step: Step) -> str:
    """What is wrong with a table's row-level security, by name."""
    row = context.connection.execute(_QUERIES["security"], {"table": step.table.identifier.as_string(None)}).fetchone()
    if row is None:
        return ": the table does not exist"
    enabled, forced, policies = row
    wrong = [*([] if enabled else ["it is disabled"]), *([] if forced else ["it is not forced"])]
    wrong += [f"the policy {name} is missing" for name in step.policies if name not in policies]
    return ": " + ", ".join(wrong) if wrong else ""


def _pending(context: CheckContext, phase: Phase, steps: Sequence[Step], missing: Sequence[Step]) -> Iterator[Finding]:
    """A phase of which steps have never been applied."""
    whole = [step for step in steps if step.phase is phase]
    pending = [step for step in missing if step.phase is phase]
    if not pending:
        return
    begun = context.reached(phase)
    if phase.position >= Phase.CONTRACT.position and not begun:
        severity = Severity.INFO
    else:
        severity = Severity.WARNING if context.reached(Phase.EXPAND) else Severity.ERROR
    yield Finding(
        name="phase-pending", family=Family.STRUCTURE, severity=severity, count=len(pending),
        message=f"The phase {phase} is not {'complete' if begun else 'applied'}:"
        f" {len(pending)} of its {len(whole)} steps are pending",
        remedy=f"Run `tenantry migrate {until_option(phase, context.plan.steps)}`.",
        samples=tuple({"table": str(step.table), "step": step.title} for step in pending[: context.samples]),
    )  # fmt: skip


def _altered(context: CheckContext, comparison: Comparison) -> Iterator[Finding]:
    """Objects of tenantry that were changed since: those in the journal, whatever the spec says now."""
    changed = [from_json(context.entries[key].value) for key in altered(context.connection, context.entries)]
    ours = comparison.in_force
    changed = [step for step in changed if step.key in ours and context.wants(step.table)]
    now = definitions(context.connection, changed)
    for step in changed:
        was, found = context.entries[step.key].definition or "", now[step.key] or ""
        yield Finding(
            name="altered", family=Family.STRUCTURE, severity=Severity.ERROR, table=step.table,
            message=f"{step.subject} was changed since tenantry made it{_difference(was, found)}",
            remedy=f"Restore it; or drop it, and run {context.repair_command}, which creates it again.",
            samples=({"made": was[:1000], "found": found[:1000]},) if context.samples else (),
        )  # fmt: skip


def _difference(was: str, found: str) -> str:
    """The first word of each line that differs: the names of policies, if there are several."""
    lines = [line for line in found.splitlines() if line not in was.splitlines()]
    names = list(dict.fromkeys(line.split(" ")[0] for line in lines if line.startswith("tenantry_")))
    return f": {', '.join(names)}" if names else ""
