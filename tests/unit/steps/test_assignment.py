"""The trigger that gives new and changed rows their tenant, and the one by which a parent gets its child's."""

from __future__ import annotations

from tenantry.steps.assignment import Adoption, AssignmentTrigger, ParentTenantTrigger
from unit.steps.examples import BY_STORE, EQUAL, EXPAND, PRODUCTS, SALES, TENANT, assert_statements


def test_by_path() -> None:
    """The tenant of the store that the row names; SECURITY DEFINER with a pinned path, executable by nobody."""
    step = AssignmentTrigger(
        phase=EXPAND,
        table=SALES,
        owner="owner",
        column="tenant_id",
        type="uuid",
        sources=(BY_STORE,),
        watched=("store_id",),
        tenant=TENANT,
    )
    assert_statements(
        step.apply(),
        """DO $tenantry$DECLARE role oid; BEGIN IF pg_catalog.to_regclass('"tenantry"."secret"') IS NULL THEN CREATE TABL…)); END IF; END$tenantry$""",
        """DO $tenantry$DECLARE role oid; BEGIN IF pg_catalog.to_regclass('"tenantry"."names"') IS NULL THEN CREATE TABLE…OP; END IF; END$tenantry$""",
        'GRANT USAGE ON SCHEMA "tenantry" TO "owner"',
        'GRANT SELECT ON "tenantry"."names" TO "owner"',
        'GRANT SELECT ON "tenantry"."secret" TO "owner"',
        'CREATE OR REPLACE FUNCTION "tenantry"."assign_public__sales"() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on…"tenant_id" IS DISTINCT FROM…"hop1"."id" OPERATOR("pg_catalog".=) …ETURN NEW; END $tenantry$',
        """DELETE FROM "tenantry"."names" AS known WHERE known.own = pg_catalog.to_regclass('"public"."sales"') AND known.trigger = '~tenantry_assign'""",
        'WITH one AS MATERIALIZED (SELECT pg_catalog.gen_random_uuid() AS made) INSERT INTO "tenantry"."names" (made, o…me AND NOT a.attisdropped',
        "DO $tenantry$DECLARE code text; one record; BEGIN code := pg_catalog.pg_get_functiondef(pg_catalog.to_regproce…ECUTE code; END$tenantry$",
        "DO $tenantry$DECLARE role oid; BEGIN FOR role IN SELECT DISTINCT e.grantee FROM pg_catalog.pg_proc p, pg_catal…; END LOOP; END$tenantry$",
        'GRANT USAGE, CREATE ON SCHEMA "tenantry" TO "owner"',
        'ALTER FUNCTION "tenantry"."assign_public__sales"() OWNER TO "owner"',
        'REVOKE CREATE ON SCHEMA "tenantry" FROM "owner"',
        'DROP TRIGGER IF EXISTS "~tenantry_assign" ON "public"."sales"',
        'CREATE TRIGGER "~tenantry_assign" BEFORE INSERT OR UPDATE ON "public"."sales" FOR EACH ROW EXECUTE FUNCTION "tenantry"."assign_public__sales"()',
        'ALTER TABLE ONLY "public"."sales" ENABLE ALWAYS TRIGGER "~tenantry_assign"',
    )
    assert_statements(
        step.revert({}),
        'DROP TRIGGER IF EXISTS "~tenantry_assign" ON "public"."sales"',
        """DELETE FROM "tenantry"."names" AS known WHERE known.own = pg_catalog.to_regclass('"public"."sales"') AND known.trigger = '~tenantry_assign'""",
        'DROP FUNCTION IF EXISTS "tenantry"."assign_public__sales"()',
    )


