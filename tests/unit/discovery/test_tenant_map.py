"""A shadow: a table's rows with the tenants that its ways say; made only where somebody needs it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tenantry.discovery.profile import census
from tenantry.discovery.tenant_map import TenantMap
from tenantry.model.evidence import Census, PathKind, Repeat
from tenantry.model.ownership import Assignment, Owned, TenantTable
from tenantry.model.schema import Table
from tenantry.model.spec import Orphans, Spec
from unit.planning.shop import LINES, LINES_PART, SALES, SALES_PART, STORES, STORES_PART
from unit.schemas import name, plan_context, spec, table

TENANT = TenantTable(name=name("tenants"), key="id", slug="slug", type="integer", default="rest")
MAP = TenantMap(
    number=3,
    owned=Owned(table=SALES.name, column="tenant_id"),
    tenant=TENANT,
    early=(),
    late=(),
    stored=(),
    referenced=False,
)


def assigned(**facts: object) -> TenantMap:
    return replace(MAP, owned=replace(MAP.owned, assignment=Assignment(**facts)))  # type: ignore[arg-type]


def test_one_tenant_for_all() -> None:
    """Nothing can contradict it: the rows are not looked at, and who refers to them reads the table itself."""
    one = assigned(tenant="it's")
    assert one.constant
    assert not one.materialized
    assert "t.label = 'it''s'" in one.source().as_string(None)
    assert not assigned(column="code").constant
    assert not replace(one, owned=replace(one.owned, has_own_column=True)).constant


def test_the_rows_of_a_file() -> None:
    """A temporary table of texts, one column for each of the key, and the tenant's word."""
    (made,) = assigned(rows=(("1", "a'", "north"), ("2", "b", "south"))).setup()
    text = made.as_string(None)
    assert text.startswith(
        'CREATE TEMPORARY TABLE "tenantry_file_3" ON COMMIT DROP AS SELECT * FROM ROWS FROM (unnest('
    )
    assert text.endswith('AS f ("k0", "k1", "word")')
    assert list(assigned(rows=()).setup()) == list(MAP.setup()) == []


def census_of(of: Spec, *tables: Table) -> Census:
    context = plan_context(of, *tables)
    return census(context.ownership, context.schema)


def statements(found: Census) -> list[str]:
    return [
        " ".join(one.as_string(None).split())
        for part in found.tenant_maps
        for one in (part.statements if isinstance(part, Repeat) else (part,))
    ]


def test_what_is_kept() -> None:
    """A table that nobody refers to is counted in passing; one that others need is a temporary table, with statistics."""
    texts = statements(census_of(spec(STORES_PART, SALES_PART, LINES_PART), STORES, SALES, LINES))
    made = [text for text in texts if "tenantry_map_" in text.partition(" AS ")[0]]
    assert [text.split()[3] for text in made if text.startswith("CREATE")] == [
        '"tenantry_map_0"',
        '"tenantry_map_1"',
    ]
    assert [text for text in made if text.startswith("ANALYZE")] == [
        'ANALYZE "pg_temp"."tenantry_map_0"', 'ANALYZE "pg_temp"."tenantry_map_1"',
    ]  # fmt: skip


def test_tables_that_need_each_other_are_filled_in_rounds() -> None:
    """Again and again until nothing new is found; orphans that get a tenant of the last resort hand it on."""
    boxes = table("boxes", "sale_id? > sales")
    sales = table("sales", "store_id? > stores", "box_id? > boxes")
    said = (STORES_PART, 'sales paths = [["store_id"], ["box_id"]]', 'boxes paths = [["sale_id"]]')
    found = census_of(spec(*said), STORES, sales, boxes)
    (rounds,) = (part for part in found.tenant_maps if isinstance(part, Repeat))
    assert len(rounds.statements) == 2
    assert all("WHERE s.tenant IS NULL AND" in one.as_string(None) for one in rounds.statements)
    default = spec(*said[:2], said[2] + '\norphans = "default"', tenant='default = "rest"')
    found = census_of(default, STORES, sales, boxes)
    assert sum(isinstance(part, Repeat) for part in found.tenant_maps) == 2
    assert any("orphan = true WHERE tenant IS NULL" in text for text in statements(found))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ('assign = { column = "code" }', 'AS "a" ON a.word = "r"."u'),
        ('assign = { sql = "lower(code)" }', "(lower(code))::text AS word"),
        ('assign = { tenant = "north" }', "CREATE TEMPORARY TABLE"),
    ],
)
def test_assignments(said: str, words: str) -> None:
    """The table's rows stand by themselves, so that the user's SQL sees no other names."""
    notes = table("notes", "code text", "sale_id? > notes")
    found = census_of(spec(f"notes {said}"), notes)
    text = " ".join([*statements(found), *(one.counts.as_string(None) for one in found.questions)])
    assert words in text
    labels = [kind for one in found.questions for _, kind in one.paths]
    assert labels[:1] in ([PathKind.ASSIGNED], [])


def test_a_fallback() -> None:
    """Who is no orphan for having it is counted as one all the same."""
    said = spec(STORES_PART, SALES_PART + '\norphans = "default"', tenant='default = "rest"')
    (question,) = (one for one in census_of(said, STORES, table("sales", "store_id? > stores")).questions
                   if one.table == SALES.name)  # fmt: skip
    text = question.counts.as_string(None)
    assert "t.label = 'rest'" in text
    assert question.policy is Orphans.DEFAULT
