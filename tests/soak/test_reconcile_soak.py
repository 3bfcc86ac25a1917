"""A thousand reconciliations under load: none of them reports a difference that is not there, and each finds what was
planted before it."""

from __future__ import annotations

import psycopg
import pytest
from tenacity import retry, retry_if_exception_type

from balances.reconciling import STORAGE, compared, past
from balances.stock import FILL, LEDGER, TENANTS, Stock
from balances.writers import writing
from servers import Database, wait_until
from tenantry import ReviewDecision, decide_reviews, list_reviews

RUNS, EVERY = 500, 25
PLANTS = {
    "a changed quantity": past("UPDATE ledger SET quantity = quantity + 5 WHERE lot = '{0}'"),
    "a missing row": past("DELETE FROM ledger WHERE lot = '{0}'"),
    "a doubled movement": past(
        "INSERT INTO ledger (org, item, lot, quantity) SELECT org, item, lot, quantity FROM ledger WHERE lot = '{0}'"
    ),
    "an edit of an old row": past("UPDATE ledger SET quantity = -quantity WHERE lot = '{0}'"),
    "a swap between two keys": past(
        "UPDATE ledger SET lot = CASE lot WHEN '{0}' THEN '{0}, other' ELSE '{0}' END WHERE lot IN ('{0}', '{0}, other')"
    ),
    "a balance written to": f"UPDATE {STORAGE} SET quantity = quantity + 3 WHERE lot = '{{0}}' AND slot ="
    f" (SELECT min(slot) FROM {STORAGE} WHERE lot = '{{0}}')",
}


@retry(retry=retry_if_exception_type(psycopg.errors.DeadlockDetected))
def plant(shop: Stock, kind: str, lot: str) -> set[str]:
    """Two keys of nobody else, in step, and then what no trigger sees, in one transaction; the lots that differ."""
    shop.execute(
        "LOCK TABLE ledger IN SHARE ROW EXCLUSIVE MODE;"
        f"INSERT INTO ledger (org, item, lot, quantity) VALUES (1, 1, '{lot}', 20), (1, 1, '{lot}, other', 30);"
        + PLANTS[kind].format(lot)
    )
    return {lot, f"{lot}, other"} if "two keys" in kind else {lot}


@pytest.mark.parametrize("slots", [0, 4])
def test_five_hundred_runs(database: Database, slots: int) -> None:
    """Twice, of which every third compares all keys, while eight sessions write."""
    database.execute(TENANTS + LEDGER)
    database.execute(FILL.format(400))
    shop = Stock(database=database)
    shop.install(slots=slots)
    shop.backfill()
    kinds = list(PLANTS)
    with writing(shop, 300 + slots) as load:
        for number in range(RUNS):
            if number % EVERY == EVERY - 1:
                kind, lot = kinds[number // EVERY % len(kinds)], f"plant {number}"
                wanted = plant(shop, kind, lot)
                assert compared(shop).reviews == len(wanted), f"run {number}: {kind}"
                assert {review.key["lot"] for review in list_reviews(shop.target, shop.spec)} == wanted
                decide_reviews(shop.target, shop.spec, (), ReviewDecision(accept=True, by="soak"))
            found = compared(shop, full=number % 3 == 0, scrub_days=0.01)
            assert (found.corrected, found.reviews, found.open) == (0, 0, 0), f"run {number}"
        wait_until(lambda: load.committed > RUNS or load.over.is_set(), seconds=600)
    assert shop.false() == []
