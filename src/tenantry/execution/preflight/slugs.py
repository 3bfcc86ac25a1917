"""Tenants that share the slug by which the spec and the data would name them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import sql

from tenantry.execution.preflight.scope import Scope
from tenantry.execution.preflight.verdict import refused
from tenantry.model.finding import Finding


def slug_findings(scope: Scope, connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Cannot be forced: a row would be any one's of them, and a trigger would fail for every writer."""
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
                message=f"{count} tenants in {tenant.table} share the {tenant.slug} {shared!r}, which names them",
                remedy="give each its own, or name a column that tells them apart as `slug` in [tenant]",
            )
