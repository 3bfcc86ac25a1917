"""The tables of reconciliations: made where they are not there, and emptied of one ledger alone."""

from __future__ import annotations

from dataclasses import replace

from tenantry.steps.balance_reviews import forget_reviews, review_tables
from unit.steps.examples import LEDGER, texts


def test_making_them_twice_changes_nothing() -> None:
    assert all(" IF NOT EXISTS " in text for text in texts(review_tables()))


def test_forgetting_a_ledger() -> None:
    """By its name as a literal; where there is no such table, nothing."""
    statements = forget_reviews(replace(LEDGER, called="public.it's"))
    assert texts(statements) == [
        f"DELETE FROM \"tenantry\".\"{table}\" WHERE ledger = 'public.it''s'"
        for table in ("reconciliations", "discrepancies", "drifts")
    ]
    assert all(one.when is not None and "to_regclass" in one.when.as_string(None) for one in statements)
