"""Foreign keys as links: those of partitions are the whole's, and some are not followed."""

from __future__ import annotations

from dataclasses import replace

from tenantry.discovery.links import Link, Links
from tenantry.model.schema import Kind
from unit.planning.shop import LINES, SALES, STORES
from unit.schemas import TENANTS, name, schema, table, with_key

LINKS = (TENANTS, STORES, SALES, LINES)


def test_up_and_down() -> None:
    links = Links(schema(*LINKS))
    (up,) = links.up[LINES.name]
    assert (up.parent, up.columns, up.nullable, up.declared, up.itself) == (SALES.name, ("sale_id",), True, True, False)
    assert links.down[SALES.name] == (up,)
    assert [link.table.name for link in links.direct(TENANTS.name, "id")] == ["stores"]
    assert links.direct(TENANTS.name, "slug") == []


def test_whether_a_row_may_have_no_parent() -> None:
    """A column that may be NULL, or a key that was never proved."""
    for one, nullable in ((SALES, False), (with_key(SALES, validated=False), True)):
        (link,) = Links(schema(TENANTS, STORES, one)).up[SALES.name]
        assert link.nullable == nullable


def test_partitions_and_heirs_follow() -> None:
    """They are no tables of their own, and a key to one is a key to the whole; foreign tables are left out."""
    whole = replace(SALES, kind=Kind.PARTITIONED)
    leaf = replace(SALES, name=name("sales_1"), partition_of=SALES.name)
    heir = replace(STORES, name=name("kiosks"), inherits=(STORES.name,))
    far = replace(SALES, name=name("far"), kind=Kind.FOREIGN)
    links = Links(schema(TENANTS, STORES, heir, whole, leaf, far, table("a", "x > sales_1", "y > kiosks")))
    assert set(links.tables) == {TENANTS.name, STORES.name, SALES.name, name("a")}
    assert [link.parent.name for link in links.up[name("a")]] == ["sales", "stores"]


def test_how_far_tables_are() -> None:
    links = Links(schema(*LINKS, table("alone"), table("tree", "up? > tree")))
    assert links.reached(TENANTS.name) == {STORES.name: 1, SALES.name: 2, LINES.name: 3}
    assert links.reached(TENANTS.name, SALES.name) == {STORES.name: 1, LINES.name: 1}
    assert links.reached(TENANTS.name, without=frozenset(links.up[SALES.name])) == {STORES.name: 1}


def test_what_is_left_out_and_taken_up() -> None:
    links = Links(schema(*LINKS))
    links.add(
        Link(
            table=LINES.name,
            columns=("t",),
            parent=TENANTS.name,
            parent_columns=("id",),
            nullable=False,
            declared=False,
        )
    )
    links.leave_out({SALES.name})
    assert links.reached(TENANTS.name) == {STORES.name: 1, LINES.name: 1}
    assert len(list(links)) == 2