def test_a_default_tenant() -> None:
    """Where no path leads anywhere."""
    step = AssignmentTrigger(
        phase=EXPAND,
        table=SALES,
        owner="owner",
        column="tenant_id",
        type="uuid",
        sources=(BY_STORE,),
        watched=("store_id",),
        fallback="lost",
        tenant=TENANT,
    )
    assert_statements(
        step.apply(),
        """DO $tenantry$DECLARE role oid; BEGIN IF pg_catalog.to_regclass('"tenantry"."secret"') IS NULL THEN CREATE TABL…)); END IF; END$tenantry$""",
        """DO $tenantry$DECLARE role oid; BEGIN IF pg_catalog.to_regclass('"tenantry"."names"') IS NULL THEN CREATE TABLE…OP; END IF; END$tenantry$""",
        'GRANT USAGE ON SCHEMA "tenantry" TO "owner"',
        'GRANT SELECT ON "tenantry"."names" TO "owner"',
        'GRANT SELECT ON "tenantry"."secret" TO "owner"',
        """CREATE OR REPLACE FUNCTION "tenantry"."assign_public__sales"() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on…"tenant_id" IS DISTINCT FROM…"hop1"."id" OPERATOR("pg_catalog".=) …tenant."slug"::text = 'lost'…ETURN NEW; END $tenantry$""",
        """DELETE FROM "tenantry"."names" AS known WHERE known.own = pg_catalog.to_regclass('"public"."sales"') AND known.trigger = '~tenantry_assign'""",
        'WITH one AS MATERIALIZED (SELECT pg_catalog.gen_random_uuid() AS made) INSERT INTO "tenantry"."names" (made, o…me AND NOT a.attisdropped',
        "DO $tenantry$DECLARE code text; one record; BEGIN code := pg_catalog.pg_get_functiondef(pg_catalog.to_regproce…ECUTE code; END$tenantry$",
        "DO $tenantry$DECLARE role oid; BEGIN FOR role IN SELECT DISTINCT e.grantee FROM pg_catalog.pg_proc p, pg_catal…; END LOOP; END$tenantry$",
        'GRANT USAGE, CREATE ON SCHEMA "tenantry" TO "owner"',
        'ALTER FUNCTION "tenantry"."assign_public__sales"() OWNER TO "owner"',
        'REVOKE CREATE ON SCHEMA "tenantry" FROM "owner"',
        'DROP TRIGGER IF EXISTS "~tenantry_assign" ON "public"."sales"',
        'CREATE TRIGGER "~tenantry_assign" BEFORE INSERT OR UPDATE ON "public"."sales" FOR EACH ROW EXECUTE FUNCTION "tenantry"."assign_public__sales"()',
        'ALTER TABLE ONLY "public"."sales" ENABLE ALWAYS TRIGGER "~tenantry_assign"',
    )


def test_a_parent_of_its_child() -> None:
    step = ParentTenantTrigger(
        phase=EXPAND,
        table=SALES,
        owner="owner",
        column="tenant_id",
        adoptions=(
            Adoption(
                parent=PRODUCTS,
                parent_column="tenant_id",
                columns=("product_id",),
                parent_columns=("id",),
                operators=EQUAL,
                child=SALES,
            ),
        ),
    )
    assert_statements(
        step.apply(),
        """DO $tenantry$DECLARE role oid; BEGIN IF pg_catalog.to_regclass('"tenantry"."secret"') IS NULL THEN CREATE TABL…)); END IF; END$tenantry$""",
        """DO $tenantry$DECLARE role oid; BEGIN IF pg_catalog.to_regclass('"tenantry"."names"') IS NULL THEN CREATE TABLE…OP; END IF; END$tenantry$""",
        'GRANT USAGE ON SCHEMA "tenantry" TO "owner"',
        'GRANT SELECT ON "tenantry"."names" TO "owner"',
        'GRANT SELECT ON "tenantry"."secret" TO "owner"',
        'CREATE OR REPLACE FUNCTION "tenantry"."adopt_public__sales"() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on…UPDATE "public"."products" AS…SET "tenant_id" =…FOR NO KEY UPDATE SKIP LOCKED…TURN NULL; END $tenantry$',
        """DELETE FROM "tenantry"."names" AS known WHERE known.own = pg_catalog.to_regclass('"public"."sales"') AND known.trigger = '~tenantry_adopt'""",
        'WITH one AS MATERIALIZED (SELECT pg_catalog.gen_random_uuid() AS made) INSERT INTO "tenantry"."names" (made, o…me AND NOT a.attisdropped',
        "DO $tenantry$DECLARE code text; one record; BEGIN code := pg_catalog.pg_get_functiondef(pg_catalog.to_regproce…ECUTE code; END$tenantry$",
        "DO $tenantry$DECLARE role oid; BEGIN FOR role IN SELECT DISTINCT e.grantee FROM pg_catalog.pg_proc p, pg_catal…; END LOOP; END$tenantry$",
        'GRANT USAGE, CREATE ON SCHEMA "tenantry" TO "owner"',
        'ALTER FUNCTION "tenantry"."adopt_public__sales"() OWNER TO "owner"',
        'REVOKE CREATE ON SCHEMA "tenantry" FROM "owner"',
        'DROP TRIGGER IF EXISTS "~tenantry_adopt" ON "public"."sales"',
        'CREATE TRIGGER "~tenantry_adopt" AFTER INSERT OR UPDATE ON "public"."sales" FOR EACH ROW EXECUTE FUNCTION "tenantry"."adopt_public__sales"()',
        'ALTER TABLE ONLY "public"."sales" ENABLE ALWAYS TRIGGER "~tenantry_adopt"',
    )
    assert_statements(
        step.revert({}),
        'DROP TRIGGER IF EXISTS "~tenantry_adopt" ON "public"."sales"',
        """DELETE FROM "tenantry"."names" AS known WHERE known.own = pg_catalog.to_regclass('"public"."sales"') AND known.trigger = '~tenantry_adopt'""",
        'DROP FUNCTION IF EXISTS "tenantry"."adopt_public__sales"()',
    )
