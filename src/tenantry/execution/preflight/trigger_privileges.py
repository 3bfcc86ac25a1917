"""What the owners of tables lack, as whom our triggers run: these would fail at every row, in the middle of a run
(hazard 2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg

from tenantry.execution.preflight.findings import refused
from tenantry.execution.preflight.scope import Scope
from tenantry.model.finding import Finding
from tenantry.model.name import Name, quoted
from tenantry.postgres.preflight import read_barred
from tenantry.postgres.server_state import MissingPrivilege


def reach_findings(scope: Scope, connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Schemas and tables that a trigger needs and its role may not use. None can be forced."""
    barred = unreachable(scope, connection)
    closed = {(reach.role, reach.table.schema): reach.table for reach in reversed(barred) if not reach.usage}
    for (role, schema), table in sorted(closed.items()):
        yield _lacking(role, table, f"use the schema {schema}", f"USAGE ON SCHEMA {quoted(schema)}")
    for reach in barred:
        if not reach.held:
            yield _lacking(reach.role, reach.table, f"{reach.privilege} there", f"{reach.privilege} ON {reach.table}")


def unreachable(scope: Scope, connection: psycopg.Connection[Any]) -> tuple[MissingPrivilege, ...]:
    """What the owners of tables may not do there that our triggers do as them."""
    return read_barred(connection, sorted({reach for step in scope.steps for reach in step.reaches()}))


def _lacking(role: str, table: Name, what: str, grant: str) -> Finding:
    return refused(
        name="owner-lacks-privilege",
        table=table,
        forcible=False,
        message=f"{role}, as whom triggers run that find tenants in {table}, may not {what}",
        remedy=f"GRANT {grant} TO {quoted(role)}",
    )
