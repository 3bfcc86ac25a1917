"""Hazard 18: CHECK (quantity >= 0) beside an upsert refuses what is allowed, and everything before the backfill."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import psycopg
import pytest

from balances.stock import LEDGER, SPEC, TENANTS, Stock
from servers import Database

pytestmark = pytest.mark.server

Waits = Callable[..., Future[Any]]
MOVE = "INSERT INTO ledger (org, item, quantity) VALUES (1, 1, {})"


@pytest.fixture
def shop(database: Database) -> Stock:
    """A ledger that must not go below zero, with a balance of 10, not backfilled yet."""
    database.execute(TENANTS + LEDGER)
    database.execute(MOVE.format(10))
    made = Stock(database=database, text=SPEC + "non_negative = true\n")
    made.install()
    return made


def refuses(shop: Stock, statement: str) -> None:
    """It would take the balance below zero."""
    with pytest.raises(psycopg.errors.CheckViolation, match="below zero: org 1, item 1, location NULL"):
        shop.execute(statement)


def test_shows_the_hazard(database: Database) -> None:
    """The row that ON CONFLICT would never insert is checked first: 3 cannot be taken from 10."""
    database.execute("CREATE TABLE stock (item int PRIMARY KEY, quantity int CHECK (quantity >= 0))")
    take = "INSERT INTO stock AS s VALUES (1, {}) ON CONFLICT (item) DO UPDATE SET quantity = s.quantity + excluded.quantity"
    database.execute(take.format(10))
    with pytest.raises(psycopg.errors.CheckViolation):
        database.execute(take.format(-3))


def test_before_the_backfill_nothing_is_refused(shop: Stock) -> None:
    """The sum is not known: 3 may be taken, and so may 30, which the backfill then finds."""
    shop.execute(MOVE.format(-3))
    shop.execute(MOVE.format(-30))
    shop.backfill()
    assert shop.rows("SELECT quantity::integer FROM balances") == [(-23,)]
    refuses(shop, MOVE.format(-1))
    shop.execute(MOVE.format(20))
    shop.execute(MOVE.format(4))
    refuses(shop, MOVE.format(-2))
    shop.execute(MOVE.format(-1))
    assert shop.false() == []


def test_what_would_go_below_zero(shop: Stock) -> None:
    """By INSERT, UPDATE, DELETE and a change of key; one statement is netted before it is looked at."""
    shop.backfill()
    shop.execute(MOVE.format(-3))
    refuses(shop, MOVE.format(-8))
    refuses(shop, "UPDATE ledger SET quantity = 2 WHERE quantity = 10")
    refuses(shop, "DELETE FROM ledger WHERE quantity = 10")
    refuses(shop, "UPDATE ledger SET item = 2 WHERE quantity = 10")
    shop.execute("INSERT INTO ledger (org, item, quantity) VALUES (1, 1, -9), (1, 1, 9)")
    shop.execute("DELETE FROM ledger")
    assert shop.false() == []


def test_two_who_take_the_same_stock(shop: Stock, waits: Waits) -> None:
    """Of two that take 6 from 10 the second waits, and is refused; where the first rolls back, it is not."""
    shop.backfill()
    for end, refused in (("ROLLBACK", False), ("COMMIT", True)):
        with shop.connect(autocommit=True) as one, shop.connect(autocommit=True) as other:
            one.execute("BEGIN")
            one.execute(MOVE.format(-3))
            waiting = waits(other, MOVE.format(-8) if refused else MOVE.format(-7))
            one.execute(end)
            if refused:
                with pytest.raises(psycopg.errors.CheckViolation):
                    waiting.result(timeout=60)
            else:
                waiting.result(timeout=60)
                shop.execute(MOVE.format(7))
    assert shop.rows("SELECT quantity::integer FROM balances") == [(7,)]
    assert shop.false() == []
