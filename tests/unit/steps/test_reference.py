"""References into mixed tables, which no foreign key can hold."""

from __future__ import annotations

from tenantry.steps.reference import Reference, ReferenceTrigger, TenantChange, ValidateReferences
from unit.steps.examples import ENFORCE, PRODUCTS, SALES, TENANT, TO_PRODUCT, assert_statements


def test_the_trigger() -> None:
    step = ReferenceTrigger(
        phase=ENFORCE,
        table=SALES,
        owner="owner",
        name="~tenantry_refers",
        column="tenant_id",
        type="uuid",
        hop=TO_PRODUCT,
        parent_column="tenant_id",
        setting="app.tenant_id",
    )
    assert_statements(
        step.apply(),
        """DO $tenantry$DECLARE role oid; BEGIN IF pg_catalog.to_regclass('"tenantry"."secret"') IS NULL THEN CREATE TABL…)); END IF; END$tenantry$""",
        """DO $tenantry$DECLARE role oid; BEGIN IF pg_catalog.to_regclass('"tenantry"."names"') IS NULL THEN CREATE TABLE…OP; END IF; END$tenantry$""",
        'GRANT USAGE ON SCHEMA "tenantry" TO "owner"',
        'GRANT SELECT ON "tenantry"."names" TO "owner"',
        'GRANT SELECT ON "tenantry"."secret" TO "owner"',
        """CREATE OR REPLACE FUNCTION "tenantry"."refer_public__sales___tenantry_refers_e5ff1766"() RETURNS trigger LANGU…SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on…RAISE EXCEPTION…ERRCODE = 'foreign_key_violation'…pg_catalog.current_setting('app.tenant_id', true)…TURN NULL; END $tenantry$""",
        """DELETE FROM "tenantry"."names" AS known WHERE known.own = pg_catalog.to_regclass('"public"."sales"') AND known.trigger = '~tenantry_refers'""",
        'WITH one AS MATERIALIZED (SELECT pg_catalog.gen_random_uuid() AS made) INSERT INTO "tenantry"."names" (made, o…me AND NOT a.attisdropped',
        "DO $tenantry$DECLARE code text; one record; BEGIN code := pg_catalog.pg_get_functiondef(pg_catalog.to_regproce…ECUTE code; END$tenantry$",
        "DO $tenantry$DECLARE role oid; BEGIN FOR role IN SELECT DISTINCT e.grantee FROM pg_catalog.pg_proc p, pg_catal…; END LOOP; END$tenantry$",
        'GRANT USAGE, CREATE ON SCHEMA "tenantry" TO "owner"',
        'ALTER FUNCTION "tenantry"."refer_public__sales___tenantry_refers_e5ff1766"() OWNER TO "owner"',
        'REVOKE CREATE ON SCHEMA "tenantry" FROM "owner"',
        'DROP TRIGGER IF EXISTS "~tenantry_refers" ON "public"."sales"',
        'CREATE CONSTRAINT TRIGGER "~tenantry_refers" AFTER INSERT OR UPDATE ON "public"."sales" NOT DEFERRABLE FOR EACH ROW EXECUTE FUNCTION "tenantry"."refer_public__sales___tenantry_refers_e5ff1766"()',
        'ALTER TABLE ONLY "public"."sales" ENABLE ALWAYS TRIGGER "~tenantry_refers"',
    )
    assert_statements(
        step.revert({}),
        'DROP TRIGGER IF EXISTS "~tenantry_refers" ON "public"."sales"',
        """DELETE FROM "tenantry"."names" AS known WHERE known.own = pg_catalog.to_regclass('"public"."sales"') AND known.trigger = '~tenantry_refers'""",
        'DROP FUNCTION IF EXISTS "tenantry"."refer_public__sales___tenantry_refers_e5ff1766"()',
    )


