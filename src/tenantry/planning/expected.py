"""The expected duration of steps: an order of magnitude, assumed except for the rate of a backfill."""

from __future__ import annotations

from collections.abc import Iterable

from tenantry.model.name import Name
from tenantry.model.plan import ExecutionMode, Statement
from tenantry.model.schema import Schema

SECONDS_A_STEP = 0.01
"""For a change of the catalog with its rows in the journal, on a nearby server."""
ROWS_A_SECOND = {
    ExecutionMode.BATCHES: 30_000, ExecutionMode.CONCURRENT: 500_000, ExecutionMode.VALIDATION: 1_000_000,
    ExecutionMode.ENGINE: 50_000, ExecutionMode.SNAPSHOT: 50_000,
}  # fmt: skip
"""Rates: filled next to a writer by one worker, somewhat less than `make bench` measures; indexed; read; and copied to
other nodes."""


def expected_seconds(statements: Iterable[Statement], rows: int | None) -> float:
    """The seconds that the statements of one step may take for this number of rows, None if it is not known."""
    manners = {statement.manner for statement in statements} & ROWS_A_SECOND.keys()
    return SECONDS_A_STEP + sum((rows or 0) / ROWS_A_SECOND[manner] for manner in manners)


def estimated_rows(schema: Schema, name: Name) -> int | None:
    """The rows of a table and its partitions, as PostgreSQL estimates them; None if it was never analyzed."""
    if name not in schema.tables:
        return None
    leaves = [table for table in schema.tree(name) if not schema.partitions(table.name)]
    known = [round(table.rows) for table in leaves if table.rows >= 0]
    return sum(known) if known else None
