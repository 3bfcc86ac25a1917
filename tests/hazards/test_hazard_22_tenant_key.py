"""Hazard 22: a foreign key from each tenant column to the tenant table fails, or makes wait, what went on before it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import psycopg
import pytest

from daily import daily
from tenantry.errors import Refused
from tenantry.model.backup import BackupKind
from tenantry.model.plan import Phase
from tenantry.model.schema import ManagedObjects
from tenantry.planning import make_plan
from tenantry.postgres.catalog import read_schema
from tenantry.postgres.connect import connect

pytestmark = pytest.mark.server

Business = Callable[..., Any]
Waits = Callable[..., Future[Any]]

SHOP = """
CREATE TABLE stores (id integer PRIMARY KEY, owner integer {null} REFERENCES tenants {store});
CREATE TABLE sales (id integer PRIMARY KEY, store_id integer REFERENCES stores {sale});
INSERT INTO stores VALUES (1, 1), (2, 2);
INSERT INTO sales VALUES (1, 1), (2, 2);
"""
TABLES = """
[[table]]
name = "stores"
paths = [["owner"]]
[[table]]
name = "sales"
paths = [["store_id"]]
orphans = "default"
"""
HEAD = 'default = "south"'
CASCADE = "ON DELETE CASCADE ON UPDATE CASCADE"
DEFERRED = "DEFERRABLE INITIALLY DEFERRED"
VIOLATION = psycopg.errors.ForeignKeyViolation


def shop_of(
    business: Business, until: Phase, *, store: str = CASCADE, sale: str = CASCADE, null: str = "NOT NULL"
) -> Any:
    shop = business(SHOP.format(store=store, sale=sale, null=null), TABLES, head=HEAD)
    migrated(shop, until)
    return shop


def migrated(shop: Any, until: Phase) -> None:
    shop.migrate(until, backup=BackupKind.NONE, force=True)


def tenants_of_sales(shop: Any) -> list[tuple[Any, ...]]:
    return shop.rows("SELECT id, tenant_id FROM sales ORDER BY id")


def test_shows_the_hazard(business: Business, waits: Waits) -> None:
    """Without an action, and looked at with each statement: a tenant whose rows would go along does not let itself be
    deleted, its key not be changed, and who has locked it keeps others from selling."""
    shop = shop_of(business, Phase.ENFORCE)
    shop.execute("ALTER TABLE sales ADD FOREIGN KEY (tenant_id) REFERENCES tenants")
    shop.refuses("DELETE FROM tenants WHERE id = 1", VIOLATION)
    shop.refuses("UPDATE tenants SET id = 3 WHERE id = 1", VIOLATION)
    with shop.connect() as mutex, shop.connect() as clerk:
        mutex.execute("SELECT FROM tenants WHERE id = 1 FOR UPDATE")
        selling = waits(clerk, "INSERT INTO sales VALUES (9, 1)")
        mutex.rollback()
        selling.result()


@pytest.mark.parametrize("until", daily([Phase.CONTRACT, Phase.ENFORCE]))
def test_cascades(business: Business, until: Phase) -> None:
    """A tenant is deleted with its rows, and its key is changed, before contract and after it."""
    shop = shop_of(business, until)
    shop.execute("UPDATE tenants SET id = 3 WHERE id = 1")
    assert tenants_of_sales(shop) == [(1, 3), (2, 2)]
    shop.execute("DELETE FROM tenants WHERE id = 3")
    assert tenants_of_sales(shop) == [(2, 2)]


@pytest.mark.parametrize("until", daily([Phase.CONTRACT, Phase.ENFORCE]))
def test_children_first(business: Business, until: Phase) -> None:
    """Where the user's keys are deferred, a tenant may come after its rows, and go before them. From contract on its
    application says whose a row is."""
    shop = shop_of(business, until, store=DEFERRED, sale=DEFERRED)
    named = "(id, store_id, tenant_id) VALUES (9, 9, 9)" if until is Phase.CONTRACT else "VALUES (9, 9)"
    shop.execute(f"INSERT INTO sales {named}; INSERT INTO stores VALUES (9, 9); INSERT INTO tenants VALUES (9, 'new')")
    shop.execute("DELETE FROM tenants WHERE id = 1; DELETE FROM stores WHERE id = 1; DELETE FROM sales WHERE id = 1")
    migrated(shop, Phase.CONTRACT)
    assert tenants_of_sales(shop) == [(2, 2), (9, 9)]


def test_locked_tenant(business: Business) -> None:
    """Whoever has locked a tenant's row keeps nobody from writing the rows below: not before contract. The key of
    contract adds that wait."""
    shop = shop_of(business, Phase.ENFORCE)
    with shop.connect() as mutex, shop.connect() as clerk:
        mutex.execute("SELECT FROM tenants WHERE id = 1 FOR UPDATE")
        clerk.execute("SET LOCAL lock_timeout = '50ms'; INSERT INTO sales VALUES (8, 1); UPDATE sales SET store_id = 1")
    migrated(shop, Phase.CONTRACT)
    with shop.connect() as mutex, shop.connect() as clerk:
        mutex.execute("SELECT FROM tenants WHERE id = 1 FOR UPDATE")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            clerk.execute("SET LOCAL lock_timeout = '50ms'; INSERT INTO sales VALUES (9, 1, 1)")


def test_written_and_altered(business: Business) -> None:
    """A migration of the application writes a table and alters it in one transaction: nothing of ours waits for COMMIT
    there, also where a row has two parents; the parents can still move to another tenant together."""
    shop = business(
        "CREATE TABLE stores (id integer PRIMARY KEY, owner integer NOT NULL REFERENCES tenants);"
        "CREATE TABLE goods (id integer PRIMARY KEY, owner integer NOT NULL REFERENCES tenants);"
        "CREATE TABLE sales (id integer PRIMARY KEY, store_id integer NOT NULL REFERENCES stores,"
        " good_id integer NOT NULL REFERENCES goods); CREATE TABLE dues (id integer PRIMARY KEY);"
        "INSERT INTO stores VALUES (1, 1); INSERT INTO goods VALUES (1, 1); INSERT INTO sales VALUES (1, 1, 1)",
        '[[table]]\nname = "stores"\npaths = [["owner"]]\n[[table]]\nname = "goods"\npaths = [["owner"]]\n'
        '[[table]]\nname = "sales"\npaths = [["store_id"]]\n'
        '[[table]]\nname = "dues"\nassign = { tenant = "north" }',
    )
    original = shop.database.dump()
    for until in (Phase.ENFORCE, Phase.CONTRACT):
        migrated(shop, until)
        shop.execute("UPDATE sales SET good_id = 1; ALTER TABLE sales ADD COLUMN extra integer")
        shop.execute(
            "INSERT INTO sales (id, store_id, good_id, tenant_id) VALUES (2, 1, 1, (SELECT owner FROM stores));"
            "INSERT INTO dues (id, tenant_id) VALUES (1, 1); ALTER TABLE sales DROP COLUMN extra; TRUNCATE dues;"
            "DELETE FROM sales WHERE id = 2"
        )
        shop.execute("UPDATE stores SET owner = 3 - owner; UPDATE goods SET owner = 3 - owner")
        assert shop.rows("SELECT s.tenant_id = t.owner FROM sales s, stores t") == [(True,)]
        shop.refuses("UPDATE stores SET owner = 3 - owner", VIOLATION)
    shop.rollback()
    assert shop.database.dump() == original


def test_everything_deferred(business: Business) -> None:
    """An application that defers all constraints, and none of whose own keys can be deferred, may empty and alter what
    it has written: no key of ours waits for COMMIT by that, until contract."""
    shop = shop_of(business, Phase.ENFORCE)
    shop.execute(
        "BEGIN; SET CONSTRAINTS ALL DEFERRED; UPDATE stores SET id = id + 10; UPDATE sales SET store_id = 11 WHERE store_id = 11;"
        "ALTER TABLE sales ADD COLUMN extra integer; TRUNCATE sales; ROLLBACK"
    )


@pytest.mark.parametrize("mixed", daily([False, True]))
@pytest.mark.parametrize("first", ["stores", "sales"])
@pytest.mark.parametrize("until", daily([Phase.ENFORCE, Phase.CONTRACT]))
def test_own_keys_of_parent_and_child(business: Business, until: Phase, first: str, mixed: bool) -> None:
    """Where parent and child both refer to the tenant, a change of its key takes along first the one whose key is older:
    the statement ends with both, and is looked at then."""
    keys = [
        f"ALTER TABLE {table} ADD FOREIGN KEY (owner) REFERENCES tenants {CASCADE}" for table in ("stores", "sales")
    ]
    shop = business(
        f"CREATE TABLE stores (id integer PRIMARY KEY, owner integer {'' if mixed else 'NOT NULL'});"
        "CREATE TABLE sales (id integer PRIMARY KEY, owner integer NOT NULL, store_id integer NOT NULL REFERENCES stores);"
        "INSERT INTO stores VALUES (1, 1), (2, 2); INSERT INTO sales VALUES (1, 1, 1), (2, 2, 2);"
        + ";".join(keys if first == "stores" else reversed(keys)),
        '[[table]]\nname = "stores"\npaths = [["owner"]]\n'
        + 'orphans = "shared"\n' * mixed
        + '[[table]]\nname = "sales"\npaths = [["owner"]]\n',
    )
    migrated(shop, until)
    shop.execute("UPDATE tenants SET id = 3 WHERE id = 1")
    assert shop.rows("SELECT s.owner, t.owner FROM sales s JOIN stores t ON t.id = store_id ORDER BY s.id") == [
        (3, 3), (2, 2)
    ]  # fmt: skip
    shop.refuses("UPDATE sales SET owner = 3 WHERE id = 2", VIOLATION)
    shop.execute("DELETE FROM tenants WHERE id = 3")
    assert shop.rows("SELECT count(*) FROM sales") == [(1,)]


@pytest.mark.parametrize(("store", "sale"), [
    ("ON DELETE SET NULL", "ON DELETE CASCADE"),
    (CASCADE, "ON DELETE SET NULL"),
])  # fmt: skip
def test_rows_whose_tenant_is_gone(business: Business, store: str, sale: str) -> None:
    """Until contract a tenant can be deleted whose rows stay: as before. Contract names such rows, and changes nothing;
    once they have another tenant, it comes, and such a tenant can no longer be deleted."""
    shop = shop_of(business, Phase.ENFORCE, store=store, sale=sale, null="")
    shop.execute("DELETE FROM tenants WHERE id = 1")
    assert shop.rows("SELECT s.store_id, t.owner FROM sales s LEFT JOIN stores t ON t.id = store_id WHERE s.id = 1") in (
        [(None, None)], [(1, None)]
    )  # fmt: skip
    before = shop.database.dump()
    shop.execute("DELETE FROM stores WHERE owner IS NULL AND id NOT IN (SELECT store_id FROM sales WHERE store_id > 0)")
    shop.execute("UPDATE stores SET owner = 2 WHERE owner IS NULL")
    if (1, 1) in tenants_of_sales(shop):
        with pytest.raises(Refused, match=r"1 row of public.sales with a tenant in tenant_id that does not exist"):
            migrated(shop, Phase.CONTRACT)
        assert shop.database.dump() == before
        shop.execute("UPDATE sales SET tenant_id = 2")
    migrated(shop, Phase.CONTRACT)
    if store == CASCADE:
        shop.refuses("DELETE FROM tenants WHERE id = 2", VIOLATION)


def test_is_named(business: Business) -> None:
    """The plan says where a tenant whose rows stay can no longer be deleted, and why."""
    text = """
        CREATE TABLE stores (id integer PRIMARY KEY, owner integer NOT NULL REFERENCES tenants ON DELETE CASCADE);
        CREATE TABLE sales (id integer PRIMARY KEY, store_id integer NOT NULL REFERENCES stores ON DELETE CASCADE);
        CREATE TABLE gifts (id integer PRIMARY KEY,
          store_id integer CONSTRAINT gift_store REFERENCES stores ON DELETE SET NULL);
        CREATE TABLE thanks (id integer PRIMARY KEY, gift_id integer NOT NULL REFERENCES gifts ON DELETE CASCADE);
        CREATE TABLE news (id integer PRIMARY KEY)
    """
    parts = [
        f'[[table]]\nname = "{name}"\n{ways}\n'
        for name, ways in (
            ("stores", 'paths = [["owner"]]'), ("sales", 'paths = [["store_id"]]'), ("gifts", 'paths = [["store_id"]]'),
            ("thanks", 'paths = [["gift_id"]]'), ("news", 'assign = { tenant = "north" }'),
        )
    ]  # fmt: skip
    shop = business(text, "".join(parts))
    with connect(shop.target, purpose="test") as connection:
        plan = make_plan(shop.spec, read_schema(connection, ("public",), managed=ManagedObjects()))
    kept = {str(step.table): step.note for step in plan.steps if "can no longer be deleted" in step.note}
    assert kept == {
        "public.gifts": "a tenant can no longer be deleted while it has rows in public.gifts: gift_store of"
        " public.gifts is ON DELETE SET NULL",
        "public.thanks": "a tenant can no longer be deleted while it has rows in public.thanks: gift_store of"
        " public.gifts is ON DELETE SET NULL",
        "public.news": "a tenant can no longer be deleted while it has rows in public.news: no foreign key leads from them to it",
    }


def test_without_a_path(business: Business) -> None:
    """Rows that no key leads to their tenant follow a change of its key all the same, from contract on."""
    shop = business(
        "CREATE TABLE news (id integer PRIMARY KEY); INSERT INTO news VALUES (1)",
        '[[table]]\nname = "news"\nassign = { tenant = "north" }',
    )
    original = shop.database.dump()
    migrated(shop, Phase.CONTRACT)
    shop.execute("UPDATE tenants SET id = 7 WHERE id = 1")
    assert shop.rows("SELECT tenant_id FROM news") == [(7,)]
    shop.refuses("DELETE FROM tenants WHERE id = 7", VIOLATION)
    shop.rollback()
    assert shop.database.dump() == original