def test_its_proof() -> None:
    """Rows that were there before are looked at beside writers."""
    step = ValidateReferences(
        phase=ENFORCE,
        table=SALES,
        name="~tenantry_refers",
        column="tenant_id",
        hop=TO_PRODUCT,
        parent_column="tenant_id",
    )
    assert_statements(
        step.apply(),
        """DO $tenantry$ DECLARE wrong text; BEGIN SELECT pg_catalog.format('%s rows, such as %s', pg_catalog.count(*), p…"tenant_id" IS DISTINCT FROM…RAISE EXCEPTION…ERRCODE = 'foreign_key_violation'…g; END IF; END $tenantry$""",
    )


def test_a_product_that_changes_hands() -> None:
    """Not while rows of another tenant refer to it."""
    step = TenantChange(
        phase=ENFORCE,
        table=PRODUCTS,
        owner="owner",
        column="tenant_id",
        references=(Reference(table=SALES, column="tenant_id", hop=TO_PRODUCT),),
        tenant=TENANT,
        setting="app.tenant_id",
    )
    assert_statements(
        step.apply(),
        """DO $tenantry$DECLARE role oid; BEGIN IF pg_catalog.to_regclass('"tenantry"."secret"') IS NULL THEN CREATE TABL…)); END IF; END$tenantry$""",
        """DO $tenantry$DECLARE role oid; BEGIN IF pg_catalog.to_regclass('"tenantry"."names"') IS NULL THEN CREATE TABLE…OP; END IF; END$tenantry$""",
        'GRANT USAGE ON SCHEMA "tenantry" TO "owner"',
        'GRANT SELECT ON "tenantry"."names" TO "owner"',
        'GRANT SELECT ON "tenantry"."secret" TO "owner"',
        """CREATE OR REPLACE FUNCTION "tenantry"."change_public__products"() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on…RAISE EXCEPTION…FOR UPDATE…"tenant_id" IS DISTINCT FROM…ERRCODE = 'foreign_key_violation'…pg_catalog.current_setting('app.tenant_id', true)…TURN NULL; END $tenantry$""",
        """DELETE FROM "tenantry"."names" AS known WHERE known.own = pg_catalog.to_regclass('"public"."products"') AND known.trigger = 'tenantry_tenant_change'""",
        'WITH one AS MATERIALIZED (SELECT pg_catalog.gen_random_uuid() AS made) INSERT INTO "tenantry"."names" (made, o…me AND NOT a.attisdropped',
        "DO $tenantry$DECLARE code text; one record; BEGIN code := pg_catalog.pg_get_functiondef(pg_catalog.to_regproce…ECUTE code; END$tenantry$",
        "DO $tenantry$DECLARE role oid; BEGIN FOR role IN SELECT DISTINCT e.grantee FROM pg_catalog.pg_proc p, pg_catal…; END LOOP; END$tenantry$",
        'GRANT USAGE, CREATE ON SCHEMA "tenantry" TO "owner"',
        'ALTER FUNCTION "tenantry"."change_public__products"() OWNER TO "owner"',
        'REVOKE CREATE ON SCHEMA "tenantry" FROM "owner"',
        'DROP TRIGGER IF EXISTS "tenantry_tenant_change" ON "public"."products"',
        'CREATE TRIGGER "tenantry_tenant_change" AFTER UPDATE ON "public"."products" FOR EACH ROW EXECUTE FUNCTION "tenantry"."change_public__products"()',
        'ALTER TABLE ONLY "public"."products" ENABLE ALWAYS TRIGGER "tenantry_tenant_change"',
    )
    assert_statements(
        step.revert({}),
        'DROP TRIGGER IF EXISTS "tenantry_tenant_change" ON "public"."products"',
        """DELETE FROM "tenantry"."names" AS known WHERE known.own = pg_catalog.to_regclass('"public"."products"') AND known.trigger = 'tenantry_tenant_change'""",
        'DROP FUNCTION IF EXISTS "tenantry"."change_public__products"()',
    )
