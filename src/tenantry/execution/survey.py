"""What is in force of steps, asked of the catalog for many at once. What follows from it: tenantry.planning.diff."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from psycopg import sql

from tenantry.planning import Plan, diff
from tenantry.planning.diff import Comparison
from tenantry.postgres.journal import Entry
from tenantry.postgres.owner_context import reads_catalog_only
from tenantry.steps import Step

TOGETHER = 50
"""Definitions that one query asks for: few round trips, and the planner is not overwhelmed."""
MISSING = (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn)


def definitions(connection: psycopg.Connection[Any], steps: Sequence[Step]) -> dict[str, str | None]:
    """What is in force of each step, by its key, as the catalog says; None where nothing is."""
    found: dict[str, str | None] = {}
    for first in range(0, len(steps), TOGETHER):
        for part in _apart(connection, steps[first : first + TOGETHER]):
            try:
                found |= _ask(connection, part)
            except MISSING:
                for step in part:
                    try:
                        found |= _ask(connection, (step,))
                    except MISSING:
                        found[step.key] = None
    return found


def _apart(connection: psycopg.Connection[Any], steps: Sequence[Step]) -> tuple[Sequence[Step], ...]:
    """Those that ask the catalog alone, and those whose query runs as the owner of the tables that it reads: an owner
    may not even look for names in schemas of ours, or of others."""
    if reads_catalog_only(connection, [step.definition() for step in steps]):
        return (steps,)
    alone = {step.key for step in steps if reads_catalog_only(connection, [step.definition()])}
    return tuple([step for step in steps if (step.key in alone) is ours] for ours in (True, False))


def survey(
    connection: psycopg.Connection[Any], plan: Plan, entries: Mapping[str, Entry], *, exact: bool = True
) -> Comparison:
    """Plan, journal and catalog compared. Fills are looked for row by row where `exact`; otherwise the journal is
    believed."""
    orphans = diff.orphaned(plan, entries)
    found = definitions(connection, diff.asked(plan.steps, entries, orphans, exact=exact))
    return diff.compare(plan.steps, entries, found, orphans)


def in_force(
    connection: psycopg.Connection[Any], steps: Sequence[Step], entries: Mapping[str, Entry]
) -> frozenset[str]:
    """Keys of those steps for which there is nothing to do."""
    found = definitions(connection, diff.asked(steps, entries, exact=True))
    return diff.compare(steps, entries, found).in_force


def altered(connection: psycopg.Connection[Any], entries: Mapping[str, Entry]) -> tuple[str, ...]:
    """Keys of the steps of ours whose objects somebody has changed or dropped since."""
    return diff.altered(entries, definitions(connection, diff.made(entries)))


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
