"""The ways that a table could take, best first, and the spec of them that the data are asked about."""

from __future__ import annotations

from dataclasses import replace

from tenantry.discovery.draft import disputed, evidence_of, has_tenants
from tenantry.model.evidence import Evidence, PathEvidence, PathKind, TableEvidence
from unit.discovery.answering import drafted
from unit.planning.shop import LINES, PRODUCTS, SALES, STORES
from unit.schemas import name, table


def test_ways_are_ranked() -> None:
    """What holds the tenant itself, then what is never NULL, then the near; to itself last."""
    many = table(
        "many", "many_id? > many", "line_id? > lines", "store_id? > stores", "sale_id > sales", "owner_id? > tenants",
        "tenant_id? > tenants",
    )  # fmt: skip
    draft = drafted(STORES, SALES, LINES, many)
    assert [link.columns[0] for link in draft.path_links[many.name]] == [
        "tenant_id", "owner_id", "sale_id", "store_id", "line_id", "many_id",
    ]  # fmt: skip


def test_what_is_reached() -> None:
    draft = drafted(STORES, SALES, LINES, PRODUCTS)
    assert set(draft.path_links) == {STORES.name, SALES.name, LINES.name}
    assert draft.others == (LINES.name, PRODUCTS.name, SALES.name, STORES.name)
    assert [part.name for part in draft.spec().table] == ["lines", "sales", "stores"]


def test_children_open_further_ways() -> None:
    """A table that its children tell is an end for others."""
    boxes, notes = table("boxes"), table("notes", "box_id > boxes")
    sales = table("sales", "store_id > stores", "box_id > boxes")
    draft = drafted(STORES, sales, boxes, notes)
    link = next(one for one in draft.links.down[boxes.name] if one.table == sales.name)
    asked = draft.asking({boxes.name: (link,)}).followed()
    assert notes.name in asked.path_links
    assert notes.name not in draft.path_links
    part = asked.part(boxes.name)
    assert (part.children, part.paths) == (("sales.box_id",), ())


def test_names_of_the_tenant_column() -> None:
    """The user's own where it is of the tenant's type; a free one where something else is called so."""
    other = table("other", "tenant_id text", "store_id > stores")
    draft = drafted(STORES, SALES, other)
    assert draft.column(STORES.name) is None
    assert draft.column(SALES.name) is None
    assert draft.column(other.name) == "tenantry_tenant_id"


def test_writers_are_no_ways() -> None:
    users = table("users", "tenant_id > tenants")
    notes = table("notes", "tenant_id > tenants", "by_id? > users")
    draft = drafted(users, notes)
    link = next(one for one in draft.links.up[notes.name] if one.columns == ("by_id",))
    draft = replace(draft, audits=frozenset({link}), path_links={}).followed()
    assert [one.columns[0] for one in draft.path_links[notes.name]] == ["tenant_id"]
    assert draft.audits_of(notes.name) == (link,)
    assert [(part.child, part.crosses) for part in draft.crossing()] == [("notes.by_id", True)]


def test_what_shared_rows_refer_to() -> None:
    """It cannot be one tenant's, nor can what it refers to in turn."""
    makers, goods = table("makers"), table("goods", "maker_id? > makers")
    sales = table("sales", "store_id > stores", "good_id > goods")
    draft = drafted(STORES, sales, goods, makers, table("alone"))
    assert {found.name: link.columns[0] for found, link in draft.common(set()).items()} == {
        "goods": "good_id", "makers": "maker_id",
    }  # fmt: skip
    assert name("makers") in drafted(goods, makers).common({goods.name})


def test_what_the_census_said_of_a_link() -> None:
    """By its label: of a path, of a column that holds the tenant, of a child."""
    draft = drafted(STORES, SALES)
    (link,) = draft.path_links[SALES.name]
    way = PathEvidence(label="store_id > public.stores", kind=PathKind.PATH, rows=1, alone=1, differs=3)
    child = replace(way, label="public.sales.store_id", kind=PathKind.CHILD)
    given = replace(way, label="store_id", kind=PathKind.GIVEN)
    crossing = replace(way, kind=PathKind.REFERENCE, differs=9)
    evidence = TableEvidence(table=SALES.name, rows=9, orphans=9, paths=(crossing, way))
    assert evidence_of(link, evidence) == way
    assert evidence_of(link, replace(evidence, paths=(given,))) == given
    assert evidence_of(link, replace(evidence, paths=(child,))) is None
    assert evidence_of(link, replace(evidence, paths=(child,)), child=True) == child
    assert disputed(evidence) == 3
    assert disputed(replace(evidence, paths=())) == 0


def test_who_can_tell() -> None:
    """Rows of one tenant all agree, so that their agreement says nothing."""
    told = TableEvidence(table=SALES.name, rows=2, several=True)
    for evidence, tell in ((told, True), (replace(told, several=False), False), (replace(told, orphans=2), False)):
        assert has_tenants(Evidence(tables={SALES.name: evidence}), SALES.name) == tell
    assert not has_tenants(Evidence(), SALES.name)
