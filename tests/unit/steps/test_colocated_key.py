"""Foreign keys in the form that a distributed engine takes."""

from __future__ import annotations

from dataclasses import replace

from tenantry.model.name import Name
from tenantry.model.plan import ExecutionMode, Phase
from tenantry.model.schema import ForeignKey
from tenantry.steps.colocated_key import ColocatedForeignKey, DropForeignKey, ValidateColocatedKey, as_it_was
from tenantry.steps.foreign_key import TenantForeignKey
from unit.steps.examples import EQUAL, SALES, STORES, assert_statements, texts

DISTRIBUTE = Phase.DISTRIBUTE
KEY = ForeignKey(
    name="sales_store_id_fkey", columns=("store_id",), parent=STORES, parent_columns=("id",), operators=EQUAL,
    deferrable=True,
)  # fmt: skip
RECORDED = {"valid": True, "comment": "whose it is"}
BACK = (
    'ALTER TABLE "public"."sales" ADD CONSTRAINT "sales_store_id_fkey" FOREIGN KEY ("store_id") REFERENCES'
    ' "public"."stores" ("id") ON UPDATE NO ACTION ON DELETE NO ACTION DEFERRABLE INITIALLY IMMEDIATE NOT VALID'
)


def colocated(key: ForeignKey | None) -> ColocatedForeignKey:
    wanted = TenantForeignKey(
        phase=DISTRIBUTE, table=SALES, constraint="tenantry_sales_store_id_fkey", columns=("store_id", "tenant_id"),
        parent=STORES, parent_columns=("id", "tenant_id"), on_delete="c",
    )  # fmt: skip
    return ColocatedForeignKey(phase=DISTRIBUTE, table=SALES, foreign_key=key, wanted_key=wanted)


def test_the_users_key_goes() -> None:
    """It comes back enforced for new rows at once, then proved by itself."""
    step = DropForeignKey(phase=DISTRIBUTE, table=SALES, foreign_key=KEY, twin="tenantry_sales_store_id_fkey")
    assert_statements(step.apply(), 'ALTER TABLE "public"."sales" DROP CONSTRAINT "sales_store_id_fkey"')
    back = step.revert(RECORDED)
    assert_statements(
        back,
        BACK,
        """COMMENT ON CONSTRAINT "sales_store_id_fkey" ON "public"."sales" IS 'whose it is'""",
        'ALTER TABLE "public"."sales" VALIDATE CONSTRAINT "sales_store_id_fkey"',
    )
    assert [statement.manner for statement in back[1:]] == [ExecutionMode.TRANSACTION, ExecutionMode.CONCURRENT]


def test_one_that_was_never_proved_stays_so() -> None:
    step = DropForeignKey(phase=DISTRIBUTE, table=SALES, foreign_key=KEY)
    assert_statements(step.revert({"valid": False, "comment": None}), BACK)
    assert step.revert({}) == ()


def test_what_nothing_holds_is_told_and_looked_for() -> None:
    """Without a composite key beside it, rows may come to refer to nothing: there would be no way back."""
    held = DropForeignKey(phase=DISTRIBUTE, table=SALES, foreign_key=KEY, twin="tenantry_sales_store_id_fkey")
    alone = DropForeignKey(phase=DISTRIBUTE, table=SALES, foreign_key=KEY)
    assert held.gives_up is None
    assert held.clashes() is None
    assert alone.gives_up is not None
    what, query = alone.clashes() or ("", None)
    assert what == "sales_store_id_fkey"
    assert query is not None
    assert query.as_string(None) == (
        'WITH p AS MATERIALIZED (SELECT "p"."id" FROM "public"."stores" AS p)'
        ' SELECT pg_catalog.count(*), pg_catalog.min(ROW("t"."store_id")::text) FROM "public"."sales" AS t'
        ' WHERE t."store_id" IS NOT NULL AND NOT EXISTS (SELECT FROM p WHERE p."id" OPERATOR("pg_catalog".=) t."store_id")'
    )


