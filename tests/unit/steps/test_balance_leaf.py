"""Partitions of balances that an application role has no right to."""

from __future__ import annotations

from tenantry.steps.balance_leaf import BalanceLeaf
from unit.steps.examples import EXPAND, LEDGER, assert_statements


def test_a_leaf() -> None:
    step = BalanceLeaf(phase=EXPAND, table=LEDGER.table, ledger=LEDGER, role="app", revokes=(("INSERT", "app"),))
    assert_statements(
        step.apply(),
        'REVOKE INSERT ON TABLE "public"."movements" FROM "app" CASCADE',
    )
