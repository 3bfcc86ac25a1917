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


def expand_steps(context: PlanContext) -> Iterator[Step]:
    yield from tenant_steps(context)
    for owned in context.ownership.owned:
        if owned.assignment is not None and owned.assignment.rows is not None:
            yield AssignedRows(
                phase=PHASE, table=owned.table, name=context.assigned(owned), owner=context.owner(owned.table),
                rows=owned.assignment.rows,
            )  # fmt: skip
    for owned in context.ownership.owned:
        if not owned.has_own_column:
            yield _column(context, owned)
    # First the cascade triggers, then the assignment triggers: a row that got a tenant in between would not follow its
    # parent.
    yield from _follows(context)
    for unit in context.units():
        if has_assignment(unit):
            yield assignment(context, unit)
    yield from _adoptions(context)


def tenant_steps(context: PlanContext) -> Iterator[Step]:
    """The tenant table if it is to be created, and the tenants that the spec lists."""
    tenant = context.ownership.tenant
    if tenant.create:
        yield CreateTenantTable(
            phase=PHASE, table=tenant.name, key_column=tenant.key, slug=tenant.slug, owner=context.operator
        )
    names = dict(tenant.names)
    slugs = [tenant.default, tenant.quarantine, *tenant.slugs]
    for slug in dict.fromkeys(slug for slug in slugs if slug is not None):
        yield new_tenant(context, slug, names.get(slug))


def new_tenant(context: PlanContext, slug: str, name: str | None) -> TenantRow:
    """The row of a tenant with this slug, and this name if it is given."""
    return TenantRow(
        phase=PHASE, table=context.ownership.tenant.name, tenant=context.reference, slug=slug, name=name,
        columns=_required_columns(context, named=name is not None),
        referenced_by=_given_columns(context), search_path=context.schema.search_path,
    )  # fmt: skip


def _required_columns(context: PlanContext, *, named: bool) -> tuple[str, ...]:
    """Columns of the tenant table besides the slug that a new tenant's row must fill, with its name: text; the
    column of the name, where it is `named`."""
    table = context.schema.tables.get(context.ownership.tenant.name)
    if table is None:
        return ("name",)
    tenant = context.ownership.tenant
    name = name_column(table.columns, tenant) if named else None
    return tuple(
        column.name for column in table.columns
        if column.name == name or (needs_value(column) and column.name != tenant.slug and is_text(column))
    )  # fmt: skip


def _given_columns(context: PlanContext) -> tuple[tuple[Name, str], ...]:
    tenant = context.ownership.tenant.name
    found: list[tuple[Name, str]] = []
    for table in context.schema.tables.values():
        found.extend(
            (table.name, key.columns[0])
            for key in table.foreign_keys
            if key.parent == tenant and len(key.columns) == 1 and not key.inherited
        )
    return tuple(sorted(found))


def constant(context: PlanContext, owned: Owned) -> str | None:
    """The slug with which the column can be added for all rows at once, without updating any (hazard 7)."""
    if owned.assignment is None or owned.assignment.tenant is None or owned.table in context.schema.preserved:
        return None
    family = [unit.table for unit in context.units_of(owned)]
    if any(table.type_used_by for table in family):
        return None
    return owned.assignment.tenant


def _column(context: PlanContext, owned: Owned) -> Step:
    family = [part.name for unit in context.units_of(owned) for part in unit.all]
    return AddTenantColumn(
        phase=PHASE, table=owned.table, column=owned.column, type=context.ownership.tenant.type,
        tree=tuple(name for name in family if name != owned.table),
        constant=constant(context, owned), tenant=context.reference,
    )  # fmt: skip


def has_assignment(unit: OwnedRelation) -> bool:
    """A user's own column needs the trigger only where a backfill may set its NULLs."""
    column = unit.table.column(unit.owned.column)
    return not unit.owned.has_own_column or column is None or not (column.not_null or column.generated)


def assignment(context: PlanContext, unit: OwnedRelation) -> AssignmentTrigger:
    """The trigger that gives a table's new rows their tenant, or protects the user's own column during a backfill."""
    owned = unit.owned
    if owned.has_own_column:
        return AssignmentTrigger(
            phase=PHASE, table=unit.name, column=owned.column, type=context.ownership.tenant.type, sources=(),
            guard=True, tenant=context.reference, owner=unit.table.owner, tree=unit.tree_names,
        )  # fmt: skip
    watched = dict.fromkeys(column for path in owned.paths for column in path.columns)
    fallback = context.fallback(owned)
    if owned.late and owned.paths:
        # The tenant may be found later, from a child or a parent that does not exist yet.
        fallback = None
    return AssignmentTrigger(
        phase=PHASE, table=unit.name, column=owned.column, type=context.ownership.tenant.type,
        sources=tuple(_of_new_row(owned, source) for source in context.sources(owned) if source.kind != "children"),
        watched=tuple(watched), fallback=None if owned.children else fallback, tenant=context.reference,
        owner=unit.table.owner, tree=unit.tree_names,
    )  # fmt: skip


def _of_new_row(owned: Owned, source: Source) -> Source:
    """How the tenant of a new row is found, if it is found at once for every row, by keys that require the parent to
    exist."""
    if isinstance(source, ByPath) and not owned.late:
        return replace(source, certain=not any(hop.nullable or hop.deferrable for hop in source.hops))
    return source


def _adoptions(context: PlanContext) -> Iterator[Step]:
    """One trigger on each table whose rows give a parent its tenant."""
    for unit in context.units():
        adoptions = tuple(
            Adoption(parent=parent.table, parent_column=parent.column, columns=child.columns,
                     parent_columns=child.own_columns, operators=child.operators, child=child.table,
                     told=context.paths_of_child(child), ways=context.by_paths(parent), shared=parent.mixed)
            for parent in context.parents_of(unit.owned.table)
            for child in parent.children
            if child.table == unit.owned.table
        )  # fmt: skip
        if adoptions:
            yield ParentTenantTrigger(
                phase=PHASE, table=unit.name, column=unit.owned.column, adoptions=adoptions, owner=unit.table.owner,
                setting=context.ownership.setting, search_path=context.schema.search_path, tree=unit.tree_names,
            )  # fmt: skip


def _follows(context: PlanContext) -> Iterator[Step]:
    assigned = {unit.name for unit in context.units() if has_assignment(unit)}
    for unit in context.units():
        for number, (owner, followers) in enumerate(context.followers(unit.owned).items(), start=1):
            yield TenantCascadeTrigger(
                phase=PHASE, table=unit.name, name=follow_name(number), column=unit.owned.column,
                followers=tuple(replace(one, assigned=one.table in assigned) for one in followers),
                owner=owner, search_path=context.schema.search_path, tree=unit.tree_names,
            )  # fmt: skip


def follow_name(number: int) -> str:
    """The trigger for the children of one owner, counted from 1."""
    return FOLLOW if number == 1 else f"{FOLLOW}_{number}"
