"""Enforce: indexes, then all constraints as NOT VALID, then one sweep, then validation. After that the database refuses
wrong rows.

The order matters (hazard 4): rows that were being written during the backfill are corrected by the sweep, which begins
when every constraint already applies to new rows; only then are they validated.
"""

from __future__ import annotations

from collections.abc import Iterator

from tenantry.model.name import Name, hashed, index_name, shortened
from tenantry.model.ownership import Hop, Owned
from tenantry.model.plan import Phase
from tenantry.model.schema import ForeignKey, Kind, Table, Unique
from tenantry.planning.backfill import fill_steps
from tenantry.planning.context import OwnedRelation, PlanContext
from tenantry.planning.tenant_keys import TENANT_KEY, bearers
from tenantry.steps import (
    AttachPartitionIndex,
    NotNullCheck,
    ParentsDeferred,
    PartitionedIndex,
    ReferenceTrigger,
    SetNotNull,
    Step,
    TenantChange,
    TenantForeignKey,
    TenantIndex,
    ValidateForeignKey,
    ValidateNotNullCheck,
    ValidateReferences,
)  # fmt: skip
from tenantry.steps.index import IndexStep
from tenantry.steps.not_null import CHECK
from tenantry.steps.reference import Reference
from tenantry.steps.unique import only_columns

PHASE = Phase.ENFORCE
REFERS = "tenantry_refers_"


def enforce_steps(context: PlanContext) -> Iterator[Step]:
    for unit in context.units():
        yield from _indexes(context, unit)
    for unit in context.units():
        if not unit.owned.late and not unit.owned.mixed:
            yield NotNullCheck(phase=PHASE, table=unit.name, column=unit.owned.column, tree=unit.tree_names)
        yield from _deferral(context, unit)
        for key, parent in context.composite(unit):
            if not context.waits(unit, key, parent):
                yield from composite_key(context, unit, key, parent, PHASE)
    yield from _references(context)
    for component in context.ownership.components:
        derived = tuple(owned for owned in component if owned.assignment is None and not owned.has_own_column)
        yield from fill_steps(context, derived, PHASE, "sweep")
    for unit in context.units():
        yield from _references_valid(context, unit)
        for key, parent in context.composite(unit):
            if not context.waits(unit, key, parent):
                yield from composite_key_valid(context, unit, key, parent, PHASE)
        if not unit.owned.late and not unit.owned.mixed:
            yield from not_null(unit, PHASE)


def not_null(unit: OwnedRelation, phase: Phase) -> Iterator[Step]:
    """The validation of the check, and NOT NULL."""
    column = unit.owned.column
    yield ValidateNotNullCheck(phase=phase, table=unit.name, column=column)
    yield SetNotNull(phase=phase, table=unit.name, column=column, tree=unit.tree_names)


# --- indexes


def _indexes(context: PlanContext, unit: OwnedRelation) -> Iterator[Step]:
    """A tenant column in a unique index is part of a key: changing it waits for all sessions that insert children. So
    if rows have yet to get their tenant, the unique indexes wait for contract, like the keys that need them (hazard
    3)."""
    served = list(_key_sets(context, unit))
    if unit.owned.late:
        served = []
    else:
        yield from unique_indexes(context, unit, PHASE)
    for key, _ in context.references(unit):
        if not any(columns[: len(key.columns)] == key.columns for columns in served):
            served.append(key.columns)
            reason = f"{', '.join(key.columns)} within a tenant"
            yield from index_steps(unit, key.columns, PHASE, unique=False, reason=reason)
    for member in context.links.get(unit.owned.table, ()):
        # The policies look up one row by both columns, and all rows of a tenant.
        wanted = (unit.owned.column, *member.columns)
        has = any(one.columns == wanted and not one.partial for one in unit.table.uniques)
        if not has and not any(columns[: len(member.columns)] == member.columns for columns in served):
            served.append(member.columns)
            reason = f"to find a tenant's rows of {member.table}"
            yield from index_steps(unit, member.columns, PHASE, unique=False, reason=reason)
    if not served:
        yield from index_steps(unit, (), PHASE, unique=False, reason="to find the rows of a tenant")


def _key_sets(context: PlanContext, unit: OwnedRelation) -> tuple[tuple[str, ...], ...]:
    """The unique columns after the tenant column: targets of composite keys, and the primary key."""
    found = dict.fromkeys(context.composite_targets(unit.owned))
    if unit.table.primary_key and unit.owned.column not in unit.table.primary_key:
        found[unit.table.primary_key] = None
    return tuple(found)


