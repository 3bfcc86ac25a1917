"""The tenant table and its rows."""

from __future__ import annotations

from tenantry.steps.tenants import CreateTenantTable, TenantRow
from unit.steps.examples import EXPAND, TENANT, TENANTS, assert_statements


def test_the_table() -> None:
    """With nothing granted to anybody, and the owner of the other tables as its own."""
    step = CreateTenantTable(phase=EXPAND, table=TENANTS, key_column="id", slug="slug", owner="owner")
    assert_statements(
        step.apply(),
        """CREATE TABLE "public"."tenants" ("id" uuid DEFAULT gen_random_uuid() PRIMARY KEY, "slug" text NOT NULL UNIQUE, name text NOT NULL, status text NOT NULL DEFAULT 'active')""",
        "DO $tenantry$DECLARE one record; BEGIN FOR one IN SELECT DISTINCT c.oid::regclass AS named, c.relkind, e.grant…REVOKE ALL ON %s %s FROM %s…; END LOOP; END$tenantry$",
        'ALTER TABLE "public"."tenants" OWNER TO "owner"',
    )
    assert_statements(
        step.revert({}),
        'DROP TABLE IF EXISTS "public"."tenants"',
    )


def test_a_row() -> None:
    """A tenant that the spec names; a trigger that keeps the row away is an error."""
    step = TenantRow(phase=EXPAND, table=TENANTS, tenant=TENANT, slug="north", name="North", columns=("slug", "name"))
    assert_statements(
        step.apply(),
        """INSERT INTO "public"."tenants" ("slug", "name") SELECT 'north', 'North' WHERE (SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true)) IS NOT NULL""",
        """DO $tenantry$BEGIN IF NOT EXISTS (SELECT tenant."id"::pg_catalog.text FROM "public"."tenants" AS tenant WHERE tenant."slug"::pg_catalog.text OPERATOR(pg_catalog.=) 'north') THEN RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'a trigger of public.tenants changes the slug of the new row'; END IF; END$tenantry$""",
    )
    assert_statements(
        step.revert({}),
        """DELETE FROM "public"."tenants" AS tenant WHERE tenant."slug"::text = 'north' AND (SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true)) IS NOT NULL""",
    )
