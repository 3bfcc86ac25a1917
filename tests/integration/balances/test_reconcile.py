"""Reconcile finds whatever was planted, corrects what is small, and reports nothing that is not there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from balances.reconciling import DIRECT, PLANTS, SMALL, STORAGE, compared, drift, past, reconcile
from balances.stock import LEDGER, SPEC, MakeStock, Stock
from balances.writers import writing
from servers import wait_until
from tenantry import ReviewDecision, decide_reviews, list_reviews
from tenantry.errors import ExitStatus, Refused

pytestmark = pytest.mark.server

RUNS = 20


@pytest.fixture
def shop(reconciled: Stock) -> Stock:
    """A ledger whose balances are in step, and were reconciled."""
    return reconciled


def reviewed(shop: Stock) -> set[tuple[Any, ...]]:
    return {tuple(review.key.values()) for review in list_reviews(shop.target, shop.spec)}


def false_keys(shop: Stock) -> set[tuple[Any, ...]]:
    return {row[1:5] for row in shop.false()}


def accept_all(shop: Stock) -> None:
    decide_reviews(shop.target, shop.spec, (), ReviewDecision(accept=True, by="a test"))


@pytest.mark.parametrize("plant", PLANTS)
def test_what_was_planted_is_found(shop: Stock, plant: str) -> None:
    """Past the triggers, or into the balances: exactly the keys that an oracle finds are under review; accepted, all is
    in step. Without --full."""
    shop.execute(PLANTS[plant])
    wrong = false_keys(shop)
    assert len(wrong) in (1, 2)
    result = reconcile(shop)
    assert result.exit_status == ExitStatus.FINDINGS
    assert reviewed(shop) == wrong
    accept_all(shop)
    assert shop.false() == []
    assert reconcile(shop).exit_status == ExitStatus.DONE


def test_no_false_difference_under_load(shop: Stock) -> None:
    """While eight sessions write, run after run has nothing to report, full or not; what is planted meanwhile is."""
    with writing(shop, 7) as load:
        for number in range(RUNS):
            found = compared(shop, full=number % 3 == 0, scrub_days=0.01)
            assert (found.corrected, found.reviews, found.open) == (0, 0, 0), f"run {number}"
        # A key of nobody else.
        shop.execute("INSERT INTO ledger (org, item, quantity) VALUES (9, 6, 50)")
        shop.execute(f"UPDATE {STORAGE} SET quantity = quantity + 3, total_in = total_in + 3 WHERE org = 9")
        found = compared(shop)
        assert (found.reason, found.reviews) == (None, 1)
        accept_all(shop)
        assert compared(shop).open == 0
        wait_until(lambda: load.committed > RUNS or load.over.is_set())
    assert load.committed > RUNS
    assert shop.false() == []


def test_only_what_was_touched_is_compared(shop: Stock) -> None:
    """A few keys after a few movements, none after none."""
    assert compared(shop).compared == 0
    shop.execute("INSERT INTO ledger (org, item, quantity) VALUES (1, 1, 5), (1, 2, 5)")
    found = compared(shop)
    assert (found.reason, found.compared) == (None, 2)
    assert compared(shop, full=True).compared > 40


def test_a_transaction_that_commits_late(shop: Stock) -> None:
    """Begun before a reconciliation and committed after it: the next one sees it."""
    with shop.connect() as late:
        late.execute(DIRECT)
        shop.execute("INSERT INTO ledger (org, item, quantity) VALUES (1, 1, 1)")
        assert compared(shop).open == 0
        assert compared(shop).open == 0
        late.commit()
    assert compared(shop).open == 1


def test_frozen_rows_are_found(shop: Stock) -> None:
    """VACUUM FREEZE, or writing the table anew, hides no write."""
    for vacuum in ("VACUUM (FREEZE)", "VACUUM (FULL, FREEZE)"):
        with shop.connect(autocommit=True) as session:
            session.execute(DIRECT)
            session.execute(f"{vacuum} {STORAGE}")
        assert compared(shop).open == 1
        accept_all(shop)


def test_where_transactions_cannot_be_told_apart_all_is_compared(shop: Stock) -> None:
    """After as many as ages reach, or where their numbers went back, as in a restored database."""
    for snapshot in ("9000000000:9000000000:", "9000000000:9000000001:9000000000"):
        shop.execute(f"UPDATE tenantry.reconciliations SET snapshot = '{snapshot}'")
        assert compared(shop).reason == "too many transactions since the last time"
        assert compared(shop).reason is None


def test_the_scrub_sees_what_left_no_trace(shop: Stock) -> None:
    """A balance that was deleted by hand: found once the scrub has come around, and not before."""
    shop.execute(f"DELETE FROM {STORAGE} WHERE org = 1 AND item = 6")
    gone = false_keys(shop)
    assert gone
    assert compared(shop).open == 0
    shop.execute("UPDATE tenantry.reconciliations SET scrub_began = scrub_began - interval '15 days'")
    compared(shop)
    assert shop.rows(
        "SELECT round(scrubbed::numeric, 2)::float FROM tenantry.reconciliations ORDER BY id DESC LIMIT 1"
    ) == [(0.5,)]
    shop.execute("UPDATE tenantry.reconciliations SET scrub_began = scrub_began - interval '15 days'")
    found = compared(shop)
    assert found.reason is None
    assert reviewed(shop) == gone
    accept_all(shop)
    assert shop.false() == []


def test_the_scrub_sees_every_balance(shop: Stock) -> None:
    """In as many runs as it takes, page by page."""
    keys = compared(shop, full=True).compared
    seen = 0
    for _ in range(5):
        shop.execute("UPDATE tenantry.reconciliations SET scrub_began = scrub_began - interval '6.1 days'")
        seen += compared(shop).compared
    assert seen == keys


def test_partitions_that_come_and_go(shop: Stock) -> None:
    """Hazard 19: the rows of a detached one are in the balances still; then those of an attached one are not."""
    shop.execute("ALTER TABLE ledger DETACH PARTITION ledger_low")
    wrong = false_keys(shop)
    found = compared(shop)
    assert found.reason == "triggers, partitions or tables were altered since the last time"
    assert reviewed(shop) == wrong
    assert len(wrong) > 20
    accept_all(shop)
    assert shop.false() == []
    shop.execute("ALTER TABLE ledger ATTACH PARTITION ledger_low FOR VALUES FROM (0) TO (3)")
    wrong = false_keys(shop)
    assert compared(shop).reviews == len(wrong) > 20
    shop.backfill()
    assert compared(shop).open == 0
    assert shop.false() == []
    shop.execute("CREATE TABLE bare (LIKE ledger); INSERT INTO bare (id, org, item, quantity) VALUES (0, 1, 100, 5)")
    shop.execute("ALTER TABLE ledger ATTACH PARTITION bare FOR VALUES FROM (100) TO (200)")
    result = reconcile(shop)
    assert result.exit_status == ExitStatus.FINDINGS
    assert "triggers" in result.ledgers[0].refused
    assert "install" in result.ledgers[0].remedy


def test_stale_balances_are_said_to_be_stale(stock: MakeStock) -> None:
    """No discrepancies before a backfill; and nothing at all before an install."""
    made = stock(rows=50)
    with pytest.raises(Refused, match="no balances"):
        reconcile(made)
    made.install()
    result = reconcile(made)
    assert result.exit_status == ExitStatus.FINDINGS
    assert result.ledgers[0].result is None
    assert "stale" in result.ledgers[0].refused
    assert made.rows("SELECT count(*) FROM tenantry.discrepancies") == [(0,)]
    made.backfill()
    assert reconcile(made).exit_status == ExitStatus.DONE


LIMITS = SPEC + "threshold = 0.5\ntotal_limit = 1.0\n"


def test_small_differences_are_corrected_up_to_a_limit(stock: MakeStock) -> None:
    """Below the threshold: corrected and counted, a key for itself; exactly at it, or past the total: reviewed."""
    made = stock(LEDGER, LIMITS, rows=100)
    made.install()
    made.backfill()
    reconcile(made)
    for size in ("0.4", "-0.4", "0.2"):
        drift(made, 1, size)
        found = compared(made)
        assert (found.corrected, found.open) == (1, 0)
        assert made.false() == []
    drift(made, 2, "0.499")
    assert compared(made).corrected == 1
    drift(made, 1, "0.001")
    drift(made, 3, "0.5")
    found = compared(made)
    assert (found.corrected, found.reviews) == (0, 2)
    reasons = {review.key["item"]: review.reason for review in list_reviews(made.target, made.spec)}
    assert reasons == {1: "total", 3: "threshold"}
    accept_all(made)
    drift(made, 1, "0.4")
    assert compared(made).corrected == 1
    assert made.false() == []
    totals = made.rows("SELECT key ->> 'item', total::float FROM tenantry.drifts ORDER BY 1")
    assert totals == [("1", 0.4), ("2", 0.499), ("3", 0)]
    assert made.rows("SELECT count(*), sum(size) FROM tenantry.discrepancies WHERE state = 'corrected'")[0][0] == 5


def test_a_difference_that_cancels_out_is_none_that_is_small(shop: Stock) -> None:
    """Nothing is missing from the quantity, but a hundred came in, and went out, that nobody counted."""
    shop.execute(past("INSERT INTO ledger (org, item, quantity) VALUES (1, 1, 100), (1, 1, -100)"))
    assert compared(shop).reviews == 1


def test_slots(shop: Stock) -> None:
    """With hot keys a balance is several rows: all of them are one key's."""
    shop.install(slots=4)
    assert compared(shop).reason == "triggers, partitions or tables were altered since the last time"
    for _ in range(3):
        shop.execute("INSERT INTO ledger (org, item, quantity) SELECT 1, 1, 2 FROM generate_series(1, 3)")
    assert compared(shop).open == 0
    shop.execute(
        f"UPDATE {STORAGE} SET quantity = quantity + 0.001 WHERE (org, item, slot) = (1, 1, 0) AND location IS NULL AND lot IS NULL"
    )
    assert compared(shop).corrected == 1
    assert shop.false() == []


