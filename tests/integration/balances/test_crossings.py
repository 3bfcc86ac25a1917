"""Rows that one statement moves from one partition to another."""

from __future__ import annotations

import psycopg
import pytest

from balances.stock import MakeStock, Stock

pytestmark = pytest.mark.server

LEDGER = """
CREATE TABLE ledger (id integer NOT NULL, org integer NOT NULL, item integer, location integer, lot text, day integer NOT NULL,
  quantity numeric) PARTITION BY RANGE (day);
CREATE TABLE ledger_0 PARTITION OF ledger FOR VALUES FROM (0) TO (10);
CREATE TABLE ledger_1 PARTITION OF ledger FOR VALUES FROM (10) TO (20) PARTITION BY HASH (id);
CREATE TABLE ledger_1_0 PARTITION OF ledger_1 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE ledger_1_1 (quantity numeric, lot text, item integer, id integer NOT NULL, gone integer, org integer NOT NULL,
  location integer, day integer NOT NULL);
ALTER TABLE ledger_1_1 DROP COLUMN gone;
ALTER TABLE ledger_1 ATTACH PARTITION ledger_1_1 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE ledger_rest PARTITION OF ledger DEFAULT;
"""
FILL = "INSERT INTO ledger SELECT g, 1 + g % 2, g % 3, NULL, 'L' || g % 2, g % 25, g FROM generate_series(1, 50) g"
OTHER = "day = (day + 10) % 30"
SOURCE = "MERGE INTO ledger l USING (SELECT g FROM generate_series(1, 60, 3) g) AS s ON l.id = s.g"
UPDATE = f"WHEN MATCHED AND l.id % 2 = 0 THEN UPDATE SET {OTHER}, quantity = -l.quantity, org = 3 - org"
UPDATE += " WHEN MATCHED AND l.id % 5 = 0 THEN UPDATE SET quantity = 1"
INSERT = "WHEN NOT MATCHED THEN INSERT VALUES (s.g, 1, 1, NULL, NULL, 3, 7)"
DELETE = "WHEN MATCHED THEN DELETE"
MOVED = f"UPDATE ledger SET {OTHER}, quantity = quantity + 1, lot = 'moved' WHERE id % 4 = 1 RETURNING *"
MERGES = [
    f"{SOURCE} {UPDATE}",
    f"{SOURCE} {UPDATE} {INSERT}",
    f"{SOURCE} {UPDATE} {DELETE}",
    f"{SOURCE} {UPDATE} {INSERT} {DELETE}",
    f"{SOURCE} {DELETE} {INSERT}",
    # The target is a partition that has partitions.
    "MERGE INTO ledger_1 l USING generate_series(1, 60) AS s (g) ON l.id = s.g WHEN MATCHED THEN"
    " UPDATE SET id = id + 1, item = item + 1",
    # Other parts of the statement write to the ledger as well.
    f"WITH i AS (INSERT INTO ledger VALUES (99, 2, 2, 2, 'i', 4, 11)) {SOURCE} {UPDATE}",
    f"WITH i AS (DELETE FROM ledger WHERE id % 3 = 2 RETURNING *) {SOURCE} {UPDATE}",
    f"WITH u AS (UPDATE ledger SET {OTHER}, quantity = 5 WHERE id % 3 = 2 RETURNING *) {SOURCE} {UPDATE}",
    f"WITH u AS (UPDATE ledger SET {OTHER}, quantity = 5 WHERE id % 3 = 2), d AS (DELETE FROM ledger WHERE id % 3 = 0),"
    f" i AS (INSERT INTO ledger VALUES (99, 2, 2, 2, 'i', 4, 11)) {SOURCE} {UPDATE}",
]
OTHERS = [
    MOVED,
    f"WITH u AS ({MOVED}) INSERT INTO ledger SELECT * FROM u",
    f"WITH u AS ({MOVED}) INSERT INTO ledger SELECT * FROM u LIMIT 2",
    f"WITH i AS (INSERT INTO ledger SELECT id + 100, org, item, NULL, lot, day, 1 FROM ledger), u AS ({MOVED}) SELECT 1",
    f"WITH u AS ({MOVED}), i AS (INSERT INTO ledger SELECT * FROM ledger WHERE id = 5) SELECT 1",
    f"WITH u AS ({MOVED}), d AS (DELETE FROM ledger WHERE id % 4 = 2 RETURNING *) INSERT INTO ledger SELECT * FROM d",
    f"WITH d AS (DELETE FROM ledger WHERE id % 4 = 2 RETURNING id AS one) UPDATE ledger SET {OTHER} FROM d WHERE id = one + 1",
    "UPDATE ledger_1 SET id = id + 1, quantity = 3",
]  # fmt: skip


