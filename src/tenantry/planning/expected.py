"""How long steps may be expected to take: an order of magnitude, assumed but for the rate of a fill."""

from __future__ import annotations

from collections.abc import Iterable

from tenantry.model.plan import ExecutionMode, Statement

SECONDS_A_STEP = 0.01
"""For a change of the catalog with its rows of the journal, on a server nearby."""
ROWS_A_SECOND = {ExecutionMode.BATCHES: 30_000, ExecutionMode.CONCURRENT: 500_000, ExecutionMode.VALIDATION: 1_000_000}
"""Filled beside a writer by one worker, somewhat less than `make bench` measures; indexed, and read."""


def expected_seconds(statements: Iterable[Statement], rows: int | None) -> float:
    """The seconds that the statements of one step may take over so many rows, None where nothing is known of them."""
    manners = {statement.manner for statement in statements} & ROWS_A_SECOND.keys()
    return SECONDS_A_STEP + sum((rows or 0) / ROWS_A_SECOND[manner] for manner in manners)
