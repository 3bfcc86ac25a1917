"""NOT NULL in three steps, of which only the first and the last lock, and neither reads the table."""

from __future__ import annotations

from tenantry.model.name import Name
from tenantry.steps.not_null import NotNullCheck, SetNotNull, ValidateNotNullCheck
from unit.steps.examples import ENFORCE, SALES, assert_statements


def test_the_check() -> None:
    """NOT VALID, so that nothing is read."""
    step = NotNullCheck(phase=ENFORCE, table=SALES, column="tenant_id")
    assert_statements(
        step.apply(),
        'ALTER TABLE "public"."sales" ADD CONSTRAINT "tenantry_tenant_not_null" CHECK ("tenant_id" IS NOT NULL) NOT VALID',
    )
    assert_statements(
        step.revert({}),
        'ALTER TABLE "public"."sales" DROP CONSTRAINT IF EXISTS "tenantry_tenant_not_null"',
    )


def test_its_validation() -> None:
    """It reads all rows beside writers."""
    step = ValidateNotNullCheck(phase=ENFORCE, table=SALES, column="tenant_id")
    assert_statements(
        step.apply(),
        'ALTER TABLE "public"."sales" VALIDATE CONSTRAINT "tenantry_tenant_not_null"',
    )
    assert_statements(
        step.revert({}),
    )


def test_the_constraint() -> None:
    """The valid check proves it; then the check goes."""
    step = SetNotNull(phase=ENFORCE, table=SALES, column="tenant_id")
    assert_statements(
        step.apply(),
        'ALTER TABLE "public"."sales" ALTER COLUMN "tenant_id" SET NOT NULL',
        'ALTER TABLE "public"."sales" DROP CONSTRAINT IF EXISTS "tenantry_tenant_not_null"',
    )
    assert_statements(
        step.revert({}),
        'ALTER TABLE "public"."sales" ALTER COLUMN "tenant_id" DROP NOT NULL',
    )


def test_the_constraint_of_partitions() -> None:
    """Not of one that had it before."""
    parts = Name("public", "sales_1"), Name("public", "sales_2")
    step = SetNotNull(phase=ENFORCE, table=SALES, column="tenant_id", tree=parts)
    assert_statements(
        step.revert({"parts": ['"public"."sales_2"']}),
        'ALTER TABLE "public"."sales" ALTER COLUMN "tenant_id" DROP NOT NULL',
        'ALTER TABLE "public"."sales_1" ALTER COLUMN "tenant_id" DROP NOT NULL',
    )
