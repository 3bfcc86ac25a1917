"""Hazard 11: foreign keys act in the order of their triggers' names, which hold numbers as text."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import psycopg
import pytest

from servers import Database, Server
from tenantry import MigrateOptions, migrate, rollback
from tenantry.model.plan import Phase
from tenantry.model.schema import ManagedObjects
from tenantry.model.spec import Spec
from tenantry.planning import make_plan
from tenantry.planning.context import PlanContext
from tenantry.postgres.catalog import read_schema
from tenantry.postgres.connect import Target, connect

pytestmark = pytest.mark.server

TENANTS = """
CREATE TABLE tenants (id integer PRIMARY KEY, slug text NOT NULL UNIQUE);
INSERT INTO tenants VALUES (1, 'north'), (2, 'south');
CREATE TABLE stores (id integer PRIMARY KEY, tenant_id integer NOT NULL REFERENCES tenants);
INSERT INTO stores VALUES (0, 1), (1, 1), (2, 2), (3, 2);
CREATE TABLE sales (id integer PRIMARY KEY, store_id integer DEFAULT 0, tenant_id integer NOT NULL REFERENCES tenants);
INSERT INTO sales VALUES (1, 1, 1), (2, 2, 2), (3, NULL, 2);
"""
KEY = "ALTER TABLE sales ADD CONSTRAINT sales_store FOREIGN KEY (store_id) REFERENCES stores {}"
SPEC = """
[tenant]
table = "tenants"
[application]
role = "{}"
[[table]]
name = "stores"
paths = [["tenant_id"]]
[[table]]
name = "sales"
paths = [["tenant_id"]]
"""
FIRST = """
SELECT c.conname FROM pg_trigger t JOIN pg_constraint c ON c.oid = t.tgconstraint
WHERE t.tgrelid = 'stores'::regclass AND c.conrelid = 'sales'::regclass AND c.conname LIKE '%sales_store'
  AND t.tgname LIKE 'RI_ConstraintTrigger_a_%' ORDER BY t.tgname LIMIT 1
"""


def advance(database: Database, number: int) -> None:
    """Use up object identifiers until `number`."""
    database.execute(
        "DO $$ BEGIN LOOP"
        f" EXIT WHEN pg_nextoid('pg_class', 'oid', 'pg_class_oid_index')::bigint >= {number};"
        " END LOOP; END $$"
    )


def shop(server: Server, application: str, action: str, *, crossing: bool) -> tuple[Database, Spec]:
    """The user's key, just below the boundary where the composite one is to be beyond it."""
    database = server.create("crossing" if crossing else "ordinary")
    database.execute(TENANTS)
    if crossing:
        advance(database, 99_900)
    database.execute(KEY.format(action))
    if crossing:
        advance(database, 100_000)
    return database, Spec.parse(SPEC.format(application))


def migrated(database: Database, spec: Spec) -> None:
    migrate(Target(database.dsn), spec, MigrateOptions(until=Phase.ENFORCE))


