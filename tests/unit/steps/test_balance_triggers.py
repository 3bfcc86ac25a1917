"""The triggers that keep balances in step with their ledger."""

from __future__ import annotations

from tenantry.steps.balance_triggers import BalanceTriggers
from unit.steps.examples import EXPAND, LEDGER, assert_statements


def test_the_triggers() -> None:
    step = BalanceTriggers(phase=EXPAND, table=LEDGER.table, ledger=LEDGER)
    assert_statements(
        step.apply(),
        'CREATE OR REPLACE TRIGGER "tenantry_balances_replica" AFTER INSERT OR UPDATE OR DELETE ON "public"."movements" FOR EACH ROW EXECUTE FUNCTION "tenantry"."replicate_public__movements"()',
        'ALTER TABLE ONLY "public"."movements" ENABLE REPLICA TRIGGER "tenantry_balances_replica"',
        'CREATE OR REPLACE TRIGGER "tenantry_balances_insert" AFTER INSERT ON "public"."movements" REFERENCING NEW TABLE AS moved_in FOR EACH STATEMENT EXECUTE FUNCTION "tenantry"."move_public__movements"()',
        'CREATE OR REPLACE TRIGGER "tenantry_balances_update" AFTER UPDATE ON "public"."movements" REFERENCING OLD TABLE AS moved_out NEW TABLE AS moved_in FOR EACH STATEMENT EXECUTE FUNCTION "tenantry"."move_public__movements"()',
        'CREATE OR REPLACE TRIGGER "tenantry_balances_delete" AFTER DELETE ON "public"."movements" REFERENCING OLD TABLE AS moved_out FOR EACH STATEMENT EXECUTE FUNCTION "tenantry"."move_public__movements"()',
        'CREATE OR REPLACE TRIGGER "tenantry_balances_truncate" BEFORE TRUNCATE ON "public"."movements" FOR EACH STATEMENT EXECUTE FUNCTION "tenantry"."truncate_public__movements"()',
        'ALTER TABLE ONLY "public"."movements" ENABLE ALWAYS TRIGGER "tenantry_balances_truncate"',
        "INSERT INTO tenantry.ledgers AS known (ledger, stale, stale_since, reason, generation) VALUES ('public.movemen…n + 1, corrections = NULL",
    )
    assert_statements(
        step.revert({}),
        'DROP TRIGGER IF EXISTS "tenantry_balances_replica" ON "public"."movements"',
        'DROP TRIGGER IF EXISTS "tenantry_balances_insert" ON "public"."movements"',
        'DROP TRIGGER IF EXISTS "tenantry_balances_update" ON "public"."movements"',
        'DROP TRIGGER IF EXISTS "tenantry_balances_delete" ON "public"."movements"',
        'DROP TRIGGER IF EXISTS "tenantry_balances_truncate" ON "public"."movements"',
    )
