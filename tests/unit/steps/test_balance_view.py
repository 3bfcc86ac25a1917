"""What readers of balances see."""

from __future__ import annotations

from tenantry.steps.balance_view import BalanceReader, BalanceView
from unit.steps.examples import EXPAND, LEDGER, assert_statements


def test_the_view() -> None:
    step = BalanceView(phase=EXPAND, table=LEDGER.table, ledger=LEDGER)
    assert_statements(
        step.apply(),
        """CREATE OR REPLACE VIEW "public"."stock" WITH (security_barrier) AS SELECT row."tenant_id", row."product_id", C…pg_catalog.current_setting('app.tenant_id', true)…G sum(row.movements) <> 0""",
        'ALTER VIEW "public"."stock" OWNER TO "owner"',
        """COMMENT ON VIEW "public"."stock" IS 'Balances of public.movements, maintained by tenantry (23e3373402d2)'""",
    )
    assert_statements(
        step.revert({}),
        'DROP VIEW IF EXISTS "public"."stock"',
    )


def test_a_reader() -> None:
    step = BalanceReader(phase=EXPAND, table=LEDGER.table, ledger=LEDGER, role="app")
    assert_statements(
        step.apply(),
        'GRANT SELECT ON "public"."stock" TO "app"',
    )
