"""The tenant column and its default."""

from __future__ import annotations

from tenantry.steps.column import AddTenantColumn, ContextDefault
from unit.steps.examples import EXPAND, ISOLATE, SALES, TENANT, assert_statements


def test_a_column() -> None:
    """Without a constant it is NULL at first."""
    step = AddTenantColumn(phase=EXPAND, table=SALES, column="tenant_id", type="uuid", tenant=TENANT)
    assert_statements(
        step.apply(),
        'ALTER TABLE "public"."sales" ADD COLUMN "tenant_id" uuid',
    )
    assert_statements(
        step.revert({}),
        'ALTER TABLE "public"."sales" DROP COLUMN IF EXISTS "tenant_id"',
    )


def test_one_tenant_for_all_rows() -> None:
    """The default is a constant, so that no row is touched."""
    step = AddTenantColumn(phase=EXPAND, table=SALES, column="tenant_id", type="uuid", constant="main", tenant=TENANT)
    assert_statements(
        step.apply(),
        """DO $tenantry$BEGIN EXECUTE pg_catalog.format('ALTER TABLE "public"."sales" ADD COLUMN "tenant_id" uuid DEFAULT %L', (SELECT tenant."id" FROM "public"."tenants" AS tenant WHERE tenant."slug"::text = 'main')); END$tenantry$""",
    )


def test_the_default_from_the_setting() -> None:
    """New rows get the tenant of the session."""
    step = ContextDefault(phase=ISOLATE, table=SALES, column="tenant_id", type="uuid", setting="app.tenant_id")
    assert_statements(
        step.apply(),
        """ALTER TABLE ONLY "public"."sales" ALTER COLUMN "tenant_id" SET DEFAULT NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid""",
    )
    assert_statements(
        step.revert({"default": None}),
        'ALTER TABLE ONLY "public"."sales" ALTER COLUMN "tenant_id" DROP DEFAULT',
    )
