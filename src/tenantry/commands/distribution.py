"""How the rows are spread over the tenants, counted at the end of a run if that is fast."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
from psycopg import sql

from tenantry.model.distribution import Distribution
from tenantry.model.ownership import Owned, Ownership, TenantTable

EACH, ALL = 2.0, 10.0
"""Seconds for one table, and for all of them together."""
_LEFT_OUT = (
    psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable, psycopg.errors.InsufficientPrivilege,
    psycopg.errors.UndefinedColumn, psycopg.errors.UndefinedTable,
)  # fmt: skip


def distributions(connection: psycopg.Connection[Any], ownership: Ownership) -> Iterator[Distribution]:
    """The distribution of each owned table that has its tenant column; tables that would take too long are left out."""
    deadline = time.monotonic() + ALL
    slugs = _counted(connection, _slugs(ownership.tenant), deadline)
    for owned in ownership.owned:
        counts = _counted(connection, _by_tenant(owned), deadline)
        if counts is not None:
            yield Distribution.of(owned.table, counts, slugs or {}, ownership.tenant.sentinel)


def _by_tenant(owned: Owned) -> sql.Composed:
    return sql.SQL("SELECT t.{column}::text, pg_catalog.count(*) FROM {table} AS t GROUP BY t.{column}").format(
        column=sql.Identifier(owned.column), table=owned.table.identifier
    )


def _slugs(tenant: TenantTable) -> sql.Composed:
    return sql.SQL("SELECT t.{}::text, t.{}::text FROM {} AS t").format(
        sql.Identifier(tenant.key), sql.Identifier(tenant.slug), tenant.name.identifier
    )


def _counted(
    connection: psycopg.Connection[Any], query: sql.Composed, deadline: float
) -> Mapping[Any, Any] | None:  # fmt: skip
    left = min(EACH, deadline - time.monotonic())
    if left <= 0:
        return None
    limit = sql.SQL("SET LOCAL statement_timeout = {0}; SET LOCAL lock_timeout = {0}").format(
        sql.Literal(max(1, round(left * 1000)))
    )
    try:
        with connection.transaction():
            connection.execute(limit)
            return dict(connection.execute(query).fetchall())
    except _LEFT_OUT:
        return None
