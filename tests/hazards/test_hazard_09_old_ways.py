"""Hazard 9: what enforce would break of an old application waits for contract, or is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from daily import daily
from tenantry.errors import Refused, UsageError
from tenantry.model.plan import Phase

pytestmark = pytest.mark.server

Business = Callable[..., Any]
BEFORE_ISOLATE = [Phase.EXPAND, Phase.BACKFILL, Phase.ENFORCE]

# --- a parent whose owner shows only in its children

STOCK = """
CREATE TABLE schools (id integer PRIMARY KEY, owner integer NOT NULL REFERENCES tenants);
CREATE TABLE lots (id integer PRIMARY KEY, code text NOT NULL);
CREATE TABLE movements (id integer PRIMARY KEY, lot integer NOT NULL REFERENCES lots,
  school integer REFERENCES schools);
INSERT INTO schools VALUES (1, 1), (2, 2);
INSERT INTO lots VALUES (1, 'a'), (2, 'b');
INSERT INTO movements VALUES (1, 1, 1), (2, 2, 2), (3, 2, NULL);
"""
STOCK_TABLES = """
[[table]]
name = "schools"
paths = [["owner"]]
[[table]]
name = "lots"
children = ["movements.lot"]
[[table]]
name = "movements"
paths = [["school"], ["lot"]]
"""
NEW_LOT = "INSERT INTO lots VALUES (3, 'c'); INSERT INTO movements VALUES (4, 3, 2)"


def test_not_null_shows_the_hazard(business: Business) -> None:
    """NOT NULL, or a default tenant with the composite key, refuses a lot or its first movement."""
    shop = business(STOCK, STOCK_TABLES)
    shop.migrate(Phase.BACKFILL)
    shop.execute("ALTER TABLE lots ALTER tenant_id SET NOT NULL")
    shop.refuses(NEW_LOT, psycopg.errors.NotNullViolation)
    shop.execute(
        "ALTER TABLE lots ALTER tenant_id SET DEFAULT 1; ALTER TABLE lots ADD UNIQUE (tenant_id, id);"
        "ALTER TABLE movements ADD FOREIGN KEY (tenant_id, lot) REFERENCES lots (tenant_id, id)"
    )
    shop.refuses(NEW_LOT, psycopg.errors.ForeignKeyViolation)


@pytest.mark.parametrize("until", daily(reversed(BEFORE_ISOLATE)))
@pytest.mark.parametrize("several_statements", [True, False])
def test_a_lot_before_its_movement(business: Business, until: Phase, several_statements: bool) -> None:
    """In two transactions or in one, the movement gives its new lot an owner; contract demands one of every lot."""
    shop = business(STOCK, STOCK_TABLES)
    shop.migrate(until)
    for statements in NEW_LOT.split("; ") if several_statements else [NEW_LOT]:
        shop.execute(statements)
    assert shop.rows("SELECT id, tenant_id FROM lots WHERE id = 3") == [(3, 2)]
    shop.migrate(Phase.CONTRACT)
    assert shop.rows("SELECT id, tenant_id FROM lots ORDER BY id") == [(1, 1), (2, 2), (3, 2)]
    assert shop.rows("SELECT tenant_id FROM movements WHERE id = 3") == [(2,)]
    shop.refuses("INSERT INTO lots VALUES (4, 'd')", psycopg.errors.NotNullViolation)
    shop.refuses("INSERT INTO movements VALUES (5, 1, 2, 2)", psycopg.errors.ForeignKeyViolation)


def test_a_movement_of_another_tenant(business: Business) -> None:
    """An application that knows its tenant is refused at once; of an old one contract finds it, and changes nothing."""
    shop = business(STOCK, STOCK_TABLES)
    shop.migrate(Phase.ENFORCE)
    shop.refuses("SET app.tenant_id = '2'; INSERT INTO movements VALUES (5, 1, 2)", psycopg.errors.ForeignKeyViolation)
    shop.execute("INSERT INTO movements VALUES (5, 1, 2)")
    assert shop.rows("SELECT tenant_id FROM lots WHERE id = 1") == [(1,)]
    with pytest.raises(Refused, match="conflict"):
        shop.migrate(Phase.CONTRACT)
    shop.execute("DELETE FROM movements WHERE id = 5")
    shop.migrate(Phase.CONTRACT)


# --- a child before its parent

ORDERS = """
CREATE TABLE stores (id integer PRIMARY KEY, owner integer NOT NULL REFERENCES tenants);
CREATE TABLE orders (id integer PRIMARY KEY, store integer NOT NULL REFERENCES stores DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE lines (id integer PRIMARY KEY, "order" integer NOT NULL REFERENCES orders DEFERRABLE INITIALLY DEFERRED);
INSERT INTO stores VALUES (1, 1), (2, 2);
INSERT INTO orders VALUES (1, 1), (2, 2);
INSERT INTO lines VALUES (1, 1), (2, 2);
"""
ORDER_TABLES = """
[[table]]
name = "stores"
paths = [["owner"]]
[[table]]
name = "orders"
paths = [["store"]]
[[table]]
name = "lines"
paths = [["order"]]
"""
UPWARDS = "INSERT INTO lines VALUES (3, 3); INSERT INTO orders VALUES (3, 3); INSERT INTO stores VALUES (3, 2);"


def test_deferred_keys_show_the_hazard(business: Business) -> None:
    """NOT NULL is never deferred: it refuses the child whose parent is still to come."""
    shop = business(ORDERS, ORDER_TABLES)
    shop.migrate(Phase.BACKFILL)
    shop.execute("ALTER TABLE lines ALTER tenant_id SET NOT NULL")
    shop.refuses(UPWARDS, psycopg.errors.NotNullViolation)


@pytest.mark.parametrize("until", daily(reversed(BEFORE_ISOLATE)))
def test_a_child_before_its_parent(business: Business, until: Phase) -> None:
    """It gets its tenant at the latest in contract, which then demands it."""
    shop = business(ORDERS, ORDER_TABLES)
    shop.migrate(until)
    shop.execute(UPWARDS)
    shop.migrate(Phase.CONTRACT)
    assert shop.rows("SELECT tenant_id FROM orders ORDER BY id") == [(1,), (2,), (2,)]
    assert shop.rows("SELECT tenant_id FROM lines ORDER BY id") == [(1,), (2,), (2,)]
    shop.refuses("INSERT INTO lines VALUES (4, 3)", psycopg.errors.NotNullViolation)
    shop.refuses("INSERT INTO lines VALUES (4, 3, 1)", psycopg.errors.ForeignKeyViolation)


# --- a unique constraint that becomes per-tenant

PRODUCTS = """
CREATE TABLE products (id serial PRIMARY KEY, owner integer NOT NULL REFERENCES tenants,
  name text CONSTRAINT by_name UNIQUE);
INSERT INTO products (owner, name) VALUES (1, 'rice'), (2, 'beans');
"""
PRODUCT_TABLES = """
[[table]]
name = "products"
paths = [["owner"]]
unique = ["by_name"]
"""
UPSERT = "INSERT INTO products (owner, name) VALUES (1, 'rice') ON CONFLICT (name) DO UPDATE SET name = excluded.name"


@pytest.mark.parametrize("until", daily([Phase.ISOLATE, *reversed(BEFORE_ISOLATE)], 2))
def test_the_global_constraint_stays_until_contract(business: Business, until: Phase) -> None:
    """ON CONFLICT (name) finds its index as long as an old application may be there."""
    shop = business(PRODUCTS, PRODUCT_TABLES)
    shop.migrate(until)
    shop.execute(UPSERT)
    shop.refuses("INSERT INTO products (owner, name) VALUES (2, 'rice')", psycopg.errors.UniqueViolation)
    shop.migrate(Phase.CONTRACT)
    shop.refuses(UPSERT, psycopg.errors.InvalidColumnReference)
    shop.execute(UPSERT.replace("(name) DO", "(owner, name) DO"))
    shop.execute("INSERT INTO products (owner, name) VALUES (2, 'rice')")
    shop.refuses("INSERT INTO products (owner, name) VALUES (2, 'rice')", psycopg.errors.UniqueViolation)


def test_a_key_that_hangs_on_it_is_refused(business: Business) -> None:
    """Contract could not drop it; that is said before anything is changed."""
    prices = "CREATE TABLE prices (id integer PRIMARY KEY, product text NOT NULL REFERENCES products (name));"
    tables = PRODUCT_TABLES + '[[table]]\nname = "prices"\npaths = [["product"]]\n'
    shop = business(PRODUCTS + prices, tables)
    shop.refuses("ALTER TABLE products DROP CONSTRAINT by_name", psycopg.errors.DependentObjectsStillExist)
    with pytest.raises(UsageError, match="a foreign key depends on by_name") as refused:
        shop.migrate(Phase.EXPAND)
    assert refused.value.remedy
    assert shop.rows("SELECT to_regnamespace('tenantry')") == [(None,)]
