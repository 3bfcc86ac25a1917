"""Steps that a changed spec removes: their order, and what prevents their removal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg
from psycopg import sql

from tenantry.discovery.tenants import key_of
from tenantry.execution.existing import MISSING, definitions
from tenantry.execution.preflight.findings import refused
from tenantry.execution.rollback.executor import backwards
from tenantry.model.evidence import Evidence
from tenantry.model.finding import Finding
from tenantry.model.name import Name
from tenantry.model.ownership import Owned
from tenantry.model.plan import Phase
from tenantry.model.wording import counted
from tenantry.planning import Plan, until_option
from tenantry.planning.diff import Comparison, State, too_early
from tenantry.postgres.journal import Entry
from tenantry.steps import Backfill, RelationFill, Step, TenantRow, from_json
from tenantry.steps.derivation import derived

firm = partial(refused, forcible=False)
"""A refusal that --force does not override: going on would lose values permanently, or leave a mixture of two specs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """The journal's steps that are reverted: `first`, before anything is applied, those that would be in the way of
    that; `last` those on which other steps depend, and those that leave nothing behind."""

    first: tuple[Entry, ...] = ()
    last: tuple[Entry, ...] = ()

    @property
    def all(self) -> tuple[Entry, ...]:
        return (*self.first, *self.last)


def leaving(comparison: Comparison, steps: Sequence[Step], entries: Mapping[str, Entry], until: Phase) -> Leaving:
    """Orphaned steps; steps that the spec now asks for in a later phase than `until`, before which they could break the
    old application; and, of changed steps, all that depend on something that one transaction cannot change."""
    first: list[Entry] = []
    last: list[Entry] = []
    for entry in comparison.orphans:
        step = from_json(entry.value)
        # A step that has ended another one is reverted before that other one is applied again.
        early = bool(step.ends or step.undoing) or (not step.carries and bool(step.revert(entry.before)))
        early = early or (step.tenant_row is not None and not step.preserved)
        (first if early else last).append(entry)
    first += [entries[step.key] for step in too_early(steps, entries, until)]
    others = [entries[step.key] for step in comparison.of(steps, State.CHANGED) if not step.in_place]
    alone = [backwards(entry) for entry in others if _alone(entry)]
    if alone:
        known = {entry.key for entry in first}
        first += [entry for entry in others if backwards(entry) <= max(alone) and entry.key not in known]
    return Leaving(first=tuple(sorted(first, key=backwards)), last=tuple(sorted(last, key=backwards)))


def _alone(entry: Entry) -> bool:
    return any(statement.manner.alone for statement in from_json(entry.value).revert(entry.before))


def contradictions(
    connection: psycopg.Connection[Any], plan: Plan, entries: Mapping[str, Entry], comparison: Comparison, until: Phase
) -> Iterator[Finding]:
    """Tenants of rows that would be lost, or that rows would keep although the spec no longer gives them; and a run
    until `until` that would leave later phases as an earlier spec defined them."""
    yield from _beyond(connection, plan, entries, comparison, until)
    for step in comparison.of(plan.steps, State.CHANGED):
        earlier = from_json(entries[step.key].value)
        if step.holds:
            yield _reassigned(step)
        elif earlier.filling is not None:
            yield from _in_doubt(connection, earlier.filling)
    orphans = [from_json(entry.value) for entry in comparison.orphans]
    for step in orphans:
        owned = plan.ownership.of(step.table)
        if step.filling is not None:
            if owned is not None and step.filling.purpose == "default":
                yield from _in_doubt(connection, step.filling)
            if owned is not None and step.undoing is not None:
                yield _distributed(step)
        elif step.holds:
            yield from _values_kept(connection, step, owned=owned)
        elif step.loses:
            yield from _lost(connection, step)
        elif step.tenant_row is not None and step.preserved:
            yield from _used(connection, plan, step.tenant_row)


def _beyond(
    connection: psycopg.Connection[Any], plan: Plan, entries: Mapping[str, Entry], comparison: Comparison, until: Phase
) -> Iterator[Finding]:
    others = [entries[step.key] for step in comparison.of(plan.steps, State.CHANGED)]
    orphans = {entry.key: entry for entry in comparison.orphans}
    found = definitions(connection, [from_json(entry.value) for entry in orphans.values()])
    others += [entry for key, entry in orphans.items() if found[key] is not None]
    furthest = max((Phase(entry.phase) for entry in others), key=lambda phase: phase.position, default=until)
    if furthest.position > until.position:
        yield firm(
            name="beyond", count=len(others),
            message=f"The spec has changed, and the phase {furthest} is applied: a run until {until} would leave that"
            " phase as the earlier spec defined it",
            remedy=f"Run `tenantry migrate {until_option(furthest, plan.steps)}`.",
        )  # fmt: skip


