"""What the policies cost: the times of a query with them and without them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tenantry.checks.base import CheckContext
from tenantry.checks.isolation.probes import become
from tenantry.checks.performance_plans import large_parts, soon
from tenantry.model.finding import Family, Finding, Severity
from tenantry.model.ownership import Owned
from tenantry.postgres.queries import read_queries
from tenantry.steps.derivation import of_all_tenants
from tenantry.steps.introspection import raw
from tenantry.steps.tenant_setting import current_tenant

_QUERIES = read_queries(Path(__file__).with_name("sql") / "performance.sql")
WORTH = 2 * 2**20
"""In bytes: smaller tables are read too fast for a useful time."""
ROWS = 50_000
SAMPLE = 2 * 2**20
REPEATS, LOOKS = 7, 3
SETTLED = 3
"""The number of alternating times after which a time far below the limit is accepted."""
PATIENCE = 3000.0
"""In milliseconds, for the query `bounded`: a longer one counts as this."""
LEAST = 5.0
"""In milliseconds: a difference that users could notice."""
_warning = partial(Finding, family=Family.PERFORMANCE, severity=Severity.WARNING)


def costs(context: CheckContext) -> Iterator[Finding]:
    """Tables where a tenant's query takes longer than [limits] policy_cost allows. Reads at most ROWS rows at once,
    for at most three seconds each time."""
    limit = context.spec.limits.policy_cost
    with context.session("policy cost") as connection:
        for owned in context.owned():
            large = large_parts(context, owned.table, least=WORTH)
            if not large or not context.tenanted(owned):
                continue
            context.looking(f"what the policies of {owned.table} cost")
            measure = _Measure(connection, context, owned, sum(large.values()))
            # Measured again, so that a short load is not mistaken for it.
            if all(measure.exceeds(limit) for _ in range(LOOKS)):
                yield _warning(
                    name="policy-cost", table=owned.table,
                    message=f"Reading a tenant's rows of {owned.table} takes {measure.under:,.0f} ms with the"
                    f" policies, and {measure.without:,.0f} ms without them: more than {limit:g} times as long",
                    remedy="Run EXPLAIN (ANALYZE) as the application role: a policy may call a function for each row,"
                    " or prevent the use of an index.",
                )  # fmt: skip


class _Measure:
    """The smallest of all times in milliseconds, of the same query with and without the policies in turn, since other
    load only adds to a time. Neither is ever forgotten, so that a short load cannot make the policies look slow, nor
    the query without them."""

    def __init__(self, connection: psycopg.Connection[Any], context: CheckContext, owned: Owned, size: int) -> None:
        self.connection, self.context, self.owned = connection, context, owned
        self.under, self.without = PATIENCE, PATIENCE
        self.tenant = self._largest_tenant(size)

    def exceeds(self, limit: float) -> bool:
        """Whether it is reported; not if the query without policies does not end in time. A time far below the limit is
        accepted after the first measurement, but not after its first time, when there may have been load on the query
        without."""
        if self.tenant is None:
            return False
        for turn in range(1, REPEATS + 1):
            self.under = min(self.under, self._time(under=True))
            if self.under <= LEAST:
                return False
            self.without = min(self.without, self._time(under=False))
            if turn >= SETTLED and self.under <= self.without * (1 + (limit - 1) / 4):
                return False
        return self.without < PATIENCE and self.under > max(limit * self.without, self.without + LEAST)

    def _largest_tenant(self, size: int) -> str | None:
        """A tenant from a sample of about SAMPLE bytes; if that has none, any."""
        sample = sql.SQL(
            "SELECT t.{0}::text FROM {1} AS t TABLESAMPLE SYSTEM ({2}) REPEATABLE (1) WHERE t.{0} IS NOT NULL"
            " GROUP BY 1 ORDER BY pg_catalog.count(*) DESC LIMIT 1"
        )
        other = sql.SQL("SELECT t.{0}::text FROM {1} AS t WHERE t.{0} IS NOT NULL LIMIT 1")
        for query in (sample, other):
            asked = query.format(
                sql.Identifier(self.owned.column), self.owned.table.identifier,
                sql.Literal(min(100.0, 100.0 * SAMPLE / size)),
            )  # fmt: skip
            for (tenant,) in soon(self.context, asked):
                return str(tenant)
        return None

    def _time(self, *, under: bool) -> float:
        explain = sql.SQL(
            "EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) SELECT pg_catalog.count(read.whole) FROM"
            " (SELECT ROW(t.*) AS whole FROM {} AS t{} LIMIT {}) AS read"
        ).format(self.owned.table.identifier, sql.SQL("") if under else self._condition(), sql.Literal(ROWS))
        with self.connection.transaction(force_rollback=True):
            self.connection.execute(_QUERIES["bounded"])
            self.connection.execute("SELECT set_config(%s, %s, true)", (self.context.ownership.setting, self.tenant))
            if under:
                become(self.connection, self.context.spec.application.role)
            try:
                with self.connection.transaction():
                    row = self.connection.execute(explain).fetchone()
            except (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable):
                return PATIENCE
        assert row is not None
        return float(row[0][0]["Execution Time"])

    def _condition(self) -> sql.Composed:
        """The conditions of the policies, as the query's own."""
        schema, name = self.context.ownership.tenant.key_operator
        column = sql.SQL("t.{}").format(sql.Identifier(self.owned.column))
        tenant = self.context.ownership.tenant
        shared: sql.Composable = sql.SQL("")
        if self.owned.mixed:
            shared = sql.SQL(" OR {}").format(of_all_tenants(column, tenant.sentinel, tenant.type))
        return sql.SQL(" WHERE {} OPERATOR({}.{}) {}{}").format(
            column, sql.Identifier(schema), raw(name),
            current_tenant(self.context.ownership.setting, self.context.planning.setting_type), shared,
        )  # fmt: skip
