"""demo: a migration and its rollback, while an old application writes; every figure is measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tenantry.commands.demo_workload import old_application
from tenantry.commands.discover import discover
from tenantry.commands.migrate import migrate
from tenantry.commands.rollback import rollback
from tenantry.commands.sample import sample
from tenantry.commands.status import status
from tenantry.commands.tenants import add_tenant, list_tenants
from tenantry.discovery.spec_file import totals
from tenantry.errors import Refused
from tenantry.execution.events import Observer, ignore
from tenantry.execution.prospect import MigrateOptions
from tenantry.execution.session import Session, open_session
from tenantry.model.plan import Phase
from tenantry.model.run import MigrationState, Result, Status
from tenantry.model.spec import Spec
from tenantry.model.wording import counted
from tenantry.postgres.connect import Target
from tenantry.postgres.dump import dump_schema
from tenantry.postgres.queries import read_queries
from tenantry.presets import LoadedSample, spec_path, strays_query

_QUERIES = read_queries(Path(__file__).with_name("sql") / "demo.sql")
BEFORE, DURING = "before", "during"
WARMING = 2.0
"""Seconds for which the old application runs alone, to measure its usual waits."""
NEWCOMER = "newcomer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A claim that is checked, and whether it held."""

    sentence: str
    holds: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class VisibleRows:
    """How many owned rows a tenant sees as the application role; all of the operator's, for comparison."""

    tenant: str
    rows: int


@dataclass(slots=True, kw_only=True)
class Demonstration:
    """What happened, step by step; times in seconds."""

    preset: str
    loaded: LoadedSample | None = None
    refusal: str = ""
    statements: int = 0
    errors: tuple[str, ...] = ()
    longest_before: float = 0.0
    longest_during: float = 0.0
    sights: tuple[VisibleRows, ...] = ()
    owned_rows: int = 0
    status: Status | None = None
    claims: list[Claim] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether everything held."""
        return all(claim.holds for claim in self.claims)


Tell = Callable[[str], None]


def demo(
    target: Target, *, preset: str = "estoque", spec: Spec | None = None, rows: int = 20_000,
    observer: Observer | None = None,
    chapter: Tell = lambda title: None, say: Tell = lambda sentence: None,
    claim: Callable[[Claim], None] = lambda claim: None,
) -> Demonstration:  # fmt: skip
    """Load a preset into an empty database as its superuser, migrate it while an old application writes, show that
    tenants see only their own rows, complete the migration, and roll it back. `spec` replaces the preset's.

    `chapter`, `say` and `claim` are called with what begins, what was measured, and what was checked.
    """
    shown = Demonstration(preset=preset)
    stage = _Stage(target=target, spec=spec or Spec.read(spec_path(preset)), shown=shown,
                   observer=observer or ignore, chapter=chapter, say=say, claim=claim)  # fmt: skip
    with stage.timed():
        before = stage.prepare(rows)
        stage.migrate_under_load()
        stage.isolate()
        stage.contract()
        stage.go_back(before)
    return shown


@dataclass(slots=True, kw_only=True)
class _Stage:
    target: Target
    spec: Spec
    shown: Demonstration
    observer: Observer
    chapter: Tell
    say: Tell
    claim: Callable[[Claim], None]

    @contextmanager
    def timed(self) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.shown.seconds = time.monotonic() - started

    def holds(self, sentence: str, holds: bool) -> None:
        self.shown.claims.append(Claim(sentence=sentence, holds=holds))
        self.claim(self.shown.claims[-1])

    def migrate(self, until: Phase, *, force: bool = False) -> Result:
        return migrate(self.target, self.spec, MigrateOptions(until=until, force=force), self.observer)

    def prepare(self, rows: int) -> str:
        """The sample, the old application's role, and the schema as it is; returns its dump."""
        self.chapter(f"A database for one customer: the preset {self.shown.preset}")
        self.shown.loaded = loaded = sample(self.target, self.shown.preset, rows=rows)
        with open_session(self.target, purpose="demo") as connection:
            connection.execute(_QUERIES["old_role"])
        self.say(
            f"{counted(sum(loaded.rows.values()), 'row')} in {len(loaded.rows)} tables,"
            " and an application with an ordinary role."
        )
        found = discover(self.target).proposal
        self.say(f"discover proposes, from the foreign keys and the rows: {totals(found)}.")
        return dump_schema(self.target)

    def migrate_under_load(self) -> None:
        self.chapter("Migrate while the old application writes: expand, backfill, enforce")
        with old_application(self.target, self.shown.preset) as tally:
            tally.chapter = BEFORE
            time.sleep(WARMING)
            tally.chapter = DURING
            result = self.migrate(Phase.ENFORCE)
            self.say(f"{result.applied} steps, {result.rows:,} rows filled, {result.seconds:.1f} s.")
            self._refused_beside_it()
        self.shown.statements, self.shown.errors = tally.statements, tuple(tally.errors)
        self.shown.longest_before = tally.longest_of.get(BEFORE, 0.0)
        self.shown.longest_during = tally.longest_of.get(DURING, 0.0)
        self.say(
            f"The old application ran {tally.statements:,} statements. Its longest took"
            f" {self.shown.longest_during * 1000:.0f} ms;"
            f" before the migration {self.shown.longest_before * 1000:.0f} ms."
        )
        self.holds(f"none of its {tally.statements:,} statements failed", not tally.errors and tally.statements > 0)
        for error in dict.fromkeys(tally.errors[:3]):
            self.say(f"  {error}")
        allowed = self.spec.locks.timeout + self.shown.longest_before
        self.holds(
            f"none took longer than the lock timeout of {self.spec.locks.timeout:g} s in addition to its own time",
            self.shown.longest_during < allowed,
        )
        self.holds(
            "every row, also those written meanwhile, has the tenant that its own foreign keys lead to",
            self._strays() == 0,
        )

    def _refused_beside_it(self) -> None:
        """isolate would make owned rows invisible to the old application: it is refused while that is connected."""
        try:
            self.migrate(Phase.ISOLATE)
        except Refused as refusal:
            self.shown.refusal = refusal.message
            self.say(f"Isolate refuses: {refusal.message}.")
        self.holds("isolate refuses while the old application is there", bool(self.shown.refusal))

    def _strays(self) -> int:
        with open_session(self.target, purpose="demo") as connection:
            connection.execute("SET search_path = public")
            row = connection.execute(strays_query(self.shown.preset)).fetchone()
        assert row is not None
        return int(row[0])

    def isolate(self) -> None:
        self.chapter("The old application has ended: isolate")
        result = self.migrate(Phase.ISOLATE, force=True)
        self.say(f"{result.applied} steps, {result.seconds:.1f} s. Row-level security is enabled and forced.")
        add_tenant(self.target, self.spec, NEWCOMER, name="A new tenant")
        with open_session(self.target, purpose="demo") as connection:
            sights = _Sights(Session.begin(self.target, connection, self.spec))
            keys = {tenant.slug: tenant.key for tenant in list_tenants(self.target, self.spec)}
            found = {slug: sights.rows(key) for slug, key in keys.items()}
            self.shown.owned_rows, nobody = sights.all(), sights.rows(None)
        self.shown.sights = tuple(VisibleRows(tenant=slug, rows=rows) for slug, rows in found.items())
        for slug, rows in sorted(found.items(), key=lambda item: -item[1])[:3]:
            self.say(f"As {self.spec.application.role}, {slug} sees {rows:,} of {self.shown.owned_rows:,} owned rows.")
        self.holds("without a tenant the application sees no owned row", nobody == 0)
        self.holds(f"the tenant {NEWCOMER!r}, just added, sees no row of the others", found[NEWCOMER] == 0)
        self.holds(
            "what each tenant sees adds up to all owned rows",
            sum(found.values()) == self.shown.owned_rows > 0,
        )

    def contract(self) -> None:
        self.chapter("The old application is no longer needed: contract")
        result = self.migrate(Phase.CONTRACT, force=True)
        self.shown.status = now = status(self.target, self.spec)
        self.say(f"{result.applied} steps, {result.seconds:.1f} s; {now.steps[0]} of {now.steps[1]} steps are applied.")
        self.holds(f"status says {now.word}", now.word is MigrationState.COMPLETED and not now.altered)

    def go_back(self, before: str) -> None:
        self.chapter("And back: rollback --confirm")
        columns = self._columns()
        values = self._checksums(columns)
        result = rollback(self.target, None, self.observer)
        self.say(f"{result.applied} steps reverted, {result.seconds:.1f} s.")
        self.holds("pg_dump shows the same schema as before, byte for byte", dump_schema(self.target) == before)
        self.holds("no value of the user's columns has changed", self._checksums(columns) == values)

    def _columns(self) -> Mapping[str, list[str]]:
        """The user's columns of each table."""
        with open_session(self.target, purpose="demo") as connection:
            schema = Session.begin(self.target, connection, self.spec).schema
        return {table.name.name: [column.name for column in table.columns] for table in schema.tables.values()}

    def _checksums(self, columns: Mapping[str, list[str]]) -> dict[str, tuple[Any, ...] | None]:
        with open_session(self.target, purpose="demo") as connection:
            return {table: _checksum(connection, table, names) for table, names in columns.items()}


