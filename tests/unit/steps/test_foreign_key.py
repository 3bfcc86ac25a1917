"""Foreign keys that hold the tenant, first unproved, then proved beside writers."""

from __future__ import annotations

from tenantry.steps.foreign_key import TenantForeignKey, ValidateForeignKey
from unit.steps.examples import ENFORCE, SALES, STORES, TENANTS, assert_statements


def test_within_the_tenant() -> None:
    """A row refers to its own tenant only; what the old key did on DELETE the new one does."""
    step = TenantForeignKey(
        phase=ENFORCE,
        table=SALES,
        constraint="sales_store_tenant",
        columns=("tenant_id", "store_id"),
        parent=STORES,
        parent_columns=("tenant_id", "id"),
        on_delete="n",
        delete_columns=("store_id",),
    )
    assert_statements(
        step.apply(),
        'ALTER TABLE "public"."sales" ADD CONSTRAINT "sales_store_tenant" FOREIGN KEY ("tenant_id", "store_id") REFERENCES "public"."stores" ("tenant_id", "id") ON UPDATE NO ACTION ON DELETE SET NULL ("store_id") NOT VALID',
    )
    assert_statements(
        step.revert({}),
        'ALTER TABLE "public"."sales" DROP CONSTRAINT IF EXISTS "sales_store_tenant"',
    )


def test_deferrable() -> None:
    """As the old one was."""
    step = TenantForeignKey(
        phase=ENFORCE,
        table=SALES,
        constraint="sales_tenant",
        columns=("tenant_id",),
        parent=TENANTS,
        parent_columns=("id",),
        deferrable=True,
        deferred=True,
    )
    assert_statements(
        step.apply(),
        'ALTER TABLE "public"."sales" ADD CONSTRAINT "sales_tenant" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants" ("id") ON UPDATE NO ACTION ON DELETE NO ACTION DEFERRABLE INITIALLY DEFERRED NOT VALID',
    )


def test_its_validation() -> None:
    """Beside writers."""
    step = ValidateForeignKey(phase=ENFORCE, table=SALES, constraint="sales_tenant", parent=TENANTS)
    assert_statements(
        step.apply(),
        'ALTER TABLE "public"."sales" VALIDATE CONSTRAINT "sales_tenant"',
    )
    assert_statements(
        step.revert({}),
    )
