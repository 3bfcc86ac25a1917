"""Hazard 13: an owner whom its own tables' row security filters, and who is not told."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from daily import daily
from servers import Database
from tenantry.errors import Refused
from tenantry.model.plan import Phase

pytestmark = pytest.mark.server

Business = Callable[..., Any]

SHOP = """
CREATE TABLE stores (id integer PRIMARY KEY, tenant_id integer NOT NULL REFERENCES tenants);
CREATE TABLE sales (id integer PRIMARY KEY, store_id integer NOT NULL REFERENCES stores);
CREATE TABLE lots (id integer PRIMARY KEY, code text UNIQUE);
CREATE TABLE movements (id integer PRIMARY KEY, lot_id integer REFERENCES lots, store_id integer REFERENCES stores,
  other_id integer);
INSERT INTO stores VALUES (1, 1), (2, 2);
INSERT INTO sales SELECT n, 1 + n % 2 FROM generate_series(1, 100) AS n;
INSERT INTO lots VALUES (1, 'a'), (2, 'b');
INSERT INTO movements VALUES (1, 1, 1, 1), (2, 2, 2, 777), (3, 1, NULL, 778);
"""
TABLES = """
[[table]]
name = "stores"
paths = [["tenant_id"]]
[[table]]
name = "sales"
paths = [["store_id"]]
[[table]]
name = "lots"
children = ["movements.lot_id"]
unique = ["lots_code_key"]
[[table]]
name = "movements"
paths = [["store_id"], ["lot_id"]]
"""
ORPHANS = "ALTER TABLE movements ADD CONSTRAINT other FOREIGN KEY (other_id) REFERENCES sales"
VALID = "SELECT convalidated FROM pg_constraint WHERE conname = 'other'"


@pytest.fixture
def owner(database: Database, role: Callable[..., str]) -> str:
    """Owns the tables and migrates, as on a managed server: no superuser, no BYPASSRLS."""
    name = role("LOGIN CREATEROLE NOBYPASSRLS", name="owner")
    database.execute(f'GRANT CREATE ON DATABASE "{database.name}" TO {name}')
    database.execute(f"GRANT ALL ON SCHEMA public TO {name} WITH GRANT OPTION")
    return name


def as_owner(shop: Any, statement: str) -> Any:
    with shop.connect(user=shop.user) as session:
        return session.execute(statement).fetchone()


def test_shows_the_hazard(business: Business, owner: str) -> None:
    """Without its policy the owner counts no rows, and a foreign key over two orphans is called valid."""
    shop = business(SHOP, TABLES, user=owner)
    shop.migrate(Phase.ISOLATE)
    shop.execute("DROP POLICY tenantry_operator ON movements; DROP POLICY tenantry_operator ON sales")
    assert as_owner(shop, "SELECT count(*) FROM sales") == (0,)
    with shop.connect(user=owner) as session:
        session.execute(ORPHANS)
    assert shop.rows(VALID) == [(True,)]


def test_owner_sees_all_rows(business: Business, owner: str) -> None:
    """Its policy shows it every row of every table, and its constraints are proved on all of them."""
    shop = business(SHOP, TABLES, user=owner)
    shop.migrate(Phase.ISOLATE)
    forced = shop.rows("SELECT oid::regclass::text FROM pg_class WHERE relforcerowsecurity ORDER BY 1")
    assert forced == [("lots",), ("movements",), ("sales",), ("stores",), ("tenants",)]
    for table, rows in (("tenants", 2), ("stores", 2), ("sales", 100), ("lots", 2), ("movements", 3)):
        assert as_owner(shop, f"SELECT count(*) FROM {table}") == (rows,)
    with shop.connect(user=owner) as session, pytest.raises(psycopg.errors.ForeignKeyViolation):
        session.execute(ORPHANS)


def test_owner_is_never_without_its_policy(business: Business, owner: str, pool: ThreadPoolExecutor) -> None:
    """It counts all rows at any instant of isolate, and of the way back."""
    shop = business(SHOP, TABLES, user=owner)
    shop.migrate(Phase.ENFORCE)
    over, counts = threading.Event(), set()

    def count() -> None:
        with shop.connect(user=owner, autocommit=True) as session:
            while not over.is_set():
                counts.add(session.execute("SELECT count(*) FROM sales").fetchone())

    counting = pool.submit(count)
    try:
        shop.migrate(Phase.ISOLATE, force=True)
        shop.rollback()
    finally:
        over.set()
    counting.result(timeout=60)
    assert counts == {(100,)}


def test_there_and_back_as_owner(business: Business, owner: str) -> None:
    """The whole migration, contract with its proofs under forced row security included, and back."""
    shop = business(SHOP, TABLES, user=owner)
    before = shop.database.dump()
    shop.migrate(Phase.ISOLATE)
    shop.migrate(Phase.CONTRACT)
    assert shop.rows("SELECT count(*) FROM pg_constraint WHERE NOT convalidated") == [(0,)]
    assert shop.rows("SELECT tenant_id, count(*) FROM movements GROUP BY 1 ORDER BY 1") == [(1, 2), (2, 1)]
    shop.rollback()
    assert shop.database.dump() == before


def test_proof_in_contract_is_a_proof(business: Business, owner: str) -> None:
    """A row that points into another tenant, put there behind all triggers' backs, is found by the forced owner."""
    shop = business(SHOP, TABLES, user=owner)
    shop.migrate(Phase.ISOLATE)
    shop.execute("""
        SET session_replication_role = replica;
        INSERT INTO lots (id, code, tenant_id) VALUES (9, 'c', 2);
        INSERT INTO movements (id, lot_id, store_id, tenant_id) VALUES (8, 9, 2, 2), (9, 9, 1, 1)
    """)
    with pytest.raises(Refused):
        shop.migrate(Phase.CONTRACT)
    assert shop.rows("SELECT count(*) FROM pg_constraint WHERE conname = 'tenantry_movements_lot_id_fkey'"
                     " AND convalidated") == [(0,)]  # fmt: skip


