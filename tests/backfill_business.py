"""What the tests of fills share: a small business, its tables' sources, and a watcher of the fill."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import psycopg

from servers import Database
from tenantry.execution.backfill.run import BackfillOptions, FillResult, backfill
from tenantry.execution.backfill.throttle import Throttle
from tenantry.execution.events import Event, FillAdvanced, FillFinished, FillPaused, FillStarted
from tenantry.model.name import Name
from tenantry.model.ownership import Hop
from tenantry.model.plan import Phase, Statement
from tenantry.postgres.journal import Journal
from tenantry.steps.assignment import AssignmentTrigger
from tenantry.steps.derivation import ByPath, Source, TenantReference
from tenantry.steps.fill import Backfill, RelationFill

SALES, STORES, TENANTS = (Name("public", name) for name in ("sales", "stores", "tenants"))
EQUAL = (("pg_catalog", "="),)
REFERENCE = TenantReference(table=TENANTS, key="id", slug="slug", type="integer")
STORE = Hop(columns=("store_id",), parent=STORES, parent_columns=("id",), operators=EQUAL)
BY_STORE = ByPath(hops=(STORE,), column="tenant_id")

BUSINESS = """
CREATE TABLE tenants (id integer PRIMARY KEY, slug text NOT NULL UNIQUE);
INSERT INTO tenants VALUES (1, 'north'), (2, 'south');
CREATE TABLE stores (id integer PRIMARY KEY, name text NOT NULL, tenant_id integer);
INSERT INTO stores SELECT n, 'store ' || n, 1 + n % 2 FROM generate_series(1, 20) AS n;
CREATE TABLE sales (
  id integer PRIMARY KEY, store_id integer NOT NULL REFERENCES stores, note text NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT '2020-01-01', tenant_id integer
);
CREATE INDEX ON sales (store_id);
"""
SOLD = """
INSERT INTO sales (id, store_id, note)
SELECT n, 1 + n %% 20, repeat('sold over the counter ', 4) FROM generate_series(1, %(rows)s::integer) AS n
"""
EVERY_ROW_IS_RIGHT = (
    "SELECT count(*) FROM sales JOIN stores ON stores.id = store_id"
    " WHERE sales.tenant_id IS DISTINCT FROM stores.tenant_id"
)


def build(database: Database, rows: int = 5_000) -> None:
    """The business with `rows` sales that have no tenant, and the journal."""
    database.execute(BUSINESS)
    with database.connect() as connection:
        connection.execute(SOLD, {"rows": rows})
    with database.connect(autocommit=True) as connection:
        Journal(connection).install()


def perform(database: Database, statements: tuple[Statement, ...]) -> None:
    """What a step says is to be done."""
    with database.connect(autocommit=True) as connection:
        for statement in statements:
            needed = statement.when is None or connection.execute(statement.when).fetchone() == (True,)
            if needed:
                connection.execute(statement.sql)


def assign(
    database: Database, table: Name = SALES, column: str = "tenant_id",
    sources: tuple[Source, ...] = (BY_STORE,), watched: tuple[str, ...] = ("store_id",),
) -> None:  # fmt: skip
    """Make the assignment trigger."""
    step = AssignmentTrigger(
        phase=Phase.EXPAND, table=table, column=column, type="integer", sources=sources, watched=watched,
        tenant=REFERENCE, owner="postgres",
    )  # fmt: skip
    perform(database, step.apply())


def relation_fill(
    relation: Name = SALES, sources: tuple[Source, ...] = (BY_STORE,), *, column: str = "tenant_id",
    overrides: bool = False, identity: tuple[str, ...] = (),
) -> RelationFill:  # fmt: skip
    return RelationFill(relation=relation, column=column, sources=sources, overrides=overrides, identity=identity)


def fill_of(*fills: RelationFill, purpose: Literal["fill", "default", "sweep", "rest"] = "fill") -> Backfill:
    chosen = fills or (relation_fill(),)
    return Backfill(phase=Phase.BACKFILL, table=chosen[0].relation, fills=chosen, purpose=purpose)


@dataclass
class Watcher:
    """Writes down what a fill tells, and lets a test act between two batches."""

    between: Callable[[int], None] = lambda batch: None
    pages: int = 0
    rows: int = 0
    batches: int = 0
    reasons: list[str] = field(default_factory=list)
    begun: dict[Name, int] = field(default_factory=dict)
    ended: dict[Name, int] = field(default_factory=dict)

    def __call__(self, event: Event) -> None:
        match event:
            case FillStarted(relation, total_pages):
                self.begun[relation] = total_pages
            case FillAdvanced(_, pages, rows):
                self.pages += pages
                self.rows += rows
                self.batches += 1
                self.between(self.batches)
            case FillPaused(reason):
                self.reasons.append(reason)
            case FillFinished(relation, rows):
                self.ended[relation] = rows


def run(
    database: Database | str, fill: Backfill | None = None, *, watcher: Watcher | None = None, workers: int = 1,
    stop: threading.Event | None = None, throttle: Throttle | None = None, **options: Any,
) -> FillResult:  # fmt: skip
    """Run a fill in small batches."""
    dsn = database if isinstance(database, str) else database.dsn

    def connect(purpose: str) -> psycopg.Connection[Any]:
        return psycopg.connect(dsn, autocommit=True, application_name=purpose, options="-c search_path=pg_catalog")

    return backfill(
        fill or fill_of(), connections=connect, workers=workers, observer=watcher or Watcher(),
        stop=stop or threading.Event(), throttle=throttle or Throttle(),
        options=BackfillOptions(**({"first_batch": 8, "budget": 10.0} | options)),
    )  # fmt: skip