def test_shows_the_hazard(crashable: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A composite key without an action: whether a parent can be deleted depends on the number of digits."""
    monkeypatch.setattr(PlanContext, "action", lambda self, key: ("a", (), False))
    database, spec = shop(crashable, "app_1", "ON DELETE CASCADE", crossing=False)
    migrated(database, spec)
    assert database.rows(FIRST) == [("sales_store",)]
    database.execute("DELETE FROM stores WHERE id = 1")
    database, spec = shop(crashable, "app_1", "ON DELETE CASCADE", crossing=True)
    migrated(database, spec)
    assert database.rows(FIRST) == [("tenantry_sales_store",)]
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        database.execute("DELETE FROM stores WHERE id = 1")


@pytest.mark.parametrize(("action", "left"), [
    ("ON DELETE CASCADE", []),
    ("ON DELETE SET NULL", [(None, 1)]),
    ("ON DELETE SET DEFAULT", [(0, 1)]),
])  # fmt: skip
def test_delete_does_the_same_in_either_order(crashable: Server, action: str, left: list[tuple[Any, ...]]) -> None:
    """What the user's key does to the children when their parent goes, it does beside ours, whichever acts first;
    on PostgreSQL 14, which cannot set some columns only, ours looks when the transaction ends."""
    for crossing, first in ((False, "sales_store"), (True, "tenantry_sales_store")):
        database, spec = shop(crashable, "app_2", action, crossing=crossing)
        before = database.dump()
        migrated(database, spec)
        assert database.rows(FIRST) == [(first,)]
        database.execute("DELETE FROM stores WHERE id = 1")
        assert database.rows("SELECT store_id, tenant_id FROM sales WHERE id = 1") == left
        database.execute("DELETE FROM sales WHERE id = 2; DELETE FROM stores WHERE id = 2")
        rollback(Target(database.dsn))
        assert database.dump() == before


@pytest.mark.parametrize(("action", "error"), [
    ("", psycopg.errors.ForeignKeyViolation),
    ("ON DELETE RESTRICT", psycopg.errors.IntegrityError),
])  # fmt: skip
def test_delete_is_refused_in_either_order(crashable: Server, action: str, error: type[psycopg.Error]) -> None:
    """Where the user's key refuses, both do."""
    for crossing in (False, True):
        database, spec = shop(crashable, "app_3", action, crossing=crossing)
        migrated(database, spec)
        with pytest.raises(error):
            database.execute("DELETE FROM stores WHERE id = 1")


@pytest.mark.parametrize("action", ["ON UPDATE CASCADE", "ON UPDATE CASCADE ON DELETE SET NULL"])
def test_key_changes_in_either_order(crashable: Server, action: str) -> None:
    """A parent whose key changes takes its children along, and so does one whose tenant changes; both in one statement
    are done or refused, and never by halves."""
    for crossing in (False, True):
        database, spec = shop(crashable, "app_4", action, crossing=crossing)
        migrated(database, spec)
        database.execute("UPDATE stores SET id = 7 WHERE id = 2")
        assert database.rows("SELECT store_id, tenant_id FROM sales WHERE id = 2") == [(7, 2)]
        with database.connect(autocommit=True) as session, suppress(psycopg.errors.ForeignKeyViolation):
            session.execute("UPDATE stores SET id = 8, tenant_id = 1 WHERE id = 7")
        assert database.rows("SELECT store_id, tenant_id FROM sales WHERE id = 2") in ([(7, 2)], [(8, 1)])
        database.execute("UPDATE stores SET tenant_id = 3 - tenant_id WHERE id IN (7, 8)")
        assert database.rows("SELECT s.tenant_id = p.tenant_id FROM sales s JOIN stores p ON p.id = s.store_id"
                             " WHERE s.id = 2") == [(True,)]  # fmt: skip


def test_what_cascades_now_is_said(crashable: Server) -> None:
    """Where the user's key refused a change of the parent's key, ours lets it through; the plan says so."""
    database, spec = shop(crashable, "app_5", "", crossing=False)
    with connect(Target(database.dsn), purpose="test") as connection:
        plan = make_plan(spec, read_schema(connection, ("public",), managed=ManagedObjects()))
    assert "a change of id in public.stores now cascades to public.sales" in {step.note for step in plan.steps}


@pytest.mark.parametrize("timing", ["DEFERRABLE INITIALLY IMMEDIATE", "DEFERRABLE INITIALLY DEFERRED"])
def test_deferrable_key(crashable: Server, timing: str) -> None:
    """An application that defers its own key by name, knowing nothing of ours, is not stopped by ours."""
    database, spec = shop(crashable, "app_6", timing, crossing=False)
    migrated(database, spec)
    database.execute("""
        SET CONSTRAINTS sales_store DEFERRED;
        INSERT INTO sales VALUES (9, 9, 1); INSERT INTO stores VALUES (9, 1);
        DELETE FROM stores WHERE id = 1; DELETE FROM sales WHERE id = 1
    """)
    assert database.rows("SELECT id FROM sales ORDER BY id") == [(2,), (3,), (9,)]
    with database.connect(autocommit=True) as session, pytest.raises(psycopg.errors.ForeignKeyViolation):
        session.execute("BEGIN; SET CONSTRAINTS sales_store DEFERRED; INSERT INTO sales VALUES (10, 2, 1); COMMIT")
