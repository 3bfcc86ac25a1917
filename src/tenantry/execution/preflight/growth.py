"""Tables that cannot get the tenant column, or nothing that belongs to it."""

from __future__ import annotations

from collections.abc import Iterator

from tenantry.execution.preflight.scope import Scope
from tenantry.execution.preflight.verdict import refused
from tenantry.model.finding import Finding
from tenantry.model.schema import Kind
from tenantry.postgres.preflight import Facts


def growth_findings(scope: Scope, facts: Facts) -> Iterator[Finding]:
    """None can be forced: ADD COLUMN would fail, or what comes after it."""
    for cramped in facts.cramped:
        if cramped.table not in scope.growing:
            continue
        typed = cramped.of_type is not None
        yield refused(
            name="no-room-for-column",
            table=cramped.table,
            forcible=False,
            message=f"{cramped.table} can have no column more: "
            + (f"it is a table of the type {cramped.of_type}" if typed else "it has had 1600, dropped ones included"),
            remedy=f"ALTER TABLE {cramped.table} NOT OF" if typed else "copy it into a new table, or split it first",
        )
    for name in sorted(scope.growing):
        table = scope.schema.tables.get(name)
        if table is not None and table.kind is Kind.FOREIGN:
            yield refused(
                name="foreign-part",
                table=name,
                forcible=False,
                message=f"{name} is a foreign table and part of an owned one: row security cannot guard it",
                remedy="detach it first, or keep its rows in this database",
            )
