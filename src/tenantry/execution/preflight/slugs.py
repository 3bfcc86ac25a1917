"""Tenants that cannot be added, and those that their slug does not identify: several have it, or it cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

from tenantry.execution.preflight.findings import refused
from tenantry.execution.preflight.scope import Scope
from tenantry.model.finding import Finding
from tenantry.model.name import quoted
from tenantry.model.ownership import TenantTable
from tenantry.planning.tenant_rows import needs_value

INTEGERS = {"smallint": 16, "integer": 32, "bigint": 64}
"""Bits."""


def slug_findings(scope: Scope, connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Cannot be forced: a row could belong to either, and a trigger would fail for every writer."""
    for tenant in dict.fromkeys(tenant for step in scope.steps for tenant in step.slugs):
        if tenant.table not in scope.schema.tables:
            continue
        query = sql.SQL(
            "SELECT tenant.{}::text, pg_catalog.count(*) FROM {} AS tenant GROUP BY 1 HAVING pg_catalog.count(*) > 1"
        ).format(sql.Identifier(tenant.slug), tenant.table.identifier)
        for shared, count in connection.execute(query).fetchall():
            yield refused(
                name="slug-shared",
                table=tenant.table,
                count=count,
                forcible=False,
                message=f"{count} tenants in {tenant.table} have the same {tenant.slug} {shared!r}, which must be"
                " unique",
                remedy="give each its own value, or set `slug` in [tenant] to a column whose values differ",
            )


def missing_findings(scope: Scope, connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Tenants whose row cannot be added: the spec has no value, or none that fits, for a column. Cannot be forced."""
    for step in scope.steps:
        row = step.tenant_row
        table = scope.schema.tables.get(step.table)
        if row is None or table is None:
            continue
        values = row.row_values()
        unfit = [
            f"{quoted(column.name)} is NOT NULL" if column.name not in values
            else f"{quoted(column.name)} is {column.type}, and would be {values[column.name]!r}"
            for column in table.columns
            if (needs_value(column) and column.name not in values)
            or (column.name in values and not _fits(values[column.name], column.base_type))
        ]  # fmt: skip
        if unfit and connection.execute(sql.Composed([row.definition()])).fetchone() is None:
            yield refused(
                name="tenant-cannot-be-added",
                table=table.name,
                forcible=False,
                message=f"The tenant {row.slug!r} does not exist, and its row in {table.name} cannot be added:"
                f" {'; '.join(unfit)}",
                remedy=f"insert its row into {table.name}, or name an existing tenant in the spec",
            )


def _fits(value: str, type: str) -> bool:
    """Whether a column of the type can have the value, as far as that is known without asking the server."""
    try:
        if type in INTEGERS:
            return abs(int(value)) >> (INTEGERS[type] - 1) == 0
        return type != "uuid" or bool(UUID(value))
    except ValueError:
        return False


def encoding_findings(
    tenant: TenantTable, scope: Scope, connection: psycopg.Connection[Any]
) -> Iterator[Finding]:  # fmt: skip
    """Only databases with the encoding SQL_ASCII have unchecked texts. Cannot be forced: the run would fail when it
    counts the rows of each tenant."""
    ascii = connection.info.parameter_status("server_encoding") == "SQL_ASCII"
    if not ascii or not scope.steps or tenant.name not in scope.schema.tables:
        return
    read = sql.SQL(", ").join(
        sql.SQL("pg_catalog.count(pg_catalog.convert_from(pg_catalog.textsend(tenant.{}::text), 'UTF8'))").format(
            sql.Identifier(column)
        )
        for column in (tenant.key, tenant.slug)
    )
    try:
        # A transaction, so that an error here does not abort that of the caller.
        with connection.transaction():
            connection.execute(sql.SQL("SELECT {} FROM {} AS tenant").format(read, tenant.name.identifier))
    except psycopg.errors.CharacterNotInRepertoire as error:
        yield refused(
            name="slug-unreadable",
            table=tenant.name,
            forcible=False,
            message=f"The database has the encoding SQL_ASCII, and a {tenant.slug} or {tenant.key} in {tenant.name}"
            f" is not valid UTF-8: {error.diag.message_primary}",
            remedy="dump the database, and restore it into one with the encoding in which its texts are written",
        )
