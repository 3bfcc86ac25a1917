"""Hazard 19: rows that reach or leave a ledger with a partition pass its triggers."""

from __future__ import annotations

import psycopg
import pytest

from balances.stock import LEDGER, TENANTS, Stock
from servers import Database

pytestmark = pytest.mark.server

NEW = "CREATE TABLE ledger_new PARTITION OF ledger FOR VALUES FROM (100) TO (200)"
INTO_NEW = "INSERT INTO ledger_new (org, item, quantity) VALUES (1, 150, 4)"


@pytest.fixture
def shop(database: Database) -> Stock:
    """A partitioned ledger whose balances are in step."""
    database.execute(TENANTS + LEDGER)
    database.execute("INSERT INTO ledger (org, item, quantity) SELECT 1, g % 7, g FROM generate_series(1, 40) g")
    made = Stock(database=database)
    made.install()
    made.backfill()
    return made


def test_shows_the_hazard_of_a_new_partition(shop: Stock) -> None:
    """What is aimed at it directly is not counted: a finding from the first moment on, and gone after an install."""
    shop.execute(NEW)
    assert shop.failing() == ["triggers"]
    assert "public.ledger_new" in shop.validate()["triggers"].message
    shop.execute("INSERT INTO ledger (org, item, quantity) VALUES (1, 150, 4)")
    assert shop.false() == []
    shop.execute(INTO_NEW)
    assert shop.false() != []
    assert shop.failing() == ["triggers", "balances"]
    shop.install()
    shop.execute(INTO_NEW)
    shop.backfill()
    assert shop.failing() == []
    shop.execute(INTO_NEW)
    assert shop.false() == []


@pytest.mark.parametrize("partition", ["ledger_low", "ledger_high"])
def test_detach_and_attach(shop: Stock, partition: str) -> None:
    """A detached partition's rows are missing, as validate says; what is done to it is no movement; a backfill puts
    both right, and so it does when it comes back."""
    bounds = "FROM (0) TO (3)" if partition == "ledger_low" else "FROM (3) TO (100)"
    shop.execute(f"ALTER TABLE ledger DETACH PARTITION {partition}")
    assert shop.failing() == ["balances"]
    before = shop.rows("SELECT sum(version) FROM balances")
    shop.execute(f"UPDATE {partition} SET quantity = quantity + 1; DELETE FROM {partition} WHERE mod(id, 3) = 0")
    assert shop.rows("SELECT sum(version) FROM balances") == before
    shop.backfill()
    assert shop.failing() == []
    shop.execute(f"ALTER TABLE ledger ATTACH PARTITION {partition} FOR VALUES {bounds}")
    assert "balances" in shop.failing()
    shop.install()
    shop.backfill()
    assert shop.failing() == []
    shop.execute(f"UPDATE {partition} SET quantity = quantity + 1")
    assert shop.false() == []


def test_truncate_of_one(shop: Stock) -> None:
    """It is refused, and with our setting its rows leave the balances."""
    with pytest.raises(psycopg.errors.ObjectInUse):
        shop.execute("TRUNCATE ledger_high_0")
    shop.execute("SET tenantry.emptying = 'on'; TRUNCATE ledger_high_0")
    assert shop.false() == []
    assert shop.failing() == []
