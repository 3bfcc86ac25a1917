"""Hazard 4: rows that are written while a backfill looks, and rows that move."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from daily import daily
from hazards.selling import SALES, SHOP, TABLES, Meanwhile
from servers import wait_until
from tenantry.errors import Refused
from tenantry.model.plan import Phase
from tenantry.planning import enforce

pytestmark = pytest.mark.server

Business = Callable[..., Any]

WRONG = """
SELECT sales.id, sales.tenant_id FROM sales JOIN stores ON stores.id = store_id JOIN regions ON regions.id = region_id
WHERE sales.tenant_id IS DISTINCT FROM regions.tenant_id OR stores.tenant_id IS DISTINCT FROM regions.tenant_id
"""
SELL = "INSERT INTO sales (id, store_id) VALUES ({}, {})"


def in_flight(shop: Any, *stores: int) -> None:
    """A sale of each store, which is committed only after the scan of sales: store 2 had no tenant yet when it was
    written, and store 1 moves meanwhile."""
    shop.migrate(Phase.EXPAND)
    early, moved = shop.connect(), shop.connect()
    if 2 in stores:
        early.execute(SELL.format(-1, 2))

    def sell() -> None:
        if 1 in stores:
            moved.execute(SELL.format(-2, 1))

    shop.migrate(Phase.BACKFILL, Meanwhile(sell, step="backfill_fill:public.sales"))
    shop.execute("UPDATE stores SET region_id = 2 WHERE id = 1")
    for session in (early, moved):
        session.commit()
        session.close()


def test_shows_the_hazard(business: Business, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the sweep the proof fails: a sale has the tenant of where its store was."""
    monkeypatch.setattr(enforce, "fill_steps", lambda *arguments: iter(()))
    shop = business(SHOP, TABLES)
    in_flight(shop, 1)
    assert (-2, 1) in shop.rows(WRONG)
    with pytest.raises(Refused, match="The data does not allow"):
        shop.migrate(Phase.ENFORCE)


def test_null_shows_the_hazard(business: Business) -> None:
    """A sale of a store without a tenant has none either, once the backfill is done."""
    shop = business(SHOP, TABLES)
    in_flight(shop, 2)
    assert (-1, None) in shop.rows(WRONG)


def test_sweep_repairs(business: Business) -> None:
    """The sweep, when every constraint stands for new rows, repairs both; then all is proved."""
    shop = business(SHOP, TABLES)
    in_flight(shop, 1, 2)
    shop.migrate(Phase.ENFORCE)
    assert shop.rows(WRONG) == []
    assert shop.rows("SELECT id, tenant_id FROM sales WHERE id < 0 ORDER BY id") == [(-2, 2), (-1, 2)]
    assert shop.rows("SELECT count(*) FROM pg_constraint WHERE NOT convalidated") == [(0,)]


def test_sweep_repairs_a_parent_whose_children_are_right(business: Business) -> None:
    """A store that was in flight while its region moved is repaired first, and its sales follow it."""
    shop = business(SHOP, TABLES)
    shop.migrate(Phase.BACKFILL)
    with shop.connect() as late:
        late.execute("INSERT INTO stores VALUES (3, 1)")
        late.execute(SELL.format(-3, 3))
        shop.execute("UPDATE regions SET tenant_id = 2 WHERE id = 1; UPDATE stores SET tenant_id = NULL WHERE id = 1")
    assert {tenant for _, tenant in shop.rows(WRONG)} == {1}
    shop.migrate(Phase.ENFORCE)
    assert shop.rows(WRONG) == []


@pytest.mark.parametrize("step", [
    "not_null_check:public.sales", "foreign_key:public.sales:tenantry_sales_store_id_fkey",
    "foreign_key:public.stores:tenantry_stores_region_id_fkey",
    "foreign_key_valid:public.sales:tenantry_sales_store_id_fkey",
])  # fmt: skip
def test_writers_at_every_step_of_enforce(business: Business, pool: ThreadPoolExecutor, step: str) -> None:
    """A sale is in flight and its store moves when a constraint is to be added: the sale is waited for, or repaired."""
    shop = business(SHOP, TABLES)
    shop.migrate(Phase.BACKFILL)
    begun: list[Future[Any]] = []

    def seller() -> None:
        with shop.connect() as late:
            late.execute(SELL.format(-4, 1))
            begun.append(pool.submit(mover))
            late.execute("SELECT pg_sleep(0.5)")

    def mover() -> None:
        for _ in range(20):
            try:
                shop.execute("UPDATE stores SET region_id = 2 WHERE id = 1")
                return
            except psycopg.errors.DeadlockDetected:
                continue

    def both() -> None:
        begun.append(pool.submit(seller))
        wait_until(lambda: len(begun) > 1)

    shop.migrate(Phase.ENFORCE, Meanwhile(both, step=step), lock_timeout=0.2)
    for one in begun:
        one.result(timeout=60)
    assert shop.rows("SELECT tenant_id FROM sales WHERE id = -4") == [(2,)]
    assert shop.rows(WRONG) == []


@pytest.mark.parametrize("command", daily(["VACUUM FULL sales", "CLUSTER sales USING sales_pkey"]))
def test_rewritten_table(business: Business, command: str) -> None:
    """VACUUM FULL and CLUSTER between two batches move rows to pages that are done: the table starts again."""
    shop = business(SHOP, TABLES)
    shop.execute("DELETE FROM sales WHERE id BETWEEN 500 AND 2500")
    shop.migrate(Phase.EXPAND)

    def rewrite() -> None:
        with shop.connect(autocommit=True) as session:
            session.execute(command)

    shop.migrate(Phase.BACKFILL, Meanwhile(rewrite, batches_of=SALES), workers=1)
    assert shop.rows(WRONG) == []


def test_row_that_moves_behind_the_backfill(business: Business) -> None:
    """A row of the last page that an update puts on the first, which is done: the update has stamped it."""
    shop = business(SHOP, TABLES)
    shop.migrate(Phase.EXPAND)
    # Only the trigger gives these their tenant: the fill has passed the page that they come to.
    shop.execute("DELETE FROM sales WHERE id <= 500")
    with shop.connect(autocommit=True) as session:
        session.execute("VACUUM sales")
    seen: list[Any] = []

    def move() -> None:
        shop.execute("UPDATE sales SET note = 'moved' WHERE id BETWEEN 4001 AND 4010")
        seen.extend(shop.rows("SELECT min(ctid) < '(15,0)', count(tenant_id) FROM sales WHERE note = 'moved'"))

    shop.migrate(Phase.BACKFILL, Meanwhile(move, batches_of=SALES), workers=1)
    assert seen == [(True, 10)]
    assert shop.rows(WRONG) == []
