"""Slots that writers have left become one row a key, and nobody notices."""

from __future__ import annotations

from contextlib import closing

import pytest

from balances.stock import MakeStock, Stock
from balances.writers import writing
from tenantry.balances.compaction import compact
from tenantry.balances.selection import selected_ledgers
from tenantry.execution.session import Session
from tenantry.model.ledger import Ledger

pytestmark = pytest.mark.server

SLOTS = 'SELECT count(*) FROM tenantry."balances_public__ledger" WHERE slot > 0'
MOVE = "INSERT INTO ledger (org, item, quantity) VALUES (1, {}, 1)"


@pytest.fixture
def shop(stock: MakeStock) -> Stock:
    """A ledger whose writers have slots."""
    made = stock(rows=30)
    made.install(slots=50)
    made.backfill()
    return made


def ledger(shop: Stock) -> Ledger:
    """The ledger, as the commands see it."""
    with closing(shop.connect(autocommit=True)) as session:
        return selected_ledgers(Session.begin(shop.target, session, shop.spec))[0].ledger


def test_what_a_writer_holds_is_skipped(shop: Stock) -> None:
    """Nobody waits: the slot in use stays, the others are folded, and what they say is what they said."""
    for item in range(3):
        shop.execute(MOVE.format(item))
    before = shop.rows("SELECT * FROM balances ORDER BY 1, 2, 3, 4")
    with shop.connect() as writer, closing(shop.connect(autocommit=True)) as session:
        writer.execute(MOVE.format(1))
        writer.commit()
        writer.execute(MOVE.format(1))
        session.execute("SET lock_timeout = '5s'")
        assert compact(session, ledger(shop), idle_seconds=0) >= 3
        assert shop.rows(SLOTS) == [(1,)]
        writer.rollback()
        assert compact(session, ledger(shop), idle_seconds=0) == 1
    assert shop.rows(SLOTS) == [(0,)]
    assert shop.false() == []
    moments = shop.rows(
        "SELECT org, item, location, lot, last_movement FROM balances WHERE item IN (0, 2) ORDER BY 1, 2, 3, 4"
    )
    assert moments == [(*row[:4], row[8]) for row in before if row[1] in (0, 2)]


def test_what_moved_lately_is_left_alone(shop: Stock) -> None:
    """A slot that a writer may come back to in a moment stays its own."""
    shop.execute(MOVE.format(1))
    with closing(shop.connect(autocommit=True)) as session:
        assert compact(session, ledger(shop), idle_seconds=3600) == 0
    assert shop.rows(SLOTS) == [(1,)]


def test_beside_writers(shop: Stock) -> None:
    """Folding all the while, every commit of eight sessions finds all equal."""
    subject = ledger(shop)
    with writing(shop, 31, looking=True) as load, closing(shop.connect(autocommit=True)) as session:
        session.execute("SET deadlock_timeout = '30ms'")
        folded = 0
        # Until both have done enough, whichever of them is quicker here.
        while (folded < 50 or load.committed < 50) and not load.over.is_set():
            folded += compact(session, subject, idle_seconds=0)
    assert folded >= 50
    assert load.wrong == []
    assert shop.false() == []
