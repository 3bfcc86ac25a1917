"""What the steps of balances share: the ledger, and the names that its balances keep."""

from __future__ import annotations

from tenantry.steps.balance_table import BalanceTable
from tenantry.steps.naming import Renamed
from unit.steps.examples import EXPAND, LEDGER


def test_a_renamed_column_keeps_its_name_in_balances() -> None:
    """Readers go on with it; back under its old name nothing is left of the other."""
    step = BalanceTable(phase=EXPAND, table=LEDGER.table, ledger=LEDGER)
    names = {(LEDGER.table, "product_id"): "item_id", (LEDGER.table, "quantity"): "amount"}
    now = step.renamed(Renamed(names))
    assert now.ledger.columns == LEDGER.columns
    assert now.ledger.sources == ("tenant_id", "item_id")
    assert now.ledger.quantity == "amount"
    back = {(LEDGER.table, "item_id"): "product_id", (LEDGER.table, "amount"): "quantity"}
    assert now.renamed(Renamed(back)) == step
    assert (step.keeps, step.given_to) == (LEDGER, "owner")
