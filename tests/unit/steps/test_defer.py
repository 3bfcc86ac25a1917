"""Constraints that wait for the end of the transaction while a tenant changes."""

from __future__ import annotations

from tenantry.model.name import Name
from tenantry.steps.defer import ParentsDeferred, TenantsDeferred
from unit.steps.examples import ENFORCE, SALES, TENANTS, assert_statements


def test_of_parents() -> None:
    step = ParentsDeferred(
        phase=ENFORCE, table=SALES, owner="owner", column="tenant_id", constraints=(Name("public", "sales_store"),)
    )
    assert_statements(
        step.apply(),
        """DO $tenantry$DECLARE role oid; BEGIN IF pg_catalog.to_regclass('"tenantry"."secret"') IS NULL THEN CREATE TABL…)); END IF; END$tenantry$""",
        """DO $tenantry$DECLARE role oid; BEGIN IF pg_catalog.to_regclass('"tenantry"."names"') IS NULL THEN CREATE TABLE…OP; END IF; END$tenantry$""",
        'GRANT USAGE ON SCHEMA "tenantry" TO "owner"',
        'GRANT SELECT ON "tenantry"."names" TO "owner"',
        'GRANT SELECT ON "tenantry"."secret" TO "owner"',
        'CREATE OR REPLACE FUNCTION "tenantry"."defer_public__sales"() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $tenantry$ DECLARE BEGIN BEGIN SET CONSTRAINTS "public"."sales_store" DEFERRED; EXCEPTION WHEN undefined_object OR invalid_schema_name THEN NULL; END; RETURN NEW; END $tenantry$',
        "DO $tenantry$DECLARE role oid; BEGIN FOR role IN SELECT DISTINCT e.grantee FROM pg_catalog.pg_proc p, pg_catal…; END LOOP; END$tenantry$",
        'GRANT USAGE, CREATE ON SCHEMA "tenantry" TO "owner"',
        'ALTER FUNCTION "tenantry"."defer_public__sales"() OWNER TO "owner"',
        'REVOKE CREATE ON SCHEMA "tenantry" FROM "owner"',
        'DROP TRIGGER IF EXISTS "~tenantry_defer" ON "public"."sales"',
        'CREATE TRIGGER "~tenantry_defer" BEFORE UPDATE ON "public"."sales" FOR EACH ROW WHEN (NEW."tenant_id" <> OLD."tenant_id") EXECUTE FUNCTION "tenantry"."defer_public__sales"()',
        'ALTER TABLE ONLY "public"."sales" ENABLE ALWAYS TRIGGER "~tenantry_defer"',
    )
    assert_statements(
        step.revert({}),
        'DROP TRIGGER IF EXISTS "~tenantry_defer" ON "public"."sales"',
        """DELETE FROM "tenantry"."names" AS known WHERE known.own = pg_catalog.to_regclass('"public"."sales"') AND known.trigger = '~tenantry_defer'""",
        'DROP FUNCTION IF EXISTS "tenantry"."defer_public__sales"()',
    )


def test_of_tenants() -> None:
    step = TenantsDeferred(
        phase=ENFORCE,
        table=TENANTS,
        owner="owner",
        column="id",
        constraints=(Name("public", "sales_tenant"),),
        tables=(SALES,),
    )
    assert_statements(
        step.apply(),
        """DO $tenantry$DECLARE role oid; BEGIN IF pg_catalog.to_regclass('"tenantry"."secret"') IS NULL THEN CREATE TABL…)); END IF; END$tenantry$""",
        """DO $tenantry$DECLARE role oid; BEGIN IF pg_catalog.to_regclass('"tenantry"."names"') IS NULL THEN CREATE TABLE…OP; END IF; END$tenantry$""",
        'GRANT USAGE ON SCHEMA "tenantry" TO "owner"',
        'GRANT SELECT ON "tenantry"."names" TO "owner"',
        'GRANT SELECT ON "tenantry"."secret" TO "owner"',
        'CREATE OR REPLACE FUNCTION "tenantry"."defer_public__tenants"() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $tenantry$ DECLARE BEGIN BEGIN SET CONSTRAINTS "public"."sales_tenant" DEFERRED; EXCEPTION WHEN undefined_object OR invalid_schema_name THEN NULL; END; RETURN NULL; END $tenantry$',
        "DO $tenantry$DECLARE role oid; BEGIN FOR role IN SELECT DISTINCT e.grantee FROM pg_catalog.pg_proc p, pg_catal…; END LOOP; END$tenantry$",
        'GRANT USAGE, CREATE ON SCHEMA "tenantry" TO "owner"',
        'ALTER FUNCTION "tenantry"."defer_public__tenants"() OWNER TO "owner"',
        'REVOKE CREATE ON SCHEMA "tenantry" FROM "owner"',
        'DROP TRIGGER IF EXISTS "~tenantry_defer" ON "public"."tenants"',
        'CREATE TRIGGER "~tenantry_defer" BEFORE DELETE OR UPDATE OF "id" ON "public"."tenants" FOR EACH STATEMENT EXECUTE FUNCTION "tenantry"."defer_public__tenants"()',
        'ALTER TABLE ONLY "public"."tenants" ENABLE ALWAYS TRIGGER "~tenantry_defer"',
    )
    assert_statements(
        step.revert({}),
        'DROP TRIGGER IF EXISTS "~tenantry_defer" ON "public"."tenants"',
        """DELETE FROM "tenantry"."names" AS known WHERE known.own = pg_catalog.to_regclass('"public"."tenants"') AND known.trigger = '~tenantry_defer'""",
        'DROP FUNCTION IF EXISTS "tenantry"."defer_public__tenants"()',
    )
