"""Rows of tenants that are gone: no key from the tenant column to the tenant table can be proved over them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
from psycopg import sql

from tenantry.execution.preflight.findings import refused
from tenantry.execution.preflight.scope import Scope
from tenantry.model.finding import Finding
from tenantry.model.name import Name, quoted
from tenantry.steps.introspection import column_definition


def stray_findings(scope: Scope, connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Of tables whose tenant column is there already. Cannot be forced."""
    holding = [(step, *step.holds_to_tenants) for step in scope.steps if step.holds_to_tenants is not None]
    there = _there(connection, tuple(dict.fromkeys((step.table, column) for step, column, _ in holding)))
    for step, column, query in holding:
        if (step.table, column) in there and (rows := _count(connection, query)):
            yield refused(
                name="tenant-unknown",
                table=step.table,
                count=rows,
                forcible=False,
                message=f"{rows:,} rows of {step.table} have a tenant in {quoted(column)} that is gone",
                remedy="give them another one there, delete them, or add the tenant again;"
                f" `tenantry validate --table {step.table}` shows them",
            )


def _there(
    connection: psycopg.Connection[Any], columns: Sequence[tuple[Name, str]]
) -> frozenset[tuple[Name, str]]:  # fmt: skip
    """Those of the columns that are there by now."""
    if not columns:
        return frozenset()
    query = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT {}::int WHERE EXISTS ({})").format(sql.Literal(number), column_definition(*at))
        for number, at in enumerate(columns)
    )
    return frozenset(columns[number] for (number,) in connection.execute(query).fetchall())


def _count(connection: psycopg.Connection[Any], query: sql.Composable) -> int:
    row = connection.execute(sql.Composed([query])).fetchone()
    return 0 if row is None else int(row[0])
