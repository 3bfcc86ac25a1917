"""Which steps are in force, asked of the catalog for many steps at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psycopg
from psycopg import sql

from tenantry.postgres.journal import Entry
from tenantry.steps import (
    AdoptionTrigger,
    AssignmentTrigger,
    ContextDefault,
    Fill,
    FollowTrigger,
    InvokerView,
    PartitionedIndex,
    ReferenceTrigger,
    RowSecurity,
    Step,
    TenantChange,
    TenantForeignKey,
    TenantIndex,
    from_json,
)  # fmt: skip

TOGETHER = 50
"""Definitions that one query asks for: few round trips, and the planner is not overwhelmed."""
MISSING = (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn)
_COMPARED = (
    AdoptionTrigger, AssignmentTrigger, ContextDefault, FollowTrigger, InvokerView, PartitionedIndex, ReferenceTrigger,
    RowSecurity, TenantChange, TenantForeignKey, TenantIndex,
)  # fmt: skip
"""Steps whose definition stays what it was once they are in force."""


def definitions(connection: psycopg.Connection[Any], steps: Sequence[Step]) -> dict[str, str | None]:
    """What is in force of each step, by its key, as the catalog says; None where nothing is."""
    found: dict[str, str | None] = {}
    for first in range(0, len(steps), TOGETHER):
        part = steps[first : first + TOGETHER]
        try:
            found |= _ask(connection, part)
        except MISSING:
            for step in part:
                try:
                    found |= _ask(connection, (step,))
                except MISSING:
                    found[step.key] = None
    return found


def in_force(
    connection: psycopg.Connection[Any],
    steps: Sequence[Step],
    entries: Mapping[str, Entry],
    *,
    exact: bool = True,
) -> frozenset[str]:
    """Keys of the steps for which there is nothing to do, those included whose work a later step has ended.

    Fills are looked for row by row where `exact`; otherwise the journal is believed.
    """
    over = ended(entries)
    done = {key for key, entry in entries.items() if entry.state == "done"}
    asked = [
        step
        for step in steps
        if step.key not in over and (not step.journaled or step.key in done) and (exact or not isinstance(step, Fill))
    ]
    found = definitions(connection, asked)
    believed = {step.key for step in steps if isinstance(step, Fill) and not exact and step.key in done}
    known = {key for key, text in found.items() if text is not None} | believed | over
    # What takes away a step's work is not done before that step: there is nothing yet to be missing.
    early = {step.key for step in steps if step.key not in done and any(key not in known for key in step.ends)}
    revised = {step.key for step, earlier in _made(steps, entries) if step.key not in over and step.revises(earlier)}
    return frozenset(known - early - revised)


def contradicted(steps: Sequence[Step], entries: Mapping[str, Entry]) -> tuple[Step, ...]:
    """The steps that cannot be applied before what the journal has under their key goes back."""
    return tuple(step for step, earlier in _made(steps, entries) if step.contradicts(earlier))


def _made(steps: Sequence[Step], entries: Mapping[str, Entry]) -> Iterator[tuple[Step, Step]]:
    """Those that are done, each with what it was when it was."""
    for step in steps:
        entry = entries.get(step.key)
        if entry is not None and entry.state == "done":
            yield step, from_json(entry.value)


def _ask(connection: psycopg.Connection[Any], steps: Sequence[Step]) -> dict[str, str | None]:
    if not steps:
        return {}
    query = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT {}::int, (SELECT found.text FROM ({}) AS found(text) LIMIT 1)::text").format(
            sql.Literal(number), sql.Composed([step.definition()])
        )
        for number, step in enumerate(steps)
    )
    return {steps[number].key: text for number, text in connection.execute(query)}


def ended(entries: Mapping[str, Entry]) -> frozenset[str]:
    """Keys of the steps whose work a later step of ours has taken away."""
    done = (from_json(entry.value) for entry in entries.values() if entry.state == "done")
    return frozenset(key for step in done for key in step.ends)


def altered(connection: psycopg.Connection[Any], entries: Mapping[str, Entry]) -> tuple[str, ...]:
    """Keys of the steps of ours whose objects somebody has changed or dropped since."""
    ours = {entry.key: from_json(entry.value) for entry in entries.values() if entry.state == "done"}
    over = {key for step in ours.values() for key in step.ends}
    asked = [step for step in ours.values() if not step.journaled and step.key not in over]
    now = definitions(connection, asked)
    return tuple(
        step.key
        for step in asked
        if now[step.key] is None or (isinstance(step, _COMPARED) and now[step.key] != entries[step.key].definition)
    )
