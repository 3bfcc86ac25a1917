"""Constraints of ours that could not be proved without running a stranger's code as us."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import sql

from tenantry.execution.preflight.findings import refused
from tenantry.execution.preflight.scope import Scope
from tenantry.model.finding import Finding
from tenantry.model.name import Name
from tenantry.model.plan import ExecutionMode
from tenantry.postgres.owner_context import fenced, refusals


def proof_findings(scope: Scope, connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Each is said once, however many of a table's constraints it is about. None can be forced."""
    if not fenced(connection):
        return
    statements: dict[Name, list[sql.Composable]] = {}
    for step in scope.steps:
        statements.setdefault(step.table, []).extend(
            one.sql for one in step.apply() if one.manner is not ExecutionMode.BATCHES
        )
    for table, texts in statements.items():
        for message, error in {error.message: error for error in refusals(connection, texts)}.items():
            yield refused(
                name="proof-runs-code", table=table, forcible=False, message=message, remedy=error.remedy.rstrip(".")
            )
