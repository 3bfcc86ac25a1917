"""Where tables stand in the picture of a proposal."""

from __future__ import annotations

from tenantry.discovery.proposal import Proposal
from tenantry.reports.proposal_graph import LONGEST, Graph, Node, graph
from unit.discovery.answering import proposed
from unit.planning.shop import LINES, PRODUCTS, SALES, STORES
from unit.schemas import table

TREE = table("tree", "tenant_id > tenants", "up? > tree")


def nodes(drawn: Graph) -> dict[str, Node]:
    return {node.name: node for node in drawn.nodes}


def test_a_step_is_a_column() -> None:
    """The tenants on the left, then what is one step away; what no path reaches on the right."""
    drawn = graph(proposed(STORES, SALES, LINES, PRODUCTS))
    assert [heading for _, heading in drawn.headings] == [
        "tenants", "1 step away", "2 steps away", "3 steps away", "undecided",
    ]  # fmt: skip
    found = nodes(drawn)
    assert found["tenants"].x < found["stores"].x < found["sales"].x < found["lines"].x < found["products"].x
    assert (found["tenants"].kind, found["products"].kind) == ("tenant", "undecided")
    assert drawn.width > found["products"].x + found["products"].width
    assert drawn.height > max(node.y for node in drawn.nodes)


def test_ways() -> None:
    """From a table to where it leads; one that is not followed is another kind."""
    sales = table("sales", "tenant_id? > tenants", "store_id > stores")
    drawn = graph(proposed(STORES, sales, TREE))
    numbers = {node.name: node.number for node in drawn.nodes}
    ways = {(edge.start, edge.end, edge.columns): edge.manner for edge in drawn.edges}
    assert ways[numbers["sales"], numbers["tenants"], "tenant_id"] == "path"
    assert ways[numbers["sales"], numbers["stores"], "store_id"] == "other"
    assert ways[numbers["tree"], numbers["tree"], "up"] == "other"
    assert all(edge.path.startswith("M") for edge in drawn.edges)


def test_children_that_tell() -> None:
    boxes, sales = table("boxes"), table("sales", "store_id > stores", "box_id > boxes")
    drawn = graph(proposed(STORES, sales, boxes))
    found = nodes(drawn)
    (way,) = (edge for edge in drawn.edges if edge.manner == "child")
    assert (way.start, way.end) == (found["boxes"].number, found["sales"].number)


def test_many_tables_are_many_columns() -> None:
    """No two tables stand on each other, and the whole is not a hundred times as high as wide."""
    many: Proposal = proposed(STORES, *(table(f"t{number}", "store_id > stores") for number in range(100)))
    drawn = graph(many)
    places = {(round(node.x), round(node.y)) for node in drawn.nodes}
    assert len(places) == 102
    assert 1 < drawn.width / drawn.height < 3
    assert graph(many) == drawn


def test_long_names() -> None:
    drawn = graph(proposed(table("x" * 60, "tenant_id > tenants")))
    (long,) = (node for node in drawn.nodes if node.name.startswith("x"))
    assert (len(long.shown), long.shown[-1], len(long.name)) == (LONGEST, "…", 60)
