"""Hazard 12: references into tables some of whose rows are everybody's, which no composite key can hold."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import psycopg
import pytest

from daily import daily
from tenantry.errors import Refused
from tenantry.execution.events import Event, StepEvent
from tenantry.model.plan import Phase

pytestmark = pytest.mark.server

Business = Callable[..., Any]
Waits = Callable[..., Future[Any]]

SHOP = """
CREATE TABLE stores (id integer PRIMARY KEY, tenant_id integer NOT NULL REFERENCES tenants);
CREATE TABLE products (id integer PRIMARY KEY, store_id integer REFERENCES stores,
  name text CONSTRAINT products_name UNIQUE, price integer);
CREATE TABLE sales (id integer PRIMARY KEY, store_id integer NOT NULL REFERENCES stores,
  product_id integer REFERENCES products ON DELETE SET NULL);
INSERT INTO stores VALUES (1, 1), (2, 2), (3, 1);
INSERT INTO products VALUES (0, NULL, 'salt'), (1, 1, 'bread'), (2, 2, 'cheese'), (9, NULL, 'unsold');
INSERT INTO sales VALUES (1, 1, 0), (2, 2, 0), (3, 1, 1), (4, 2, 2);
"""
TABLES = """
[[table]]
name = "stores"
paths = [["tenant_id"]]
[[table]]
name = "products"
paths = [["store_id"]]
orphans = "shared"
unique = ["products_name"]
[[table]]
name = "sales"
paths = [["store_id"]]
"""
VIOLATIONS = """
SELECT sales.id FROM sales JOIN products ON products.id = product_id
WHERE products.tenant_id IS NOT NULL AND products.tenant_id <> sales.tenant_id
"""
REFUSED = psycopg.errors.ForeignKeyViolation


def shop_of(business: Business, until: Phase = Phase.ENFORCE) -> Any:
    shop = business(SHOP, TABLES)
    shop.migrate(until)
    return shop


def test_composite_key_shows_the_hazard(business: Business) -> None:
    """A composite key refuses every reference to a shared row."""
    shop = shop_of(business)
    shop.execute("CREATE UNIQUE INDEX tenant_product ON products (tenant_id, id)")
    add = "ALTER TABLE sales ADD FOREIGN KEY (tenant_id, product_id) REFERENCES products (tenant_id, id)"
    shop.refuses(add, REFUSED)


def test_references_into_a_mixed_table(business: Business) -> None:
    """A sale refers to its own tenant's products and to shared ones; to another's neither when inserted nor later."""
    shop = shop_of(business)
    shop.execute("INSERT INTO sales VALUES (11, 1, 0), (12, 1, 1), (13, 2, NULL)")
    shop.refuses("INSERT INTO sales VALUES (14, 1, 2)", REFUSED)
    shop.refuses("UPDATE sales SET product_id = 1 WHERE id = 13", REFUSED)
    shop.refuses("UPDATE sales SET store_id = 2 WHERE id = 12", REFUSED)
    shop.execute("UPDATE sales SET store_id = 2, product_id = 2 WHERE id = 12")
    shop.execute("UPDATE sales SET store_id = 2 WHERE id = 11")
    assert shop.rows(VIOLATIONS) == []


def test_application_role(business: Business) -> None:
    """The trigger sees what the application does not: a product of another tenant."""
    shop = shop_of(business, Phase.ISOLATE)
    with shop.connect() as session:
        session.execute(f"SET LOCAL ROLE {shop.application}; SET LOCAL app.tenant_id = '1'")
        assert session.execute("SELECT id FROM products ORDER BY id").fetchall() == [(0,), (1,), (9,)]
        session.execute("INSERT INTO sales VALUES (11, 1, 0)")
        with pytest.raises(REFUSED):
            session.execute("INSERT INTO sales VALUES (12, 1, 2)")


class When:
    """Acts when a step begins."""

    def __init__(self, step: str, action: Callable[[], None]) -> None:
        self.key, self.action = step, action

    def __call__(self, event: Event) -> None:
        match event:
            case StepEvent():
                if event.step.key == self.key and event.action == "started":
                    self.action()


def test_rows_that_were_there_before(business: Business) -> None:
    """The census finds them; one that comes later, before the trigger, which looks at new rows only, is found by the
    proof."""
    shop = business(SHOP + "INSERT INTO sales VALUES (5, 1, 2);", TABLES)
    with pytest.raises(Refused, match=r"public\.sales has 1 reference across tenants"):
        shop.migrate(Phase.ENFORCE)
    shop.execute("DELETE FROM sales WHERE id = 5")
    late = When("reference:public.sales:tenantry_refers_sales_product_id_fkey",
                lambda: shop.execute("INSERT INTO sales VALUES (5, 1, 2)"))  # fmt: skip
    with pytest.raises(Refused, match=r"rows refer to another tenant's row of public\.products") as refusal:
        shop.migrate(Phase.ENFORCE, late)
    assert refusal.value.details == ("1 rows, such as (1,2)",)
    shop.execute("UPDATE sales SET product_id = 1 WHERE id = 5")
    shop.migrate(Phase.ENFORCE)
    assert shop.rows(VIOLATIONS) == []


def test_product_that_changes_hands(business: Business) -> None:
    """A product becomes a tenant's, or another's, while no sale of anybody else refers to it; shared it may become."""
    shop = shop_of(business)
    shop.execute("UPDATE products SET store_id = 2 WHERE id = 9")
    assert shop.rows("SELECT tenant_id FROM products WHERE id = 9") == [(2,)]
    shop.execute("UPDATE products SET store_id = 1 WHERE id = 9")
    shop.execute("UPDATE products SET store_id = 3, price = 1 WHERE id = 1")
    assert shop.rows("SELECT id, tenant_id FROM products WHERE id IN (1, 9) ORDER BY id") == [(1, 1), (9, 1)]
    shop.refuses("UPDATE products SET store_id = 1 WHERE id = 0", REFUSED)
    shop.refuses("UPDATE products SET store_id = 2 WHERE id = 1", REFUSED)
    shop.execute("UPDATE products SET store_id = NULL WHERE id = 2")
    shop.execute("DELETE FROM products WHERE id = 1")
    assert shop.rows("SELECT tenant_id, product_id FROM sales WHERE id = 3") == [(1, None)]
    assert shop.rows(VIOLATIONS) == []


def test_columns_that_are_named_tenant(business: Business) -> None:
    """The tables may have called their own column as the trigger would call what it looks at."""
    shop = business(
        SHOP.replace("product_id integer", "tenant text, product_id integer")
        .replace("(1, 1, 0)", "(1, 1, '', 0)").replace("(2, 2, 0)", "(2, 2, '', 0)")
        .replace("(3, 1, 1)", "(3, 1, '', 1)").replace("(4, 2, 2)", "(4, 2, '', 2)"),
        TABLES,
    )  # fmt: skip
    shop.migrate(Phase.ENFORCE)
    shop.execute("UPDATE products SET store_id = 2 WHERE id = 9")
    shop.refuses("UPDATE products SET store_id = 1 WHERE id = 0", REFUSED)


def test_without_locks_shows_the_hazard(business: Business) -> None:
    """A sale and a change of its product's tenant, neither of which sees the other."""
    shop = shop_of(business)
    shop.execute("DROP TRIGGER tenantry_tenant_change ON products")
    with shop.connect() as seller, shop.connect() as mover:
        seller.execute("INSERT INTO sales VALUES (20, 1, 9)")
        mover.execute("UPDATE products SET store_id = 2 WHERE id = 9")
    assert shop.rows(VIOLATIONS) == [(20,)]


