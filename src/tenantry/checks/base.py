"""A check is a value: what must hold of a table's rows, as the condition of those that break it."""

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
from tenantry.planning import Plan
from tenantry.planning.context import PlanContext as PlanningGround
from tenantry.postgres.connect import PinnedConnection, Target, connect
from tenantry.postgres.journal import Entry
from tenantry.postgres.owner_context import set_read_only
from tenantry.postgres.session import set_uncounted

ROW, PARENT = sql.Identifier("t"), sql.Identifier("p")
"""The row that a check is about, and the row that a reference of it ends at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The rows `t` of the check's table for which `violates` is true. All of a table are asked in one scan.

    `by_tenant`: it depends on the row's tenant column alone, so it is asked once for each tenant.
    """

    violates: sql.Composable
    by_tenant: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The rows `t` for which `violates` is true beside `p`, the row at the end of `path`: all NULL where there is
    none. What lies on the way is `h1`, `h2` …. All that go along one path are asked in one join.

    Every hop must be `unique`, or rows would be counted more than once: for others there is QueryCheck.
    """

    path: Path
    violates: sql.Composable


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryCheck:
    """The rows of a query, a whole SELECT, which are counted and sampled: for windows and groups."""

    query: sql.Composable


Question: TypeAlias = Rows | Reference | QueryCheck


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """A safe correction of the rows that break a check: each column gets its expression over `t`.

    `why` says why no information is lost, for people.
    """

    values: tuple[tuple[str, sql.Composable], ...]
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """`name` in kebab-case is what the check is called everywhere; `subject` tells those of one name and table apart.

    In `message`, `{rows}` becomes the count and its noun: `{rows} of public.lots without a tenant`. `shows` are
    expressions over the question's aliases that samples have beside the row's key; for QueryCheck a sample is the row.
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
        along = self.question.path.hops if isinstance(self.question, Reference) else ()
        return frozenset((self.table, *(hop.parent for hop in along)))

    def finding(
        self, count: int, samples: tuple[Mapping[str, Any], ...] = (), tenants: Mapping[str, int] | None = None
    ) -> Finding:
        """What to say where `count` rows break the check."""
        rows = counted(count, "row")
        return Finding(
            name=self.name, family=self.family, severity=self.severity, table=self.table, count=count,
            message=self.message.replace("{rows}", rows), remedy=self.remedy, samples=samples, tenants=tenants or {},
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckContext:
    """What families stand on. `connection` is read-only and in autocommit mode.

    `schema` is the database as the user made it, `live` the same as it is now, with all that is ours. `tables` limits
    the checks to these, None to none; `samples` is how many rows a finding shows at most. `run` names the run.
    `application` is where the application connects to; None: its role is taken on over our own connection. `hidden`
    are tables whose rows row security may hide from our role: their rows are not asked, for no count could be believed.
    `standby`: the server takes no write, not even one that is rolled back.
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
    """Told of every further session, so that a stop can end its statements."""

    @property
    def ownership(self) -> Ownership:
        return self.plan.ownership

    @property
    def planning(self) -> PlanningGround:
        """The questions that planning asks of spec, schema and ownership."""
        return PlanningGround(spec=self.spec, schema=self.schema, ownership=self.ownership)

    def wants(self, table: Name) -> bool:
        """Whether --table leaves it in; a partition or heir goes with its table."""
        return self.tables is None or not self.tables.isdisjoint({table, self.ownership.heirs.get(table, table)})

    def owned(self) -> Iterator[Owned]:
        """The owned and mixed tables that are wanted and there."""
        return (owned for owned in self.ownership.owned if self.wants(owned.table) and self.has(owned.table))

    def reached(self, phase: Phase) -> bool:
        """Whether tenantry has put a step of this phase in force."""
        return any(entry.phase == phase and entry.state == "done" for entry in self.entries.values())

    def has(self, table: Name, *columns: str) -> bool:
        """Whether the database has the table now, with these columns."""
        found = self.live.tables.get(table)
        return found is not None and all(found.column(column) is not None for column in columns)

    def tenanted(self, owned: Owned) -> bool:
        """Whether the tenant column is there."""
        return self.has(owned.table, owned.column)

    @contextmanager
    def session(self, purpose: str, *, read_only: bool = True) -> Iterator[PinnedConnection]:
        """Another connection for the block. Raises ConnectionFailed."""
        connection = connect(self.target, run=self.run, purpose=purpose)
        try:
            if read_only:
                set_read_only(connection)
            set_uncounted(connection)
            self.opened(connection)
            yield connection
        finally:
            connection.close()


FamilyOf: TypeAlias = Callable[[CheckContext], Iterator[Check | Finding]]
"""A family: the checks to be asked of the rows, and what it found in the catalog itself."""


def column(name: str, alias: sql.Composable = ROW) -> sql.Composed:
    """`t.name`."""
    return sql.SQL("{}.{}").format(alias, sql.Identifier(name))


def missing(hop: Hop) -> sql.Composed:
    """That there is no `p`: what an equality found is not NULL."""
    return sql.SQL("{} IS NULL").format(column(hop.parent_columns[0], PARENT))