def _reassigned(step: Step) -> Finding:
    message = f"{step.table}: the spec now defines {step.title} differently, and rows contain values of the earlier one"
    if step.tenant_column is not None:
        message = (
            f"The spec now assigns {step.table} to another tenant, and the rows that were assigned before can no longer"
            " be told from others"
        )
    return firm(
        name="values-kept-otherwise", table=step.table, message=message,
        remedy=f"Restore the earlier entry in the spec; or run {_rollback(step)}, then migrate again.",
    )  # fmt: skip


def _in_doubt(connection: psycopg.Connection[Any], step: Backfill) -> Iterator[Finding]:
    count = _count(connection, step.values())
    if count:
        yield firm(
            name="values-in-doubt", table=step.table, count=count,
            message=f"The spec now assigns tenants to {step.table} differently, and {counted(count, 'row')} have a"
            f" tenant from before: which of them were assigned by the earlier spec is no longer known ({step.title})",
            remedy=f"Restore the earlier entry in the spec; or run {_rollback(step)}, then migrate again.",
        )  # fmt: skip


def _distributed(step: Step) -> Finding:
    return firm(
        name="values-kept-otherwise", table=step.table,
        message=f"The spec no longer makes {step.table} a mixed table, and its rows of all tenants have the key of the"
        " sentinel tenant",
        remedy=f"Restore the earlier entry in the spec; or run {_rollback(step)}, then migrate again.",
    )  # fmt: skip


def _lost(connection: psycopg.Connection[Any], step: Step) -> Iterator[Finding]:
    count = _count(connection, step.values())
    if count:
        yield refused(
            name="values-lost", count=count,
            message=f"The spec no longer asks for {step.loses}: {count} would be dropped ({step.title})",
            remedy="Restore the earlier entry in the spec; or go on with --force, which deletes them.",
        )  # fmt: skip


def _values_kept(connection: psycopg.Connection[Any], step: Step, *, owned: Owned | None) -> Iterator[Finding]:
    count = _count(connection, step.values())
    if owned is not None and step.tenant_column is not None:
        yield firm(
            name="another-column", table=step.table, count=count,
            message=f"The spec names the tenant column of {step.table} {owned.column}, but tenantry has added it as"
            f" {step.tenant_column}",
            remedy=f'Set column = "{step.tenant_column}" again; or `tenantry rollback --confirm`, then migrate again.',
        )  # fmt: skip
    elif count and step.tenant_column is None:
        yield firm(
            name="values-elsewhere", table=step.table, count=count,
            message=f"{counted(count, 'row')} of {step.table} have their tenant under a name that the spec has changed:"
            f" {step.title}",
            remedy=f"Restore the earlier name in the spec; or run {_rollback(step)}, then migrate again.",
        )  # fmt: skip
    elif count:
        yield refused(
            name="values-lost", table=step.table, count=count,
            message=f"The spec no longer makes {step.table} an owned table: the tenants of {counted(count, 'row')}"
            " would be dropped",
            remedy="Make the table owned again; or go on with --force: the backup at the beginning of the run contains"
            f" {step.table} with its tenants, unless --backup none is given.",
        )  # fmt: skip


def given_earlier(
    connection: psycopg.Connection[Any], plan: Plan, entries: Mapping[str, Entry]
) -> dict[Name, sql.Composable]:
    """For the census, by table, which of its rows `e` would keep a tenant that an earlier spec gave them: those that it
    reached and this one does not; and if tables derive from each other, or from themselves, those with another tenant
    than a new fill would give them, since they would pass it on to each other."""
    fills = [step for entry in entries.values() if (step := from_json(entry.value).filling) is not None]
    earlier = [fill for step in fills if step.purpose != "default" and step.restores for fill in step.fills]
    wanted = {fill.wants for step in plan.steps if step.filling is not None for fill in step.filling.fills}
    heirs = plan.ownership.heirs
    moved = {heirs.get(fill.relation, fill.relation) for fill in earlier if fill.wants not in wanted}
    found: dict[Name, sql.Composable] = {}
    for component in plan.ownership.components:
        names = {owned.table for owned in component}
        circular = any(names & _derived_from(plan, owned) for owned in component)
        if not any(owned.table in moved or moved & _derived_from(plan, owned) for owned in component):
            continue
        moved |= names
        for owned in component:
            own = [
                fill for fill in earlier
                if heirs.get(fill.relation, fill.relation) == owned.table and fill.column == owned.column
            ]  # fmt: skip
            if own and not owned.has_own_column:
                rows = (_keeping(connection, fill, circular=circular) for fill in own)
                found[owned.table] = sql.SQL("({})").format(sql.SQL(" OR ").join(rows))
    return found


