"""Hazard 17: a balance that is set to its ledger's sum beside writers is wrong, with slots or by one statement."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from typing import Any

import psycopg
import pytest

from balances.stock import LEDGER, TENANTS, Stock
from balances.writers import writing
from servers import Database, wait_until
from tenantry.balances.differences import repair
from tenantry.balances.selection import selected_ledgers
from tenantry.execution.session import Session
from tenantry.model.ledger import Ledger

pytestmark = pytest.mark.server

Waits = Callable[..., Future[Any]]
STORAGE = 'tenantry."balances_public__ledger"'
MOVE = "INSERT INTO ledger (org, item, quantity) VALUES (1, 1, {})"
SUM = "(SELECT sum(quantity) FROM ledger WHERE (org, item) = (1, 1) AND location IS NULL AND lot IS NULL)"
SET = f"UPDATE {STORAGE} SET quantity = {SUM} WHERE (org, item, slot) = (1, 1, 0) AND location IS NULL AND lot IS NULL"
BALANCE = "SELECT quantity::integer FROM balances WHERE (org, item) = (1, 1) AND location IS NULL AND lot IS NULL"


@pytest.fixture
def shop(database: Database) -> Stock:
    """A key with a balance of 100, and an empty rest."""
    database.execute(TENANTS + LEDGER)
    database.execute(MOVE.format(100))
    made = Stock(database=database)
    made.install()
    made.backfill()
    return made


def ledger(shop: Stock, session: psycopg.Connection[Any]) -> Ledger:
    """The ledger, as the commands see it."""
    return selected_ledgers(Session.begin(shop.target, session, shop.spec))[0].ledger


def repaired(shop: Stock, session: psycopg.Connection[Any]) -> int:
    """Keys that our repair has corrected."""
    return repair(session, ledger(shop, session))


def test_shows_the_hazard_with_slots(shop: Stock) -> None:
    """The writer's 10 are in its slot: who sets the base to the sum of 110 makes it 120; ours finds nothing missing."""
    shop.install(slots=8)
    shop.execute(MOVE.format(10))
    with closing(shop.connect(autocommit=True)) as session:
        assert repaired(shop, session) == 0
    assert shop.rows(BALANCE) == [(110,)]
    shop.execute(SET)
    assert shop.rows(BALANCE) == [(120,)]
    with closing(shop.connect(autocommit=True)) as session:
        assert repaired(shop, session) == 1
    assert shop.rows(BALANCE) == [(110,)]
    assert shop.false() == []


def test_shows_the_hazard_by_one_statement(shop: Stock, waits: Waits) -> None:
    """It waits for a writer's row, and has summed the ledger before: 100 in place of 110."""
    with shop.connect() as writer, shop.connect() as setter:
        writer.execute(MOVE.format(10))
        waiting = waits(setter, SET)
        writer.commit()
        waiting.result(timeout=60)
        setter.commit()
    assert shop.rows(BALANCE) == [(100,)]


def test_a_repair_that_waits_for_a_writer(shop: Stock, pool: Any) -> None:
    """What it found before it waited is still what is missing afterwards."""
    shop.execute(f"UPDATE {STORAGE} SET quantity = 70")
    with closing(shop.connect()) as writer, closing(shop.connect(autocommit=True)) as session:
        writer.execute(MOVE.format(10))
        found = ledger(shop, session)
        running = pool.submit(repair, session, found)
        blocked = f"SELECT cardinality(pg_blocking_pids({session.info.backend_pid})) > 0"
        wait_until(lambda: shop.rows(blocked) == [(True,)])
        writer.commit()
        assert running.result(timeout=60) == 1
    assert shop.rows(BALANCE) == [(110,)]
    assert shop.false() == []


def test_two_repairs_add_once(shop: Stock, pool: Any) -> None:
    """The second waits until the first has committed, and finds nothing."""
    shop.execute(f"UPDATE {STORAGE} SET quantity = 70")
    with closing(shop.connect(autocommit=True)) as one, closing(shop.connect(autocommit=True)) as other:
        found = ledger(shop, other)
        with one.transaction():
            assert repaired(shop, one) == 1
            running = pool.submit(repair, other, found)
            blocked = f"SELECT cardinality(pg_blocking_pids({other.info.backend_pid})) > 0"
            wait_until(lambda: shop.rows(blocked) == [(True,)])
        assert running.result(timeout=60) == 0
    assert shop.rows(BALANCE) == [(100,)]


@pytest.mark.parametrize("slots", [0, 3])
def test_repairs_under_load(shop: Stock, slots: int) -> None:
    """Beside eight writers no repair ever finds anything, and nothing is false at the end."""
    shop.install(slots=slots)
    with writing(shop, 7), closing(shop.connect(autocommit=True)) as session:
        found = ledger(shop, session)
        assert [repair(session, found) for _ in range(100)] == [0] * 100
    assert shop.false() == []
