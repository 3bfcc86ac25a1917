"""Hazard 6: batches that make the application wait, a deadlock's victim, or fail under REPEATABLE READ."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import psycopg
import pytest
from psycopg import sql

from hazards.selling import SALES, SHOP, TABLES, Meanwhile
from servers import wait_until
from tenantry.execution.backfill.run import BackfillOptions
from tenantry.model.plan import Phase
from tenantry.steps.fill import RelationFill

pytestmark = pytest.mark.server

Business = Callable[..., Any]

UNFILLED = "SELECT count(*) FROM sales WHERE tenant_id IS NULL"


def test_shows_the_hazard(business: Business) -> None:
    """A batch that waits for a row, while a writer waits for one of the batch: a deadlock, whoever is its victim."""
    shop = business(SHOP, TABLES)
    shop.migrate(Phase.EXPAND)
    with shop.connect() as writer, shop.connect() as batch, ThreadPoolExecutor() as threads:
        writer.execute("UPDATE sales SET note = 'late' WHERE id = 4000")
        batch.execute("UPDATE sales SET tenant_id = 1 WHERE id = 5")
        waiting = threads.submit(writer.execute, "UPDATE sales SET note = 'early' WHERE id = 5")
        with pytest.raises(psycopg.errors.DeadlockDetected):  # noqa: PT012  whoever is the victim
            batch.execute("UPDATE sales SET tenant_id = 1 WHERE id = 4000")
            waiting.result()
        batch.rollback()


def test_batch_waits_for_nobody(business: Business, pool: ThreadPoolExecutor) -> None:
    """A writer that holds a late row and then wants an early one is served; its rows are come back for."""
    shop = business(SHOP, TABLES)
    shop.migrate(Phase.EXPAND)
    with shop.connect() as writer:
        writer.execute("SELECT FROM sales WHERE id = 4000 FOR UPDATE")

        def want_early() -> None:
            writer.execute("SET LOCAL lock_timeout = '2s'; SELECT FROM sales WHERE id = 5 FOR UPDATE")

        watcher = Meanwhile(want_early, batches_of=SALES)
        filling = pool.submit(shop.migrate, Phase.BACKFILL, watcher)
        wait_until(lambda: any("locked by other sessions" in reason for reason in watcher.reasons))
        assert 1 <= shop.rows(UNFILLED)[0][0] <= 2
        writer.commit()
    filling.result(timeout=60)
    assert shop.rows(UNFILLED) == [(0,)]


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_stricter_levels_succeed_when_tried_again(business: Business, level: str) -> None:
    """A row that a batch has changed meanwhile gives 40001, as any other change of it would; the retry goes through."""
    shop = business(SHOP, TABLES)
    shop.migrate(Phase.EXPAND)
    with shop.connect() as writer:
        writer.execute(f"SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL {level}")
        writer.commit()
        writer.execute("SELECT count(*) FROM sales")
        shop.migrate(Phase.BACKFILL)
        with pytest.raises(psycopg.errors.SerializationFailure):
            writer.execute("UPDATE sales SET note = 'mine' WHERE id = 5")
        writer.rollback()
        writer.execute("UPDATE sales SET note = 'mine' WHERE id = 5")
    assert shop.rows("SELECT note, tenant_id FROM sales WHERE id = 5") == [("mine", 2)]


def two_wrong_stores(shop: Any) -> None:
    """Two stores that were in flight while their region moved: the sweep has to repair them."""
    shop.migrate(Phase.BACKFILL)
    with shop.connect() as late:
        late.execute("INSERT INTO stores VALUES (3, 1), (4, 1)")
        shop.execute("UPDATE regions SET tenant_id = 2 WHERE id = 1")


def sweep_beside_a_seller(shop: Any, pool: ThreadPoolExecutor) -> None:
    """Sweeps while a clerk has sold in the last store, and then counts in the one before it."""
    counted: list[Future[Any]] = []
    clerk = shop.connect()

    def held_up() -> bool:
        """The sweep waits for the clerk, or has done what it can without."""
        waiting = f"SELECT count(*) FROM pg_stat_activity WHERE {clerk.info.backend_pid} = ANY (pg_blocking_pids(pid))"
        return bool(watcher.reasons) or shop.rows(waiting) != [(0,)]

    def count() -> None:
        wait_until(held_up)
        clerk.execute("SET LOCAL lock_timeout = '300ms'; UPDATE stores SET sold = 1 WHERE id = 3")
        clerk.commit()

    def sell() -> None:
        clerk.execute("INSERT INTO sales (id, store_id) VALUES (-1, 4)")
        counted.append(pool.submit(count))

    watcher = Meanwhile(sell, step="enforce_sweep:public.stores")
    try:
        migrating = pool.submit(shop.migrate, Phase.ENFORCE, watcher)
        wait_until(lambda: bool(counted) or migrating.done())
        counted[0].result(timeout=60)
    finally:
        clerk.close()
        migrating.result(timeout=60)


@pytest.fixture
def persevering(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that has to wait does so for longer than the clerk, who gives up before anybody looks for a deadlock."""
    options = partial(BackfillOptions, lock_timeout=30.0)
    monkeypatch.setattr(sys.modules["tenantry.execution.runs"], "BackfillOptions", options)


@pytest.mark.usefixtures("persevering")
def test_sweep_waits_for_nobody(business: Business, pool: ThreadPoolExecutor) -> None:
    """By then the tenant is part of a key, whose change waits for those who have inserted a child: their parents are
    left for later, and none of the others is held meanwhile."""
    shop = business(SHOP, TABLES)
    two_wrong_stores(shop)
    sweep_beside_a_seller(shop, pool)
    assert shop.rows("SELECT DISTINCT tenant_id FROM stores") == [(2,)]
    assert shop.rows("SELECT sold, tenant_id FROM stores WHERE id = 3") == [(1, 2)]
    assert shop.rows("SELECT tenant_id FROM sales WHERE id = -1") == [(2,)]


@pytest.mark.usefixtures("persevering")
def test_sweep_shows_the_hazard(business: Business, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the lock of a change that is not one of a key, the batch has to wait, and the clerk waits for the batch."""
    monkeypatch.setattr(RelationFill, "lock", property(lambda self: sql.SQL("FOR NO KEY UPDATE")))
    shop = business(SHOP, TABLES)
    two_wrong_stores(shop)
    with pytest.raises(psycopg.errors.LockNotAvailable):
        sweep_beside_a_seller(shop, pool)