def test_reconciliations_beside_each_other(shop: Stock, pool: ThreadPoolExecutor) -> None:
    """Four at once, while eight sessions write: each difference is corrected, or put under review, once."""
    for item in range(1, 7):
        drift(shop, item, "0.005")
    drift(shop, 0, "5")
    with writing(shop, 11):
        results = [found.result() for found in [pool.submit(compared, shop) for _ in range(4)]]
    assert sum(found.corrected for found in results) == 6
    assert sum(found.reviews for found in results) == 1
    assert shop.rows("SELECT sum(total)::float FROM tenantry.drifts") == [(0.03,)]
    accept_all(shop)
    assert shop.false() == []


def test_dry_run_changes_nothing(shop: Stock) -> None:
    """It tells, and the next run finds the same."""
    shop.execute(SMALL + ";" + PLANTS["a changed quantity"])
    counts = "SELECT (SELECT count(*) FROM tenantry.reconciliations), (SELECT count(*) FROM tenantry.discrepancies), (SELECT count(*) FROM tenantry.runs)"
    before, wrong = shop.rows(counts), shop.false()
    result = reconcile(shop, dry_run=True)
    found = result.ledgers[0].result
    assert found is not None
    assert (result.exit_status, found.corrected, found.reviews) == (0, 1, 1)
    assert (shop.rows(counts), shop.false()) == (before, wrong)
    found = compared(shop)
    assert (found.corrected, found.reviews) == (1, 1)


