"""How long steps may take: an order of magnitude, from the rows of their tables."""

from __future__ import annotations

from dataclasses import replace

import pytest
from psycopg import sql

from tenantry.model.plan import ExecutionMode, Statement
from tenantry.model.schema import Kind
from tenantry.planning.expected import ROWS_A_SECOND, SECONDS_A_STEP, estimated_rows, expected_seconds
from unit.schemas import name, schema, table


def statement(manner: ExecutionMode) -> Statement:
    return Statement(sql=sql.SQL("SELECT 1"), manner=manner)


@pytest.mark.parametrize("manner", ExecutionMode)
def test_what_goes_over_the_rows(manner: ExecutionMode) -> None:
    """A change of the catalog takes as long for any number of them; what reads or writes them does not."""
    rate = ROWS_A_SECOND.get(manner)
    seconds = 1_000_000 / rate if rate else 0
    assert expected_seconds([statement(manner)] * 2, 1_000_000) == pytest.approx(SECONDS_A_STEP + seconds)
    assert expected_seconds([statement(manner)], None) == SECONDS_A_STEP


def test_rows_of_a_partitioned_table() -> None:
    """The sum of its leaves, as far as PostgreSQL has looked: -1 says that it never did."""
    whole = replace(table("sales"), kind=Kind.PARTITIONED, rows=5.0)
    parts = [replace(table("sales"), name=name(one), partition_of=whole.name) for one in ("a", "b")]
    found = schema(whole, replace(parts[0], rows=10.4), replace(parts[1], rows=-1.0))
    assert estimated_rows(found, whole.name) == 10
    assert estimated_rows(schema(table("sales", rows=-1.0)), whole.name) is None
    assert estimated_rows(schema(), whole.name) is None
