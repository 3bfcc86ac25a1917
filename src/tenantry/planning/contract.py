"""Contract: steps that the old application would not allow, and the removal of what served it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tenantry.model.name import Name
from tenantry.model.plan import Phase
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

PHASE = Phase.CONTRACT


def contract_steps(ground: PlanContext) -> Iterator[Step]:
    yield from _late_keys(ground)
    yield from tenant_keys(ground)
    for component in ground.ownership.components:
        late = tuple(owned for owned in component if owned.late and not owned.mixed)
        yield from fill_steps(ground, late, PHASE, "rest")
        yield from default_steps(ground, late, PHASE)
    for unit in ground.units():
        for key, parent in ground.composite(unit):
            if ground.waits(unit, key, parent):
                yield from composite_key_valid(ground, unit, key, parent, PHASE)
        if unit.owned.late and not unit.owned.mixed:
            yield from not_null(unit, PHASE)
    yield from tenant_keys_valid(ground)
    yield from _global_uniques(ground)
    if ground.spec.application.legacy_roles:
        for security in row_securities(ground, legacy=()):
            yield DropLegacyPolicies(phase=PHASE, table=security.table, security=security)
    yield from _triggers(ground)


def _late_keys(ground: PlanContext) -> Iterator[Step]:
    for unit in ground.units():
        if unit.owned.late:
            yield from unique_indexes(ground, unit, PHASE)
    for unit in ground.units():
        if unit.owned.late and not unit.owned.mixed:
            yield NotNullCheck(phase=PHASE, table=unit.name, column=unit.owned.column, tree=unit.tree_names)
        for key, parent in ground.composite(unit):
            if ground.waits(unit, key, parent):
                yield from composite_key(ground, unit, key, parent, PHASE)


def _global_uniques(ground: PlanContext) -> Iterator[Step]:
    for unit in ground.units():
        for name in unit.owned.unique:
            unique = next((unique for unique in unit.table.uniques if unique.name == name), None)
            if unique is not None:
                yield DropGlobalUnique(
                    phase=PHASE,
                    table=unit.name,
                    unique=unique,
                    replaced_by=per_tenant_name(unit, name),
                    mixed=unit.owned.mixed,
                )


def _triggers(ground: PlanContext) -> Iterator[Step]:
    for unit in ground.units():
        if has_assignment(unit):
            ended = _ended(unit, ASSIGN, function_name(unit.name, "assign"), "assignment")
            yield replace(ended, guard=assignment(ground, unit)) if unit.owned.given else ended
        if ground.parents_of(unit.owned.table):
            yield _ended(unit, ADOPT, function_name(unit.name, "adopt"), "adoption")
        for number, _ in enumerate(ground.followers(unit.owned), start=1):
            name = follow_name(number)
            yield _ended(unit, name, follow_function(unit.name, name), "follow", f":{name}")
        for key, parent in ground.references(unit):
            if ground.waits(unit, key, parent) and not parent.mixed:
                name = reference_name(key)
                function = ReferenceTrigger.function_of(unit.name, name)
                yield _ended(unit, name, function, "reference", f":{name}")


def _ended(unit: OwnedRelation, trigger: str, function: Name, kind: str, detail: str = "") -> DropTrigger:
    return DropTrigger(
        phase=PHASE, table=unit.name, trigger=trigger, function=function, made_by=kind, detail=detail,
        tree=unit.tree_names,
    )  # fmt: skip
