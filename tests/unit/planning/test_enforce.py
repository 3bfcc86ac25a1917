"""Enforce: indexes, constraints that are not valid yet, one sweep, then the proof."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tenantry.model.schema import Kind, Table
from tenantry.planning.context import PlanContext
from tenantry.planning.enforce import enforce_steps
from tenantry.steps import TenantForeignKey, TenantIndex
from unit.planning.shop import SALES, SALES_PART, STORES, STORES_PART, keys, shop
from unit.schemas import name, plan_context, spec, table, unique, with_key

BESIDE = "foreign_key:sales:tenantry_store_id_fkey"


def test_the_sweep_stands_between_constraints_and_their_proof() -> None:
    """What was in flight while the backfill looked is repaired when every constraint already holds for new rows."""
    found = keys(enforce_steps(shop()))
    sweeps = [number for number, key in enumerate(found) if key.startswith("enforce_sweep")]
    assert max(found.index(BESIDE), found.index("not_null_check:sales")) < sweeps[0]
    assert sweeps[-1] < found.index("foreign_key_valid:sales:tenantry_store_id_fkey")
    assert found.index("not_null_check_valid:sales") < found.index("not_null:sales")
    assert max(number for number, key in enumerate(found) if key.startswith("index:")) < found.index(BESIDE)


def test_what_waits_for_contract() -> None:
    """Where a tenant may show late, the tenant column becomes part of no key yet, nor NOT NULL."""
    found = keys(enforce_steps(shop()))
    assert not {"not_null:lines", "index:tenantry_lines__id_key"} & set(found)
    assert "index:tenantry_lines__sale_id_idx" in found


def beside(context: PlanContext, constraint: str = "tenantry_store_id_fkey") -> TenantForeignKey:
    return next(
        step for step in enforce_steps(context) if isinstance(step, TenantForeignKey) and step.constraint == constraint
    )


@pytest.mark.parametrize(
    ("changes", "major", "expected"),
    [
        ({}, 18, ("a", (), False)),
        ({"on_delete": "c"}, 18, ("c", (), False)),
        ({"on_delete": "r"}, 18, ("r", (), False)),
        ({"on_delete": "n"}, 18, ("n", ("store_id",), False)),
        ({"on_delete": "n"}, 14, ("a", (), True)),
        ({"on_delete": "d"}, 14, ("a", (), True)),
        ({"deferrable": True}, 18, ("a", (), True)),
    ],
)
def test_it_acts_as_the_users_key(changes: dict[str, object], major: int, expected: tuple[object, ...]) -> None:
    """Whichever of the two fires first does the same; before 15 there is no SET NULL of some columns, and ours waits
    for the end of the transaction."""
    key = beside(shop(sales=with_key(SALES, **changes), version=major * 10000))
    assert (key.on_delete, key.delete_columns, key.deferred) == expected
    assert (key.columns, key.parent_columns) == (("store_id", "tenant_id"), ("id", "tenant_id"))
    assert key.on_update == "c"


def test_what_changes_for_the_application() -> None:
    """Of a key that does not cascade on update it is said that ours does."""
    assert "now cascades to public.sales" in beside(shop()).changes
    assert beside(shop(sales=with_key(SALES, on_update="c"))).changes == ""
    assert "before store_id_fkey acts" in beside(shop(sales=with_key(SALES, on_update="n"))).changes


def test_names_of_ours_are_left_free() -> None:
    """A user's key whose name would give one of ours gets another one beside it."""
    steps = enforce_steps(shop(sales=with_key(SALES, name="tenant_fkey")))
    names = [step.constraint for step in steps if isinstance(step, TenantForeignKey) and step.table == SALES.name]
    assert names != ["tenantry_tenant_fkey"]
    assert names[0].startswith("tenantry_tenant_fkey_")


def test_two_parents_are_deferred() -> None:
    """A row that moves with both follows one of them first."""
    sales = table("sales", "store_id > stores", "back_id > stores")
    assert "parents_deferred:sales" in keys(enforce_steps(shop(sales=sales)))
    assert "parents_deferred:sales" not in keys(enforce_steps(shop()))


def test_what_no_key_can_hold() -> None:
    """A reference to a mixed table is held by triggers; its parent's rows change hands only where nobody refers."""
    said = spec(STORES_PART + '\norphans = "shared"', SALES_PART)
    found = keys(enforce_steps(plan_context(said, STORES, SALES)))
    assert {"reference:sales:tenantry_refers_store_id_fkey", "tenant_change:stores"} <= set(found)
    assert BESIDE not in found
    assert "not_null:stores" not in found


def test_references_that_cross() -> None:
    """They are held by nothing of ours."""
    said = spec(
        STORES_PART, 'sales paths = [["tenant_id"]]', more='[[reference]]\nfrom = "sales.store_id"\ncrosses = true'
    )
    found = keys(enforce_steps(plan_context(said, STORES, table("sales", "store_id > stores", "tenant_id > tenants"))))
    assert not [key for key in found if "store_id" in key]


def partitioned() -> tuple[Table, ...]:
    whole = replace(SALES, kind=Kind.PARTITIONED)
    middle = replace(SALES, name=name("sales_1"), kind=Kind.PARTITIONED, partition_of=SALES.name)
    leaf = replace(SALES, name=name("sales_1_a"), partition_of=middle.name)
    return whole, middle, leaf


def test_a_partitioned_table_is_indexed_from_below() -> None:
    """CONCURRENTLY on each leaf, then the wholes without waiting, each with its parts attached; a key is valid on each
    partition before the whole takes it over."""
    found = keys(enforce_steps(plan_context(spec(STORES_PART, SALES_PART), STORES, *partitioned())))
    index = [key for key in found if "__store_id_idx" in key]
    assert index == [
        "index:tenantry_sales_1_a__store_id_idx",
        "index:tenantry_sales_1__store_id_idx",
        "index_attached:tenantry_sales_1_a__store_id_idx",
        "index:tenantry_sales__store_id_idx",
        "index_attached:tenantry_sales_1__store_id_idx",
    ]
    assert found.index("foreign_key_valid:sales_1_a:tenantry_store_id_fkey") < found.index(BESIDE)


def test_uniques_within_a_tenant() -> None:
    """Beside a unique index that the spec lists stands one with the tenant in front; of a mixed table, where the rows
    that all share have no tenant, another one for these."""
    uniques = (unique("id", primary=True), unique("sku", name="products_sku"))
    products = table("products", "tenant_id > tenants", "sku text", uniques=uniques)
    for orphans, expected in (("fail", ["key"]), ("shared", ["key", "shared"])):
        said = spec(f'products paths = [["tenant_id"]]\nunique = ["products_sku"]\norphans = "{orphans}"')
        steps = [step for step in enforce_steps(plan_context(said, products)) if isinstance(step, TenantIndex)]
        found = [step for step in steps if "products_sku" in step.index.name]
        assert [step.index.name.rpartition("_")[2] for step in found] == expected
        assert found[0].rest == "(sku)"
        assert all(step.unique for step in found)


def test_a_table_that_refers_to_nothing() -> None:
    """Its tenant's rows are found by the tenant alone."""
    said = spec("notes paths = [['tenant_id']]")
    notes = replace(table("notes", "tenant_id > tenants"), primary_key=(), uniques=())
    assert keys(enforce_steps(plan_context(said, notes)))[0] == "index:tenantry_notes_idx"
