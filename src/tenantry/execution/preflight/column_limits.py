"""Tables that cannot get the tenant column, and columns that have no value yet in a trigger."""

from __future__ import annotations

from collections.abc import Iterator

from tenantry.execution.preflight.findings import refused
from tenantry.execution.preflight.scope import Scope
from tenantry.execution.preflight.sql_statements import tokens
from tenantry.model.finding import Finding
from tenantry.model.schema import Kind
from tenantry.postgres.server_state import ServerState
from tenantry.steps.derivation import ByText


def growth_findings(scope: Scope, facts: ServerState) -> Iterator[Finding]:
    """None can be forced: ADD COLUMN would fail, or a later step."""
    for cramped in facts.cramped:
        if cramped.table not in scope.growing:
            continue
        typed = cramped.of_type is not None
        yield refused(
            name="no-room-for-column",
            table=cramped.table,
            forcible=False,
            message=f"{cramped.table} cannot get another column: "
            + (f"it is a table of the type {cramped.of_type}" if typed else "it has had 1600, counting dropped ones"),
            remedy=f"ALTER TABLE {cramped.table} NOT OF" if typed else "copy it into a new table, or split it first",
        )
    for name in sorted(scope.growing):
        table = scope.schema.tables.get(name)
        if table is not None and table.kind is Kind.FOREIGN:
            yield refused(
                name="foreign-part",
                table=name,
                forcible=False,
                message=f"{name} is a foreign table and a partition of an owned one: row-level security cannot"
                " protect it",
                remedy="detach it first, or store its rows in this database",
            )
    yield from _periods(scope)


def _periods(scope: Scope) -> Iterator[Finding]:
    """Keys over a period (since 18) use another operator than equality; a copy without it would refuse rows."""
    ours = {(step.table, one.columns, one.parent) for step in scope.steps if (one := step.beside) is not None}
    for name, columns, parent in sorted(ours):
        table = scope.schema.tables.get(name)
        for key in table.foreign_keys if table is not None else ():
            if (key.columns, key.parent) == (columns, parent) and any(sign != "=" for _, sign in key.operators):
                yield refused(
                    name="key-over-period",
                    table=name,
                    forcible=False,
                    message=f"The foreign key {key.name} of {name} is over a period: there can be no such key within"
                    " the tenant",
                    remedy="drop it, and check the references in a trigger of your own",
                )


def generated_findings(scope: Scope) -> Iterator[Finding]:
    """None can be forced: new rows would have no tenant, or that of orphans."""
    texts = {
        (name, source.text)
        for step in scope.steps
        for name, sources in step.derives
        for source in sources
        if isinstance(source, ByText) and source.text is not None and name in scope.schema.tables
    }
    for name, text in sorted(texts):
        named = {token.name for token in tokens(text)}
        for column in scope.schema.tables[name].columns:
            if column.generated and column.name in named:
                yield refused(
                    name="assign-reads-generated",
                    table=name,
                    forcible=False,
                    message=f"The expression that assigns rows of {name} uses {column.name}, a generated column, which"
                    " has no value yet when the trigger assigns a new row",
                    remedy="use the columns that it is computed from instead",
                )
