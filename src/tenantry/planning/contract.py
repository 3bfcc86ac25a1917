"""Contract: steps that the old application would not allow, and the removal of what served it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tenantry.model.name import Name
from tenantry.model.plan import Phase
from tenantry.model.schema import Kind
from tenantry.planning.backfill import default_steps, fill_steps
from tenantry.planning.context import OwnedRelation, PlanContext
from tenantry.planning.enforce import (
    composite_key,
    composite_key_valid,
    not_null,
    per_tenant_name,
    reference_name,
    unique_indexes,
)  # fmt: skip
from tenantry.planning.expand import assignment, follow_name, has_assignment
from tenantry.planning.isolate import row_securities
from tenantry.planning.tenant_keys import tenant_keys, tenant_keys_valid
from tenantry.steps import DropGlobalUnique, DropLegacyPolicies, DropTrigger, NotNullCheck, Step
from tenantry.steps.assignment import ADOPT, ASSIGN
from tenantry.steps.cascade_trigger import follow_function
from tenantry.steps.reference import ReferenceTrigger
from tenantry.steps.trigger import function_name
from tenantry.steps.unique import KeyPart

PHASE = Phase.CONTRACT


def contract_steps(context: PlanContext) -> Iterator[Step]:
    yield from _late_keys(context)
    yield from tenant_keys(context)
    for component in context.ownership.components:
        late = tuple(owned for owned in component if owned.late and not owned.mixed)
        yield from fill_steps(context, late, PHASE, "rest")
        yield from default_steps(context, late, PHASE)
    for unit in context.units():
        for key, parent in context.composite(unit):
            if context.waits(unit, key, parent):
                yield from composite_key_valid(context, unit, key, parent, PHASE)
        if unit.owned.late and not unit.owned.mixed:
            yield from not_null(unit, PHASE)
    yield from tenant_keys_valid(context)
    yield from _global_uniques(context)
    if context.spec.application.legacy_roles:
        for security in row_securities(context, legacy=()):
            yield DropLegacyPolicies(phase=PHASE, table=security.table, security=security)
    yield from _triggers(context)


def _late_keys(context: PlanContext) -> Iterator[Step]:
    for unit in context.units():
        if unit.owned.late:
            yield from unique_indexes(context, unit, PHASE)
    for unit in context.units():
        if unit.owned.late and not unit.owned.mixed:
            yield NotNullCheck(phase=PHASE, table=unit.name, column=unit.owned.column, tree=unit.tree_names)
        for key, parent in context.composite(unit):
            if context.waits(unit, key, parent):
                yield from composite_key(context, unit, key, parent, PHASE)


def _global_uniques(context: PlanContext) -> Iterator[Step]:
    for unit in context.units():
        for name in unit.owned.unique:
            unique = next((unique for unique in unit.table.uniques if unique.name == name), None)
            if unique is not None:
                parts = tuple(
                    KeyPart(
                        table=part.name, unique=own, parent=part.partition_of or unit.name,
                        by=None if part.kind is Kind.PARTITIONED else per_tenant_name(part.name, name),
                    )
                    for part, own in context.schema.unique_parts(unit.name, name)
                )  # fmt: skip
                yield DropGlobalUnique(
                    phase=PHASE, table=unit.name, unique=unique, replaced_by=per_tenant_name(unit.name, name),
                    mixed=unit.owned.mixed, partitioned=unit.table.kind is Kind.PARTITIONED, parts=parts,
                )  # fmt: skip


def _triggers(context: PlanContext) -> Iterator[Step]:
    for unit in context.units():
        if has_assignment(unit):
            ended = _ended(unit, ASSIGN, function_name(unit.name, "assign"), "assignment")
            yield replace(ended, guard=assignment(context, unit)) if unit.owned.has_own_column else ended
        if context.parents_of(unit.owned.table):
            yield _ended(unit, ADOPT, function_name(unit.name, "adopt"), "adoption")
        for number, _ in enumerate(context.followers(unit.owned), start=1):
            name = follow_name(number)
            yield _ended(unit, name, follow_function(unit.name, name), "follow", f":{name}")
        for key, parent in context.references(unit):
            if context.waits(unit, key, parent) and not parent.mixed:
                name = reference_name(key)
                function = ReferenceTrigger.function_of(unit.name, name)
                yield _ended(unit, name, function, "reference", f":{name}")


def _ended(unit: OwnedRelation, trigger: str, function: Name, kind: str, detail: str = "") -> DropTrigger:
    return DropTrigger(
        phase=PHASE, table=unit.name, trigger=trigger, function=function, made_by=kind, detail=detail,
        tree=unit.tree_names,
    )  # fmt: skip
