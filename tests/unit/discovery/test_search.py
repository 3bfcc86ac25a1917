"""What is asked of the data, and what of it is asked again."""

from __future__ import annotations

from dataclasses import replace

from tenantry.discovery.search import search
from tenantry.model.evidence import Census, Evidence
from tenantry.model.schema import Table
from unit.discovery.answering import Answers, Rows, answering, drafted
from unit.planning.shop import LINES, PRODUCTS, SALES, STORES
from unit.schemas import table


def searched(*tables: Table, given: Answers | None = None) -> tuple[list[list[str]], dict[str, list[str]]]:
    """The tables of each census, and the ways that are left of each table."""
    asked: list[list[str]] = []

    def ask(census: Census) -> Evidence:
        asked.append([question.table.name for question in census.questions])
        return answering(given)(census)

    found = search(drafted(*tables), ask)
    ways = {name.name: [link.columns[0] for link in links] for name, links in found.draft.path_links.items()}
    return asked, ways


def test_each_table_is_asked_about_once() -> None:
    """What is known of it stays true where its ways, and those of its parents, stay what they are."""
    asked, ways = searched(STORES, SALES, LINES, PRODUCTS)
    assert asked == [["stores", "sales", "lines"], []]
    assert ways == {"stores": ["tenant_id"], "sales": ["store_id"], "lines": ["sale_id"]}


def test_ways_that_bring_nobody() -> None:
    """A table whose rows all lead nowhere is none that others could find their tenants by."""
    asked, ways = searched(STORES, SALES, LINES, given={"sales": Rows(paths={"store_id": (0, 0)})})
    assert ways == {"stores": ["tenant_id"]}
    assert asked[-1] == []


def test_a_column_that_holds_the_tenant_is_enough() -> None:
    sales = table("sales", "tenant_id? > tenants", "store_id > stores")
    assert searched(STORES, sales)[1]["sales"] == ["tenant_id"]


def test_a_way_to_itself() -> None:
    """It is kept where it brings rows that no other way does."""
    tree = table("tree", "up? > tree", "store_id? > stores")
    for alone, ways in ((0, ["store_id"]), (3, ["store_id", "up"])):

        def ask(census: Census, alone: int = alone) -> Evidence:
            evidence = answering()(census)
            tables = {
                name: replace(one, paths=tuple(replace(way, alone=alone) for way in one.paths))
                for name, one in evidence.tables.items()
            }
            return Evidence(tables=tables)

        found = search(drafted(STORES, tree), ask)
        assert [link.columns[0] for link in found.draft.path_links[tree.name]] == ways


def test_children_are_asked_where_nothing_else_reaches() -> None:
    """First whether they agree; only then is anything derived from them."""
    boxes, sales = table("boxes"), table("sales", "store_id > stores", "box_id > boxes")
    notes = table("notes", "box_id > boxes")
    asked, ways = searched(STORES, sales, boxes, notes)
    assert asked[1] == ["boxes"]
    assert "notes" in ways
    asked, ways = searched(STORES, sales, boxes, notes, given={"boxes": Rows(paths={"sales.box_id": (10, 5)})})
    assert "notes" not in ways


def test_references_that_say_who_wrote_are_followed_no_more() -> None:
    users, notes = table("users", "tenant_id > tenants"), table("notes", "created_by? > users", "store_id? > stores")
    asked, ways = searched(STORES, users, notes)
    assert ways["notes"] == ["store_id"]
    assert asked[1] == ["notes"]
