"""API keys: a table that no role reads, and the function that looks one up."""

from __future__ import annotations

from tenantry.steps.api_keys import ApiKeyReader, ApiKeys, ApiKeyTenants
from unit.steps.examples import ISOLATE, TENANTS, assert_statements


def test_the_table_and_its_function() -> None:
    step = ApiKeys(phase=ISOLATE, table=TENANTS)
    assert_statements(
        step.apply(),
        'CREATE TABLE IF NOT EXISTS "tenantry"."api_keys" ( lookup text PRIMARY KEY, hash bytea NOT NULL, tenant text NOT NULL, name text NOT NULL, scopes text[] NOT NULL, created_at timestamptz NOT NULL DEFAULT pg_catalog.now(), created_by text NOT NULL DEFAULT session_user, ends_at timestamptz, replaced_by text, last_used_at timestamptz )',
        "DO $tenantry$DECLARE one record; BEGIN FOR one IN SELECT DISTINCT c.oid::regclass AS named, c.relkind, e.grant…REVOKE ALL ON %s %s FROM %s…; END LOOP; END$tenantry$",
        'ALTER TABLE "tenantry"."api_keys" ENABLE ROW LEVEL SECURITY',
        'CREATE OR REPLACE FUNCTION "tenantry"."api_key" (text, bytea DEFAULT NULL, OUT hash bytea, OUT tenant text, OU…FOR NO KEY UPDATE SKIP LOCKED…okup = $1; END $tenantry$',
        "DO $tenantry$DECLARE role oid; BEGIN FOR role IN SELECT DISTINCT e.grantee FROM pg_catalog.pg_proc p, pg_catal…; END LOOP; END$tenantry$",
    )
    assert_statements(
        step.revert({}),
        'DROP FUNCTION IF EXISTS "tenantry"."api_key"(text, bytea)',
        'DROP TABLE IF EXISTS "tenantry"."api_keys"',
    )


def test_they_end_with_their_tenant() -> None:
    step = ApiKeyTenants(phase=ISOLATE, table=TENANTS, column="id")
    assert_statements(
        step.apply(),
        'CREATE OR REPLACE FUNCTION "tenantry"."api_key_tenants"() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS…ends_at = pg_catalog.now()…END $tenantry$',
        "DO $tenantry$DECLARE role oid; BEGIN FOR role IN SELECT DISTINCT e.grantee FROM pg_catalog.pg_proc p, pg_catal…; END LOOP; END$tenantry$",
        'DROP TRIGGER IF EXISTS "~tenantry_keys" ON "public"."tenants"',
        'CREATE TRIGGER "~tenantry_keys" AFTER DELETE OR UPDATE OF "id" ON "public"."tenants" FOR EACH ROW EXECUTE FUNCTION "tenantry"."api_key_tenants"()',
        'ALTER TABLE ONLY "public"."tenants" ENABLE ALWAYS TRIGGER "~tenantry_keys"',
        'DROP TRIGGER IF EXISTS "~tenantry_keys_truncate" ON "public"."tenants"',
        'CREATE TRIGGER "~tenantry_keys_truncate" AFTER TRUNCATE ON "public"."tenants" FOR EACH STATEMENT EXECUTE FUNCTION "tenantry"."api_key_tenants"()',
        'ALTER TABLE ONLY "public"."tenants" ENABLE ALWAYS TRIGGER "~tenantry_keys_truncate"',
    )
    assert_statements(
        step.revert({}),
        'DROP TRIGGER IF EXISTS "~tenantry_keys" ON "public"."tenants"',
        'DROP TRIGGER IF EXISTS "~tenantry_keys_truncate" ON "public"."tenants"',
        'DROP FUNCTION IF EXISTS "tenantry"."api_key_tenants"()',
    )


def test_who_may_look_up() -> None:
    step = ApiKeyReader(phase=ISOLATE, table=TENANTS, role="app")
    assert_statements(
        step.apply(),
        'GRANT USAGE ON SCHEMA "tenantry" TO "app"',
        'GRANT EXECUTE ON FUNCTION "tenantry"."api_key"(text, bytea) TO "app"',
    )
    assert_statements(
        step.revert({}),
        'REVOKE EXECUTE ON FUNCTION "tenantry"."api_key"(text, bytea) FROM "app"',
        'REVOKE USAGE ON SCHEMA "tenantry" FROM "app"',
    )
