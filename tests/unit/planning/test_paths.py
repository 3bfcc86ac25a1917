"""Paths and children of a spec, as hops along foreign keys; what leads nowhere is refused, with the reason."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tenantry.errors import UsageError
from tenantry.model.name import Name
from tenantry.model.schema import Kind, Table
from tenantry.planning.paths import foreign_keys
from unit.planning.shop import LINES, SALES, STORES, STORES_PART
from unit.schemas import name, plan_context, schema, spec, table, unique, with_key


def path(said: str, *tables: Table, more: str = "") -> str:
    """The path of sales as a person reads it."""
    owned = plan_context(spec(STORES_PART, f"sales paths = [{said}]", more=more), STORES, *tables).ownership.of(
        SALES.name
    )
    assert owned is not None
    return str(owned.paths[0])


def refusal(said: str, *tables: Table, more: str = "") -> str:
    with pytest.raises(UsageError) as found:
        path(said, *tables, more=more)
    return f"{found.value.message}. {found.value.remedy}"


def test_hops() -> None:
    """Until the first owned table, or the tenant table; what stands between is no table of the spec's."""
    assert path('["store_id"]', SALES) == "store_id > public.stores"
    desks = table("desks", "store_id > stores")
    sales = table("sales", "desk_id > desks")
    assert path('["desk_id", "store_id"]', sales, desks) == "desk_id > store_id > public.stores"


def test_paths_that_lead_nowhere() -> None:
    desks, sales = table("desks", "store_id > stores"), table("sales", "desk_id > desks")
    assert "ends at public.desks" in refusal('["desk_id"]', sales, desks)
    assert "has no foreign key on (id); it has (store_id)" in refusal('["id", "x"]', SALES)
    assert "has no column 'shop_id'" in refusal('["shop_id"]', SALES)


def test_what_stands_behind_the_end_is_read_too() -> None:
    """A path may say the whole way to the tenant; nothing of it is passed over unread."""
    assert path('["store_id", "tenant_id"]', SALES) == "store_id > public.stores"
    assert "has no column 'x'" in refusal('["store_id", "x"]', SALES)
    assert "continues after the tenant table" in refusal('["store_id", "tenant_id", "id"]', SALES)
    away = with_key(SALES, parent=Name("elsewhere", "stores"))
    assert "elsewhere.stores is in no schema of the spec" in refusal('["store_id", "tenant_id"]', away)


def test_a_column_of_the_tenants_type_is_the_tenant() -> None:
    """Without a foreign key; of another type it is none."""
    assert path('["shop"]', table("sales", "shop")) == "shop > public.tenants"
    assert "no foreign key on (shop)" in refusal('["shop"]', table("sales", "shop text"))


def test_keys_of_several_columns() -> None:
    """By all of them, in any order."""
    (key,) = SALES.foreign_keys
    both = replace(table("sales", "store_id", "year"), foreign_keys=(
        replace(key, columns=("store_id", "year"), parent_columns=("id", "year"), operators=()),
    ))  # fmt: skip
    assert path('[["year", "store_id"]]', both) == "store_id,year > public.stores"


@pytest.mark.parametrize(
    ("sales", "nullable", "deferrable"),
    [
        (SALES, False, False),
        (table("sales", "store_id? > stores"), True, False),
        (with_key(SALES, validated=False), True, False),
        (with_key(SALES, deferrable=True), False, True),
        (replace(SALES, columns=(SALES.columns[0], replace(SALES.columns[1], generated="s"))), False, True),
    ],
)
def test_what_can_be_said_of_a_hop(sales: Table, *, nullable: bool, deferrable: bool) -> None:
    """A key that was never proved may lead nowhere; a generated column is NULL while a BEFORE trigger runs."""
    owned = plan_context(spec(STORES_PART, 'sales paths = [["store_id"]]'), STORES, sales).ownership.of(SALES.name)
    assert owned is not None
    (hop,) = owned.paths[0].hops
    assert (hop.nullable, hop.deferrable, hop.unique) == (nullable, deferrable, True)


REFERENCE = '[[reference]]\nfrom = "sales.shop"\nto = "stores.code"'


def test_references_of_the_spec() -> None:
    """They are keys like others, but that nobody says that they lead to one row, or to any."""
    stores, sales = table("stores", "tenant_id > tenants", "code text"), table("sales", "shop text")
    said = spec(STORES_PART, 'sales paths = [["shop"]]', more=REFERENCE)
    for uniques, one in (((), False), ((unique("code"),), True), ((unique("code", partial=True),), False)):
        owned = plan_context(said, replace(stores, uniques=uniques), sales).ownership.of(SALES.name)
        assert owned is not None
        (hop,) = owned.paths[0].hops
        assert (hop.parent_columns, hop.nullable, hop.unique) == (("code",), True, one)


def test_a_path_along_what_crosses() -> None:
    """What may lead to another tenant's row tells none."""
    crosses = '[[reference]]\nfrom = "sales.store_id"\ncrosses = true'
    assert "it tells no tenant" in refusal('["store_id"]', SALES, more=crosses)
    assert "has no foreign key on (id)" in refusal('["store_id"]', SALES, more=crosses.replace("store_id", "id"))


def child(said: str, *tables: Table) -> str:
    with pytest.raises(UsageError) as found:
        plan_context(spec(STORES_PART, f"boxes children = {said}", "sales paths = [['store_id']]"), STORES, *tables)
    return found.value.message


def test_children() -> None:
    """A child needs a foreign key to the table, and to be owned itself."""
    boxes, sales = table("boxes"), table("sales", "store_id > stores", "box_id > boxes")
    owned = plan_context(
        spec(STORES_PART, 'boxes children = ["sales.box_id"]', 'sales paths = [["store_id"]]'), STORES, sales, boxes
    ).ownership.of(boxes.name)
    assert owned is not None
    assert list(map(str, owned.children)) == ["public.sales.box_id"]
    assert "is not a foreign key to public.boxes" in child('["sales.store_id"]', sales, boxes)
    assert "is not an owned table" in child('["lines.box_id"]', sales, boxes, table("lines", "box_id > boxes"))


def test_keys_of_partitions_count_as_the_tables() -> None:
    """Each once; those that a partition has from the whole are the whole's."""
    (key,) = LINES.foreign_keys
    whole = replace(LINES, kind=Kind.PARTITIONED, foreign_keys=())
    parts = [
        replace(LINES, name=name(one), partition_of=LINES.name, foreign_keys=(replace(key, name=one, inherited=got),))
        for one, got in (("a", False), ("b", False), ("c", True))
    ]
    assert [one.name for one in foreign_keys(schema(whole, *parts), whole)] == ["a"]
    assert foreign_keys(schema(whole, parts[2]), whole) == ()
