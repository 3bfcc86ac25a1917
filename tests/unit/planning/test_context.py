"""The questions that phases ask of spec, schema and ownership together."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tenantry.model.schema import Kind, Role
from tenantry.steps.derivation import ByChildren, ByPath, ByRows, BySlug, ByText
from unit.planning.shop import LINES, SALES, SALES_PART, STORES, STORES_PART, shop, shop_spec
from unit.schemas import TENANTS, name, plan_context, spec, table, with_key


@pytest.mark.parametrize(
    ("said", "source"),
    [
        ('assign = { tenant = "a" }', BySlug),
        ('assign = { column = "code" }', ByText),
        ('assign = { sql = "code || 1" }', ByText),
        ('paths = [["store_id"]]', ByPath),
    ],
)
def test_where_rows_have_their_tenants_from(said: str, source: type) -> None:
    context = plan_context(spec(STORES_PART, f"notes {said}"), STORES, table("notes", "store_id > stores", "code text"))
    (owned,) = (one for one in context.ownership.owned if one.table.name == "notes")
    assert [type(one) for one in context.sources(owned)] == [source]
    # The slug is one for all rows: nothing of a row says it.
    assert len(context.sources(owned, slug=False)) == (source is not BySlug)


def test_a_given_columns_own_path_is_no_source() -> None:
    """What it says, the row says already; a second path may still fill its NULLs."""
    sales = table("sales", "tenant_id? > tenants", "store_id > stores")
    context = plan_context(spec(STORES_PART, 'sales paths = [["tenant_id"], ["store_id"]]'), STORES, sales)
    owned = context.ownership.of(sales.name)
    assert owned is not None
    (source,) = context.sources(owned)
    assert isinstance(source, ByPath)
    assert source.hops[0].columns == ("store_id",)


def test_the_files_rows_are_a_part_of_the_source() -> None:
    """Other rows give other tenants, so they are another source."""
    context = plan_context(spec('notes assign = { tenant = "a" }'), table("notes"))
    (owned,) = context.ownership.owned
    assert owned.assignment is not None
    found = []
    for slug in ("north", "south"):
        assignment = replace(owned.assignment, tenant=None, rows=(("1", slug),))
        (source,) = context.sources(replace(owned, assignment=assignment))
        assert isinstance(source, ByRows)
        assert source.assigned.schema == "tenantry"
        found.append(source.digest)
    assert found[0] != found[1]


def test_how_a_child_knows() -> None:
    """By its other paths, where it has some: its own tenant may have come from the parent that asks."""
    boxes, said = table("boxes"), (STORES_PART, 'boxes children = ["sales.box_id"]')
    sales = table("sales", "store_id > stores", "box_id? > boxes")
    for paths, told in (('[["store_id"], ["box_id"]]', ["store_id"]), ('[["store_id"]]', ["store_id"])):
        context = plan_context(spec(*said, f"sales paths = {paths}"), STORES, sales, boxes)
        owned = context.ownership.of(boxes.name)
        assert owned is not None
        (source,) = context.sources(owned)
        assert isinstance(source, ByChildren)
        assert [path.hops[0].columns[0] for path in source.told] == told
        assert [parent.table for parent in context.parents_of(sales.name)] == [boxes.name]


def test_who_maintains() -> None:
    """As the spec says, else who owns most of the owned tables; both see all rows."""
    lines = replace(LINES, owner="other")
    assert shop(lines=lines).operator == "owner"
    assert shop(lines=lines, stores=replace(STORES, owner="other")).operator == "other"
    named = shop(of=shop_spec(more='[operator]\nrole = "maria"'))
    assert named.operators("owner") == ("maria", "owner")
    assert named.operators("maria") == ("maria",)


def test_whom_policies_filter() -> None:
    """Neither superusers nor who bypasses them; a role that is not known yet is filtered."""
    roles = {
        "root": Role(name="root", superuser=True), "dump": Role(name="dump", bypasses=True), "app": Role(name="app"),
    }  # fmt: skip
    assert shop(roles=roles).filtered(("root", "dump", "app", "new")) == ("app", "new")


def test_owners_of_triggers_read() -> None:
    """Whoever owns a table looks at the tenants of its parents, and changes those that follow it."""
    readers = shop(sales=replace(SALES, owner="other")).readers
    assert readers[name("stores")] == ("other",)
    assert readers[name("sales")] == ("owner",)
    assert set(readers[name("tenants")]) == {"owner", "other"}


def test_relations_of_a_partitioned_table() -> None:
    """Triggers and keys go on the whole, rows are in the leaves, and heirs are units of their own."""
    whole = replace(SALES, kind=Kind.PARTITIONED)
    leaf = replace(SALES, name=name("sales_1"), partition_of=SALES.name)
    heir = replace(STORES, name=name("kiosks"), inherits=(STORES.name,))
    context = plan_context(spec(STORES_PART, SALES_PART), STORES, heir, whole, leaf)
    units = {unit.name.name: unit for unit in context.units()}
    assert set(units) == {"stores", "kiosks", "sales"}
    assert [one.name.name for one in units["sales"].relations] == ["sales_1"]
    assert [one.name.name for one in units["sales"].all] == ["sales", "sales_1"]
    assert [one.name.name for one in context.family(STORES.name)] == ["stores", "kiosks"]


def test_the_type_that_the_setting_is_cast_to() -> None:
    """Without its length; `character` alone would cut it to one letter."""
    for type_, cast in (("character(8)", "bpchar"), ("character varying(40)", "character varying"), ("uuid", "uuid")):
        key = replace(TENANTS.columns[0], type=type_, base_type=type_)
        tenants = replace(TENANTS, columns=(key, *TENANTS.columns[1:]))
        stores = table("stores", f"tenant_id {type_.partition('(')[0]} > tenants")
        stores = replace(stores, columns=(stores.columns[0], replace(stores.columns[1], base_type=type_)))
        assert plan_context(spec(STORES_PART), stores, tenants=tenants).setting_type == cast


def test_keys_that_stay_within_a_tenant() -> None:
    """Those to owned tables; not the tenant column's own, nor one that PostgreSQL does not enforce, nor one that is
    meant to cross."""

    def found(sales: object, more: str = "") -> list[str]:
        context = plan_context(spec(STORES_PART, 'sales paths = [["tenant_id"]]', more=more), STORES, sales)  # type: ignore[arg-type]
        (unit,) = (one for one in context.units() if one.name == SALES.name)
        return [key.columns[0] for key, _ in context.references(unit)]

    sales = table("sales", "tenant_id > tenants", "store_id > stores")
    assert found(sales) == ["store_id"]
    own, store = sales.foreign_keys
    assert found(replace(sales, foreign_keys=(own, replace(store, enforced=False)))) == []
    assert found(sales, '[[reference]]\nfrom = "sales.store_id"\ncrosses = true') == []


def test_what_waits_for_contract() -> None:
    """A key to a parent whose tenant may show late, or one with a generated column, which no cascade may set."""

    def waits(**tables: object) -> list[bool]:
        context = shop(**tables)
        return [context.waits(unit, key, parent) for unit in context.units() for key, parent in context.composite(unit)]

    assert waits() == [False, False]
    assert waits(stores=table("stores", "tenant_id? > tenants")) == [True, True]
    computed = replace(SALES.columns[1], generated="s")
    assert waits(sales=replace(SALES, columns=(SALES.columns[0], computed)))[0]


def test_the_action_before_15() -> None:
    """SET NULL of the tenant too would be wrong: ours waits, and does nothing."""
    (key,) = with_key(SALES, on_delete="n", delete_columns=()).foreign_keys
    assert shop().action(key) == ("n", ("store_id",), False)
    assert shop(version=150000).action(key) == ("n", ("store_id",), False)
    assert shop(version=140012).action(key) == ("a", (), True)
