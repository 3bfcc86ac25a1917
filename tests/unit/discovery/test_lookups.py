"""The ways of a table to its tenant, as joins."""

from __future__ import annotations

from dataclasses import replace

import pytest
from psycopg import sql

from tenantry.discovery.lookups import TenantLookup, compared, lookups, restriction
from tenantry.model.evidence import PathKind
from tenantry.model.name import Name
from tenantry.model.schema import Kind, Table
from unit.planning.shop import LINES, SALES, SALES_PART, STORES, STORES_PART
from unit.schemas import name, plan_context, schema, spec, table


class Plain:
    """Each table's shadow is called after it, and its columns as they are."""

    def source(self, table: Name) -> sql.Composable:
        return sql.Identifier(f"shadow_{table.name}")

    def column(self, table: Name, column: str) -> sql.Identifier:
        return sql.Identifier(f"{column}_")


def lookups_of(of: str, *said: str, tables: tuple[Table, ...], more: str = "") -> list[TenantLookup]:
    context = plan_context(spec(*said, more=more), *tables)
    owned = context.ownership.of(name(of))
    assert owned is not None
    return list(lookups(owned, context.ownership, context.schema))


def test_paths_children_and_references() -> None:
    """What counts first is first; a foreign key that is no path must still not lead to another tenant."""
    boxes = table("boxes")
    sales = table("sales", "store_id > stores", "box_id > boxes", "other_id > stores")
    said = (STORES_PART, SALES_PART, 'boxes children = ["sales.box_id"]')
    kinds = [
        (way.label, way.kind, way.gives_tenant, way.many)
        for way in lookups_of("sales", *said, tables=(STORES, sales, boxes))
    ]
    assert kinds == [
        ("store_id > public.stores", PathKind.PATH, True, False),
        ("box_id > public.boxes", PathKind.REFERENCE, False, False),
        ("other_id > public.stores", PathKind.REFERENCE, False, False),
    ]
    (child,) = lookups_of("boxes", *said, tables=(STORES, sales, boxes))
    assert (child.label, child.kind, child.many, child.target) == (
        "public.sales.box_id", PathKind.CHILD, True, sales.name,
    )  # fmt: skip


def test_the_users_own_column() -> None:
    (way,) = lookups_of("stores", STORES_PART, tables=(STORES,))
    assert (way.label, way.kind, way.target, way.target_columns) == (
        "tenant_id",
        PathKind.GIVEN,
        name("tenants"),
        ("id",),
    )


@pytest.mark.parametrize("change", ["crosses", "not enforced", "not an owned table"])
def test_references_that_are_not_asked(change: str) -> None:
    """One that is meant to cross, one that nothing enforces, and one to a table that is nobody's."""
    sales = table("sales", "tenant_id > tenants", "store_id > stores")
    more = '[[reference]]\nfrom = "sales.store_id"\ncrosses = true' if change == "crosses" else ""
    if change == "not enforced":
        own, store = sales.foreign_keys
        sales = replace(sales, foreign_keys=(own, replace(store, enforced=False)))
    stores = "stores shared = true" if change == "not an owned table" else STORES_PART
    said = (stores, 'sales paths = [["tenant_id"]]')
    assert [way.kind for way in lookups_of("sales", *said, tables=(STORES, sales), more=more)] == [PathKind.GIVEN]


def test_joins_of_one_hop() -> None:
    (way,) = lookups_of("sales", STORES_PART, SALES_PART, tables=(STORES, SALES))
    text = way.relation(schema(STORES, SALES), Plain()).as_string(None)
    assert text == '(SELECT x."id_" AS "k0", x.tenant AS low FROM "shadow_stores" AS x WHERE x.tenant IS NOT NULL)'
    condition = way.condition("w0", [sql.Identifier("r", "u0")]).as_string(None)
    assert condition == '"w0"."k0" OPERATOR("pg_catalog".=) "r"."u0"'


def test_joins_of_two_hops() -> None:
    """What stands between is read from the table itself, without its heirs."""
    desks, sales = table("desks", "store_id > stores"), table("sales", "desk_id > desks")
    (way,) = lookups_of("sales", STORES_PART, 'sales paths = [["desk_id", "store_id"]]', tables=(STORES, desks, sales))
    text = way.relation(schema(STORES, desks, sales), Plain()).as_string(None)
    assert (
        'SELECT "h0"."id" AS "k0", x.tenant AS low FROM ONLY "public"."desks" AS h0 JOIN "shadow_stores" AS "x"' in text
    )
    assert '"x"."id_" OPERATOR("pg_catalog".=) "h0"."store_id"' in text


def test_several_rows_must_agree() -> None:
    """Children: the least and the greatest tenant of all of them."""
    boxes, sales = table("boxes"), table("sales", "store_id > stores", "box_id > boxes")
    said = (STORES_PART, SALES_PART, 'boxes children = ["sales.box_id"]')
    (way,) = lookups_of("boxes", *said, tables=(STORES, sales, boxes))
    text = way.relation(schema(STORES, sales, boxes), Plain()).as_string(None)
    assert "min(x.tenant) AS low, max(x.tenant) AS high" in text
    assert text.endswith('GROUP BY x."box_id_")')


def test_which_rows_of_a_shadow_a_key_can_meet() -> None:
    """A key to a partition those of the partition; one to a table with heirs the table's own alone."""
    whole = replace(SALES, kind=Kind.PARTITIONED)
    middle = replace(SALES, name=name("m"), kind=Kind.PARTITIONED, partition_of=SALES.name)
    leaf = replace(SALES, name=name("l"), partition_of=name("m"))
    heir = replace(STORES, name=name("kiosks"), inherits=(STORES.name,))
    made = schema(whole, middle, leaf, STORES, heir, LINES)
    assert restriction(made, name("m"), whole.name) == (name("m"), name("l"))
    assert restriction(made, leaf.name, whole.name) == (leaf.name,)
    assert restriction(made, whole.name, whole.name) == ()
    assert restriction(made, STORES.name, STORES.name) == (STORES.name,)
    assert restriction(made, LINES.name, LINES.name) == ()
    assert restriction(made, None, LINES.name) == restriction(made, name("gone"), LINES.name) == ()


def test_operators_of_other_schemas() -> None:
    """The foreign key's own idea of equality, wherever it is."""
    text = compared(sql.SQL("a"), sql.SQL("b"), ('my"ops', "===")).as_string(None)
    assert text == 'a OPERATOR("my""ops".===) b'