def unique_indexes(context: PlanContext, unit: OwnedRelation, phase: Phase) -> Iterator[Step]:
    """The indexes that make the tenant column a part of keys."""
    owned, table = unit.owned, unit.table
    for columns in _key_sets(context, unit):
        if any(set(unique.columns) == set(columns) and not unique.partial for unique in table.uniques):
            yield from index_steps(unit, columns, phase, unique=True, reason="for composite foreign keys to refer to")
    for name in owned.unique:
        found = next(unique for unique in table.uniques if unique.name == name)
        yield from index_steps(
            unit, (), phase, unique=True, rest=found.rest, label=found.name, reason=f"{found.name} within a tenant"
        )
        if owned.mixed:
            yield from _shared_unique(unit, found, phase)


def per_tenant_name(table: Name, name: str) -> Name:
    """The name of the index of a table, or of its partition, that is unique within a tenant, in place of the table's
    index `name`, which is unique over all."""
    return index_name(table, name, ending="key")


def index_steps(
    unit: OwnedRelation,
    columns: tuple[str, ...],
    phase: Phase,
    *,
    unique: bool,
    reason: str,
    rest: str = "",
    label: str = "",
    shared: bool = False,
    partial: bool = False,
) -> Iterator[IndexStep]:
    """An index on a plain table; for a partitioned one, an index on each partition, deepest first, and then on the
    table itself. It begins with the tenant, unless it is one of `shared` rows only."""
    labels = (label,) if label else columns
    ending = "shared" if shared else "key" if unique else "idx"
    column, only_shared = unit.owned.column, unit.owned.column if shared else ""
    if shared and columns:
        column, *others = columns
        columns = tuple(others)
    with_partitions = index_name(unit.name, *labels, ending=ending)
    for table in (*reversed(unit.tree), unit.table):
        index = index_name(table.name, *labels, ending=ending)
        root = with_partitions if table.partition_of is not None else None
        if table.kind is Kind.PARTITIONED:
            parts = tuple(part.name for part in unit.tree if part.partition_of == table.name)
            yield PartitionedIndex(
                phase=phase, table=table.name, index=index, column=column, columns=columns, unique=unique, rest=rest,
                only_shared=only_shared, partial=partial, parts=_below(unit, table.name), root=root,
            )  # fmt: skip
            for part in parts:
                attached = index_name(part, *labels, ending=ending)
                yield AttachPartitionIndex(phase=phase, table=part, index=attached, whole=index, root=with_partitions)
        else:
            yield TenantIndex(
                phase=phase, table=table.name, index=index, column=column, columns=columns, unique=unique, rest=rest,
                only_shared=only_shared, partial=partial, reason=reason, root=root,
            )  # fmt: skip


def _below(unit: OwnedRelation, table: Name) -> tuple[Name, ...]:
    """All partitions below the table or one of its partitions, parents first."""
    found = [table]
    for part in unit.tree:
        if part.partition_of in found:
            found.append(part.name)
    return tuple(found[1:])


def _shared_unique(unit: OwnedRelation, unique: Unique, phase: Phase) -> Iterator[Step]:
    """UNIQUE (tenant, name) allows equal rows without a tenant: these get a separate unique index (hazard 12)."""
    columns = unique.columns if not unique.partial and unique.rest in ("", only_columns(unique.columns)) else ()
    yield from index_steps(
        unit, columns, phase, unique=True, rest="" if columns else unique.rest, label=unique.name, shared=True,
        partial=unique.partial, reason=f"{unique.name} among shared rows",
    )  # fmt: skip


# --- keys


def composite_key(
    context: PlanContext, unit: OwnedRelation, key: ForeignKey, parent: Owned, phase: Phase
) -> Iterator[Step]:
    for table, with_partitions in bearers(unit):
        if not with_partitions:
            yield composite_form(context, unit, table, key, parent, phase, with_partitions=False)


def composite_key_valid(
    context: PlanContext, unit: OwnedRelation, key: ForeignKey, parent: Owned, phase: Phase
) -> Iterator[Step]:
    for table, with_partitions in bearers(unit):
        if with_partitions:
            yield composite_form(context, unit, table, key, parent, phase, with_partitions=True)
        else:
            yield ValidateForeignKey(phase=phase, table=table.name, constraint=_composite_name(key), parent=key.parent)


def _composite_name(key: ForeignKey) -> str:
    name = f"tenantry_{key.name}"
    # A key named tenant_fkey has one beside it that is not the tenant's own.
    return hashed(name) if name in (TENANT_KEY, CHECK) or name.startswith(REFERS) else shortened(name)


