"""What differs too much is decided on by a person: accepted, it is set to the ledger; rejected, it stays."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from balances.reconciling import DIRECT, KEY, PLANTS, SMALL, compared, drift, past, reconcile
from balances.stock import SPEC, Stock
from balances.writers import writing
from conftest import Command
from tenantry import ReviewDecision, decide_reviews, list_reviews
from tenantry.balances.review_history import forget_discrepancies
from tenantry.errors import Refused, UsageError

pytestmark = pytest.mark.server

ACCEPT = ReviewDecision(accept=True, by="maria", note="counted")
REJECT = ReviewDecision(accept=False, by="maria", note="meant")


@pytest.fixture
def shop(reconciled: Stock) -> Stock:
    """A ledger whose balances were in step, and one review: of (1, 1, NULL, NULL) 5 are missing."""
    made = reconciled
    made.execute("INSERT INTO ledger (org, item, quantity) VALUES (1, 1, 10)")
    assert compared(made).open == 0
    made.execute(past("INSERT INTO ledger (org, item, quantity) VALUES (1, 1, 5)"))
    assert compared(made).open == 1
    return made


def decide(shop: Stock, decision: ReviewDecision, *numbers: int, **options: Any) -> Any:
    return decide_reviews(shop.target, shop.spec, numbers, decision, **options)


def test_a_review_tells_all(shop: Stock) -> None:
    """Both sums, the movements since the last good point, who decided and why."""
    review = list_reviews(shop.target, shop.spec)[0]
    assert (review.key, review.state, review.reason) == (
        {"org": 1, "item": 1, "location": None, "lot": None},
        "open",
        "threshold",
    )
    assert (review.quantity, review.movements) == (5, 1)
    assert review.ledger_quantity - review.balance_quantity == 5
    assert (review.recent, len(review.evidence)) == (1, 1)
    assert float(review.evidence[0]["quantity"]) == 5
    decide(shop, ACCEPT, review.id)
    decided = list_reviews(shop.target, shop.spec, everything=True)[0]
    assert (decided.state, decided.decided_by, decided.note) == ("accepted", "maria (postgres)", "counted")
    assert list_reviews(shop.target, shop.spec) == ()


def test_accepted_under_load(shop: Stock) -> None:
    """Set to the ledger exactly, while eight sessions write; of two who accept at once one is told."""
    number = list_reviews(shop.target, shop.spec)[0].id
    with writing(shop, 3) as load:
        while load.committed < 30 and not load.over.is_set():
            assert compared(shop).open == 1
        assert decide(shop, ACCEPT, number)[0].state == "accepted"
        with pytest.raises(Refused, match="already by maria"):
            decide(shop, REJECT, number)
    assert shop.false() == []


def test_a_difference_that_has_changed_is_looked_at_again(shop: Stock) -> None:
    """It is not the one that was read; the next reconciliation refreshes the review, or takes it away."""
    shop.execute(past("INSERT INTO ledger (org, item, quantity) VALUES (1, 1, 900)"))
    with pytest.raises(Refused, match="has changed"):
        decide(shop, ACCEPT)
    found = compared(shop)
    assert (found.reviews, found.open) == (0, 1)
    assert list_reviews(shop.target, shop.spec)[0].quantity == 905
    shop.execute(
        past(
            "DELETE FROM ledger WHERE quantity IN (900, 5) AND org = 1 AND item = 1 AND location IS NULL AND lot IS NULL"
        )
    )
    assert compared(shop).open == 0
    assert [review.state for review in list_reviews(shop.target, shop.spec, everything=True)] == ["gone"]


def test_rejected_it_stays(shop: Stock) -> None:
    """The balance is kept, and the difference is meant: only another one on top is reported, and corrected."""
    before = shop.rows(f"SELECT quantity FROM balances WHERE {KEY.format(1)}")
    decided = decide(shop, REJECT)
    assert decided[0].after == before[0][0]
    assert shop.rows(f"SELECT quantity FROM balances WHERE {KEY.format(1)}") == before
    for full in (False, True):
        found = compared(shop, full=full)
        assert (found.corrected, found.open) == (0, 0)
    drift(shop, 1, "0.002")
    assert compared(shop).corrected == 1
    assert [row[5] - 5 for row in shop.false() if row[0] == "ledger"] == [
        row[5] for row in shop.false() if row[0] == "balance"
    ]
    drift(shop, 1, "3")
    assert compared(shop).open == 1
    assert list_reviews(shop.target, shop.spec)[0].quantity == 3
    decide(shop, ACCEPT)
    assert shop.false() == []
    assert compared(shop, full=True).open == 0
    states = [review.state for review in list_reviews(shop.target, shop.spec, everything=True)]
    assert states == ["accepted", "gone"]


def test_what_was_kept_and_is_set_right_is_kept_no_more(shop: Stock) -> None:
    """Once ledger and balance are equal again, the difference that was meant is one like any other."""
    decide(shop, REJECT)
    shop.execute(
        past("DELETE FROM ledger WHERE (org, item, quantity) = (1, 1, 5) AND location IS NULL AND lot IS NULL")
    )
    assert compared(shop).open == 0
    shop.execute(past("INSERT INTO ledger (org, item, quantity) VALUES (1, 1, 5)"))
    assert compared(shop).reviews == 1


def test_dry_run_and_numbers_that_there_are_not(shop: Stock) -> None:
    """Nothing is decided."""
    number = list_reviews(shop.target, shop.spec)[0].id
    wrong = shop.false()
    assert decide(shop, ACCEPT, number, dry_run=True)[0].state == "accepted"
    with pytest.raises(UsageError, match="review 99 does not exist"):
        decide(shop, ACCEPT, number, 99)
    assert shop.false() == wrong
    assert list_reviews(shop.target, shop.spec)[0].state == "open"


def test_a_decision_waits_for_a_correction(shop: Stock, waits: Callable[..., Future[Any]]) -> None:
    """Whoever corrects keeps a reconciliation from correcting: it is done after, and once."""
    drift(shop, 2, "0.001")
    with shop.connect() as other:
        other.execute("SELECT FROM tenantry.ledgers FOR UPDATE")
        with pytest.raises(Exception, match="locked by other sessions"):
            decide_reviews(shop.target, _impatient(shop).spec, (), ACCEPT)
        with pytest.raises(Exception, match="locked by other sessions"):
            reconcile(_impatient(shop))
    assert compared(shop).corrected == 1


def _impatient(shop: Stock) -> Stock:
    return Stock(database=shop.database, text=SPEC.replace("[tenant]", "[locks]\nbudget = 0.5\n[tenant]", 1))


def test_a_quantity_that_is_no_number(shop: Stock) -> None:
    """NaN on both sides is no difference; on one it is larger than any threshold, reviewed, and accepted or kept."""
    shop.execute("INSERT INTO ledger (org, item, quantity) VALUES (2, 2, 'NaN')")
    assert compared(shop).open == 1
    shop.execute("DELETE FROM ledger WHERE quantity = 'NaN'")
    assert (compared(shop).corrected, compared(shop).open) == (0, 1)
    for decision, open_then in ((REJECT, 1), (ACCEPT, 1)):
        shop.execute(past("INSERT INTO ledger (org, item, quantity) VALUES (2, 2, 'NaN')"))
        found = compared(shop)
        assert (found.corrected, found.open) == (0, 2)
        review = list_reviews(shop.target, shop.spec)[0]
        assert review.quantity.is_nan()
        decide(shop, decision, review.id)
        assert (compared(shop).corrected, compared(shop).open) == (0, open_then)
    assert shop.rows("SELECT quantity FROM balances WHERE (org, item, lot) = (2, 2, NULL)") == []


def test_writers_wait_for_no_reconciliation(shop: Stock) -> None:
    """One that holds what keeps others from correcting stops no movement of other keys."""
    with shop.connect() as other:
        other.execute("SELECT FROM tenantry.ledgers FOR UPDATE")
        shop.execute("SET lock_timeout = '1s'; INSERT INTO ledger (org, item, quantity) VALUES (1, 1, 1)")
    assert compared(shop).open == 1


def test_forgotten_after_their_age(shop: Stock) -> None:
    """What is open or kept stays, and where the next reconciliation looks from."""
    shop.execute(SMALL + ";" + PLANTS["an edit of an old row"])
    compared(shop)
    number = min(review.id for review in list_reviews(shop.target, shop.spec))
    decide(shop, REJECT, number)
    shop.execute(
        "UPDATE tenantry.discrepancies SET seen_at = seen_at - interval '100 days', decided_at = decided_at - interval '100 days'"
    )
    shop.execute("UPDATE tenantry.reconciliations SET at = at - interval '100 days'")
    with shop.connect(autocommit=True) as session:
        assert forget_discrepancies(session, 90)[0] > 1
        assert forget_discrepancies(session, 90) == (0, 3)
    assert sorted(shop.rows("SELECT state FROM tenantry.discrepancies")) == [("open",), ("rejected",)]
    assert compared(shop).reason is None


def test_remove_forgets_them(shop: Stock) -> None:
    """With the balances go their reviews."""
    shop.remove()
    for table in ("reconciliations", "discrepancies", "drifts"):
        assert shop.rows(f"SELECT count(*) FROM tenantry.{table}") == [(0,)]


def test_on_the_command_line(shop: Stock, command: Callable[[str], Command]) -> None:
    """Exit 1 while a review is open, one JSON document, a report that looks back, one sentence for bad input."""
    tenantry = command(shop.database.dsn)
    (tenantry.folder / "tenantry.toml").write_text(shop.text)
    shop.execute(DIRECT)
    found = tenantry("balances", "reconcile", "--json")
    assert (found.status, found.json["open"]) == (1, 2)
    report = json.loads((tenantry.folder / found.json["report"]).read_text())
    names = {finding["name"]: finding for finding in report["findings"]}
    assert names["balances-to-review"]["count"] == 2
    assert names["discrepancies-over-time"]["samples"][0]["open"] == 2
    assert names["discrepancies-by-size"]["samples"][0]["size"] == "1 to 10"
    assert names["discrepancies-by-tenant"]["tenants"] == {"without a tenant": 2}
    listed = tenantry("balances", "review", "list")
    assert listed.status == 1
    assert "org 1, item 1, location NULL, lot NULL" in listed.stdout
    refused = tenantry("balances", "review", "accept")
    assert (refused.status, "--all" in refused.stderr) == (2, True)
    assert tenantry("balances", "review", "accept", "--all", "--by", "ana").status == 0
    assert shop.false() == []
    assert list_reviews(shop.target, shop.spec, everything=True)[0].decided_by == "ana (postgres)"


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE tenantry.discrepancies SET key = '[1]'",
        "UPDATE tenantry.discrepancies SET key = key - 'item'",
        "UPDATE tenantry.discrepancies SET evidence = '7'",
        "UPDATE tenantry.discrepancies SET evidence = '[7]'",
        "INSERT INTO tenantry.drifts (ledger, key) SELECT ledger, '\"x\"' FROM tenantry.discrepancies",
        "UPDATE tenantry.reconciliations SET scrub_pages = '7'",
        'UPDATE tenantry.reconciliations SET scrub_pages = \'{"a": "b"}\'',
    ],
)
def test_a_row_that_somebody_has_broken_is_named(shop: Stock, change: str) -> None:
    """Wherever it is read: one sentence, and nothing is corrected or decided."""
    number = list_reviews(shop.target, shop.spec)[0].id
    shop.execute(change)
    for ask in (
        lambda: list_reviews(shop.target, shop.spec),
        lambda: decide(shop, ACCEPT, number),
        lambda: reconcile(shop),
    ):
        with pytest.raises(Refused, match=r"The row .* of tenantry\.\w+ cannot be read"):
            ask()
