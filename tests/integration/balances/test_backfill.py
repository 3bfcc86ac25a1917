"""A backfill is exact while writers go on, whenever it starts and however often it is killed."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pytest

from balances.stock import SPEC, MakeStock, Stock
from balances.waiting import wait_for_begin
from balances.writers import writing
from daily import daily
from servers import wait_until

pytestmark = pytest.mark.server

STORAGE = 'tenantry."balances_public__ledger"'
CORRECTIONS = 'tenantry."corrections_public__ledger"'
MANY = (
    "INSERT INTO ledger (org, item, location, lot, quantity)"
    " SELECT 1, g % 50, nullif(g % 10, 0), 'L' || g % 60, 1 FROM generate_series(1, 8000) g"
)


@pytest.mark.parametrize(("seed", "slots"), daily([(12, 2), (11, 0)]))
def test_at_random_instants_under_load(stock: MakeStock, seed: int, slots: int) -> None:
    """Install and backfill while eight sessions write; from then on every commit finds all equal."""
    chance = random.Random(seed)
    shop = stock(rows=200)
    with writing(shop, seed) as load:
        for _ in range(2):
            time.sleep(chance.random() / 3)
            shop.install(slots=slots)
            time.sleep(chance.random() / 3)
            shop.backfill()
            load.looking.set()
            before = load.committed
            wait_until(lambda before=before: load.committed > before + 20 or load.over.is_set(), seconds=60)  # type: ignore[misc]
            load.look_away()
            shop.execute("ALTER TABLE ledger DISABLE TRIGGER tenantry_balances_insert")
            wait_until(lambda: bool(shop.false()) or load.over.is_set(), seconds=60)
        shop.install()
        shop.backfill()
    assert load.wrong == []
    assert shop.false() == []
    assert shop.failing() == []


@contextmanager
def uncommitted_movement(shop: Stock) -> Iterator[psycopg.Connection[Any]]:
    """A writer that has moved one key and does not commit."""
    with closing(shop.connect()) as session:
        session.execute("INSERT INTO ledger (org, item, location, lot, quantity) VALUES (1, 7, 7, 'L7', 1)")
        yield session
        session.rollback()


def test_a_writer_that_holds_a_key_is_waited_for_and_nobody_else(stock: MakeStock, pool: ThreadPoolExecutor) -> None:
    """The other keys are corrected meanwhile, in smaller and smaller batches, and the held one when it is free."""
    shop = stock()
    shop.execute(MANY)
    shop.install()
    with uncommitted_movement(shop) as writer:
        running = pool.submit(shop.backfill)
        # All that is left is what the writer holds.
        wait_until(lambda: corrections_left(shop) in range(1, 3), seconds=60)
        assert not running.done()
        writer.commit()
        running.result(timeout=60)
    assert shop.false() == []
    assert shop.failing() == []


def corrections_left(shop: Stock) -> int | None:
    if shop.rows(f"SELECT to_regclass('{CORRECTIONS}')") == [(None,)]:
        return None
    return shop.rows(f"SELECT count(*) FROM {CORRECTIONS}")[0][0]


def test_killed_in_the_midst(stock: MakeStock, command: Callable[[str], Any]) -> None:
    """kill -9 with some corrections added and some not: writers go on, and the next run adds the rest, once."""
    shop = stock()
    shop.execute(MANY)
    shop.install()
    tenantry = command(shop.database.dsn)
    (tenantry.folder / "tenantry.toml").write_text(SPEC)
    with uncommitted_movement(shop):
        process = tenantry.start("balances", "backfill", "--workers", "1")
        wait_until(lambda: corrections_left(shop) in range(1, 3), seconds=60)
        process.send_signal(signal.SIGKILL)
        process.wait()
    # What was written in between comes on top.
    shop.execute(MANY)
    assert len(shop.false()) > 0
    assert shop.failing() == ["backfilled", "balances"]
    again = tenantry("balances", "backfill", "--json")
    assert again.status == 0
    assert again.json["rows"] in range(1, 3)
    assert shop.false() == []
    assert shop.failing() == []


def test_killed_at_random_instants(stock: MakeStock, command: Callable[[str], Any]) -> None:
    """Under load, wherever the kill falls."""
    chance = random.Random(5)
    shop = stock(rows=300)
    shop.install()
    tenantry = command(shop.database.dsn)
    (tenantry.folder / "tenantry.toml").write_text(SPEC)
    with writing(shop, 21) as load:
        for _ in range(2):
            process = tenantry.start("balances", "backfill")
            wait_for_begin(shop, process)
            time.sleep(chance.random() / 10)
            process.send_signal(signal.SIGKILL)
            process.wait()
            shop.execute("ALTER TABLE ledger DISABLE TRIGGER tenantry_balances_update")
            wait_until(lambda: bool(shop.false()) or load.over.is_set(), seconds=60)
            shop.install()
        assert tenantry("balances", "backfill").status == 0
        load.looking.set()
        before = load.committed
        wait_until(lambda: load.committed > before + 20 or load.over.is_set(), seconds=60)
    assert load.wrong == []
    assert shop.false() == []


def test_what_a_stale_mark_undoes(stock: MakeStock) -> None:
    """Corrections that were found before a trigger was missing are looked for again, not added."""
    shop = stock(rows=100)
    shop.install()
    shop.execute(f"CREATE TABLE {CORRECTIONS} AS SELECT 1 AS number, org, item, location, lot, 100::numeric AS quantity,"
                 " 0::numeric AS total_in, 0::numeric AS total_out, 0 AS movements FROM ledger LIMIT 1")  # fmt: skip
    shop.execute("UPDATE tenantry.ledgers SET corrections = generation")
    shop.execute("ALTER TABLE ledger DISABLE TRIGGER tenantry_balances_insert")
    shop.install()
    shop.backfill()
    assert shop.false() == []