@pytest.mark.parametrize("until", daily([Phase.ENFORCE, Phase.EXPAND]))
def test_tables_that_hide_rows_already(business: Business, owner: str, until: Phase) -> None:
    """Where row security of the user's own hides rows from the owner, nothing that it counts can be believed."""
    shop = business(SHOP, TABLES, user=owner)
    shop.execute("CREATE POLICY few ON sales USING (id <= 10); ALTER TABLE sales ENABLE ROW LEVEL SECURITY;"
                 " ALTER TABLE sales FORCE ROW LEVEL SECURITY")  # fmt: skip
    before = shop.database.dump()
    with pytest.raises(Refused, match=r"public\.sales may hide rows"):
        shop.migrate(until, force=True)
    assert shop.database.dump() == before
    shop.execute(f"CREATE POLICY everything ON sales TO {owner} USING (true)")
    shop.migrate(until)


def test_triggers_see_all_rows(business: Business, owner: str) -> None:
    """The triggers run as the forced owner, and find the parents of every tenant, whoever writes."""
    shop = business(SHOP, TABLES, user=owner)
    shop.migrate(Phase.ISOLATE)
    with shop.connect() as session:
        session.execute("SET row_security = off; INSERT INTO sales (id, store_id, tenant_id) VALUES (200, 2, NULL)")
    with shop.connect(user=owner) as session:
        session.execute("INSERT INTO sales (id, store_id) VALUES (201, 2)")
    assert shop.rows("SELECT tenant_id FROM sales WHERE id >= 200") == [(2,), (2,)]


def test_superuser_migrates_what_another_role_owns(business: Business, role: Callable[..., str]) -> None:
    """The triggers run as the owner also under row_security = off, by which a superuser's run guards its own counts."""
    shop, keeper = business(SHOP, TABLES), role(name="keeper")
    shop.execute(f"GRANT CREATE ON SCHEMA public TO {keeper}")
    for table in ("tenants", "stores", "sales", "lots", "movements"):
        shop.execute(f"ALTER TABLE {table} OWNER TO {keeper}")
    shop.migrate(Phase.ISOLATE)
    shop.execute("INSERT INTO lots (id, code) VALUES (5, 'e'); INSERT INTO movements (id, lot_id) VALUES (5, 5)")
    shop.execute("SET session_replication_role = replica; ALTER TABLE movements DISABLE TRIGGER USER;"
                 " UPDATE movements SET store_id = 2 WHERE id = 5;"
                 " ALTER TABLE movements ENABLE ALWAYS TRIGGER \"~tenantry_assign\","
                 " ENABLE ALWAYS TRIGGER \"~tenantry_adopt\"")  # fmt: skip
    shop.migrate(Phase.CONTRACT)
    assert shop.rows("SELECT tenant_id FROM movements WHERE id = 5") == [(2,)]
    assert shop.rows("SELECT tenant_id FROM lots WHERE id = 5") == [(2,)]