@pytest.fixture
def shop(stock: MakeStock) -> Stock:
    """A ledger without a key, in partitions of other columns than the balances' key, in step."""
    made = stock(LEDGER)
    made.execute(FILL)
    made.install()
    made.backfill()
    return made


@pytest.mark.differs
@pytest.mark.pg(">= 15")
@pytest.mark.parametrize("merge", MERGES)
def test_merge(shop: Stock, merge: str) -> None:
    """Whatever it does besides, a row that MERGE moves is counted once where it was, and once where it is."""
    _counts(shop, merge)


@pytest.mark.differs
@pytest.mark.parametrize("statement", OTHERS)
def test_update(shop: Stock, statement: str) -> None:
    """UPDATE has moved rows in its transition tables, and they are not counted by rows as well."""
    _counts(shop, statement)


def _counts(shop: Stock, statement: str) -> None:
    for _ in range(3):
        before = shop.rows("SELECT sum(version) FROM balances")
        shop.execute(f"{statement}; {FILL}; {statement}; INSERT INTO ledger SELECT * FROM ledger WHERE id = 1")
        assert shop.false() == []
        assert shop.rows("SELECT sum(version) FROM balances") != before
    assert shop.rows('SELECT count(*) FROM tenantry."crossings_public__ledger"') == [(0,)]


@pytest.mark.pg(">= 15")
def test_a_trigger_of_the_application_moves_rows_in_between(shop: Stock) -> None:
    """A MERGE within an INSERT, an INSERT within a MERGE, and rows that are thrown away on their way."""
    shop.execute(f"""
    CREATE FUNCTION inside() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF pg_trigger_depth() = 1 AND NEW.lot = 'merge' THEN
        MERGE INTO ledger l USING (VALUES (NEW.id + 30)) AS s (g) ON l.id = s.g
        WHEN MATCHED THEN UPDATE SET {OTHER}, quantity = 3;
      ELSIF pg_trigger_depth() = 1 AND NEW.lot = 'insert' THEN
        INSERT INTO ledger VALUES (NEW.id + 70, 1, 1, 1, 'inserted', NEW.day, 8);
        UPDATE ledger SET {OTHER} WHERE id = NEW.id + 30;
      END IF;
      RETURN CASE WHEN NEW.lot = 'lost' THEN NULL ELSE NEW END;
    END $$;
    CREATE TRIGGER inside BEFORE INSERT ON ledger FOR EACH ROW EXECUTE FUNCTION inside();
    """)
    for lot in ("merge", "insert", "lost"):
        for statement in (
            f"INSERT INTO ledger SELECT id, org, item, location, '{lot}', day, 4 FROM ledger WHERE id < 9",
            f"UPDATE ledger SET {OTHER}, lot = '{lot}' WHERE id BETWEEN 10 AND 19",
            f"MERGE INTO ledger l USING generate_series(8, 25) s ON l.id = s WHEN MATCHED THEN UPDATE SET {OTHER},"
            f" lot = CASE WHEN id % 2 = 0 THEN '{lot}' ELSE lot END, quantity = quantity + 2",
            f"MERGE INTO ledger l USING generate_series(28, 55) s ON l.id = s WHEN MATCHED THEN UPDATE SET {OTHER},"
            f" lot = '{lot}' WHEN NOT MATCHED THEN INSERT VALUES (s, 2, 2, 2, '{lot}', 8, 9)",
        ):
            shop.execute(statement)
            assert shop.false() == [], statement


def test_what_was_rolled_back(shop: Stock) -> None:
    """A statement that fails half way leaves nothing behind in its transaction."""
    with shop.connect() as session:
        for statement in (
            f"UPDATE ledger SET {OTHER}, quantity = 1 / (id - 30)",
            "INSERT INTO ledger SELECT id, 1 / (id - 30), 1, 1, NULL, 1, 1 FROM ledger",
        ):
            with pytest.raises(psycopg.errors.DivisionByZero), session.transaction():
                session.execute(statement)
        session.execute(
            f"INSERT INTO ledger SELECT * FROM ledger; UPDATE ledger SET {OTHER}; DELETE FROM ledger WHERE id = 4"
        )
    assert shop.false() == []