@pytest.mark.parametrize("write", [
    "INSERT INTO sales VALUES (20, 1, 9)", "UPDATE sales SET product_id = 9 WHERE id = 1",
    "UPDATE sales SET store_id = 1 WHERE id = 21",
])  # fmt: skip
@pytest.mark.parametrize("level", daily(["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"], 2))
def test_sale_first(business: Business, waits: Waits, write: str, level: str) -> None:
    """The change of tenant waits for the sale, whatever the seller's level, and is refused once that is committed."""
    shop = shop_of(business)
    shop.execute("INSERT INTO sales VALUES (21, 2, 9)")
    with shop.connect() as seller, shop.connect() as mover:
        seller.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
        seller.execute(write)
        moving = waits(mover, "UPDATE products SET store_id = 2 WHERE id = 9")
        seller.commit()
        with pytest.raises(REFUSED):
            moving.result(timeout=60)
        mover.rollback()
    assert shop.rows(VIOLATIONS) == []


@pytest.mark.parametrize("level", daily(["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"], 2))
def test_change_first(business: Business, waits: Waits, level: str) -> None:
    """The sale waits for the change of tenant, and is refused, or has to be tried again, once that is committed."""
    shop = shop_of(business)
    with shop.connect() as seller, shop.connect() as mover:
        seller.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
        seller.execute("SELECT count(*) FROM sales")
        mover.execute("UPDATE products SET store_id = 2 WHERE id = 9")
        selling = waits(seller, "INSERT INTO sales VALUES (20, 1, 9)")
        mover.commit()
        with pytest.raises(REFUSED if level == "READ COMMITTED" else psycopg.errors.SerializationFailure):
            selling.result(timeout=60)
        seller.rollback()
        with pytest.raises(REFUSED):
            seller.execute("INSERT INTO sales VALUES (20, 1, 9)")
        seller.rollback()
    assert shop.rows(VIOLATIONS) == []