def composite_form(
    context: PlanContext,
    unit: OwnedRelation,
    table: Table,
    key: ForeignKey,
    parent: Owned,
    phase: Phase,
    *,
    with_partitions: bool,
) -> TenantForeignKey:
    """The composite key for `key` on `table`, which stores rows of `unit`.

    Added to the user's key: the same columns, then the tenant's, since Django's inspectdb takes the first pair of a
    key for all of it (a key may name its index's columns in any order); the same action on delete, and ON UPDATE
    CASCADE, so that children follow a parent that moves to another tenant; a generated column cannot follow. If the
    user's key is deferrable, so is this one: a session that defers the user's by name does not know of this one (hazard
    11). Otherwise it cannot be deferred by SET CONSTRAINTS ALL, except by a trigger for a row of several parents."""
    on_delete, delete_columns, deferred = context.action(key)
    deferred |= key.deferrable
    changes, on_update = "", "c"
    if context.generated(unit, key):
        # A session that moves the parent to another tenant has until COMMIT to move its children as well.
        on_update, deferred = "a", True
        changes = f"a row of {key.parent} changes its tenant only together with those of {table.name} that refer to it"
    elif key.on_update != "c":
        changes = (
            f"a change of {', '.join(key.parent_columns)} in {key.parent} now cascades to {table.name}"
            if key.on_update in ("a", "r")
            else f"a change of {', '.join(key.parent_columns)} in {key.parent} cascades before {key.name} acts"
        )
    return TenantForeignKey(
        phase=phase, table=table.name, constraint=_composite_name(key),
        columns=(*key.columns, unit.owned.column), parent=key.parent,
        parent_columns=(*key.parent_columns, parent.column), on_delete=on_delete, on_update=on_update,
        delete_columns=delete_columns, deferrable=deferred or len(_composite_names(context, unit)) > 1,
        deferred=deferred, whole=with_partitions, changes=changes,
        tree=unit.tree_names if with_partitions else (),
        parent_tree=tuple(part.name for part in context.schema.partitions(key.parent)),
    )  # fmt: skip


def _composite_names(context: PlanContext, unit: OwnedRelation) -> tuple[Name, ...]:
    return tuple(Name(unit.name.schema, _composite_name(key)) for key, _ in context.composite(unit))


def _deferral(context: PlanContext, unit: OwnedRelation) -> Iterator[Step]:
    """A row with two parents that change their tenant together follows one of them first: its keys are then checked at
    COMMIT, so that an old application, which does not defer constraints, can do so."""
    keys = _composite_names(context, unit)
    if len(keys) > 1:
        yield ParentsDeferred(
            phase=PHASE, table=unit.name, column=unit.owned.column, constraints=keys, owner=unit.table.owner,
            tree=unit.tree_names,
        )  # fmt: skip


# --- references that a composite key cannot hold


def reference_name(key: ForeignKey) -> str:
    return shortened(REFERS + key.name)


def _references(context: PlanContext) -> Iterator[Step]:
    found: dict[Name, list[Reference]] = {}
    for unit in context.units():
        for key, parent in context.references(unit):
            if parent.mixed or context.waits(unit, key, parent):
                hop = _hop(key)
                yield ReferenceTrigger(
                    phase=PHASE, table=unit.name, name=reference_name(key), column=unit.owned.column, hop=hop,
                    type=context.ownership.tenant.type,
                    parent_column=parent.column, owner=unit.table.owner, setting=context.ownership.setting,
                    only_tenants=not parent.mixed, tree=unit.tree_names,
                )  # fmt: skip
            if parent.mixed:
                reference = Reference(table=unit.name, column=unit.owned.column, hop=hop)
                found.setdefault(parent.table, []).append(reference)
    for unit in context.units():
        if unit.owned.table in found:
            yield TenantChange(
                phase=PHASE, table=unit.name, column=unit.owned.column, references=tuple(found[unit.owned.table]),
                tenant=context.reference, owner=unit.table.owner, tree=unit.tree_names,
                setting=context.ownership.setting,
            )  # fmt: skip


def _hop(key: ForeignKey) -> Hop:
    return Hop(columns=key.columns, parent=key.parent, parent_columns=key.parent_columns, operators=key.operators,
               deferrable=key.deferrable)  # fmt: skip


def _references_valid(context: PlanContext, unit: OwnedRelation) -> Iterator[Step]:
    for key, parent in context.references(unit):
        if parent.mixed:
            yield ValidateReferences(
                phase=PHASE, table=unit.name, name=reference_name(key), column=unit.owned.column, hop=_hop(key),
                parent_column=parent.column,
            )  # fmt: skip
