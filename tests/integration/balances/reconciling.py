"""Balances put wrong in all ways, and reconciled."""

from __future__ import annotations

from typing import Any

from balances.stock import Stock
from tenantry import ReconcileOptions, ReconcileResult, reconcile_balances
from tenantry.balances.reconciliation import Reconciled

STORAGE = 'tenantry."balances_public__ledger"'
_TRIGGERS = [f"TRIGGER tenantry_balances_{event}" for event in ("insert", "update", "delete")]


def past(statement: str) -> str:
    """The statement on the ledger, past its triggers."""
    off, on = (
        "; ".join(f"ALTER TABLE ONLY ledger {word} {trigger}" for trigger in _TRIGGERS)
        for word in ("DISABLE", "ENABLE")
    )
    return f"{off}; {statement}; {on}"


KEY = "(org, item) = (1, {}) AND location IS NULL AND lot IS NULL"
MADE = "INSERT INTO ledger (org, item, quantity) SELECT 1, g, 10 FROM generate_series(1, 6) g"
DIRECT = (
    f"UPDATE {STORAGE} SET quantity = quantity + 7 WHERE ctid = (SELECT min(ctid) FROM {STORAGE} WHERE movements > 0)"
)
SMALL = f"UPDATE {STORAGE} SET quantity = quantity - 0.009 WHERE ctid = (SELECT max(ctid) FROM {STORAGE} WHERE movements > 0)"
PLANTS = {
    "a changed quantity": past("UPDATE ledger SET quantity = quantity + 5 WHERE id = 17"),
    "a missing row": past("DELETE FROM ledger WHERE id = 20"),
    "a doubled movement": past(
        "INSERT INTO ledger (org, item, location, lot, quantity) SELECT org, item, location, lot, quantity FROM ledger"
        " WHERE id = 23"
    ),
    "an edit of an old row": past("UPDATE ledger SET quantity = -quantity WHERE id = 1"),
    "a swap between two keys": past(
        "UPDATE ledger SET (org, item, location, lot) = (SELECT o.org, o.item, o.location, o.lot FROM ledger o"
        " WHERE o.id = CASE ledger.id WHEN 2 THEN 28 ELSE 2 END) WHERE id IN (2, 28)"
    ),
    "a balance written to": DIRECT,
}


def drift(stock: Stock, item: int, size: str) -> None:
    """Put a balance off by `size`; its key has a movement at least."""
    stock.execute(f"INSERT INTO ledger (org, item, quantity) VALUES (1, {item}, 10)")
    stock.execute(
        f"UPDATE {STORAGE} SET quantity = quantity - {size}, total_in = total_in - {size} WHERE {KEY.format(item)}"
    )


def reconcile(stock: Stock, **options: Any) -> ReconcileResult:
    """The command, as a function."""
    return reconcile_balances(stock.target, stock.spec, ReconcileOptions(**options))


def compared(stock: Stock, **options: Any) -> Reconciled:
    """What it has come to for the one ledger."""
    result = reconcile(stock, **options).ledgers[0].result
    assert result is not None
    return result
