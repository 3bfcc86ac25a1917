"""Expand: tenants, columns, and the triggers that give new rows their tenant. The old application goes on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tenantry.model.name import Name
from tenantry.model.ownership import Owned
from tenantry.model.plan import Phase
from tenantry.planning.context import OwnedRelation, PlanContext
from tenantry.planning.tenant_rows import is_text, name_column, needs_value
from tenantry.steps import (
    AddTenantColumn,
    AssignedRows,
    AssignmentTrigger,
    CreateTenantTable,
    ParentTenantTrigger,
    Step,
    TenantCascadeTrigger,
    TenantRow,
)  # fmt: skip
from tenantry.steps.assignment import Adoption
from tenantry.steps.cascade_trigger import FOLLOW
from tenantry.steps.derivation import ByPath, Source

PHASE = Phase.EXPAND


def expand_steps(ground: PlanContext) -> Iterator[Step]:
    yield from tenant_steps(ground)
    for owned in ground.ownership.owned:
        if owned.assignment is not None and owned.assignment.rows is not None:
            yield AssignedRows(
                phase=PHASE, table=owned.table, name=ground.assigned(owned), owner=ground.owner(owned.table),
                rows=owned.assignment.rows,
            )  # fmt: skip
    for owned in ground.ownership.owned:
        if not owned.given:
            yield _column(ground, owned)
    # First the cascade triggers, then the assignment triggers: a row that got a tenant in between would not follow its
    # parent.
    yield from _follows(ground)
    for unit in ground.units():
        if has_assignment(unit):
            yield assignment(ground, unit)
    yield from _adoptions(ground)


def tenant_steps(ground: PlanContext) -> Iterator[Step]:
    """The tenant table if it is to be created, and the tenants that the spec lists."""
    tenant = ground.ownership.tenant
    if tenant.create:
        yield CreateTenantTable(
            phase=PHASE, table=tenant.name, key_column=tenant.key, slug=tenant.slug, owner=ground.operator
        )
    names = dict(tenant.names)
    slugs = [tenant.default, tenant.quarantine, *tenant.slugs]
    for slug in dict.fromkeys(slug for slug in slugs if slug is not None):
        yield TenantRow(
            phase=PHASE, table=tenant.name, tenant=ground.reference, slug=slug, name=names.get(slug),
            columns=_required_columns(ground, named=slug in names),
            referenced_by=_given_columns(ground), search_path=ground.schema.search_path,
        )  # fmt: skip


def _required_columns(ground: PlanContext, *, named: bool) -> tuple[str, ...]:
    """Columns of the tenant table besides the slug that a new tenant's row must fill, with its name: text; the
    column of the name, where it is `named`."""
    table = ground.schema.tables.get(ground.ownership.tenant.name)
    if table is None:
        return ("name",)
    tenant = ground.ownership.tenant
    name = name_column(table.columns, tenant) if named else None
    return tuple(
        column.name for column in table.columns
        if column.name == name or (needs_value(column) and column.name != tenant.slug and is_text(column))
    )  # fmt: skip


def _given_columns(ground: PlanContext) -> tuple[tuple[Name, str], ...]:
    tenant = ground.ownership.tenant.name
    found: list[tuple[Name, str]] = []
    for table in ground.schema.tables.values():
        found.extend(
            (table.name, key.columns[0])
            for key in table.foreign_keys
            if key.parent == tenant and len(key.columns) == 1 and not key.inherited
        )
    return tuple(sorted(found))


def constant(ground: PlanContext, owned: Owned) -> str | None:
    """The slug with which the column can be added for all rows at once, without updating any (hazard 7)."""
    if owned.assignment is None or owned.assignment.tenant is None or owned.table in ground.schema.kept:
        return None
    family = [unit.table for unit in ground.units_of(owned)]
    if any(table.type_used_by for table in family):
        return None
    return owned.assignment.tenant


def _column(ground: PlanContext, owned: Owned) -> Step:
    family = [part.name for unit in ground.units_of(owned) for part in unit.all]
    return AddTenantColumn(
        phase=PHASE, table=owned.table, column=owned.column, type=ground.ownership.tenant.type,
        tree=tuple(name for name in family if name != owned.table),
        constant=constant(ground, owned), tenant=ground.reference,
    )  # fmt: skip


def has_assignment(unit: OwnedRelation) -> bool:
    """A user's own column needs the trigger only where a backfill may set its NULLs."""
    column = unit.table.column(unit.owned.column)
    return not unit.owned.given or column is None or not (column.not_null or column.generated)


def assignment(ground: PlanContext, unit: OwnedRelation) -> AssignmentTrigger:
    """The trigger that gives a table's new rows their tenant, or protects the user's own column during a backfill."""
    owned = unit.owned
    if owned.given:
        return AssignmentTrigger(
            phase=PHASE, table=unit.name, column=owned.column, type=ground.ownership.tenant.type, sources=(),
            guard=True, tenant=ground.reference, owner=unit.table.owner, tree=unit.tree_names,
        )  # fmt: skip
    watched = dict.fromkeys(column for path in owned.paths for column in path.columns)
    fallback = ground.fallback(owned)
    if owned.late and owned.paths:
        # The tenant may be found later, from a child or a parent that does not exist yet.
        fallback = None
    return AssignmentTrigger(
        phase=PHASE, table=unit.name, column=owned.column, type=ground.ownership.tenant.type,
        sources=tuple(_of_new_row(owned, source) for source in ground.sources(owned) if source.kind != "children"),
        watched=tuple(watched), fallback=None if owned.children else fallback, tenant=ground.reference,
        owner=unit.table.owner, tree=unit.tree_names,
    )  # fmt: skip


def _of_new_row(owned: Owned, source: Source) -> Source:
    """How the tenant of a new row is found, if it is found at once for every row, by keys that require the parent to
    exist."""
    if isinstance(source, ByPath) and not owned.late:
        return replace(source, certain=not any(hop.nullable or hop.deferrable for hop in source.hops))
    return source


def _adoptions(ground: PlanContext) -> Iterator[Step]:
    """One trigger on each table whose rows give a parent its tenant."""
    for unit in ground.units():
        adoptions = tuple(
            Adoption(parent=parent.table, parent_column=parent.column, columns=child.columns,
                     parent_columns=child.own_columns, operators=child.operators, child=child.table,
                     told=ground.told(child), ways=ground.by_paths(parent), shared=parent.mixed)
            for parent in ground.parents_of(unit.owned.table)
            for child in parent.children
            if child.table == unit.owned.table
        )  # fmt: skip
        if adoptions:
            yield ParentTenantTrigger(
                phase=PHASE, table=unit.name, column=unit.owned.column, adoptions=adoptions, owner=unit.table.owner,
                setting=ground.ownership.setting, search_path=ground.schema.search_path, tree=unit.tree_names,
            )  # fmt: skip


def _follows(ground: PlanContext) -> Iterator[Step]:
    assigned = {unit.name for unit in ground.units() if has_assignment(unit)}
    for unit in ground.units():
        for number, (owner, followers) in enumerate(ground.followers(unit.owned).items(), start=1):
            yield TenantCascadeTrigger(
                phase=PHASE, table=unit.name, name=follow_name(number), column=unit.owned.column,
                followers=tuple(replace(one, assigned=one.table in assigned) for one in followers),
                owner=owner, search_path=ground.schema.search_path, tree=unit.tree_names,
            )  # fmt: skip


def follow_name(number: int) -> str:
    """The trigger for the children of one owner, counted from 1."""
    return FOLLOW if number == 1 else f"{FOLLOW}_{number}"
