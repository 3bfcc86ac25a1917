"""Compares plan, journal and catalog: the state of every step."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tenantry.model.plan import Phase
from tenantry.planning.plan import Plan
from tenantry.postgres.journal import Entry
from tenantry.steps import Backfill, Step, from_json

Definitions = Mapping[str, str | None]
"""By key, a step's definition in the catalog, None if it does not exist. A missing key counts as applied."""


class State(StrEnum):
    """The state of a step."""

    APPLIED = "applied"
    PENDING = "pending"
    CHANGED = "changed"
    """Applied, and the spec now defines it differently."""
    MISSING = "missing"
    """Applied, and missing since."""
    ALTERED = "altered"
    """Applied, and altered since."""
    ORPHANED = "orphaned"
    """Applied, and no longer in the plan."""

    @property
    def in_force(self) -> bool:
        """Nothing needs to be done for it. An altered object is not changed: a person decides."""
        return self in (State.APPLIED, State.ALTERED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The states of the plan's steps by key, and the journal's steps that are not in the plan, in the order of
    application. `early`: applied steps that the spec now asks for only in a later phase than any that was reached."""

    states: Mapping[str, State]
    orphans: tuple[Entry, ...] = ()
    early: tuple[Step, ...] = ()

    @property
    def in_force(self) -> frozenset[str]:
        """Keys of the steps for which there is nothing to do."""
        return frozenset(key for key, state in self.states.items() if state.in_force)

    def of(self, steps: Sequence[Step], state: State) -> tuple[Step, ...]:
        """Those of the steps that are in this state."""
        return tuple(step for step in steps if self.states.get(step.key) is state)


def compare(
    steps: Sequence[Step], entries: Mapping[str, Entry], definitions: Definitions, orphans: tuple[Entry, ...] = ()
) -> Comparison:
    """The states of these steps."""
    over = ended(entries, steps, orphans)
    states = {step.key: state_of(step, entries.get(step.key), definitions, over) for step in steps}
    for step in steps:
        # A step that removes another one's object is not applied before that one: nothing can be missing yet.
        early = any(key in states and not states[key].in_force for key in step.ends)
        if early and states[step.key].in_force and not _done(entries.get(step.key)):
            states[step.key] = State.PENDING
    return Comparison(states=states, orphans=orphans, early=too_early(steps, entries, reached(entries)))


def reached(entries: Mapping[str, Entry]) -> Phase:
    """The furthest phase of which a step is applied."""
    phases = (Phase(entry.phase) for entry in entries.values() if _done(entry))
    return max(phases, key=lambda phase: phase.position, default=Phase.EXPAND)


def too_early(steps: Sequence[Step], entries: Mapping[str, Entry], until: Phase) -> tuple[Step, ...]:
    """Steps that were applied in a phase until `until`, and that the spec now asks for only in a later one: before that
    they could break the old application."""
    return tuple(
        step
        for step in steps
        if (entry := entries.get(step.key)) is not None
        and Phase(entry.phase).position <= until.position < step.phase.position
    )


def steps_to_read(
    steps: Sequence[Step], entries: Mapping[str, Entry], orphans: tuple[Entry, ...] = (), *, exact: bool
) -> tuple[Step, ...]:
    """The steps whose definition must be read; a backfill's, row by row, only if `exact`."""
    over = ended(entries, steps, orphans)
    return tuple(
        step
        for step in steps
        if step.key not in over
        and (not step.journaled or _done(entries.get(step.key)))
        and (exact or not isinstance(step, Backfill))
    )


def state_of(step: Step, entry: Entry | None, definitions: Definitions, over: Collection[str]) -> State:
    """The state of a step of the plan; `over` are the keys of the steps that a later step has ended."""
    if step.key in over:
        return State.APPLIED
    if changed(step, entry):
        return State.CHANGED
    if not _done(entry):
        exists = not step.journaled and definitions.get(step.key) is not None
        return State.APPLIED if exists else State.PENDING
    return _as_made(step, entry, definitions)


def changed(step: Step, entry: Entry | None) -> bool:
    """Whether the journal has a step of this key with another definition."""
    return entry is not None and entry.state != "kept" and entry.wanted != step.wanted


def _as_made(step: Step, entry: Entry | None, definitions: Definitions) -> State:
    if step.key not in definitions:
        return State.APPLIED
    if definitions[step.key] is None:
        return State.MISSING
    as_made = entry is None or not step.compared or entry.definition in (None, definitions[step.key])
    return State.APPLIED if as_made else State.ALTERED


def made(entries: Mapping[str, Entry]) -> tuple[Step, ...]:
    """Steps that are applied according to the journal and can be found in the catalog: without those that a later step
    has ended."""
    over = ended(entries)
    steps = (from_json(entry.value) for entry in entries.values() if _done(entry))
    return tuple(step for step in steps if not step.journaled and step.key not in over)


def altered(entries: Mapping[str, Entry], definitions: Definitions) -> tuple[str, ...]:
    """Keys of those of `made` that were altered or dropped since, whatever the spec says now."""
    return tuple(
        step.key for step in made(entries) if _as_made(step, entries[step.key], definitions) is not State.APPLIED
    )  # fmt: skip


def orphaned(plan: Plan, entries: Mapping[str, Entry]) -> tuple[Entry, ...]:
    """Applied steps that the plan no longer has, in the order of application. For undecided tables, and those that the
    spec does not fit, that is not known."""
    if plan.ownership.misfits:
        return ()
    planned = {step.key for step in plan.steps}
    definitions = []
    for entry in entries.values():
        step = from_json(entry.value)
        root = plan.ownership.heirs.get(step.table, step.table)
        if step.key not in planned and root not in plan.ownership.undecided:
            definitions.append(entry)
    return tuple(definitions)


def ended(entries: Mapping[str, Entry], steps: Sequence[Step] = (), orphans: tuple[Entry, ...] = ()) -> frozenset[str]:
    """Keys of the steps that a later one has ended, and is to end: none of the `orphans`.

    If the plan has another one under its key, such a step is needed once more, unless the step that ended it has made
    everything that is still wanted of it, or has changed itself. The same holds for a trigger that keeps a fill from
    changing other columns, if rows are to be filled.
    """
    going = {entry.key for entry in orphans}
    over = [(ender, key) for ender, key in _enders(entries) if ender not in going]
    if not over:
        return frozenset()
    planned = {step.key: step for step in steps}
    # A partition that came since has got from its table what the step has made.
    for ender in dict.fromkeys(ender for ender, _ in over):
        if ender in planned and planned[ender].below and not changed(planned[ender], entries[ender]):
            over += ((ender, key) for key in planned[ender].ends)
    filling = {
        relation
        for step in steps
        if step.filled and not _as_wanted(step, entries.get(step.key))
        for relation in step.filled
        if relation in step.allotted
    }
    return frozenset(
        key
        for ender, key in over
        if key not in planned
        or (ender in planned and (planned[ender].supersedes or changed(planned[ender], entries[ender])))
        or not (changed(planned[key], entries.get(key)) or not filling.isdisjoint(planned[key].shields))
    )


def enders(entries: Mapping[str, Entry]) -> dict[str, tuple[str, ...]]:
    """By the key of a step that was ended, the keys of the steps that have ended it."""
    definitions: dict[str, tuple[str, ...]] = {}
    for ender, key in _enders(entries):
        definitions[key] = (*definitions.get(key, ()), ender)
    return definitions


def _enders(entries: Mapping[str, Entry]) -> Iterator[tuple[str, str]]:
    for entry in entries.values():
        if _done(entry):
            yield from ((entry.key, key) for key in from_json(entry.value).ends)


def differing(entries: Mapping[str, Entry], others: Mapping[str, Entry]) -> tuple[str, ...]:
    """The keys of the steps on tables that two databases do not have in common, or that want something else in each.
    Other steps do not count: a role may have existed on one of the servers before."""
    one, two = (
        {key: entry.wanted for key, entry in given.items() if from_json(entry.value).of_table}
        for given in (entries, others)
    )
    return tuple(sorted(key for key in one.keys() | two.keys() if one.get(key) != two.get(key)))


def _as_wanted(step: Step, entry: Entry | None) -> bool:
    return _done(entry) and not changed(step, entry)


def _done(entry: Entry | None) -> bool:
    return entry is not None and entry.state == "done"