def _derived_from(plan: Plan, owned: Owned) -> set[Name]:
    sources = [path.target for path in owned.paths] + [child.table for child in owned.children]
    return {plan.ownership.heirs.get(name, name) for name in sources}


def _keeping(connection: psycopg.Connection[Any], fill: RelationFill, *, circular: bool) -> sql.Composed:
    """Rows `e` of the census that are in this relation, and keep what this fill, or one beside it, gave them."""
    here = sql.SQL("SELECT FROM ONLY {} AS row WHERE row.ctid = e.address AND row.tableoid = e.relation AND ").format(
        fill.relation.identifier
    )
    column = sql.Identifier("row", fill.column)
    another = sql.SQL("{}::text IS DISTINCT FROM {}").format(column, key_of(sql.SQL("e.tenant")))
    if circular:
        return sql.SQL("EXISTS ({}{} IS NOT NULL AND {})").format(here, column, another)
    tenant = derived(fill.sources, sql.Identifier("row"))
    given = sql.SQL("{}::text OPERATOR(pg_catalog.=) ({})::text").format(column, tenant)
    look = sql.SQL("SELECT FROM ONLY {} AS row WHERE {} LIMIT 0").format(fill.relation.identifier, given)
    try:
        connection.execute(look)
    except MISSING:
        # Tables that the sources read are gone: the rows that they reached can no longer be told from others.
        given = sql.SQL("{} IS NOT NULL").format(column)
    return sql.SQL("e.orphan AND EXISTS ({}{} AND {})").format(here, given, another)


def kept_from_earlier(evidence: Evidence) -> Iterator[Finding]:
    """The rows that, according to the census, keep a tenant that a fresh migration would not give them."""
    for table in evidence.tables.values():
        if table.earlier:
            yield firm(
                name="values-in-doubt", table=table.table, count=table.earlier,
                message=f"{counted(table.earlier, 'row')} of {table.table} have a tenant from an earlier spec that"
                " this spec would not assign to them",
                remedy="Restore the earlier entry in the spec; or run"
                f" `tenantry rollback --confirm --table {table.table}`, then migrate again.",
            )  # fmt: skip


def _used(connection: psycopg.Connection[Any], plan: Plan, step: TenantRow) -> Iterator[Finding]:
    """Rows that belong to a tenant that tenantry has added and the spec no longer lists."""
    tables = []
    for owned in plan.ownership.owned:
        rows = sql.SQL("SELECT pg_catalog.count(*) FROM {} AS row WHERE row.{} = {}").format(
            owned.table.identifier, sql.Identifier(owned.column), step.tenant.key_of(step.slug)
        )
        count = _count(connection, rows)
        if count:
            tables.append((owned.table, count))
    if tables:
        total = sum(count for _, count in tables)
        yield firm(
            name="tenant-used", table=step.table, count=total,
            message=f"The spec no longer lists the tenant {step.slug!r}, which tenantry has added, and"
            f" {counted(total, 'row')} belong to it: {', '.join(f'{count} of {table}' for table, count in tables)}",
            remedy="Add it to [[tenant.rows]] again, or assign these rows to another tenant.",
        )  # fmt: skip


def _count(connection: psycopg.Connection[Any], query: sql.Composable | None) -> int:
    """0 where the table or column no longer exists."""
    if query is None:
        return 0
    try:
        row = connection.execute(sql.Composed([query])).fetchone()
    except MISSING:
        return 0
    return int(row[0]) if row is not None else 0


def _rollback(step: Step) -> str:
    whole = "" if step.of_table else ", which rolls back everything"
    table = f" --table {step.table}" if not whole else ""
    return f"`tenantry rollback --confirm{table}`{whole}"


def columns_going(entries: Sequence[Entry]) -> frozenset[Name]:
    """The tables whose tenant columns are removed."""
    steps = (from_json(entry.value) for entry in entries)
    return frozenset(step.table for step in steps if step.tenant_column is not None)
