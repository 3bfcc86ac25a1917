"""Performance: what isolation costs, and whether indexes support it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psycopg

from tenantry.checks.base import CheckContext
from tenantry.checks.performance_cost import costs
from tenantry.checks.performance_plans import plans, soon
from tenantry.model.finding import Family, Finding, Severity
from tenantry.model.name import Name
from tenantry.model.plan import Phase
from tenantry.postgres.queries import read_queries

_QUERIES = read_queries(Path(__file__).with_name("sql") / "performance.sql")
_information = partial(Finding, family=Family.PERFORMANCE, severity=Severity.INFO)


def performance(context: CheckContext) -> Iterator[Finding]:
    """Plans and costs need the policies; unused indexes are reported at any time."""
    yield from _idle_indexes(context)
    if not context.reached(Phase.ISOLATE) or context.spec.application.role not in context.live.roles:
        return
    try:
        yield from plans(context)
        yield from costs(context)
    except psycopg.errors.InsufficientPrivilege:
        return  # The attempts have reported that the role cannot become the application.


def _idle_indexes(context: CheckContext) -> Iterator[Finding]:
    """An index of tenantry counts from its creation. Standbys have counters of their own."""
    context.looking("how indexes are used")
    limit = context.spec.limits.unused_index_days
    names = [name.identifier.as_string(None) for name in sorted(context.live.tables) if context.wants(name)]
    first_run, made = None, {}
    if context.entries:
        first_run = (context.connection.execute(_QUERIES["first_run"]).fetchone() or (None,))[0]
        made = dict(context.connection.execute(_QUERIES["made"]).fetchall())
    for schema, table, *name, size, idle in soon(context, _QUERIES["idle_indexes"], names=names, first_run=first_run):
        index = Name(*name)
        days = min(idle, made.get(f"index:{index}", idle))
        if days >= limit:
            yield _information(
                name="index-unused", table=Name(schema, table),
                message=f"The index {index} ({size / 2**20:,.1f} MB) has not been used for at least {days:,.0f} days",
                remedy=f"DROP INDEX CONCURRENTLY {index}, if no standby and no foreign key uses it.",
                samples=({"index": str(index), "bytes": size, "days": round(days, 1)},),
            )  # fmt: skip