def test_nasty_names(stock: MakeStock) -> None:
    """Quotes, signs that mean something elsewhere, all sorts of keys: found, shown, accepted."""
    long = "t" * 63
    table = f'"Odd Schema"."{long}"'
    text = f"""
    [tenant]
    table = "tenants"
    [[ledger]]
    table = '"Odd Schema".{long}'
    balance = '"The % Balances"'
    key = ['"Item ""No"" %s"', '"$tenantry$"', "shade", '"from"', "key", "number"]
    quantity = '"Amount"'
    """
    odd = stock(
        f"""CREATE SCHEMA "Odd Schema"; CREATE TYPE colour AS ENUM ('red', 'blue'); CREATE DOMAIN code AS varchar(8);
        CREATE TABLE {table} ("Item ""No"" %s" integer, "$tenantry$" code, shade colour, "from" timestamptz, key text[] NOT NULL,
          number float8, "Amount" integer, chosen text)""",
        text,
    )
    insert = f"""INSERT INTO {table} SELECT nullif(g % 3, 0), nullif('%' || g % 2, '%0'), nullif('red', 'blue')::colour,
      CASE g % 3 WHEN 0 THEN 'infinity'::timestamptz WHEN 1 THEN '0044-03-15 BC' END, ARRAY['a', NULL, g % 2 || ''],
      0.1 + (g % 2), g, 'x' FROM generate_series(1, 50) g"""
    odd.execute(insert)
    odd.install()
    odd.backfill()
    assert reconcile(odd).exit_status == 0
    [(storage,)] = odd.rows(
        "SELECT oid::regclass::text FROM pg_class WHERE relname LIKE 'balances\\_%' AND relkind = 'r'"
    )
    odd.execute(f"UPDATE {storage} SET quantity = quantity + 1")
    assert compared(odd).open == 6
    review = list_reviews(odd.target, odd.spec)[0]
    assert list(review.key) == ['Item "No" %s', "$tenantry$", "shade", "from", "key", "number"]
    accept_all(odd)
    assert compared(odd, full=True).open == 0
    assert "balances" not in odd.failing()
