"""Rows that a statement moves from one partition of a ledger to another: settings and tables of one ledger each."""

from __future__ import annotations

from dataclasses import replace

from tenantry.steps.balance_crossings import ARRIVING, LEAVING, crosses, crossings_table, setting
from unit.steps.examples import LEDGER, SALES


def test_settings_of_one_ledger() -> None:
    """By what it was called when the balances were installed; plain letters, whatever that was."""
    other = replace(LEDGER, called='public."it\'s"')
    assert setting(LEDGER, ARRIVING) == setting(replace(LEDGER, table=SALES), ARRIVING)
    assert len({setting(one, name) for one in (LEDGER, other) for name in (ARRIVING, LEAVING)}) == 4
    assert all(setting(other, name).replace("tenantry.", "").replace("_", "").isalnum() for name in (ARRIVING, LEAVING))


def test_which_side_asks_which_setting() -> None:
    assert setting(LEDGER, ARRIVING) in crosses(LEDGER, "INSERT")
    assert setting(LEDGER, LEAVING) in crosses(LEDGER, "DELETE")


def test_the_table() -> None:
    """The key's columns, and names beside them that no column of the user's has."""
    made, index = (one.as_string(None) for one in crossings_table(LEDGER))
    assert made.startswith(
        f'CREATE UNLOGGED TABLE IF NOT EXISTS {LEDGER.crossings.identifier.as_string(None)} AS SELECT "tenant_id"'
    )
    assert '"tenantry transaction"' in made
    assert index.endswith('("tenantry transaction")')
