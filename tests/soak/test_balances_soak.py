"""Balances for longer: more statements, more seeds, more kills."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from balances.stock import LEDGER, SPEC, TENANTS, Stock
from balances.waiting import wait_for_begin
from balances.writers import oracle, writing
from servers import Database, wait_until


@pytest.fixture
def shop(database: Database) -> Stock:
    """A ledger with a few rows."""
    database.execute(TENANTS + LEDGER)
    database.execute("INSERT INTO ledger (org, item, quantity) SELECT 1, g % 7, g FROM generate_series(1, 90) g")
    return Stock(database=database)


@pytest.mark.parametrize("seed", range(100, 120))
def test_two_thousand_statements(shop: Stock, seed: int) -> None:
    """After every commit of eight sessions, one row a key and slots by turns."""
    shop.install(slots=seed % 2 * 4)
    shop.backfill()
    load = oracle(shop, seed, statements=2000)
    assert load.wrong == []
    assert load.statements >= 2000
    assert shop.false() == []
    assert shop.failing() == []


def test_twenty_kills(shop: Stock, command: Callable[[str], Any]) -> None:
    """Backfills under load that are killed anywhere; whatever they left, the last one makes all equal."""
    chance = random.Random(77)
    tenantry = command(shop.database.dsn)
    (tenantry.folder / "tenantry.toml").write_text(SPEC)
    shop.install()
    with writing(shop, 99) as load:
        for _ in range(20):
            process = tenantry.start("balances", "backfill")
            wait_for_begin(shop, process)
            time.sleep(chance.random())
            process.send_signal(signal.SIGKILL)
            process.wait()
            shop.execute("ALTER TABLE ledger DISABLE TRIGGER tenantry_balances_delete")
            wait_until(lambda: bool(shop.false()) or load.over.is_set(), seconds=60)
            shop.install()
        shop.backfill()
        load.looking.set()
        before = load.committed
        wait_until(lambda: load.committed > before + 100 or load.over.is_set(), seconds=120)
    assert load.wrong == []
    assert shop.false() == []