def _checksum(connection: psycopg.Connection[Any], table: str, columns: list[str]) -> tuple[Any, ...] | None:
    """The number of rows, and a checksum that does not depend on their order."""
    row = sql.SQL("ROW({})::text").format(sql.SQL(", ").join(map(sql.Identifier, columns)))
    query = sql.SQL("SELECT count(*), sum(('x' || substr(md5({}), 1, 15))::bit(60)::bigint)::text FROM {}").format(
        row, sql.Identifier("public", table)
    )
    return connection.execute(query).fetchone()


class _Sights:
    """The owned rows that the application role sees; shared rows are not counted."""

    def __init__(self, session: Session) -> None:
        self.connection = session.connection
        self.role = session.spec.application.role
        self.setting = session.plan.ownership.setting
        counts = (
            sql.SQL("(SELECT count(*) FROM {} AS row WHERE row.{} IS NOT NULL)").format(
                owned.table.identifier, sql.Identifier(owned.column)
            )
            for owned in session.plan.ownership.owned
        )
        self.query = sql.SQL("SELECT {}").format(sql.SQL(" + ").join(counts))

    def all(self) -> int:
        row = self.connection.execute(self.query).fetchone()
        assert row is not None
        return int(row[0])

    def rows(self, tenant: str | None) -> int:
        """What the tenant with this key sees; None is an application that has set no tenant."""
        with self.connection.transaction(force_rollback=True):
            self.connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(self.role)))
            self.connection.execute("SET LOCAL row_security = on")
            if tenant is not None:
                self.connection.execute(
                    sql.SQL("SELECT set_config({}, {}, true)").format(sql.Literal(self.setting), sql.Literal(tenant))
                )
            return self.all()