def test_a_key_is_made_again_by_one_statement() -> None:
    """So that no row is written without it. One of ours goes with the step that made it; the user's comes back."""
    again = (
        'ALTER TABLE "public"."sales" DROP CONSTRAINT IF EXISTS "tenantry_sales_store_id_fkey", ADD CONSTRAINT'
        ' "tenantry_sales_store_id_fkey" FOREIGN KEY ("store_id", "tenant_id") REFERENCES "public"."stores" ("id",'
        ' "tenant_id") ON UPDATE NO ACTION ON DELETE CASCADE NOT VALID'
    )
    ours, users = colocated(None), colocated(KEY)
    assert_statements(ours.apply(), again)
    assert ours.revert(RECORDED) == ()
    assert ours.ends == (
        "foreign_key:public.sales:tenantry_sales_store_id_fkey",
        "foreign_key_valid:public.sales:tenantry_sales_store_id_fkey",
    )  # fmt: skip
    assert users.ends == ()
    assert texts(users.revert(RECORDED))[0].startswith(
        'ALTER TABLE "public"."sales" DROP CONSTRAINT IF EXISTS "tenantry_sales_store_id_fkey", ADD CONSTRAINT'
    )


def test_the_proof() -> None:
    """No census is needed for it: the key has stood all the time."""
    step = ValidateColocatedKey(phase=DISTRIBUTE, table=SALES, constraint="k", parent=Name("public", "stores"))
    assert_statements(step.apply(), 'ALTER TABLE "public"."sales" VALIDATE CONSTRAINT "k"')
    assert not step.proves


PARTS = (Name("public", "sales_1"), Name("public", "sales_2"))


def test_a_key_of_a_partitioned_table() -> None:
    """On each partition NOT VALID within one transaction, validated there, and then adopted. The user's own comes back
    in the same way, under the names that it had on the partitions."""
    wanted = replace(colocated(None).wanted_key, whole=True, leaves=PARTS, tree=PARTS)
    form = (
        ' "tenantry_sales_store_id_fkey" FOREIGN KEY ("store_id", "tenant_id") REFERENCES "public"."stores" ("id",'
        ' "tenant_id") ON UPDATE NO ACTION ON DELETE CASCADE'
    )
    drop = 'DROP CONSTRAINT IF EXISTS "tenantry_sales_store_id_fkey"'
    step = ColocatedForeignKey(phase=DISTRIBUTE, table=SALES, wanted_key=wanted)
    assert_statements(
        step.apply(),
        f'ALTER TABLE "public"."sales" {drop}',
        *(f"ALTER TABLE {part.identifier.as_string(None)} {drop}, ADD CONSTRAINT{form} NOT VALID" for part in PARTS),
    )
    assert {lock.table for lock in step.apply()[0].locks} == {SALES, *PARTS, STORES}
    assert len(step.ends) == 6
    whole = ValidateColocatedKey(
        phase=DISTRIBUTE, table=SALES, constraint=wanted.constraint, parent=STORES, on_delete="c", adopting=wanted
    )
    assert_statements(whole.apply(), f'ALTER TABLE "public"."sales" ADD CONSTRAINT{form}')
    original = replace(as_it_was(DISTRIBUTE, SALES, KEY), whole=True, leaves=PARTS, tree=PARTS)
    users = DropForeignKey(phase=DISTRIBUTE, table=SALES, foreign_key=KEY, original=original, twin="t")
    assert users.below == PARTS
    back = texts(users.revert(RECORDED | {"leaves": {"public.sales_2": "own name"}}))
    assert [text.split(" FOREIGN KEY")[0] for text in back] == [
        'ALTER TABLE "public"."sales_1" ADD CONSTRAINT "sales_store_id_fkey"',
        'ALTER TABLE "public"."sales_2" ADD CONSTRAINT "own name"',
        'ALTER TABLE "public"."sales_1" VALIDATE CONSTRAINT "sales_store_id_fkey"',
        'ALTER TABLE "public"."sales_2" VALIDATE CONSTRAINT "own name"',
        'ALTER TABLE "public"."sales" ADD CONSTRAINT "sales_store_id_fkey"',
        """COMMENT ON CONSTRAINT "sales_store_id_fkey" ON "public"."sales" IS 'whose it is'""",
    ]
    alone = texts(users.moved_to(PARTS[0]).revert(RECORDED))
    assert alone[0] == BACK.replace('"sales"', '"sales_1"')
    assert not any("COMMENT" in text for text in alone), "it is the one of the whole table"
