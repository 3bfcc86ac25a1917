"""Tables that cannot get the tenant column, or what belongs to it."""

from __future__ import annotations

from collections.abc import Iterator

from tenantry.execution.preflight.findings import refused
from tenantry.execution.preflight.scope import Scope
from tenantry.model.finding import Finding
from tenantry.model.schema import Kind
from tenantry.postgres.server_state import ServerState


def growth_findings(scope: Scope, facts: ServerState) -> Iterator[Finding]:
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
    yield from _periods(scope)


def _periods(scope: Scope) -> Iterator[Finding]:
    """Keys over a period (since 18) compare it by another operator than equality; one that does not refuses rows."""
    ours = {(step.table, one.columns, one.parent) for step in scope.steps if (one := step.beside) is not None}
    for name, columns, parent in sorted(ours):
        table = scope.schema.tables.get(name)
        for key in table.foreign_keys if table is not None else ():
            if (key.columns, key.parent) == (columns, parent) and any(sign != "=" for _, sign in key.operators):
                yield refused(
                    name="key-over-period",
                    table=name,
                    forcible=False,
                    message=f"The foreign key {key.name} of {name} is over a period: no key within the tenant can stand"
                    " beside it",
                    remedy="drop it, and let a trigger of yours look after it",
                )
