"""A thousand reconciliations under load: none of them reports a difference that is not there, and what is planted is
found."""

from __future__ import annotations

import pytest

from balances.reconciling import STORAGE, compared
from balances.stock import FILL, LEDGER, TENANTS, Stock
from balances.writers import writing
from servers import Database, wait_until
from tenantry.workflow import Decision, decide_reviews

RUNS = 500


@pytest.mark.parametrize("slots", [0, 4])
def test_five_hundred_runs(database: Database, slots: int) -> None:
    """Twice, of which every third compares all keys, while eight sessions write; every fiftieth finds a plant."""
    database.execute(TENANTS + LEDGER)
    database.execute(FILL.format(400))
    shop = Stock(database=database)
    shop.install(slots=slots)
    shop.backfill()
    shop.execute("INSERT INTO ledger (org, item, quantity) VALUES (9, 6, 50)")
    planted = (
        f"UPDATE {STORAGE} SET quantity = quantity + 3 WHERE ctid = (SELECT ctid FROM {STORAGE} WHERE org = 9 LIMIT 1)"
    )
    with writing(shop, 300 + slots) as load:
        for number in range(RUNS):
            if number % 50 == 49:
                shop.execute(planted)
                assert compared(shop).reviews == 1, f"run {number}"
                decide_reviews(shop.target, shop.spec, (), Decision(accept=True, by="soak"))
            found = compared(shop, full=number % 3 == 0, scrub_days=0.01)
            assert (found.corrected, found.reviews, found.open) == (0, 0, 0), f"run {number}"
        wait_until(lambda: load.committed > RUNS or load.over.is_set())
    assert load.committed > RUNS
    assert shop.false() == []
