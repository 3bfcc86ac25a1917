"""The plan: the list of steps for a spec and a schema, in the order in which they are applied."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from tenantry.errors import UsageError
from tenantry.model.finding import Finding
from tenantry.model.ownership import Ownership
from tenantry.model.plan import Phase
from tenantry.model.schema import Schema
from tenantry.model.spec import Spec
from tenantry.planning.backfill import backfill_steps
from tenantry.planning.citus import citus_steps
from tenantry.planning.context import PlanContext
from tenantry.planning.contract import contract_steps
from tenantry.planning.distribute import distribute_steps
from tenantry.planning.enforce import enforce_steps
from tenantry.planning.expand import expand_steps
from tenantry.planning.isolate import isolate_steps
from tenantry.planning.ownership import resolve
from tenantry.steps import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The steps, and the ownership that they were made from; `refusals` are findings that prevent the spec from being
    applied."""

    ownership: Ownership
    steps: tuple[Step, ...]
    refusals: tuple[Finding, ...] = ()

    def along(self, steps: Iterable[Step], refusals: tuple[Finding, ...]) -> Plan:
        """The plan with more steps, each at the end of its phase."""
        whole = sorted((*self.steps, *steps), key=lambda step: step.phase.position)
        return replace(self, steps=tuple(whole), refusals=(*self.refusals, *refusals))

    def until(self, phase: Phase) -> tuple[Step, ...]:
        """The steps up to the end of a phase."""
        return tuple(step for step in self.steps if step.phase.position <= phase.position)


def until_option(phase: Phase, steps: Iterable[Step]) -> str:
    """The option of migrate that selects this phase of these steps as the last."""
    return f"--until {phase}" if any(step.engine for step in steps) else phase.option


def make_plan(
    spec: Spec, schema: Schema, *, lenient: bool = False, distribute: bool = False, engine: bool = False
) -> Plan:
    """All steps of all phases; those of the phase distribute only on request, and those that need Citus only with
    `engine`. Raises UsageError if the spec does not fit the schema; `lenient`: what does not fit is left out, and named
    by the ownership."""
    ownership = resolve(spec, schema, lenient=lenient)
    if distribute and any(owned.mixed for owned in ownership.owned):
        ownership = replace(ownership, tenant=replace(ownership.tenant, sentinel=ownership.tenant.zero))
    context = PlanContext(spec=spec, schema=schema, ownership=ownership)
    steps = tuple(_steps(context))
    if distribute:
        prepared = tuple(distribute_steps(context, steps))
        steps = (*steps, *prepared, *(citus_steps(context, prepared) if engine else ()))
    for key, count in Counter(step.key for step in steps).items():
        if count > 1:
            raise UsageError(f"two steps have the same key {key!r}", remedy="Report this with your schema.")
    return Plan(ownership=ownership, steps=steps)


def _steps(context: PlanContext) -> Iterator[Step]:
    yield from expand_steps(context)
    yield from backfill_steps(context)
    yield from enforce_steps(context)
    yield from isolate_steps(context)
    yield from contract_steps(context)
