"""What contract takes away of uniqueness across tenants."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tenantry.model.name import Name
from tenantry.model.plan import ExecutionMode, Phase
from tenantry.model.schema import Unique
from tenantry.steps.foreign_key import TenantForeignKey
from tenantry.steps.index import PartitionedIndex, TenantIndex
from tenantry.steps.unique import DropGlobalUnique, KeyPart, WidenKey, _options
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


MIDDLE, LEAF = Name("public", "sales_25"), Name("public", "sales_25a")


def partitioned(*referred: TenantForeignKey) -> WidenKey:
    def key(name: str, rest: str = "id, day)") -> Unique:
        return Unique(name=name, columns=("id", "day"), constraint=True, primary=True, rest=rest)

    index = PartitionedIndex(
        phase=Phase.ENFORCE, table=SALES, index=Name("public", "ours"), column="tenant_id", columns=("id", "day"),
        unique=True, parts=(MIDDLE,),
    )  # fmt: skip
    part = TenantIndex(
        phase=Phase.ENFORCE, table=LEAF, index=Name("public", "ours_a"), column="tenant_id", columns=("id", "day"),
        unique=True, root=index.index,
    )  # fmt: skip
    return WidenKey(
        phase=Phase.DISTRIBUTE, table=SALES, unique=key("sales_pkey", "id, day) INCLUDE (code) WITH (fillfactor='70')"),
        column="tenant_id", by=None, columns=("id", "day"), referred=referred, replaced=(part, index),
        parts=(
            KeyPart(table=LEAF, unique=key("own key"), parent=MIDDLE, by=Name("public", "sales_25a_wide")),
            KeyPart(table=MIDDLE, unique=key("sales_25_pkey"), parent=SALES),
        ),
    )  # fmt: skip


def test_a_key_of_a_partitioned_table() -> None:
    """Each partition's with its own index, those above adopt them; composite keys move in the same transaction. On the
    way back all indexes are built first."""
    foreign = TenantForeignKey(
        phase=Phase.DISTRIBUTE, table=PRODUCTS, constraint="k", columns=("sale_id", "day", "tenant_id"), parent=SALES,
        parent_columns=("id", "day", "tenant_id"),
    )  # fmt: skip
    step = partitioned(foreign)
    again = (
        'ALTER TABLE "public"."products" ADD CONSTRAINT "k" FOREIGN KEY ("sale_id", "day", "tenant_id") REFERENCES'
        ' "public"."sales" ("id", "day", "tenant_id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID'
    )
    assert_statements(
        step.apply(),
        'ALTER TABLE "public"."products" DROP CONSTRAINT IF EXISTS "k"',
        'DROP INDEX "public"."ours"',
        'ALTER TABLE "public"."sales" DROP CONSTRAINT "sales_pkey"',
        'ALTER TABLE "public"."sales_25a" ADD CONSTRAINT "own key" PRIMARY KEY USING INDEX "sales_25a_wide"',
        'ALTER TABLE "public"."sales_25" ADD CONSTRAINT "sales_25_pkey" PRIMARY KEY ("tenant_id", "id", "day")',
        'ALTER TABLE "public"."sales" ADD CONSTRAINT "sales_pkey" PRIMARY KEY ("tenant_id", "id", "day") INCLUDE (code)'
        " WITH (fillfactor='70')",
        again,
    )
    assert {lock.table for lock in step.apply()[0].locks} == {PRODUCTS, SALES, MIDDLE, LEAF}
    assert step.ends == ("index:public.sales_25a_wide", "index:public.ours_a", "index:public.ours")
    key = '"public"."own key"'
    assert_statements(
        step.revert({"index": "CREATE …", "constraint_comment": "all", "parts": {key: {"clustered": True}}}),
        'DROP INDEX CONCURRENTLY "public"."tenantry_back_own key"',
        'CREATE UNIQUE INDEX CONCURRENTLY "tenantry_back_own key" ON "public"."sales_25a" USING btree (id, day)',
        'DROP INDEX CONCURRENTLY "public"."ours_a"',
        'CREATE UNIQUE INDEX CONCURRENTLY "ours_a" ON "public"."sales_25a" USING btree ("tenant_id", "id", "day")',
        'ALTER TABLE "public"."products" DROP CONSTRAINT IF EXISTS "k"',
        'ALTER TABLE "public"."sales" DROP CONSTRAINT "sales_pkey"',
        'ALTER TABLE "public"."sales_25a" ADD CONSTRAINT "own key" PRIMARY KEY USING INDEX "tenantry_back_own key"',
        'ALTER TABLE "public"."sales_25" ADD CONSTRAINT "sales_25_pkey" PRIMARY KEY ("id", "day")',
        'ALTER TABLE "public"."sales" ADD CONSTRAINT "sales_pkey" PRIMARY KEY ("id", "day") INCLUDE (code)'
        " WITH (fillfactor='70')",
        'CREATE UNIQUE INDEX IF NOT EXISTS "ours" ON "public"."sales" USING btree ("tenant_id", "id", "day")',
        again,
        'ALTER TABLE "public"."sales_25a" CLUSTER ON "own key"',
        """COMMENT ON CONSTRAINT "sales_pkey" ON "public"."sales" IS 'all'""",
    )


def test_a_partition_that_is_detached_goes_back_by_itself() -> None:
    """With the partitions below it; and partitions come and go without a change of what is wanted."""
    step = partitioned()
    assert step.below == (MIDDLE, LEAF)
    middle, leaf = step.moved_to(MIDDLE), step.moved_to(LEAF)
    assert (middle.table, middle.unique.name, middle.by, middle.below) == (MIDDLE, "sales_25_pkey", None, (LEAF,))
    assert (leaf.table, leaf.unique.name, leaf.by, leaf.below) == (
        LEAF,
        "own key",
        Name("public", "sales_25a_wide"),
        (),
    )
    back = leaf.revert({"index": "CREATE …", "constraint_comment": "all", "parts": {}})
    assert back[-1].text.endswith('"tenantry_back_own key"'), "the comment is that of the whole key"
    assert replace(step, parts=step.parts[1:]).wants() == step.wants()


@pytest.mark.parametrize(
    ("rest", "clauses"),
    [
        ("id, day)", ("", "")),
        ('"a) b", day) INCLUDE ("c)""d", e)', ("", ' INCLUDE ("c)""d", e)')),
        ("id) WITH (fillfactor='70') TABLESPACE \"a b\"", ("", " WITH (fillfactor='70') USING INDEX TABLESPACE \"a b\"")),
        ("id) TABLESPACE fast", ("", " USING INDEX TABLESPACE fast")),
        ("id) NULLS NOT DISTINCT", (" NULLS NOT DISTINCT", "")),
        ("id) INCLUDE (a) NULLS NOT DISTINCT WITH (fillfactor='70')", (" NULLS NOT DISTINCT", " INCLUDE (a) WITH (fillfactor='70')")),
    ],
)  # fmt: skip
def test_the_text_of_an_index_in_a_constraint(rest: str, clauses: tuple[str, str]) -> None:
    assert _options(Unique(name="k", columns=("id",), constraint=True, rest=rest)) == clauses
