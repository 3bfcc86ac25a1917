"""What moves a balance, one thing at a time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import psycopg
import pytest

from balances.stock import LEDGER, SPEC, MakeStock, Stock
from servers import wait_until

pytestmark = pytest.mark.server

Waits = Callable[..., Future[Any]]
BALANCE = "SELECT quantity::float FROM balances WHERE (org, item) = (1, 1) AND location IS NULL AND lot IS NULL"
MOVE = "INSERT INTO ledger (org, item, quantity) VALUES (1, 1, {})"


@pytest.fixture
def shop(stock: MakeStock) -> Stock:
    """A ledger whose balances are in step."""
    made = stock(rows=30)
    made.install()
    made.backfill()
    return made


@pytest.mark.differs
@pytest.mark.pg(">= 15")
def test_merge_that_inserts_before_it_updates(shop: Stock) -> None:
    """Without the trigger that never fires, the server tells the row that was inserted in place of the updated one."""
    merge = (
        "SET enable_hashjoin = off; SET enable_mergejoin = off;"
        "MERGE INTO ledger USING (VALUES (101, 5), (102, 5)) AS s (id, item) ON ledger.id = s.id AND ledger.item = s.item"
        " WHEN MATCHED THEN UPDATE SET quantity = 7 WHEN NOT MATCHED THEN INSERT (id, org, item, quantity)"
        " VALUES (s.id, 2, s.item, 1)"
    )
    shop.execute("INSERT INTO ledger (id, org, item, quantity) VALUES (102, 1, 5, 3)")
    shop.execute(merge)
    assert shop.false() == []
    shop.execute("DELETE FROM ledger WHERE id = 101; DROP TRIGGER tenantry_balances_merge ON ledger")
    assert "triggers" in shop.failing()
    shop.execute(merge)
    assert shop.false() != []


def test_truncate_is_refused(shop: Stock) -> None:
    """Of the table, of a partition, and by CASCADE; DELETE counts."""
    for statement in ("TRUNCATE ledger", "TRUNCATE ledger_low", "TRUNCATE tenants, ledger_high CASCADE"):
        with pytest.raises(psycopg.errors.ObjectInUse, match="would leave its balances behind"):
            shop.execute(statement)
    shop.execute("DELETE FROM ledger")
    assert shop.rows("SELECT count(*) FROM balances") == [(0,)]


def test_truncate_with_the_balances(shop: Stock) -> None:
    """What our command sets lets a partition be emptied, and its rows out of the balances."""
    shop.execute("SET tenantry.emptying = 'on'; TRUNCATE ledger_high")
    assert shop.false() == []
    assert shop.rows("SELECT count(*) > 0 FROM balances") == [(True,)]
    with pytest.raises(psycopg.errors.InvalidTransactionState):
        shop.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SET tenantry.emptying = 'on'; TRUNCATE ledger")


def test_a_statement_that_moves_nothing_touches_no_balance(shop: Stock) -> None:
    """An UPDATE of a note, or one that nets to nothing, leaves every version as it was."""
    versions = "SELECT sum(version) FROM balances"
    before = shop.rows(versions)
    shop.execute("UPDATE ledger SET note = 'counted'")
    assert shop.rows(versions) == before


def test_one_row_and_two_of_the_same_key(shop: Stock) -> None:
    """A statement of one row goes a shorter way than one of several: each change of a balance is one, and exact."""
    shop.execute(MOVE.format(4))
    version = "SELECT version::integer FROM balances WHERE (org, item) = (1, 1) AND location IS NULL AND lot IS NULL"
    before = shop.rows(version)[0][0]
    statements = (
        MOVE.format(-3), MOVE.format("1), (1, 1, -2"), "DELETE FROM ledger WHERE (org, item, quantity) = (1, 1, -3)",
        "DELETE FROM ledger WHERE (org, item) = (1, 1) AND quantity IN (1, -2) AND location IS NULL AND lot IS NULL",
    )  # fmt: skip
    for step, statement in enumerate(statements, 1):
        shop.execute(statement)
        assert shop.false() == []
        assert shop.rows(version) == [(before + step,)]
    shop.execute("INSERT INTO ledger SELECT * FROM ledger ON CONFLICT DO NOTHING; DELETE FROM ledger WHERE id = 0")
    assert shop.rows(version) == [(before + len(statements),)]


def test_updates_of_balances_are_hot(shop: Stock) -> None:
    """No index is touched by a movement of a key that is there."""
    with shop.connect(autocommit=True) as session:
        for _ in range(60):
            session.execute(MOVE.format(1))
        session.execute("SELECT pg_stat_force_next_flush()" if shop.database.server.major >= 15 else "SELECT 1")
    hot = (
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE schemaname = 'tenantry'"
        " AND relname LIKE 'balances\\_%'"
    )
    # The session that has ended has told all; before 15, to a collector that takes its time.
    wait_until(lambda: shop.rows(hot)[0][0] >= 50)
    updated, kept = shop.rows(hot)[0]
    assert kept >= 0.9 * updated


def test_replica_mode(shop: Stock) -> None:
    """Where no statement trigger fires the row trigger counts; ENABLE TRIGGER ALL does not make it count twice."""
    shop.execute("SET session_replication_role = replica;" + MOVE.format(5))
    shop.execute(
        "SET session_replication_role = replica; UPDATE ledger SET quantity = quantity + 1, item = 2 WHERE item < 2"
    )
    shop.execute("SET session_replication_role = replica; DELETE FROM ledger WHERE item > 3")
    assert shop.false() == []
    shop.execute("ALTER TABLE ledger ENABLE TRIGGER ALL")
    shop.execute(MOVE.format(5))
    assert shop.false() == []
    assert shop.failing() == ["triggers"]


def test_two_statements_over_the_same_keys(shop: Stock, waits: Waits) -> None:
    """A third writer holds a key in the middle: of two behind it, few keys and many, neither has what the other wants."""
    keys = "INSERT INTO ledger (org, item, quantity) SELECT 1, g, 1 FROM generate_series({}) g"
    with shop.connect() as holder, shop.connect() as one, shop.connect() as other:
        holder.execute(keys.format("50, 50"))
        few = waits(one, keys.format("99, 1, -7"))
        many = waits(other, keys.format("1, 99"))
        holder.commit()
        few.result(timeout=60)
        one.commit()
        many.result(timeout=60)
        other.commit()
    assert shop.false() == []


def test_two_writers_of_one_hot_key_wait_for_each_other_without_slots(shop: Stock, waits: Waits) -> None:
    """One row a key: whoever comes second waits for the first to commit."""
    with shop.connect() as one, shop.connect() as other:
        one.execute(MOVE.format(1))
        waiting = waits(other, MOVE.format(2))
        one.rollback()
        waiting.result(timeout=60)
        other.commit()
    assert shop.false() == []


def test_writers_of_one_hot_key_in_slots_of_their_own(shop: Stock) -> None:
    """With slots nobody waits, at any level of isolation; the view adds them up, and so it does when they are folded."""
    shop.execute(MOVE.format(1))
    shop.install(slots=1000)
    assert shop.failing() == []
    before = shop.rows(BALANCE)[0][0]
    with shop.connect(autocommit=True) as one, shop.connect(autocommit=True) as other:
        for session in (one, other):
            session.execute("SET lock_timeout = '5s'")
            session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            session.execute("SELECT 1")
        one.execute(MOVE.format(1))
        other.execute(MOVE.format(2))
        one.execute("COMMIT")
        other.execute("COMMIT")
    assert shop.rows(BALANCE)[0][0] == before + 3
    assert shop.false() == []
    shop.install(slots=0)
    shop.execute(MOVE.format(4))
    assert shop.rows(BALANCE)[0][0] == before + 7
    assert shop.false() == []


def test_nasty_names(stock: MakeStock) -> None:
    """Quoted and 63-byte names, types of extensions and domains, an integer quantity."""
    long = "t" * 63
    schema = f"""
    CREATE SCHEMA "Odd Schema"; CREATE TYPE colour AS ENUM ('red', 'blue'); CREATE DOMAIN code AS varchar(8);
    CREATE TABLE "Odd Schema"."{long}" ("Item ""No"" %" integer, "$tenantry$" code, shade colour, "from" date,
      "Amount" integer, spare text);
    """
    text = f"""
    [tenant]
    table = "tenants"
    [[ledger]]
    table = '"Odd Schema".{long}'
    balance = '"The Balances"'
    key = ['"Item ""No"" %"', '"$tenantry$"', "shade", '"from"']
    quantity = '"Amount"'
    """
    odd = stock(schema, text)
    insert = f"""INSERT INTO "Odd Schema"."{long}" SELECT nullif(g % 3, 0), nullif('c' || g % 2, 'c0'),
      CASE g % 3 WHEN 0 THEN 'red'::colour WHEN 1 THEN 'blue' END, nullif(date '2026-01-01' + g % 2, '2026-01-01'), g
      FROM generate_series(1, 50) g"""
    odd.execute(insert)
    odd.install()
    odd.backfill()
    odd.execute(insert)
    odd.execute(f"""UPDATE "Odd Schema"."{long}" SET "from" = NULL WHERE "Amount" > 25""")
    assert odd.failing() == []
    rows = f"""SELECT "Item ""No"" %", "$tenantry$", shade, "from", sum("Amount"), count(*)
      FROM "Odd Schema"."{long}" GROUP BY 1, 2, 3, 4"""
    kept = """SELECT "Item ""No"" %", "$tenantry$", shade, "from", quantity, movements FROM "The Balances" """
    assert odd.rows(f"({rows}) EXCEPT ALL ({kept})") == []
    assert odd.rows(f"SELECT count(*) FROM ({rows}) s") == odd.rows('SELECT count(*) FROM "The Balances"')
    odd.remove()


def test_nobody_else_may_call_or_write(shop: Stock, role: Callable[..., str]) -> None:
    """An insert-only role moves stock; it can neither call the functions, nor read or write the table behind."""
    clerk = role()
    shop.execute(f"ALTER DEFAULT PRIVILEGES IN SCHEMA tenantry GRANT ALL ON TABLES TO {clerk}")
    shop.remove()
    shop.execute(f"GRANT INSERT ON ledger TO {clerk}; GRANT USAGE ON SEQUENCE ledger_ids TO {clerk}")
    shop.execute(f"GRANT USAGE ON SCHEMA tenantry TO {clerk}")
    shop.install()
    shop.backfill()
    storage = 'tenantry."balances_public__ledger"'
    with shop.connect(user=clerk, autocommit=True) as session:
        session.execute(MOVE.format(3))
        for statement in (
            f"SELECT FROM {storage}", f"UPDATE {storage} SET quantity = 9", f"TRUNCATE {storage}",
            "SELECT FROM balances", "INSERT INTO balances VALUES (1)",
        ):  # fmt: skip
            with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.ObjectNotInPrerequisiteState)):
                session.execute(statement)
        with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.FeatureNotSupported)):
            session.execute('SELECT tenantry."move_public__ledger"()')
    assert shop.false() == []


SINGLE = LEDGER.split("CREATE TABLE ledger_low")[0].split(" PARTITION BY")[0].rstrip().rstrip("\n") + ";"


def test_a_function_of_ours_ignores_the_callers_search_path(stock: MakeStock) -> None:
    """An operator of the caller's own does not count for ours."""
    shop = stock(SINGLE, SPEC)
    shop.install()
    shop.backfill()
    shop.execute(
        "CREATE SCHEMA trap; CREATE FUNCTION trap.twice(numeric, numeric) RETURNS numeric LANGUAGE sql"
        " AS 'SELECT $1 OPERATOR(pg_catalog.-) $2';"
        "CREATE OPERATOR trap.+ (LEFTARG = numeric, RIGHTARG = numeric, FUNCTION = trap.twice)"
    )
    shop.execute("SET search_path = trap, pg_catalog, public;" + MOVE.format(1) + ";" + MOVE.format(1))
    assert shop.false() == []
    assert shop.rows(BALANCE) == [(2.0,)]
