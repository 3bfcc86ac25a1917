"""What a command would do to a database, step by step."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tenantry.errors import TenantryError
from tenantry.execution.prospect import Prospect
from tenantry.execution.session import Session
from tenantry.model.finding import Finding
from tenantry.model.name import Name
from tenantry.model.plan import ExecutionMode, Phase, Statement
from tenantry.model.schema import Schema
from tenantry.planning.diff import State
from tenantry.planning.expected import estimated_rows, expected_seconds
from tenantry.postgres.journal import Entry
from tenantry.steps import Step, from_json


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """A step and the statements that apply or revert it; for a changed one, both. `rows` is PostgreSQL's estimate of
    the rows that it reads or changes, None if it touches none, or nothing is known."""

    step: Step
    in_force: bool
    statements: tuple[Statement, ...]
    rows: int | None = None
    state: State = State.PENDING
    last: bool = False
    """For a removal: it follows everything that is applied, instead of preceding it."""

    @property
    def seconds(self) -> float:
        """Its expected duration; None if it is applied."""
        return 0.0 if self.in_force else expected_seconds(self.statements, self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """What a command would do to a database, step by step; `undecided` are tables that the spec leaves open."""

    command: str
    database: str
    server: str
    steps: tuple[PlannedStep, ...]
    undecided: Mapping[Name, str]
    reverts: tuple[PlannedStep, ...] = ()
    """The steps that the spec no longer asks for, in the order of their removal."""
    tables: tuple[Name, ...] = ()
    """For a rollback of some tables: those that are reverted completely, and those that are reverted in part."""
    others: tuple[Name, ...] = ()
    refusal: TenantryError | None = None
    """For a plan: why migrate would refuse it, as far as is known without the census of the rows."""
    findings: tuple[Finding, ...] = ()
    """For a plan: the findings of its preflight, including those that do not refuse the run."""

    @property
    def back(self) -> bool:
        """Whether the steps would be reverted."""
        return self.command in ("rollback", "balances remove")

    def by_phase(self) -> Iterator[tuple[Phase, tuple[PlannedStep, ...]]]:
        """The phases that have steps, with the steps, in the order of the command."""
        for phase in reversed(Phase) if self.back else Phase:
            steps = tuple(planned for planned in self.steps if planned.step.phase is phase)
            if steps:
                yield phase, steps


def outline_of(session: Session, prospect: Prospect, steps: Sequence[Step], *, command: str) -> Outline:
    """The outline of these steps; and, for a prospect, of those that it reverts."""
    going = {entry.key for entry in prospect.leaving.all}
    return Outline(
        command=command, database=session.schema.database, server=_server(session.schema.version),
        undecided=session.plan.ownership.undecided,
        steps=tuple(_planned(session, prospect, step, going) for step in steps),
        reverts=(*takes_back(prospect.leaving.first), *takes_back(prospect.leaving.last, last=True)),
    )  # fmt: skip


def takes_back(entries: Iterable[Entry], *, last: bool = False) -> tuple[PlannedStep, ...]:
    """The removals of steps that the spec no longer asks for."""
    planned = []
    for entry in entries:
        step = from_json(entry.value)
        statements = step.revert(entry.before)
        if statements:
            planned.append(
                PlannedStep(step=step, in_force=False, statements=statements, state=State.ORPHANED, last=last)
            )
    return tuple(planned)


def _planned(session: Session, prospect: Prospect, step: Step, going: Collection[str]) -> PlannedStep:
    state, statements = prospect.comparison.states[step.key], step.apply()
    rows = _rows(step, statements, session.schema)
    if state is State.CHANGED and not step.in_place and step.key not in going:
        entry = session.entries[step.key]
        statements = (*from_json(entry.value).revert(entry.before), *statements)
    return PlannedStep(step=step, in_force=state.in_force, statements=statements, rows=rows, state=state)


def _server(version: int) -> str:
    return f"PostgreSQL {version // 10000}.{version % 10000}"


def _rows(step: Step, statements: Iterable[Statement], schema: Schema) -> int | None:
    if step.filling is not None:
        estimates = [estimated_rows(schema, relation) for relation in step.filled]
    elif any(statement.manner is not ExecutionMode.TRANSACTION for statement in statements):
        estimates = [estimated_rows(schema, step.table)]
    else:
        return None
    known = [rows for rows in estimates if rows is not None]
    return sum(known) if known else None
