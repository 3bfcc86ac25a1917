"""Constraints that rows violate, or that cannot be validated without running code of other owners as tenantry's
role."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
from psycopg import sql

from tenantry.execution.preflight.findings import refused
from tenantry.execution.preflight.scope import Scope
from tenantry.model.finding import Finding
from tenantry.model.name import Name, quoted
from tenantry.model.plan import ExecutionMode
from tenantry.model.schema import ForeignKey, Table
from tenantry.model.wording import counted
from tenantry.postgres.owner_context import fenced, refusals
from tenantry.postgres.server_state import NotValidConstraint, ServerState
from tenantry.steps.derivation import equal
from tenantry.steps.introspection import column_definition, raw, with_search_path


def unproved_findings(scope: Scope, facts: ServerState, connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Counts the rows of tables that have such a constraint. None can be forced."""
    for check in facts.unproved:
        if check.table in scope.updated and (rows := _count(connection, _breaking(check, scope))):
            yield refused(
                name="check-broken",
                table=check.table,
                count=rows,
                forcible=False,
                message=f"{counted(rows, 'row')} of {check.table} violating the check {check.name}, which is NOT"
                " VALID: they cannot be updated, and so cannot get a tenant",
                remedy=f"correct them so that ({check.condition}); or drop the check until the migration is finished",
            )
    for table, key in _unproved_keys(scope):
        if rows := _count(connection, _dangling(table, key)):
            yield refused(
                name="key-broken",
                table=table.name,
                count=rows,
                forcible=False,
                message=f"{counted(rows, 'row')} of {table.name} without a row of {key.parent} to refer to: the"
                f" foreign key {key.name} was never validated, and the key within the tenant could not be validated",
                remedy=f"correct them, then ALTER TABLE {table.name} VALIDATE CONSTRAINT {quoted(key.name)}",
            )


def _count(connection: psycopg.Connection[Any], query: sql.Composable) -> int:
    # A transaction, so that a setting that the query changes does not outlive it.
    with connection.transaction():
        row = connection.execute(sql.Composed([query])).fetchone()
    return 0 if row is None else int(row[0])


def _breaking(check: NotValidConstraint, scope: Scope) -> sql.Composed:
    return sql.SQL("SELECT pg_catalog.count(*) FROM ONLY {} WHERE {} AND NOT ({})").format(
        check.table.identifier, with_search_path(scope.schema.search_path), raw(check.condition)
    )


def _unproved_keys(scope: Scope) -> Iterator[tuple[Table, ForeignKey]]:
    """The user's foreign keys next to which the run would add one of its own."""
    ours = {(step.table, one.columns, one.parent) for step in scope.steps if (one := step.beside) is not None}
    for table in sorted(scope.schema.tables.values(), key=lambda table: table.name):
        for key in table.foreign_keys:
            if key.enforced and not key.validated and (table.name, key.columns, key.parent) in ours:
                yield table, key


def _dangling(table: Table, key: ForeignKey) -> sql.Composed:
    row, parent = sql.Identifier("row"), sql.Identifier("parent")
    present = sql.SQL(" AND ").join(sql.SQL("row.{} IS NOT NULL").format(sql.Identifier(name)) for name in key.columns)
    return sql.SQL(
        "SELECT pg_catalog.count(*) FROM ONLY {} AS row WHERE {} AND NOT EXISTS (SELECT FROM {} AS parent WHERE {})"
    ).format(
        table.name.identifier, present, key.parent.identifier,
        equal(parent, key.parent_columns, row, key.columns, key.operators),
    )  # fmt: skip


def stray_findings(scope: Scope, connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """For tables that have their tenant column already. Cannot be forced."""
    holding = [(step, *step.holds_to_tenants) for step in scope.steps if step.holds_to_tenants is not None]
    there = _existing_columns(connection, tuple(dict.fromkeys((step.table, column) for step, column, _ in holding)))
    for step, column, query in holding:
        if (step.table, column) in there and (rows := _count(connection, query)):
            yield refused(
                name="tenant-unknown",
                table=step.table,
                count=rows,
                forcible=False,
                message=f"{counted(rows, 'row')} of {step.table} with a tenant in {quoted(column)} that does not exist",
                remedy="correct the tenant, delete these rows, or insert the tenant again;"
                f" `tenantry validate --table {step.table}` shows them",
            )


def _existing_columns(
    connection: psycopg.Connection[Any], columns: Sequence[tuple[Name, str]]
) -> frozenset[tuple[Name, str]]:  # fmt: skip
    """The columns that exist already."""
    if not columns:
        return frozenset()
    query = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT {}::int WHERE EXISTS ({})").format(sql.Literal(number), column_definition(*at))
        for number, at in enumerate(columns)
    )
    return frozenset(columns[number] for (number,) in connection.execute(query).fetchall())


def proof_findings(scope: Scope, connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Each is reported once, however many constraints of a table it is about. None can be forced."""
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
