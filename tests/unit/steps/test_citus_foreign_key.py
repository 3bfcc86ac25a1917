"""Foreign keys while tables are distributed by Citus."""

from __future__ import annotations

from dataclasses import replace

from tenantry.model.plan import ExecutionMode, Phase
from tenantry.model.schema import ForeignKey
from tenantry.steps.citus_foreign_key import AttachForeignKey, DetachForeignKey, ValidateAttachedKey
from tenantry.steps.foreign_key import TenantForeignKey
from unit.planning.shop import SALES as TABLE
from unit.steps.examples import EQUAL, SALES, STORES, assert_statements

DISTRIBUTE = Phase.DISTRIBUTE
WANTED = TenantForeignKey(
    phase=DISTRIBUTE, table=SALES, constraint="tenantry_sales_store_id_fkey", columns=("store_id", "tenant_id"),
    parent=STORES, parent_columns=("id", "tenant_id"), on_delete="c",
)  # fmt: skip
ADD = (
    'ALTER TABLE "public"."sales" ADD CONSTRAINT "tenantry_sales_store_id_fkey" FOREIGN KEY ("store_id", "tenant_id")'
    ' REFERENCES "public"."stores" ("id", "tenant_id") ON UPDATE NO ACTION ON DELETE CASCADE'
)
DROP = 'ALTER TABLE "public"."sales" DROP CONSTRAINT IF EXISTS "tenantry_sales_store_id_fkey"'
VALIDATE = 'ALTER TABLE "public"."sales" VALIDATE CONSTRAINT "tenantry_sales_store_id_fkey"'
SEQUENTIAL = "DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; {}; END$tenantry$"


def detach() -> DetachForeignKey:
    return DetachForeignKey(phase=DISTRIBUTE, table=SALES, wanted_key=WANTED, after=("colocated_foreign_key:x",))


def test_it_goes_and_comes_back_in_the_same_form() -> None:
    """Enforced for new rows at once, then validated separately."""
    assert_statements(detach().apply(), DROP)
    back = detach().revert({"comment": "whose it is"})
    assert_statements(
        back,
        ADD + " NOT VALID",
        """COMMENT ON CONSTRAINT "tenantry_sales_store_id_fkey" ON "public"."sales" IS 'whose it is'""",
        VALIDATE,
    )
    assert [one.manner for one in back] == [
        ExecutionMode.TRANSACTION, ExecutionMode.TRANSACTION, ExecutionMode.CONCURRENT
    ]  # fmt: skip
    assert detach().ends == ("colocated_foreign_key:x",)


def test_one_that_was_not_validated_or_not_enforced_stays_so() -> None:
    assert_statements(replace(detach(), valid=False).revert({}), ADD + " NOT VALID")
    assert_statements(
        replace(detach(), enforced=False, wanted_key=replace(WANTED, whole=True)).revert({}), ADD + " NOT ENFORCED"
    )


def test_the_users_own_key_is_part_of_the_original_schema() -> None:
    key = ForeignKey(
        name="sales_store_id_fkey", columns=("store_id",), parent=STORES, parent_columns=("id",), operators=EQUAL
    )  # fmt: skip
    without = replace(TABLE, foreign_keys=())
    assert detach().original_table(without, {}) == without
    assert replace(detach(), foreign_key=key).original_table(without, {}).foreign_keys == (key,)
    assert replace(detach(), foreign_key=key).clashes() is None


def test_it_is_added_to_all_shards() -> None:
    """Over one connection to each node, as Citus asks for it beside tables that are on each node."""
    step = AttachForeignKey(phase=DISTRIBUTE, table=SALES, wanted_key=WANTED)
    assert_statements(step.apply(), SEQUENTIAL.format(ADD + " NOT VALID"))
    assert_statements(step.revert({}), SEQUENTIAL.format(DROP))
    assert step.ends == ("detached_foreign_key:public.sales:tenantry_sales_store_id_fkey",)
    assert {one.manner for one in (*step.apply(), *step.revert({}))} == {ExecutionMode.ENGINE}


def test_its_validation() -> None:
    step = ValidateAttachedKey(
        phase=DISTRIBUTE, table=SALES, constraint="tenantry_sales_store_id_fkey", parent=STORES
    )  # fmt: skip
    assert_statements(step.apply(), SEQUENTIAL.format(VALIDATE))
    assert step.revert({}) == ()
    assert "public.stores" in step.remedy
