"""In which order tables get their tenants, and in which of them every new row has one at once."""

from __future__ import annotations

import pytest

from unit.planning.shop import LINES_PART, SALES, SALES_PART, STORES, STORES_PART
from unit.schemas import plan_context, spec, table, with_key


def order(*said: str, tables: tuple[object, ...]) -> list[list[str]]:
    found = plan_context(spec(*said), *tables).ownership.components  # type: ignore[arg-type]
    return [[owned.table.name for owned in component] for component in found]


def test_parents_come_first() -> None:
    """Whatever their names, and those that do not depend on each other by name."""
    tables = (table("z", "tenant_id > tenants"), table("a", "z_id > z"), table("m", "tenant_id > tenants"))
    said = ('a paths = [["z_id"]]', 'm paths = [["tenant_id"]]', 'z paths = [["tenant_id"]]')
    assert order(*said, tables=tables) == [["m"], ["z"], ["a"]]


def test_a_cycle_is_one() -> None:
    """A parent that its children tell, and a child that its parent tells, come together."""
    boxes, sales = table("boxes", "sale_id? > sales"), table("sales", "store_id > stores", "box_id? > boxes")
    said = (STORES_PART, 'sales paths = [["store_id"], ["box_id"]]', 'boxes paths = [["sale_id"]]')
    assert order(*said, tables=(STORES, sales, boxes)) == [["stores"], ["boxes", "sales"]]


DEFAULT = '\norphans = "default"'
MIXED = '\norphans = "shared"'


@pytest.mark.parametrize(
    ("store", "sale", "line", "late"),
    [
        ("tenant_id > tenants", "store_id > stores", "sale_id > sales", set()),
        ("tenant_id > tenants", "store_id? > stores", "sale_id > sales", {"sales", "lines"}),
        ("tenant_id > tenants", "store_id > stores", "sale_id? > sales", {"lines"}),
        ("tenant_id? > tenants", "store_id > stores", "sale_id > sales", {"stores", "sales", "lines"}),
    ],
)
def test_a_key_that_may_be_null_makes_all_below_it_late(store: str, sale: str, line: str, late: set[str]) -> None:
    tables = (table("stores", store), table("sales", sale), table("lines", line))
    found = plan_context(spec(STORES_PART, SALES_PART, LINES_PART), *tables).ownership.owned
    assert {owned.table.name for owned in found if owned.late} == late


@pytest.mark.parametrize(("orphans", "late"), [("", True), (DEFAULT, False), (MIXED, True)])
def test_a_tenant_of_the_last_resort_is_there_at_once(orphans: str, *, late: bool) -> None:
    """A row without a parent is the default tenant's as soon as it is written."""
    sales = table("sales", "store_id? > stores")
    said = spec(STORES_PART, SALES_PART + orphans, tenant='default = "rest"')
    found = {owned.table.name: owned.late for owned in plan_context(said, STORES, sales).ownership.owned}
    assert found == {"stores": False, "sales": late}


def test_a_key_that_can_be_deferred_is_late() -> None:
    """The row may come before its parent, and then has no tenant, not even the last resort's."""
    for orphans in ("", DEFAULT):
        said = spec(STORES_PART, SALES_PART + orphans, tenant='default = "rest"')
        found = plan_context(said, STORES, with_key(SALES, deferrable=True)).ownership.of(SALES.name)
        assert found is not None
        assert found.late


def test_one_tenant_for_all_is_never_late() -> None:
    (owned,) = plan_context(spec('notes assign = { tenant = "a" }'), table("notes")).ownership.owned
    assert not owned.late
    (owned,) = plan_context(spec('notes assign = { column = "code" }'), table("notes", "code? text")).ownership.owned
    assert owned.late
