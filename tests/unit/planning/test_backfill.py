"""Backfill: which rows are filled from where, in order of derivation."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tenantry.model.plan import Phase
from tenantry.model.schema import Index, Kind, Table
from tenantry.planning.backfill import backfill_steps
from tenantry.steps import Backfill
from tenantry.steps.derivation import BySlug
from unit.planning.shop import SALES, SALES_PART, STORES, STORES_PART, keys, shop
from unit.schemas import name, plan_context, spec, table, unique


def test_parents_before_children() -> None:
    """A table's own column is not filled; what has to be complete at the end is what always finds its tenant."""
    steps = [step for step in backfill_steps(shop()) if isinstance(step, Backfill)]
    assert [(step.table.name, step.purpose) for step in steps] == [("sales", "fill"), ("lines", "fill")]
    assert [step.complete for step in steps] == [((name("sales"), "tenant_id"),), ()]


def test_tables_that_need_each_other_are_one_fill() -> None:
    """Neither comes first."""
    sales = table("sales", "store_id? > stores", "box_id? > boxes")
    boxes = table("boxes", "sale_id? > sales")
    said = spec(STORES_PART, 'sales paths = [["store_id"], ["box_id"]]', 'boxes paths = [["sale_id"]]')
    (step,) = (one for one in backfill_steps(plan_context(said, STORES, sales, boxes)) if isinstance(one, Backfill))
    assert {fill.relation.name for fill in step.fills} == {"boxes", "sales"}


def test_rows_that_no_source_reaches() -> None:
    """The default tenant's, in a fill of its own behind the one that asks the sources."""
    said = spec(STORES_PART, 'sales paths = [["store_id"]]\norphans = "default"', tenant='default = "rest"')
    steps = [one for one in backfill_steps(plan_context(said, STORES, SALES)) if isinstance(one, Backfill)]
    assert [step.purpose for step in steps] == ["fill", "default"]
    assert steps[0].complete == ()
    (source,) = steps[1].fills[0].sources
    assert isinstance(source, BySlug)
    assert source.slug == "rest"


def test_only_leaves_hold_rows() -> None:
    """Of a partitioned table the partitions are filled; by key where the tenant is a part of one."""
    whole = replace(SALES, kind=Kind.PARTITIONED)
    parts = [replace(SALES, name=name(one), partition_of=SALES.name, uniques=()) for one in ("sales_1", "sales_2")]
    keyed = replace(parts[1], uniques=(unique("id", "tenant_id"),))
    found = plan_context(spec(STORES_PART, SALES_PART), STORES, whole, parts[0], keyed)
    (step,) = (one for one in backfill_steps(found) if isinstance(one, Backfill))
    assert [(fill.relation.name, fill.keyed) for fill in step.fills] == [("sales_1", False), ("sales_2", True)]


def test_children_are_found_by_an_index() -> None:
    """One is built where the child has none that begins with the columns; a partial one does not count."""
    boxes, said = table("boxes"), spec(STORES_PART, SALES_PART, 'boxes children = ["sales.box_id"]')
    bare = table("sales", "store_id > stores", "box_id > boxes")
    index = Index(name="sales_box", columns=("box_id",))
    for sales, built in (
        (bare, True),
        (replace(bare, indexes=(index,)), False),
        (replace(bare, indexes=(replace(index, partial=True),)), True),
        (replace(bare, indexes=(replace(index, method="hash"),)), True),
        (replace(bare, indexes=(replace(index, columns=("store_id", "box_id")),)), True),
        (replace(bare, uniques=(unique("box_id", "id"),)), False),
        (replace(bare, uniques=(unique("box_id", partial=True),)), True),
    ):
        found = list(backfill_steps(plan_context(said, STORES, sales, boxes)))
        assert ("index:tenantry_sales__box_id_child" in keys(found)) == built
        assert all(step.phase is Phase.BACKFILL for step in found)


@pytest.mark.parametrize(
    ("sales", "said", "overrides"),
    [
        (SALES, 'paths = [["store_id"]]', True),
        (table("sales", "code text"), 'assign = { column = "code" }', False),
        (table("sales", "tenant_id? > tenants", "store_id > stores"), 'paths = [["tenant_id"], ["store_id"]]', False),
    ],
)
def test_what_a_fill_may_overwrite(sales: Table, said: str, *, overrides: bool) -> None:
    """A tenant that the trigger gave a row may be corrected along foreign keys; the user's own column, and what a text
    says, stay as they are. The user's own column is filled with what its undo can put back by the key."""
    found = plan_context(spec(STORES_PART, f"sales {said}"), STORES, sales)
    (step,) = (one for one in backfill_steps(found) if isinstance(one, Backfill))
    assert [fill.overrides for fill in step.fills] == [overrides]
    given = sales.column("tenant_id") is not None
    assert [fill.identity for fill in step.fills] == [("id",) if given else ()]


def test_one_tenant_is_no_fill() -> None:
    """The column came with it, for all rows at once."""
    said = spec('notes assign = { tenant = "north" }')
    assert not list(backfill_steps(plan_context(said, table("notes"))))
