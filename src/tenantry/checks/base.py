"""A check as a value: a condition that the faulty rows of a table fulfil."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import psycopg
from psycopg import sql

from tenantry.model.finding import Family, Finding, Severity
from tenantry.model.name import Name
from tenantry.model.ownership import Hop, Owned, Ownership, Path
from tenantry.model.plan import Phase
from tenantry.model.schema import Schema
from tenantry.model.spec import Spec
from tenantry.model.wording import counted
from tenantry.planning import Plan, until_option
from tenantry.planning.context import PlanContext
from tenantry.postgres.citus import allow_repartition_joins
from tenantry.postgres.connect import PinnedConnection, Target, connect
from tenantry.postgres.journal import Entry
from tenantry.postgres.owner_context import set_read_only
from tenantry.postgres.session import set_uncounted

ROW, PARENT = sql.Identifier("t"), sql.Identifier("p")
"""The aliases of the checked row, and of the row that its reference leads to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The rows `t` of the check's table for which `violates` is true. All such checks of a table share one scan.

    `by_tenant`: the condition depends only on the row's tenant column, so it is evaluated once for each tenant.
    """

    violates: sql.Composable
    by_tenant: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceCheck:
    """The rows `t` for which `violates` is true together with `p`, the row at the end of `path`, whose columns are NULL
    if it does not exist. The rows in between are `h1`, `h2` …. All such checks along one path share one join.

    Every hop must be `unique`, or rows would be counted several times: for others use QueryCheck.
    """

    path: Path
    violates: sql.Composable


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryCheck:
    """The rows of a query, a complete SELECT, which are counted and sampled: for windows and groups."""

    query: sql.Composable


Question: TypeAlias = Rows | ReferenceCheck | QueryCheck


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """A safe correction of the rows that violate a check: each column gets the value of an expression over `t`.

    `why` tells users why no information is lost.
    """

    values: tuple[tuple[str, sql.Composable], ...]
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """`name` in kebab-case identifies the check everywhere; `subject` distinguishes checks of one name and table.

    In `message`, `{rows}` is replaced by the count with its noun: `{rows} of public.lots without a tenant`. `shows` are
    expressions over the question's aliases that samples have in addition to the row's key; for QueryCheck a sample is
    the row.
    """

    name: str
    family: Family
    table: Name
    message: str
    question: Question
    severity: Severity = Severity.ERROR
    remedy: str = ""
    subject: str = ""
    shows: tuple[tuple[str, sql.Composable], ...] = ()
    fix: Fix | None = None

    @property
    def reads(self) -> frozenset[Name]:
        """The tables that are known to be read."""
        along = self.question.path.hops if isinstance(self.question, ReferenceCheck) else ()
        return frozenset((self.table, *(hop.parent for hop in along)))

    def finding(
        self, count: int, samples: tuple[Mapping[str, Any], ...] = (), tenants: Mapping[str, int] | None = None
    ) -> Finding:
        """The finding for `count` rows that violate the check."""
        rows = counted(count, "row")
        return Finding(
            name=self.name, family=self.family, severity=self.severity, table=self.table, count=count,
            message=self.message.replace("{rows}", rows), remedy=self.remedy, samples=samples, tenants=tenants or {},
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckContext:
    """What families of checks use. `connection` is read-only and in autocommit mode.

    `schema` is the original schema, `live` the current one, with tenantry's objects. `tables` limits the checks to
    these, None to none; `samples` is the largest number of rows that a finding shows. `run` is the run's id.
    `application` is where the application connects to; with None its role is used over tenantry's own connection.
    `hidden` are tables whose rows row-level security may hide from tenantry's role: they are not counted, since the
    counts could be wrong. `standby`: the server is read-only.
    """

    target: Target
    connection: psycopg.Connection[Any]
    spec: Spec
    schema: Schema
    live: Schema
    plan: Plan
    entries: Mapping[str, Entry]
    run: str = ""
    tables: frozenset[Name] | None = None
    samples: int = 20
    detailed: bool = False
    application: Target | None = None
    hidden: frozenset[Name] = frozenset()
    standby: bool = False
    looking: Callable[[str], None] = lambda at: None
    opened: Callable[[psycopg.Connection[Any]], None] = lambda session: None
    """Called with every further session, so that a stop can cancel its statements."""

    @property
    def ownership(self) -> Ownership:
        return self.plan.ownership

    @property
    def planning(self) -> PlanContext:
        """The queries of planning over spec, schema and ownership."""
        return PlanContext(spec=self.spec, schema=self.schema, ownership=self.ownership)

    def wants(self, table: Name) -> bool:
        """Whether --table includes it; partitions and child tables belong to their table."""
        return self.tables is None or not self.tables.isdisjoint({table, self.ownership.heirs.get(table, table)})

    def owned(self) -> Iterator[Owned]:
        """The owned and mixed tables that are included and exist."""
        return (owned for owned in self.ownership.owned if self.wants(owned.table) and self.has(owned.table))

    def reached(self, phase: Phase) -> bool:
        """Whether a step of this phase is applied."""
        return any(entry.phase == phase and entry.state == "done" for entry in self.entries.values())

    @property
    def distributed(self) -> bool:
        """Whether Citus has distributed the tables, or has begun to."""
        return any(step.engine for step in self.plan.steps)

    @property
    def repair_command(self) -> str:
        """The command that restores what is missing of all phases that have begun."""
        late = [phase for phase in (Phase.CONTRACT, Phase.DISTRIBUTE) if self.reached(phase)]
        return " ".join(["`tenantry migrate", *(until_option(phase, self.plan.steps) for phase in late[-1:])]) + "`"

    def has(self, table: Name, *columns: str) -> bool:
        """Whether the table exists, with these columns."""
        found = self.live.tables.get(table)
        return found is not None and all(found.column(column) is not None for column in columns)

    def tenanted(self, owned: Owned) -> bool:
        """Whether the tenant column exists."""
        return self.has(owned.table, owned.column)

    @contextmanager
    def session(self, purpose: str, *, read_only: bool = True) -> Iterator[PinnedConnection]:
        """Another connection for the block. Raises ConnectionFailed."""
        connection = connect(self.target, run=self.run, purpose=purpose)
        try:
            if read_only:
                set_read_only(connection)
            set_uncounted(connection)
            if self.distributed:
                allow_repartition_joins(connection)
            self.opened(connection)
            yield connection
        finally:
            connection.close()


FamilyOf: TypeAlias = Callable[[CheckContext], Iterator[Check | Finding]]
"""A family: yields checks of rows, and findings from the catalog."""


def column(name: str, alias: sql.Composable = ROW) -> sql.Composed:
    """`t.name`."""
    return sql.SQL("{}.{}").format(alias, sql.Identifier(name))


def missing(hop: Hop) -> sql.Composed:
    """The condition that `p` does not exist: the join's columns are never NULL in an existing row."""
    return sql.SQL("{} IS NULL").format(column(hop.parent_columns[0], PARENT))
