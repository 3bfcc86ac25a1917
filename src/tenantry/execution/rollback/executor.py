"""Reverts the journal's steps, the last first; it never drops what others have built on their objects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from tenantry.errors import Interrupted, Refused, TenantryError
from tenantry.execution.events import StepEvent
from tenantry.execution.message import OwnStatement
from tenantry.execution.runner import Runner
from tenantry.execution.transaction import Guard, Outcome
from tenantry.model.plan import Phase, Statement
from tenantry.model.run import StepAction
from tenantry.postgres.dependents import anything_built, detached
from tenantry.postgres.journal import Entry
from tenantry.steps import Step, from_json


def backwards(entry: Entry) -> tuple[int, bool, int]:
    """Sorts steps in the order of their reversal. By phase before all: a step that another spec has added to an earlier
    phase is applied late, and objects of later phases still depend on it. Rows are restored when nothing is left that
    would refuse them, whenever they were filled; and indexes are dropped when no key needs them, whenever they were
    built."""
    step = from_json(entry.value)
    phase = Phase.BACKFILL if step.restores else Phase(entry.phase)
    return -phase.position, step.category == "index", -entry.position


Dependents = Callable[[Step], tuple[str, ...]]
"""Objects of others that depend on a step's objects, as the catalog describes them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StillApplied:
    """A step that is still applied, and why."""

    step: Step
    reason: str


@dataclass(slots=True, kw_only=True)
class Reverting:
    """Reverts steps. With `keep`, steps that hold tenants' values stay. With `force`, a step that cannot be reverted is
    left behind, as are those in `expected_failures`, by their keys and with the reason; otherwise the first one ends
    the run."""

    runner: Runner
    dependents: Dependents
    keep: bool = False
    force: bool = False
    expected_failures: Mapping[str, str] = field(default_factory=dict)
    concerns_dropped_table: Callable[[Statement], bool] = lambda statement: False
    """Whether a statement is about a table that others have dropped."""
    still_applied: list[StillApplied] = field(default_factory=list)

    def all(self, entries: Iterable[Entry]) -> int:
        """Revert them, the last first; the number reverted or kept. Raises TenantryError."""
        ordered = sorted(entries, key=backwards)
        with self.runner.flushing_late():
            for number, entry in enumerate(ordered, start=1):
                self.runner.halt()
                self._one(entry, number, len(ordered))
        return len(ordered) - len(self.still_applied)

    def _one(self, entry: Entry, number: int, total: int) -> None:
        step = from_json(entry.value)
        kept = self.keep and step.preserved
        if self.force and step.key in self.expected_failures:
            self._leave(step, self.expected_failures[step.key], number, total)
            return
        try:
            self.runner.guarded(
                step,
                StepAction.KEPT if kept else StepAction.REVERTED,
                number,
                total,
                lambda: self._revert(step, entry, kept),
            )
        except Interrupted:
            raise
        except TenantryError as error:
            concerns_dropped_table = self.runner.connection.closed or self.runner.connection.broken
            if not self.force or concerns_dropped_table:
                raise
            self._leave(step, error.message, number, total)

    def _leave(self, step: Step, reason: str, number: int, total: int) -> None:
        self.still_applied.append(StillApplied(step=step, reason=reason))
        self.runner.observer(StepEvent(step=step, action=StepAction.LEFT, number=number, total=total, message=reason))

    def _revert(self, step: Step, entry: Entry, kept: bool) -> tuple[Outcome, int | None]:
        statements, rows = self._statements(step, entry, kept), None
        if step.undoing is not None and not all(map(self.concerns_dropped_table, step.apply())):
            rows = self.runner.backfill(step.undoing)
        journal = self.runner.journal
        settled = journal.keeping(step.key) if kept else (journal.forgetting(step.key, plain=not step.noted_besides),)
        # Checked once the step has its locks: objects that would depend on a column later have to wait, and then do not
        # find it.
        looked = step.built if statements and not kept else None
        if all(not statement.manner.alone for statement in statements):
            return self.runner.together(
                statements,
                [] if looked is None
                else [Guard(sql=anything_built(looked), refuse=lambda: self._refuse_dependents(step))],
                [OwnStatement(sql=text) for text in settled],
            ), rows  # fmt: skip
        if looked is not None:
            self._refuse_dependents(step)
        outcome = self.runner.groups(statements)
        with self.runner.connection.transaction():
            if kept:
                journal.keep(step.key)
            else:
                journal.forget(step.key, plain=not step.noted_besides)
        return outcome, rows

    def _statements(self, step: Step, entry: Entry, kept: bool) -> tuple[Statement, ...]:
        """The statements that revert it: for a table that is gone none, and for a partition that was detached since
        those for the objects that it has kept."""
        alone = [step.moved_to(name) for name in detached(self.runner.connection, step.table, step.below)]
        steps = (step, *alone)
        given = [one.keep(entry.before) if kept else one.revert(entry.before) for one in steps]
        return tuple(statement for part in given for statement in part if not self.concerns_dropped_table(statement))

    def _refuse_dependents(self, step: Step) -> None:
        """PostgreSQL itself would refuse for a view, but drop an index of somebody else's silently."""
        found = self.dependents(step)
        if found:
            raise Refused(
                f"{step.table}: {step.title}: other objects depend on it: {', '.join(found)}",
                remedy="Drop these objects; or go on with --force, which leaves this step applied.",
                details=found,
            )