@pytest.mark.parametrize("level", daily(["REPEATABLE READ", "SERIALIZABLE"]))
def test_change_at_a_stricter_level_is_refused(business: Business, level: str) -> None:
    """It would not see a sale that was committed since the transaction began."""
    shop = shop_of(business)
    with shop.connect() as mover:
        mover.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="only change under READ COMMITTED"):
            mover.execute("UPDATE products SET store_id = 2 WHERE id = 9")
        mover.rollback()
        mover.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
        mover.execute("UPDATE products SET price = 2 WHERE id = 9")


def test_writers_who_change_nothing_of_it_wait_for_nobody(business: Business) -> None:
    """Sales and prices of one product, at once."""
    shop = shop_of(business)
    with shop.connect() as seller, shop.connect() as pricer, shop.connect() as clerk:
        for session in (seller, pricer, clerk):
            session.execute("SET LOCAL lock_timeout = '1s'")
        seller.execute("INSERT INTO sales VALUES (20, 1, 9)")
        pricer.execute("UPDATE products SET price = 2 WHERE id = 9")
        clerk.execute("INSERT INTO sales VALUES (21, 2, 9)")


def test_unique_among_shared_rows(business: Business) -> None:
    """UNIQUE (tenant, name) admits equal shared rows: those have an index of their own."""
    shop = shop_of(business, Phase.CONTRACT)
    shop.execute("INSERT INTO products (id, name, tenant_id) VALUES (30, 'oil', 1), (31, 'oil', 2), (32, 'oil', NULL)")
    shop.refuses("INSERT INTO products (id, name, tenant_id) VALUES (33, 'oil', 2)", psycopg.errors.UniqueViolation)
    shop.refuses("INSERT INTO products (id, name, tenant_id) VALUES (33, 'salt', NULL)", psycopg.errors.UniqueViolation)
    shop.execute("DROP INDEX tenantry_products__products_name_shared")
    shop.execute("INSERT INTO products (id, name, tenant_id) VALUES (33, 'salt', NULL)")


@pytest.mark.parametrize("until", daily([Phase.CONTRACT, Phase.ENFORCE]))
def test_there_and_back(business: Business, until: Phase) -> None:
    """The triggers leave no trace."""
    shop = business(SHOP, TABLES)
    before = shop.database.dump()
    shop.migrate(until)
    assert shop.migrate(until).applied == 0
    shop.rollback()
    assert shop.database.dump() == before
