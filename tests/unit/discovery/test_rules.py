"""From the figures of a table to its part, and the sentences that say why."""

from __future__ import annotations

import pytest

from tenantry.discovery.proposal import Decision
from tenantry.model.schema import Table
from unit.discovery.answering import Answers, Rows, decision, proposed
from unit.planning.shop import SALES, STORES
from unit.schemas import table, unique

GOODS = table("goods", "store_id? > stores", "person_id? > people")
PEOPLE = table("people", "tenant_id > tenants")


def decision_of(*tables: Table, given: Answers, of: str) -> Decision:
    return decision(proposed(STORES, *tables, given=given), of)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (Rows(rows=0), "The table is empty."),
        (Rows(rows=1), "The only row finds its tenant."),
        (Rows(rows=2000), "All 2,000 rows find their tenant."),
        (Rows(paths={"store_id": (7, 0)}), "7 of 10 rows find a tenant."),
    ],
)
def test_how_many_find_one(rows: Rows, sentence: str) -> None:
    one = decision_of(table("items", "store_id? > stores"), given={"items": rows}, of="items")
    assert one.reasons[0] == sentence


def test_an_empty_table() -> None:
    """Nobody can say whether a row may have no tenant, but where the key is never NULL."""
    loose = decision_of(table("items", "store_id? > stores"), given={"items": Rows(rows=0)}, of="items")
    assert any("one without will be refused" in reason for reason in loose.reasons)
    strict = decision_of(SALES, given={"sales": Rows(rows=0)}, of="sales")
    assert not any("one without will be refused" in reason for reason in strict.reasons)


def test_ways_that_disagree() -> None:
    """Both are named, with how many rows; the question has its cause and what would answer it."""
    given = {"goods": Rows(conflicts=3, paths={"store_id": (10, 0), "person_id": (10, 3)})}
    one = decision_of(PEOPLE, GOODS, given=given, of="goods")
    assert one.part.undecided == "store_id and person_id disagree in 3 of 10 rows"
    assert one.cause == "store_id and person_id disagree, so that some rows have two tenants"
    assert "crosses = true" in one.answer
    assert one.part.paths == ((("store_id",),), (("person_id",),))


def test_a_sure_way_makes_others_needless() -> None:
    """They are said with what they do."""
    sure = table("goods", "store_id > stores", "person_id? > people")
    one = decision_of(PEOPLE, sure, given={"goods": Rows(paths={"person_id": (4, 0)})}, of="goods")
    assert one.part.paths == ((("store_id",),),)
    assert "person_id leads there too, for 4 rows and to no other tenant." in one.reasons
    assert [link.columns for link in one.others] == [("person_id",)]


def test_nulls_that_other_ways_would_fill() -> None:
    """Whether rows without a tenant of their own are all tenants', or the one's that another way names."""
    direct = table("goods", "tenant_id? > tenants", "store_id? > stores")
    given = {"goods": Rows(paths={"tenant_id": (7, 0), "store_id": (10, 0)})}
    one = decision_of(direct, given=given, of="goods")
    assert one.part.undecided == "tenant_id is NULL in 3 of 10 rows, and of 3 of these store_id leads to a tenant"
    assert any('set paths = [["tenant_id"], ["store_id"]]' in reason for reason in one.reasons)


def test_rows_without_a_tenant_below_children() -> None:
    """Children may yet come: a person says what becomes of the rows."""
    boxes, sales = table("boxes"), table("sales", "store_id > stores", "box_id > boxes")
    one = decision_of(sales, boxes, given={"boxes": Rows(paths={"sales.box_id": (8, 0)})}, of="boxes")
    assert one.part.undecided == "2 of 10 rows find no tenant"
    assert one.answer == 'orphans = "default", "quarantine" or "shared"'


def link_table(*more: str) -> Table:
    return table(
        "listings", "good_id > goods", "tenant_id > tenants", *more,
        uniques=(unique("id", primary=True), unique("good_id", "tenant_id")),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("more", "pairs"), [((), True), (("since? timestamptz",), True), (("quantity? numeric",), False)]
)
def test_link_tables(more: tuple[str, ...], *, pairs: bool) -> None:
    """One that says no more than who belongs where is a question; one that has figures of each pair is none."""
    given = {"goods": Rows(paths={"listings.good_id": (10, 4)})}
    one = decision_of(link_table(*more), table("goods"), given=given, of="goods")
    assert (one.part.membership == "listings") == pairs
    if pairs:
        assert "10 of 10 rows are linked to a tenant, 4 to several" in (one.part.undecided or "")


def test_used_by_all() -> None:
    """What most of its children's tenants disagree about is everybody's."""
    goods, sales = table("goods"), table("sales", "store_id > stores", "good_id > goods")
    one = decision_of(goods, sales, given={"goods": Rows(paths={"sales.good_id": (10, 6)})}, of="goods")
    assert one.part.shared is True
    assert one.reasons == ("6 of 10 rows with children have children of two tenants: shared by all.",)
    one = decision_of(goods, sales, given={"goods": Rows(paths={"sales.good_id": (10, 3)})}, of="goods")
    assert one.part.undecided == "no path reaches it, and 3 of 10 rows have children of two tenants"


def test_only_who_has_written_is_known() -> None:
    users = table("users", "tenant_id > tenants")
    one = decision_of(users, table("notes", "created_by? > users", "updated_by? > users"), given={}, of="notes")
    assert (one.part.undecided or "").startswith("its columns only tell who wrote a row")


def test_unique_constraints_go_with_the_decision() -> None:
    one = decision_of(table("goods", "store_id > stores", "code text", uniques=(unique("code"),)), given={}, of="goods")
    assert [(constraint.name, constraint.proposed) for constraint in one.constraints] == [("code_key", True)]
