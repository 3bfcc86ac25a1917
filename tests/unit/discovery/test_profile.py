"""The census: what is asked of the data, and what need not be asked again."""

from __future__ import annotations

from dataclasses import replace

from tenantry.discovery.profile import census, unchanged
from tenantry.model.evidence import TableEvidence
from tenantry.model.name import Name
from tenantry.model.spec import Spec
from unit.planning.shop import LINES, LINES_PART, SALES, SALES_PART, STORES, STORES_PART, shop
from unit.schemas import name, plan_context, spec, table


def test_each_owned_table_in_order() -> None:
    context = shop()
    found = census(context.ownership, context.schema)
    assert [question.table.name for question in found.questions] == ["stores", "sales", "lines"]
    assert found.order == tuple(question.table for question in found.questions)
    assert found.known == ()


def test_one_tenant_for_all_is_not_asked() -> None:
    """Its rows are as many as PostgreSQL estimates."""
    context = plan_context(spec('notes assign = { tenant = "a" }'), replace(table("notes"), rows=-1.0))
    found = census(context.ownership, context.schema)
    assert found.questions == ()
    assert found.known == (TableEvidence(table=name("notes"), rows=0, counted=False),)


def test_what_is_known_is_not_asked() -> None:
    """Nor is a shadow made that only such a table needs."""
    context = shop()
    known = {one: TableEvidence(table=one, rows=1) for one in (name("lines"), name("sales"))}
    found = census(context.ownership, context.schema, known=known)
    assert [question.table.name for question in found.questions] == ["stores"]
    assert set(found.known) == set(known.values())
    made = [part.as_string(None) for part in found.tenant_maps if not hasattr(part, "statements")]
    assert not [text for text in made if "tenantry_map_1" in text or "tenantry_map_2" in text]


def question(said: Spec, of: str, *tables: object, **options: object) -> str:
    context = plan_context(said, *tables)  # type: ignore[arg-type]
    found = census(context.ownership, context.schema, **options)  # type: ignore[arg-type]
    (one,) = (question for question in found.questions if question.table.name == of)
    return " ".join(one.counts.as_string(None).split())


def test_rows_that_are_filled_by_now() -> None:
    """Whoever names the tenant of a row while it is written has said whose it is."""
    said = spec(STORES_PART, SALES_PART)
    assert '"public"."sales" AS r WHERE' not in question(said, "sales", STORES, SALES)
    text = question(said, "sales", STORES, SALES, filled=True)
    assert (
        '"public"."sales" AS r WHERE r.ctid = e.address AND r.tableoid = e.relation AND r."tenant_id" IS NOT NULL'
        in text
    )


def test_mixed_rows_may_not_refer_to_one_tenants() -> None:
    """What all see must not lead to what only one may."""
    sales = table("sales", "store_id > stores", "other_id? > stores")
    for orphans, counted in (("fail", False), ("shared", True)):
        text = question(spec(STORES_PART, SALES_PART + f'\norphans = "{orphans}"'), "sales", STORES, sales)
        assert ("IS NULL AND coalesce(" in text) == counted


def test_samples() -> None:
    """By the primary key, or by their place; as many as are wanted."""
    for one, key in ((SALES, "json_build_object('id', \"r\".\"id\")"),
                     (replace(SALES, primary_key=()), "json_build_object('ctid', r.ctid::text")):  # fmt: skip
        context = plan_context(spec(STORES_PART, SALES_PART), STORES, one)
        found = census(context.ownership, context.schema, samples=7)
        (asked,) = (question for question in found.questions if question.table == SALES.name)
        text = asked.orphans().as_string(None)
        assert key in text
        assert "LIMIT 7" in text
        assert "e.orphan" in text
        assert "<> greatest(" in asked.conflicts().as_string(None)


def test_pairs_of_ways() -> None:
    """Each two, and each with itself."""
    sales = table("sales", "store_id > stores", "other_id > stores")
    context = plan_context(spec(STORES_PART, 'sales paths = [["store_id"], ["other_id"]]'), STORES, sales)
    (asked,) = (one for one in census(context.ownership, context.schema).questions if one.table == sales.name)
    text = asked.pairs().as_string(None)
    assert [f"SELECT {one} AS one, {other} AS other" in text for one in (0, 1) for other in (0, 1)] == [
        True, True, False, True,
    ]  # fmt: skip


def same(before: tuple[str, ...], now: tuple[str, ...]) -> set[Name]:
    lines = table("lines", "sale_id? > sales", "store_id? > stores")
    first, second = (plan_context(spec(*said), STORES, SALES, lines) for said in (before, now))
    return set(unchanged(second.ownership, first.ownership, second.schema))


def test_what_need_not_be_asked_again() -> None:
    """The tables whose ways are the same, and lead to none whose are not."""
    said = (STORES_PART, SALES_PART, LINES_PART)
    assert same(said, said) == {STORES.name, SALES.name, LINES.name}
    assert same(said, (STORES_PART, SALES_PART, 'lines paths = [["store_id"]]')) == {STORES.name, SALES.name}
    assert same(said, (STORES_PART, SALES_PART + '\norphans = "shared"', LINES_PART)) == {STORES.name}
    assert same(said[:2], said) == {STORES.name, SALES.name}
