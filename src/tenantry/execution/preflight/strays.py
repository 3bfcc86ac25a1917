"""Rows of tenants that are gone: no key from the tenant column to the tenant table can be proved over them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import sql

from tenantry.execution.preflight.scope import Scope
from tenantry.execution.preflight.verdict import refused
from tenantry.execution.transaction import truth
from tenantry.model.finding import Finding
from tenantry.model.name import Name, quoted
from tenantry.steps.catalog import column_definition, exists


def stray_findings(scope: Scope, connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Of tables whose tenant column is there already. Cannot be forced."""
    there: dict[tuple[Name, str], bool] = {}
    for step in scope.steps:
        if step.holds_to_tenants is None:
            continue
        column, query = step.holds_to_tenants
        at = step.table, column
        if at not in there:
            there[at] = truth(connection, exists(column_definition(*at)))
        if there[at] and (rows := _count(connection, query)):
            yield refused(
                name="tenant-unknown",
                table=step.table,
                count=rows,
                forcible=False,
                message=f"{rows:,} rows of {step.table} have a tenant in {quoted(column)} that is gone",
                remedy="give them another one there, delete them, or add the tenant again;"
                f" `tenantry validate --table {step.table}` shows them",
            )


def _count(connection: psycopg.Connection[Any], query: sql.Composable) -> int:
    row = connection.execute(sql.Composed([query])).fetchone()
    return 0 if row is None else int(row[0])
