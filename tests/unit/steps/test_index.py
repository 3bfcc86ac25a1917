"""Indexes that begin with the tenant."""

from __future__ import annotations

from tenantry.model.name import Name
from tenantry.steps.index import AttachPartitionIndex, PartitionedIndex, TenantIndex
from unit.steps.examples import ENFORCE, SALES, assert_statements


def test_an_index() -> None:
    """It is built beside writers."""
    step = TenantIndex(
        phase=ENFORCE, table=SALES, index=Name("public", "sales_tenant"), column="tenant_id", columns=("code",)
    )
    assert_statements(
        step.apply(),
        'DROP INDEX CONCURRENTLY IF EXISTS "public"."sales_tenant"',
        'CREATE INDEX CONCURRENTLY "sales_tenant" ON "public"."sales" USING btree ("tenant_id", "code")',
    )
    assert_statements(
        step.revert({}),
        'DROP INDEX CONCURRENTLY IF EXISTS "public"."sales_tenant"',
    )


def test_a_unique_index() -> None:
    """By tenant."""
    step = TenantIndex(
        phase=ENFORCE,
        table=SALES,
        index=Name("public", "sales_code"),
        column="tenant_id",
        columns=("code",),
        unique=True,
    )
    assert_statements(
        step.apply(),
        'DROP INDEX CONCURRENTLY IF EXISTS "public"."sales_code"',
        'CREATE UNIQUE INDEX CONCURRENTLY "sales_code" ON "public"."sales" USING btree ("tenant_id", "code")',
    )


def test_a_partitioned_index() -> None:
    """Made for no partition, each of which is attached afterwards."""
    step = PartitionedIndex(
        phase=ENFORCE, table=SALES, index=Name("public", "sales_tenant"), column="tenant_id", columns=("id",)
    )
    assert_statements(
        step.apply(),
        'CREATE INDEX IF NOT EXISTS "sales_tenant" ON ONLY "public"."sales" USING btree ("tenant_id", "id")',
    )
    assert_statements(
        step.revert({}),
        'DROP INDEX IF EXISTS "public"."sales_tenant"',
    )


def test_a_partitions_part() -> None:
    """Attached to the whole."""
    step = AttachPartitionIndex(
        phase=ENFORCE,
        table=Name("public", "sales_1"),
        index=Name("public", "sales_1_tenant"),
        whole=Name("public", "sales_tenant"),
    )
    assert_statements(
        step.apply(),
        'ALTER INDEX "public"."sales_tenant" ATTACH PARTITION "public"."sales_1_tenant"',
    )
    assert_statements(
        step.revert({}),
    )
