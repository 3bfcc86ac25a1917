"""Hazard 5: a fill is an UPDATE, and fires what the user has put on updates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tenantry.errors import Failed, Refused
from tenantry.model.plan import Phase

pytestmark = pytest.mark.server

Business = Callable[..., Any]

SHOP = """
CREATE TABLE stores (id integer PRIMARY KEY, tenant_id integer NOT NULL REFERENCES tenants);
CREATE TABLE sales (id integer PRIMARY KEY, store_id integer NOT NULL REFERENCES stores, note text,
  doubled integer GENERATED ALWAYS AS (id * 2) STORED, updated_at timestamptz NOT NULL DEFAULT '2020-01-01');
INSERT INTO stores VALUES (1, 1), (2, 2);
INSERT INTO sales (id, store_id) SELECT n, 1 + n % 2 FROM generate_series(1, 100) AS n;
CREATE TABLE audit (id integer);
"""
PATHS = """
[[table]]
name = "stores"
paths = [["tenant_id"]]
[[table]]
name = "audit"
shared = true
[[table]]
name = "sales"
paths = [["store_id"]]
"""
CONSTANT = PATHS.replace('paths = [["store_id"]]', 'assign = { tenant = "north" }')
TOUCH = """
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN NEW.updated_at := now(); NEW.note := ''touched''; RETURN NEW; END';
CREATE TRIGGER touch BEFORE UPDATE ON sales FOR EACH ROW EXECUTE FUNCTION touch();
"""
UNTOUCHED = "SELECT count(*) FROM sales WHERE note IS NULL AND updated_at = '2020-01-01' AND doubled = id * 2"
AUDIT = """
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN INSERT INTO public.audit VALUES (NEW.id); RETURN NULL; END';
CREATE TRIGGER audit AFTER UPDATE ON sales FOR EACH ROW EXECUTE FUNCTION audit();
"""
GUARD = """
CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN RAISE EXCEPTION ''sales are append-only''; END';
CREATE TRIGGER guard BEFORE UPDATE ON sales FOR EACH ROW EXECUTE FUNCTION guard();
"""
RULE = "CREATE RULE frozen AS ON UPDATE TO sales DO INSTEAD NOTHING;"
PUBLISHED = "ALTER TABLE sales REPLICA IDENTITY NOTHING; CREATE PUBLICATION everything FOR ALL TABLES;"


def filled(shop: Any) -> int:
    return shop.rows("SELECT count(tenant_id) FROM sales")[0][0]


def test_shows_the_hazard(business: Business) -> None:
    """An UPDATE of the tenant like any other touches every row."""
    shop = business(SHOP + TOUCH, PATHS)
    shop.migrate(Phase.EXPAND)
    shop.execute("UPDATE sales SET tenant_id = 1")
    assert shop.rows(UNTOUCHED) == [(0,)]


def test_fill_changes_the_tenant_only(business: Business) -> None:
    """What the user's trigger changes is put back; outside of fills the trigger works as ever."""
    shop = business(SHOP + TOUCH, PATHS)
    shop.migrate(Phase.ENFORCE)
    assert filled(shop) == 100
    assert shop.rows(UNTOUCHED) == [(100,)]
    shop.execute("UPDATE sales SET id = id WHERE id <= 10")
    assert shop.rows(UNTOUCHED) == [(90,)]


@pytest.mark.parametrize(("trap", "finding"), [
    (AUDIT, "calls public.audit after UPDATE"), (GUARD, "more than change its row"), (RULE, "rule frozen"),
    (PUBLISHED, "replica identity"),
])  # fmt: skip
def test_what_a_fill_would_set_off_is_refused(business: Business, trap: str, finding: str) -> None:
    """Before anything is changed, and by its name."""
    shop = business(SHOP + trap, PATHS)
    before = shop.database.dump()
    with pytest.raises(Refused, match=finding):
        shop.migrate(Phase.ENFORCE)
    assert shop.database.dump() == before


def test_consent(business: Business) -> None:
    """With --force a trigger after UPDATE runs; one that refuses the update ends the fill, with its own words."""
    shop = business(SHOP + AUDIT, PATHS)
    shop.migrate(Phase.ENFORCE, force=True)
    assert (filled(shop), shop.rows("SELECT count(*) FROM audit")) == (100, [(100,)])
    shop.rollback()
    shop.execute(GUARD)
    with pytest.raises(Failed, match="sales are append-only"):
        shop.migrate(Phase.ENFORCE, force=True)
    shop.execute("DROP TRIGGER guard ON sales")
    shop.migrate(Phase.ENFORCE, force=True)
    assert filled(shop) == 100


@pytest.mark.parametrize("trap", [TOUCH, AUDIT, GUARD, RULE, PUBLISHED])
def test_constant_fill_fires_nothing(business: Business, trap: str) -> None:
    """Where one tenant owns all rows, none is touched, and nothing has to be consented to."""
    shop = business(SHOP + "UPDATE stores SET tenant_id = 1;" + trap, CONSTANT)
    node = shop.rows("SELECT pg_relation_filenode('sales')")
    shop.migrate(Phase.ENFORCE)
    assert (filled(shop), shop.rows(UNTOUCHED), shop.rows("SELECT count(*) FROM audit")) == (100, [(100,)], [(0,)])
    assert shop.rows("SELECT pg_relation_filenode('sales')") == node
    assert shop.rows("SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'sales'") == [(0,)]


def test_setting_of_a_fill_does_not_leak(business: Business) -> None:
    """Adoption says that it is a fill, for one statement: the writer's own updates are not taken for one."""
    lots = """
        CREATE TABLE lots (id integer PRIMARY KEY, note text);
        CREATE TABLE moves (id integer PRIMARY KEY, lot_id integer REFERENCES lots,
          tenant_id integer REFERENCES tenants);
    """
    tables = """
        [[table]]
        name = "lots"
        children = ["moves.lot_id"]
        [[table]]
        name = "moves"
        paths = [["tenant_id"]]
    """
    shop = business(lots, tables)
    shop.migrate(Phase.EXPAND)
    shop.execute("INSERT INTO lots VALUES (1), (2)")
    with shop.connect() as session:
        session.execute("INSERT INTO moves VALUES (1, 1, 2)")
        session.execute("UPDATE lots SET note = 'mine'")
    assert shop.rows("SELECT id, note, tenant_id FROM lots ORDER BY id") == [(1, "mine", 2), (2, "mine", None)]
