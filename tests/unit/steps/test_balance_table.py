"""The table of balances, which only its own triggers write."""

from __future__ import annotations

from tenantry.steps.balance_table import BalanceTable
from unit.steps.examples import EXPAND, LEDGER, assert_statements


def test_the_table() -> None:
    step = BalanceTable(phase=EXPAND, table=LEDGER.table, ledger=LEDGER)
    assert_statements(
        step.apply(),
        "CREATE TABLE IF NOT EXISTS tenantry.ledgers ( ledger text PRIMARY KEY, stale boolean NOT NULL, stale_since timestamptz, reason text, generation bigint NOT NULL, corrections bigint, backfilled_at timestamptz )",
        "CREATE TABLE IF NOT EXISTS tenantry.reconciliations ( id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, ledg…reviews bigint NOT NULL )",
        "CREATE TABLE IF NOT EXISTS tenantry.discrepancies ( id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, ledger…ided_by text, note text )",
        "CREATE UNIQUE INDEX IF NOT EXISTS discrepancies_open ON tenantry.discrepancies (ledger, md5(key::text)) WHERE state = 'open'",
        "CREATE TABLE IF NOT EXISTS tenantry.drifts ( ledger text NOT NULL, key jsonb NOT NULL, total numeric NOT NULL DEFAULT 0, quantity numeric NOT NULL DEFAULT 0, total_in numeric NOT NULL DEFAULT 0, total_out numeric NOT NULL DEFAULT 0, movements numeric NOT NULL DEFAULT 0, nans numeric NOT NULL DEFAULT 0, infinities numeric NOT NULL DEFAULT 0, negative_infinities numeric NOT NULL DEFAULT 0 )",
        "CREATE UNIQUE INDEX IF NOT EXISTS drifts_key ON tenantry.drifts (ledger, md5(key::text))",
        "DO $tenantry$DECLARE one record; BEGIN FOR one IN SELECT DISTINCT c.oid::regclass AS named, c.relkind, e.grant…REVOKE ALL ON %s %s FROM %s…; END LOOP; END$tenantry$",
        "DO $tenantry$DECLARE one record; BEGIN FOR one IN SELECT DISTINCT c.oid::regclass AS named, c.relkind, e.grant…REVOKE ALL ON %s %s FROM %s…; END LOOP; END$tenantry$",
        "DO $tenantry$DECLARE one record; BEGIN FOR one IN SELECT DISTINCT c.oid::regclass AS named, c.relkind, e.grant…REVOKE ALL ON %s %s FROM %s…; END LOOP; END$tenantry$",
        "DO $tenantry$DECLARE one record; BEGIN FOR one IN SELECT DISTINCT c.oid::regclass AS named, c.relkind, e.grant…REVOKE ALL ON %s %s FROM %s…; END LOOP; END$tenantry$",
        'GRANT USAGE ON SCHEMA "tenantry" TO "owner"',
        'GRANT SELECT ON tenantry.ledgers TO "owner"',
        "INSERT INTO tenantry.ledgers AS known (ledger, stale, stale_since, reason, generation) VALUES ('public.movements', true, pg_catalog.now(), 'not backfilled yet', 1) ON CONFLICT (ledger) DO UPDATE SET stale = true, stale_since = coalesce(known.stale_since, excluded.stale_since), reason = CASE WHEN known.stale THEN known.reason ELSE excluded.reason END, generation = known.generation + 1, corrections = NULL",
        'CREATE TABLE "tenantry"."balances_public__movements" ( "tenant_id" uuid NOT NULL, "product_id" integer NOT NUL…cuum_scale_factor = 0.05)',
        'CREATE UNIQUE INDEX IF NOT EXISTS "balances_public__movements_key" ON "tenantry"."balances_public__movements" ("tenant_id", "product_id", slot)',
        'GRANT USAGE, CREATE ON SCHEMA "tenantry" TO "owner"',
        'ALTER TABLE "tenantry"."balances_public__movements" OWNER TO "owner"',
        'REVOKE CREATE ON SCHEMA "tenantry" FROM "owner"',
        "DO $tenantry$ DECLARE grantee text; BEGIN FOR grantee IN SELECT DISTINCT CASE WHEN e.grantee = 0 THEN 'PUBLIC'… END LOOP; END $tenantry$",
        'ALTER TABLE "tenantry"."balances_public__movements" ENABLE ROW LEVEL SECURITY',
    )
    assert_statements(
        step.revert({}),
        'DROP TABLE IF EXISTS "tenantry"."corrections_public__movements"',
        'DROP TABLE IF EXISTS "tenantry"."balances_public__movements"',
        "DELETE FROM tenantry.ledgers WHERE ledger = 'public.movements'",
        """DELETE FROM "tenantry"."reconciliations" WHERE ledger = 'public.movements'""",
        """DELETE FROM "tenantry"."discrepancies" WHERE ledger = 'public.movements'""",
        """DELETE FROM "tenantry"."drifts" WHERE ledger = 'public.movements'""",
    )
