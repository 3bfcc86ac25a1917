"""Publications that would refuse the fill's updates, or the application's once contract has dropped what it had."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from preflights import SHOP, check, named, names, refusals
from servers import Database
from tenantry.errors import Refused
from tenantry.model.plan import Phase

pytestmark = [pytest.mark.server, pytest.mark.pg(">= 15")]

Business = Callable[..., Any]
UPDATE = "UPDATE orders SET total = total"
FAILING = [
    "CREATE PUBLICATION p FOR TABLE orders WHERE (total > 0)",
    "CREATE PUBLICATION p FOR TABLE orders (shop, total)",
    "ALTER TABLE orders REPLICA IDENTITY FULL; CREATE PUBLICATION p FOR TABLE orders (id, shop)",
    "ALTER TABLE orders REPLICA IDENTITY NOTHING; CREATE PUBLICATION p FOR TABLES IN SCHEMA public",
    "CREATE UNIQUE INDEX by_shop ON orders (shop, id); ALTER TABLE orders REPLICA IDENTITY USING INDEX by_shop;"
    "CREATE PUBLICATION p FOR TABLE orders WHERE (total > 0)",
]
TRANSIENT_ERRORS = [
    "CREATE PUBLICATION p FOR TABLE orders WHERE (id > 0)",
    "CREATE PUBLICATION p FOR TABLE orders (id, total)",
    "CREATE PUBLICATION p FOR TABLE orders (total) WITH (publish = 'insert')",
    "CREATE PUBLICATION p FOR TABLE orders WHERE (total > 0) WITH (publish = 'insert')",
    "ALTER TABLE orders REPLICA IDENTITY FULL; CREATE PUBLICATION p FOR TABLE orders WHERE (total > 0)",
    "CREATE UNIQUE INDEX by_shop ON orders (shop, id); ALTER TABLE orders REPLICA IDENTITY USING INDEX by_shop;"
    "CREATE PUBLICATION p FOR TABLE orders WHERE (shop > 0)",
]


@pytest.mark.differs
@pytest.mark.parametrize("statements", FAILING)
def test_updates_that_a_publication_refuses(database: Database, statements: str) -> None:
    """They fail before as they would in the fill; nothing of the table is locked when it is over."""
    database.execute(SHOP + statements)
    with pytest.raises(Exception, match="cannot update table"):
        database.execute(UPDATE)
    assert ("publication-refuses-updates", False) in refusals(check(database))
    (found,) = named(check(database), "publication-refuses-updates")
    assert str(found.table) == "public.orders"
    assert "REPLICA IDENTITY" in found.remedy


@pytest.mark.differs
@pytest.mark.parametrize("statements", TRANSIENT_ERRORS)
def test_updates_that_it_takes(database: Database, statements: str) -> None:
    database.execute(SHOP + statements)
    database.execute(UPDATE)
    assert names(check(database)) - {"publication-grows"} == set()


@pytest.mark.parametrize("root", ["true", "false"])
def test_a_filter_over_partitions(database: Database, root: str) -> None:
    """Of the whole, published as such; a partition's own identity decides."""
    database.execute(
        SHOP
        + f"""
        ALTER TABLE orders RENAME TO old;
        CREATE TABLE orders (id int, shop int NOT NULL REFERENCES shops, total numeric, PRIMARY KEY (id))
          PARTITION BY RANGE (id);
        CREATE TABLE orders_1 PARTITION OF orders FOR VALUES FROM (1) TO (50);
        CREATE TABLE orders_2 PARTITION OF orders FOR VALUES FROM (50) TO (200);
        ALTER TABLE orders_2 REPLICA IDENTITY NOTHING;
        INSERT INTO orders SELECT id, shop, total FROM old; DROP TABLE old;
        CREATE PUBLICATION p FOR TABLE orders WITH (publish_via_partition_root = {root});
    """
    )
    assert [str(found.table) for found in named(check(database), "publication-refuses-updates")] == ["public.orders_2"]


PRODUCTS = """
CREATE TABLE products (id integer PRIMARY KEY, owner integer {} REFERENCES tenants, name text NOT NULL,
  CONSTRAINT by_name UNIQUE (name));
ALTER TABLE products REPLICA IDENTITY USING INDEX by_name;
INSERT INTO products VALUES (1, 1, 'rice'), (2, 2, 'salt');
CREATE PUBLICATION p FOR TABLE products;
"""
PRODUCTS_TABLES = """
[[table]]
name = "products"
paths = [["owner"]]
unique = ["by_name"]
"""


@pytest.mark.parametrize(
    ("null", "orphans", "identity"), [("NOT NULL", "", "i"), ("", 'orphans = "shared"', "f")], ids=["owned", "mixed"]
)
def test_an_identity_that_contract_drops(business: Business, null: str, orphans: str, identity: str) -> None:
    """The unique index within the tenant takes its place, or where a tenant may be missing the whole row does; without
    either every update of the application would fail. A rollback gives it back."""
    shop = business(PRODUCTS.format(null), PRODUCTS_TABLES + orphans)
    dump = shop.database.dump()
    shop.migrate(Phase.CONTRACT)
    shop.execute("UPDATE products SET name = name || '!'")
    assert shop.rows("SELECT relreplident::text FROM pg_class WHERE relname = 'products'") == [(identity,)]
    shop.rollback()
    assert shop.database.dump() == dump


def test_nothing_is_changed(business: Business) -> None:
    """The run is refused before expand."""
    shop = business(
        "CREATE TABLE shops (id integer PRIMARY KEY, owner integer NOT NULL REFERENCES tenants);"
        "CREATE TABLE orders (id integer PRIMARY KEY, shop integer NOT NULL REFERENCES shops, total integer);"
        "CREATE PUBLICATION p FOR TABLE orders WHERE (total > 0)",
        '[[table]]\nname = "shops"\npaths = [["owner"]]\n[[table]]\nname = "orders"\npaths = [["shop"]]',
    )
    with pytest.raises(Refused, match="makes every UPDATE fail"):
        shop.migrate(Phase.BACKFILL)
    assert shop.rows("SELECT to_regnamespace('tenantry')") == [(None,)]
