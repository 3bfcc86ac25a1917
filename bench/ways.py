"""The ways to fill a tenant column that are measured; each begins with a part that is not timed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import psycopg

from tenantry.execution.backfill.run import BackfillOptions, backfill
from tenantry.execution.backfill.throttle import Throttle
from tenantry.execution.events import ignore
from tenantry.model.name import Name
from tenantry.model.ownership import Hop
from tenantry.model.plan import Phase, Statement
from tenantry.postgres.journal import Journal
from tenantry.steps.assignment import AssignmentTrigger
from tenantry.steps.column import AddTenantColumn
from tenantry.steps.derivation import ByPath, TenantReference
from tenantry.steps.fill import Backfill, RelationFill

Connection = psycopg.Connection[Any]
Timed = Callable[[], None]

MOVEMENTS = Name("public", "movements")
TENANT = TenantReference(table=Name("public", "tenants"), key="id", slug="slug", type="uuid")
BY_STORE = ByPath(
    hops=(
        Hop(
            columns=("store_id",),
            parent=Name("public", "stores"),
            parent_columns=("id",),
            operators=(("pg_catalog", "="),),
        ),
    ),
    column="tenant_id",
)
ROW_TRIGGER = """
CREATE FUNCTION set_tenant() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.tenant_id IS NULL THEN
    NEW.tenant_id := (SELECT tenant_id FROM stores WHERE id = NEW.store_id);
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER set_tenant BEFORE INSERT OR UPDATE ON movements FOR EACH ROW EXECUTE FUNCTION set_tenant()
"""
# As pgroll writes it: rows are updated to what they are, and the trigger does the rest.
KEYSET = """
WITH batch AS (
  SELECT id FROM movements WHERE tenant_id IS NULL AND id > %s ORDER BY id LIMIT 1000 FOR NO KEY UPDATE
), updated AS (
  UPDATE movements SET id = movements.id FROM batch WHERE movements.id = batch.id RETURNING movements.id
)
SELECT max(id) FROM updated
"""


def column(constant: str | None = None) -> AddTenantColumn:
    return AddTenantColumn(
        phase=Phase.EXPAND, table=MOVEMENTS, column="tenant_id", type="uuid", constant=constant, tenant=TENANT
    )


def perform(connection: Connection, statements: tuple[Statement, ...]) -> None:
    for statement in statements:
        needed = statement.when is None or connection.execute(statement.when).fetchone() == (True,)
        if needed:
            connection.execute(statement.sql)


def in_place(workers: int, connection: Connection, dsn: str) -> Timed:
    """Ours, with the assignment trigger in force, as in a migration."""
    Journal(connection).install()
    perform(connection, column().apply())
    trigger = AssignmentTrigger(
        phase=Phase.EXPAND, table=MOVEMENTS, column="tenant_id", type="uuid", sources=(BY_STORE,),
        watched=("store_id",), tenant=TENANT, owner="postgres",
    )  # fmt: skip
    perform(connection, trigger.apply())
    relation = RelationFill(relation=MOVEMENTS, column="tenant_id", sources=(BY_STORE,), overrides=False)
    fill = Backfill(phase=Phase.BACKFILL, table=MOVEMENTS, fills=(relation,))

    def connect(purpose: str) -> Connection:
        return psycopg.connect(dsn, autocommit=True, options="-c search_path=pg_catalog")

    def timed() -> None:
        backfill(
            fill, connections=connect, workers=workers, observer=ignore, stop=threading.Event(),
            throttle=Throttle(), options=BackfillOptions(),
        )  # fmt: skip

    return timed


def offline(connection: Connection, dsn: str) -> Timed:
    """One UPDATE of the whole table."""
    perform(connection, column().apply())

    def timed() -> None:
        connection.execute("UPDATE movements SET tenant_id = s.tenant_id FROM stores AS s WHERE s.id = store_id")

    return timed


def keyset(connection: Connection, dsn: str) -> Timed:
    """1,000 rows at a time in the order of the primary key, through a row trigger."""
    perform(connection, column().apply())
    connection.execute(ROW_TRIGGER)

    def timed() -> None:
        last: int | None = 0
        while last is not None:
            row = connection.execute(KEYSET, [last]).fetchone()
            last = row[0] if row is not None else None

    return timed


def constant(connection: Connection, dsn: str) -> Timed:
    """ADD COLUMN with a constant default."""
    return lambda: perform(connection, column("tenant-1").apply())


WAYS: Mapping[str, Callable[[Connection, str], Timed]] = {
    "in place, 1 worker": partial(in_place, 1),
    "in place, 2 workers": partial(in_place, 2),
    "one offline UPDATE … FROM": offline,
    "1,000-row keyset batches, row trigger": keyset,
    "constant": constant,
}
