"""The trigger by which a row that changes its tenant takes those along that derive from it."""

from __future__ import annotations

from tenantry.steps.cascade_trigger import Follower, TenantCascadeTrigger
from unit.steps.examples import EQUAL, EXPAND, SALES, STORES, assert_statements


def test_followers() -> None:
    step = TenantCascadeTrigger(
        phase=EXPAND,
        table=STORES,
        owner="owner",
        name="~tenantry_follow",
        column="tenant_id",
        followers=(
            Follower(table=SALES, column="tenant_id", columns=("store_id",), parent_columns=("id",), operators=EQUAL),
        ),
    )
    assert_statements(
        step.apply(),
        """DO $tenantry$DECLARE role oid; BEGIN IF pg_catalog.to_regclass('"tenantry"."secret"') IS NULL THEN CREATE TABL…)); END IF; END$tenantry$""",
        """DO $tenantry$DECLARE role oid; BEGIN IF pg_catalog.to_regclass('"tenantry"."names"') IS NULL THEN CREATE TABLE…OP; END IF; END$tenantry$""",
        'GRANT USAGE ON SCHEMA "tenantry" TO "owner"',
        'GRANT SELECT ON "tenantry"."names" TO "owner"',
        'GRANT SELECT ON "tenantry"."secret" TO "owner"',
        'CREATE OR REPLACE FUNCTION "tenantry"."follow_public__stores"() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on…UPDATE "public"."sales" AS…SET "tenant_id" =…TURN NULL; END $tenantry$',
        """DELETE FROM "tenantry"."names" AS known WHERE known.own = pg_catalog.to_regclass('"public"."stores"') AND known.trigger = '~tenantry_follow'""",
        'WITH one AS MATERIALIZED (SELECT pg_catalog.gen_random_uuid() AS made) INSERT INTO "tenantry"."names" (made, o…me AND NOT a.attisdropped',
        "DO $tenantry$DECLARE code text; one record; BEGIN code := pg_catalog.pg_get_functiondef(pg_catalog.to_regproce…ECUTE code; END$tenantry$",
        "DO $tenantry$DECLARE role oid; BEGIN FOR role IN SELECT DISTINCT e.grantee FROM pg_catalog.pg_proc p, pg_catal…; END LOOP; END$tenantry$",
        'GRANT USAGE, CREATE ON SCHEMA "tenantry" TO "owner"',
        'ALTER FUNCTION "tenantry"."follow_public__stores"() OWNER TO "owner"',
        'REVOKE CREATE ON SCHEMA "tenantry" FROM "owner"',
        'DROP TRIGGER IF EXISTS "~tenantry_follow" ON "public"."stores"',
        'CREATE TRIGGER "~tenantry_follow" AFTER UPDATE ON "public"."stores" FOR EACH ROW WHEN (NEW."tenant_id" <> OLD."tenant_id") EXECUTE FUNCTION "tenantry"."follow_public__stores"()',
        'ALTER TABLE ONLY "public"."stores" ENABLE ALWAYS TRIGGER "~tenantry_follow"',
    )
    assert_statements(
        step.revert({}),
        'DROP TRIGGER IF EXISTS "~tenantry_follow" ON "public"."stores"',
        """DELETE FROM "tenantry"."names" AS known WHERE known.own = pg_catalog.to_regclass('"public"."stores"') AND known.trigger = '~tenantry_follow'""",
        'DROP FUNCTION IF EXISTS "tenantry"."follow_public__stores"()',
    )
