"""Hazard 1: a trigger that derives on every UPDATE undoes what cascades do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from daily import daily
from tenantry.model.plan import Phase

pytestmark = pytest.mark.server

Business = Callable[..., Any]

# A sale has two parents, either of which can move to another tenant.
SHOP = """
CREATE TABLE stores (id integer PRIMARY KEY, tenant_id integer NOT NULL REFERENCES tenants);
CREATE TABLE customers (id integer PRIMARY KEY, tenant_id integer NOT NULL REFERENCES tenants);
CREATE TABLE sales (id integer PRIMARY KEY, store_id integer NOT NULL REFERENCES stores,
  customer_id integer REFERENCES customers, note text);
INSERT INTO stores VALUES (1, 1), (2, 2);
INSERT INTO customers VALUES (1, 1), (2, 2);
INSERT INTO sales VALUES (1, 1, 1), (2, 2, 2), (3, 1, NULL);
"""
TABLES = """
[[table]]
name = "stores"
paths = [["tenant_id"]]
[[table]]
name = "customers"
paths = [["tenant_id"]]
[[table]]
name = "sales"
paths = [["store_id"], ["customer_id"]]
"""
# A sale of no store is the default tenant's, and so is never without one.
REGISTER = """
CREATE TABLE stores (id integer PRIMARY KEY, tenant_id integer NOT NULL REFERENCES tenants);
CREATE TABLE sales (id integer PRIMARY KEY, store_id integer REFERENCES stores ON DELETE SET NULL);
INSERT INTO stores VALUES (1, 1), (2, 2);
INSERT INTO sales VALUES (1, 1), (2, 2);
"""
REGISTER_TABLES = """
[[table]]
name = "stores"
paths = [["tenant_id"]]
[[table]]
name = "sales"
paths = [["store_id"]]
orphans = "default"
"""
ALWAYS = """
BEGIN
  NEW.tenant_id := (SELECT tenant_id FROM public.stores WHERE id = NEW.store_id);
  RETURN NEW;
END
"""
DANGLING = """
SELECT count(*) FROM sales JOIN customers ON customers.id = customer_id
WHERE sales.tenant_id IS DISTINCT FROM customers.tenant_id
"""


def test_shows_the_hazard(business: Business) -> None:
    """Derived on every UPDATE, a sale is taken back from its customer's new tenant, and nobody is told."""
    shop = business(SHOP, TABLES)
    shop.migrate(Phase.ENFORCE)
    shop.replace_trigger("sales", ALWAYS)
    shop.execute("UPDATE customers SET tenant_id = 2 WHERE id = 1")
    assert shop.rows(DANGLING) == [(1,)]
    assert shop.rows("SELECT DISTINCT convalidated FROM pg_constraint WHERE contype = 'f'") == [(True,)]


def test_children_follow_their_parent(business: Business) -> None:
    """A store that moves takes its sales along."""
    shop = business(SHOP, TABLES)
    shop.migrate(Phase.ENFORCE)
    shop.execute("DELETE FROM sales WHERE id = 1; UPDATE stores SET tenant_id = 2 WHERE id = 1")
    assert shop.rows("SELECT id, tenant_id FROM sales ORDER BY id") == [(2, 2), (3, 2)]


@pytest.mark.parametrize("parent", ["stores", "customers"])
def test_one_of_two_parents_cannot_move_alone(business: Business, parent: str) -> None:
    """Where the other parent stays, the statement is refused, and nothing has changed."""
    shop = business(SHOP, TABLES)
    shop.migrate(Phase.ENFORCE)
    shop.refuses(f"UPDATE {parent} SET tenant_id = 2 WHERE id = 1", psycopg.errors.ForeignKeyViolation)
    assert shop.rows(DANGLING) == [(0,)]
    assert shop.rows("SELECT tenant_id FROM sales WHERE id = 1") == [(1,)]


@pytest.mark.parametrize("order", daily(map(pytest.param, (("stores", "customers"), ("customers", "stores")))))
def test_both_parents_move_together(business: Business, order: tuple[str, str]) -> None:
    """With SET CONSTRAINTS ALL DEFERRED, in whichever order; the sale follows."""
    shop = business(SHOP, TABLES)
    shop.migrate(Phase.ENFORCE)
    moves = "; ".join(f"UPDATE {parent} SET tenant_id = 2 WHERE id = 1" for parent in order)
    shop.execute(f"SET CONSTRAINTS ALL DEFERRED; {moves}")
    assert shop.rows("SELECT tenant_id FROM sales WHERE id = 1") == [(2,)]
    assert shop.rows(DANGLING) == [(0,)]
    shop.refuses("SET CONSTRAINTS ALL DEFERRED; UPDATE stores SET tenant_id = 1 WHERE id = 1",
                 psycopg.errors.ForeignKeyViolation)  # fmt: skip


def test_changed_path_changes_the_tenant(business: Business) -> None:
    """A sale that goes to another store goes to its tenant; a tenant that the statement names itself is kept."""
    shop = business(SHOP, TABLES)
    shop.migrate(Phase.ENFORCE)
    shop.execute("UPDATE sales SET store_id = 2 WHERE id = 3")
    assert shop.rows("SELECT tenant_id FROM sales WHERE id = 3") == [(2,)]
    shop.refuses("UPDATE sales SET store_id = 1, tenant_id = 1 WHERE id = 2", psycopg.errors.ForeignKeyViolation)
    shop.execute("UPDATE sales SET tenant_id = NULL, note = 'x' WHERE id = 3")
    assert shop.rows("SELECT tenant_id FROM sales WHERE id = 3") == [(2,)]


@pytest.mark.differs
def test_set_null_shows_the_hazard(business: Business) -> None:
    """Derived on every UPDATE, a legal DELETE fails for the tenant that its SET NULL takes away."""
    shop = business(REGISTER, REGISTER_TABLES, head='default = "north"')
    shop.migrate(Phase.ENFORCE)
    shop.replace_trigger("sales", ALWAYS)
    shop.refuses("DELETE FROM stores WHERE id = 2", psycopg.errors.NotNullViolation)


@pytest.mark.differs("planning/context.py")
@pytest.mark.parametrize("until", daily([Phase.ENFORCE, Phase.ISOLATE, Phase.EXPAND, Phase.BACKFILL], 2))
def test_set_null_keeps_the_tenant(business: Business, until: Phase) -> None:
    """A sale whose store is deleted stays the tenant's that it was."""
    shop = business(REGISTER, REGISTER_TABLES, head='default = "north"')
    shop.migrate(until)
    if until is Phase.EXPAND:
        shop.execute("UPDATE sales SET id = id")
    shop.execute("DELETE FROM stores WHERE id = 2")
    assert shop.rows("SELECT store_id, tenant_id FROM sales WHERE id = 2") == [(None, 2)]
