"""What tenants see of a table: all of their own rows, and no others, counted as the operator and as the application by
the same snapshot, so that nobody who writes meanwhile is taken for a policy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
from psycopg import sql

from tenantry.checks.base import CheckContext
from tenantry.checks.isolation.actor import Actor
from tenantry.checks.isolation.attempts import Ways
from tenantry.postgres.queries import read_queries

_QUERIES = read_queries(Path(__file__).with_name("sql") / "experiment.sql")
GROUPED = 2**30
"""In bytes: of what is larger, the rows of each tenant are not counted to find the largest and the smallest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """A tenant has `rows` that it may see, shared ones included, sees `seen` of them, and `others` besides."""

    tenant: str
    rows: int
    seen: int
    others: int


Unknown: TypeAlias = tuple[str, str]
"""A tenant whose rows could not be counted, and why."""


def own_rows(
    ground: CheckContext, actor: Actor, ways: Ways, tenants: Sequence[str], *, without: str | None
) -> Iterator[Own | Unknown]:
    """Of these tenants, and of those with most and with fewest rows, `without` one. Counting takes a few seconds at
    most, and waits for nobody."""
    operator = ground.connection
    with operator.transaction():
        operator.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        operator.execute(_QUERIES["bounded"])
        (snapshot,) = operator.execute("SELECT pg_catalog.pg_export_snapshot()").fetchone() or ("",)
        asked = dict.fromkeys((*tenants, *_extremes(ground, ways)))
        asked.pop(without or "", None)
        with actor.sharing(snapshot):
            for tenant in asked:
                try:
                    yield _counted(operator, actor, ways, tenant)
                except psycopg.Error as error:
                    if operator.closed or actor.connection.closed:
                        raise
                    ground.looking(f"what a tenant sees of {ways.table.name}")  # Unless it was stopped.
                    yield tenant, error.diag.message_primary or type(error).__name__


def _extremes(ground: CheckContext, ways: Ways) -> list[str]:
    """The tenants with most and with fewest rows; none where that takes too long."""
    if ways.table.bytes > GROUPED:
        return []
    query = sql.SQL(
        "WITH counted AS ({}) (SELECT tenant FROM counted ORDER BY rows DESC, tenant LIMIT 1)"
        " UNION ALL (SELECT tenant FROM counted ORDER BY rows, tenant LIMIT 1)"
    ).format(ways.rows_by_tenant)
    try:
        with ground.connection.transaction():
            return [tenant for (tenant,) in ground.connection.execute(query)]
    except (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable):
        ground.looking(f"what tenants see of {ways.table.name}")
        return []


def _counted(operator: psycopg.Connection[Any], actor: Actor, ways: Ways, tenant: str) -> Own:
    may = ways.belongs(tenant)
    if ways.mixed:
        may = sql.SQL("({} OR t.{} IS NULL)").format(may, sql.Identifier(ways.key))
    count = sql.SQL("SELECT pg_catalog.count(*) FROM {} AS t WHERE {}").format(ways.table.name.identifier, may)
    seen = sql.SQL("SELECT pg_catalog.count(*) FILTER (WHERE {1}), pg_catalog.count(*) FROM {0} AS t").format(
        ways.table.name.identifier, may
    )
    with operator.transaction():
        (rows,) = operator.execute(count).fetchone() or (0,)
    own, whole = actor.ask(tenant, seen) or (0, 0)
    return Own(tenant=tenant, rows=rows, seen=own, others=whole - own)
