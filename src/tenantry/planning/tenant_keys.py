"""The foreign key of each tenant column to the tenant table, in contract.

Before contract it would make statements of the old application fail or wait: a tenant whose rows are deleted by a
cascade could not be deleted, nor its key be changed, children could not be inserted before their parents, and a session
that has locked the tenant's row, as a mutex, would keep others from inserting (hazard 22). Until then triggers and
composite keys make sure that rows have a tenant.

The user's own keys determine what happens to a tenant's rows: the new key has no action, and is checked at COMMIT when
a tenant is deleted or its key is changed, for which a trigger on the tenant table defers it; and always if a key on the
path to the tenant is deferrable. Only if none of the user's keys leads to the tenant's key does a change of that key
cascade.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import replace

from tenantry.model.name import Name, quoted
from tenantry.model.ownership import Owned, Path
from tenantry.model.plan import Phase
from tenantry.model.schema import Kind, Table
from tenantry.planning.context import OwnedRelation, PlanContext
from tenantry.planning.paths import foreign_keys
from tenantry.steps import Step, TenantForeignKey, TenantsDeferred, ValidateForeignKey

PHASE = Phase.CONTRACT
TENANT_KEY = "tenantry_tenant_fkey"
LETS_GO = {"n": "SET NULL", "d": "SET DEFAULT"}


def bearers(unit: OwnedRelation) -> tuple[tuple[Table, bool], ...]:
    """The relations on which a foreign key is declared, partitions first, and whether it adopts theirs."""
    if unit.table.kind is Kind.PARTITIONED:
        return (*((part, False) for part in unit.relations), (unit.table, True))
    return ((unit.table, False),)


def tenant_keys(context: PlanContext) -> Iterator[Step]:
    """The keys, NOT VALID; before them the trigger that defers them."""
    yield from _deferral(context)
    for unit, wanted in _missing_keys(context):
        for table, whole in bearers(unit):
            if not whole:
                yield replace(wanted, table=table.name)


def tenant_keys_valid(context: PlanContext) -> Iterator[Step]:
    """Their validation."""
    for unit, wanted in _missing_keys(context):
        for table, whole in bearers(unit):
            if whole:
                yield replace(wanted, whole=True, tree=unit.tree_names)
            else:
                parent = wanted.parent
                yield ValidateForeignKey(phase=PHASE, table=table.name, constraint=TENANT_KEY, parent=parent)


def _missing_keys(context: PlanContext) -> Iterator[tuple[OwnedRelation, TenantForeignKey]]:
    """The units whose tenant column has no foreign key of the user's to the tenant table, each with tenantry's key."""
    tenant, led, staying, deferred = context.ownership.tenant, _led(context), _staying(context), _deferred(context)
    for unit in context.units():
        own, reason = (unit.owned.column,), staying[unit.owned.table]
        if any(key.columns == own and key.parent == tenant.name for key in unit.table.foreign_keys):
            continue
        changes = f"a tenant can no longer be deleted while it has rows in {unit.name}: {reason}" if reason else ""
        yield unit, TenantForeignKey(
            phase=PHASE, table=unit.name, constraint=TENANT_KEY, columns=own, parent=tenant.name,
            parent_columns=(tenant.key,), on_update="a" if unit.owned.table in led else "c", deferrable=True,
            deferred=unit.owned.table in deferred, changes=changes,
        )  # fmt: skip


def _deferral(context: PlanContext) -> Iterator[Step]:
    name = context.ownership.tenant.name
    one_each = {unit.name.schema: unit.name for unit, _ in _missing_keys(context)}
    known = context.schema.tables.get(name)
    if one_each:
        yield TenantsDeferred(
            phase=PHASE, table=name, column=context.ownership.tenant.key, tables=tuple(one_each.values()),
            constraints=tuple(Name(schema, TENANT_KEY) for schema in one_each),
            owner=known.owner if known is not None else context.operator,
        )  # fmt: skip


def _deferred(context: PlanContext) -> Set[Name]:
    """The tables from which a deferrable key leads to the tenant: their rows may be inserted before it."""
    found = set[Name]()
    for owned in context.ownership.owned:
        for path in owned.paths:
            if any(hop.deferrable for hop in path.hops) or _root(context, path.target) in found:
                found.add(owned.table)
    return found


def _led(context: PlanContext) -> Set[Name]:
    """The tables whose rows the user's keys and the composite ones change when the tenant's key changes: those from
    which a path leads there from one owned table to the next."""
    tenant, led = context.ownership.tenant, set[Name]()
    for owned in context.ownership.owned:
        ends = [path.hops[0] for path in owned.paths if len(path.hops) == 1]
        if any(
            hop.parent_columns == (tenant.key,) if hop.parent == tenant.name else _root(context, hop.parent) in led
            for hop in ends
        ):
            led.add(owned.table)
    return led


def _root(context: PlanContext, table: Name) -> Name:
    return context.ownership.heirs.get(table, table)


# --- rows that stay


def _staying(context: PlanContext) -> Mapping[Name, str]:
    """By table, the reason why rows stay when their tenant is deleted; empty if the user's keys delete them, or
    refuse."""
    found: dict[Name, str] = {}
    for owned in context.ownership.owned:
        reasons = [_letting(context, owned, path, found) for path in owned.paths]
        found[owned.table] = "" if "" in reasons else (reasons or ["no foreign key leads from them to it"])[0]
    return found


def _letting(context: PlanContext, owned: Owned, path: Path, known: Mapping[Name, str]) -> str:
    """The same for one path; for tables that give each other their tenants it is not known."""
    at = owned.table
    for hop in path.hops:
        keys = foreign_keys(context.schema, context.schema.tables[at])
        key = next((key for key in keys if key.columns == hop.columns and key.parent == hop.parent), None)
        if key is None:
            return f"{at} ({', '.join(hop.columns)}) is not a foreign key of the database"
        if key.on_delete in LETS_GO:
            return f"{quoted(key.name)} of {at} is ON DELETE {LETS_GO[key.on_delete]}"
        if hop.nullable:
            return f"{quoted(key.name)} of {at} can be NULL"
        at = _root(context, hop.parent)
    return "" if at == context.ownership.tenant.name else known.get(at, f"{owned.table} and {at} refer to each other")
