"""What contract takes away of uniqueness across tenants."""

from __future__ import annotations

from tenantry.model.name import Name
from tenantry.model.plan import ExecutionMode, Phase
from tenantry.model.schema import Unique
from tenantry.steps.foreign_key import TenantForeignKey
from tenantry.steps.unique import DropGlobalUnique, WidenKey
from unit.steps.examples import CONTRACT, PRODUCTS, SALES, assert_statements


def test_a_constraint() -> None:
    """Dropped, once the one by tenant is there."""
    step = DropGlobalUnique(
        phase=CONTRACT,
        table=SALES,
        unique=Unique(name="sales_code_key", columns=("code",), constraint=True),
        replaced_by=Name("public", "sales_tenant_code"),
    )
    assert_statements(
        step.apply(),
        'ALTER TABLE "public"."sales" DROP CONSTRAINT "sales_code_key"',
    )


def test_an_index() -> None:
    """Of an index without a constraint, the index."""
    step = DropGlobalUnique(
        phase=CONTRACT,
        table=SALES,
        unique=Unique(name="sales_code", columns=("code",), constraint=False),
        replaced_by=Name("public", "sales_tenant_code"),
    )
    assert_statements(
        step.apply(),
        'DROP INDEX "public"."sales_code"',
    )


def widened(unique: Unique, *referred: TenantForeignKey) -> WidenKey:
    return WidenKey(
        phase=Phase.DISTRIBUTE, table=SALES, unique=unique, column="tenant_id", by=Name("public", "sales_by"),
        columns=("id",), referred=referred,
    )  # fmt: skip


def test_a_primary_key_gets_the_tenant() -> None:
    """By an index that stands: no row is read. The way back builds the index of before, then swaps."""
    step = widened(Unique(name="sales_pkey", columns=("id",), constraint=True, primary=True, rest="id)"))
    assert_statements(
        step.apply(),
        'ALTER TABLE "public"."sales" DROP CONSTRAINT "sales_pkey", ADD CONSTRAINT "sales_pkey" PRIMARY KEY USING INDEX'
        ' "sales_by"',
    )
    assert step.ends == ("index:public.sales_by",)
    assert_statements(
        step.revert({"index": "CREATE …", "constraint_comment": "the key"}),
        'DROP INDEX CONCURRENTLY "public"."tenantry_back_sales_pkey"',
        'CREATE UNIQUE INDEX CONCURRENTLY "tenantry_back_sales_pkey" ON "public"."sales" USING btree (id)',
        'ALTER TABLE "public"."sales" DROP CONSTRAINT "sales_pkey", ADD CONSTRAINT "sales_pkey" PRIMARY KEY USING INDEX'
        ' "tenantry_back_sales_pkey"',
        """COMMENT ON CONSTRAINT "sales_pkey" ON "public"."sales" IS 'the key'""",
    )
    assert step.revert({}) == ()


def test_composite_keys_are_pointed_at_the_index_that_stays() -> None:
    """Within one transaction: no row refers to another tenant's meanwhile."""
    key = TenantForeignKey(
        phase=Phase.DISTRIBUTE, table=PRODUCTS, constraint="k", columns=("sale_id", "tenant_id"), parent=SALES,
        parent_columns=("id", "tenant_id"),
    )  # fmt: skip
    step = widened(Unique(name="sales_pkey", columns=("id",), constraint=True, primary=True, rest="id)"), key)
    back = step.revert({"index": "CREATE …"})
    assert_statements(
        back[2:],
        'DROP INDEX CONCURRENTLY "public"."sales_by"',
        'CREATE UNIQUE INDEX CONCURRENTLY "sales_by" ON "public"."sales" USING btree ("tenant_id", "id")',
        'ALTER TABLE "public"."products" DROP CONSTRAINT IF EXISTS "k"',
        'ALTER TABLE "public"."sales" DROP CONSTRAINT "sales_pkey", ADD CONSTRAINT "sales_pkey" PRIMARY KEY USING INDEX'
        ' "tenantry_back_sales_pkey"',
        'ALTER TABLE "public"."products" ADD CONSTRAINT "k" FOREIGN KEY ("sale_id", "tenant_id") REFERENCES'
        ' "public"."sales" ("id", "tenant_id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID',
    )
    assert {statement.manner for statement in back[4:]} == {ExecutionMode.TRANSACTION}


def test_a_unique_index_gets_the_tenant() -> None:
    """It keeps its name, and stays the replica identity that it was."""
    step = widened(Unique(name="sales_code", columns=("code",), constraint=False, rest="code)", identity=True))
    assert_statements(
        step.apply(),
        'DROP INDEX "public"."sales_code"',
        'ALTER INDEX "public"."sales_by" RENAME TO "sales_code"',
        'ALTER TABLE "public"."sales" REPLICA IDENTITY USING INDEX "sales_code"',
    )


def test_a_constraint_stays_as_deferred_as_it_was() -> None:
    unique = Unique(name="sales_code_key", columns=("code",), constraint=True, deferrable=True, deferred=True)
    assert_statements(
        widened(unique).apply(),
        'ALTER TABLE "public"."sales" DROP CONSTRAINT "sales_code_key", ADD CONSTRAINT "sales_code_key" UNIQUE USING'
        ' INDEX "sales_by" DEFERRABLE INITIALLY DEFERRED',
    )
