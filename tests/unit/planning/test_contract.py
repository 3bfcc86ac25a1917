"""Contract: what had to wait, the keys to the tenant table, and the end of what served the old application."""

from __future__ import annotations

from tenantry.planning.contract import contract_steps
from tenantry.steps import DropGlobalUnique, DropLegacyPolicies, DropTrigger
from unit.planning.shop import SALES_PART, STORES, STORES_PART, keys, shop, shop_spec
from unit.schemas import plan_context, spec, table, unique


def test_what_had_to_wait() -> None:
    """Keys of a tenant that shows late: the index, the check, the last rows, the proof, in this order."""
    found = keys(contract_steps(shop()))
    expected = [
        "index:tenantry_lines__id_key",
        "not_null_check:lines",
        "foreign_key:lines:tenantry_tenant_fkey",
        "contract_rest:lines",
        "not_null_check_valid:lines",
        "not_null:lines",
        "foreign_key_valid:lines:tenantry_tenant_fkey",
    ]
    assert [key for key in found if key in expected] == expected


def test_triggers_end() -> None:
    """Each that expand made, under the key that it has there, so that the earlier step counts as done."""
    ended = {key for step in contract_steps(shop()) if isinstance(step, DropTrigger) for key in step.ends}
    assert ended == {
        "assignment:public.sales", "assignment:public.lines", "follow:public.stores:~tenantry_follow",
        "follow:public.sales:~tenantry_follow",
    }  # fmt: skip


def test_the_guard_of_a_given_column_can_come_back() -> None:
    """Undoing contract makes it anew: the step has it."""
    loose = table("stores", "tenant_id? > tenants")
    (step,) = (
        one for one in contract_steps(shop(stores=loose)) if isinstance(one, DropTrigger) and one.table == STORES.name
        and one.made_by == "assignment"
    )  # fmt: skip
    assert step.guard is not None
    assert step.guard.guard


def test_global_uniques_go() -> None:
    """What is unique within a tenant by then replaces them."""
    products = table(
        "products", "tenant_id > tenants", "sku text",
        uniques=(unique("id", primary=True), unique("sku", name="products_sku")),
    )  # fmt: skip
    said = spec('products paths = [["tenant_id"]]\nunique = ["products_sku"]')
    (step,) = (one for one in contract_steps(plan_context(said, products)) if isinstance(one, DropGlobalUnique))
    assert step.unique.name == "products_sku"
    assert step.replaced_by.name == "tenantry_products__products_sku_key"


def test_legacy_roles_lose_their_sight() -> None:
    """Where there are any, on every table under row security, the tenant table too."""
    assert not [one for one in contract_steps(shop()) if isinstance(one, DropLegacyPolicies)]
    legacy = shop(of=shop_spec(more='[application]\nlegacy_roles = ["old"]'))
    found = [one for one in contract_steps(legacy) if isinstance(one, DropLegacyPolicies)]
    assert {one.table.name for one in found} == {"stores", "sales", "lines", "tenants"}
    assert all(one.security.legacy == () for one in found)


def test_adoptions_end() -> None:
    """The trigger on a child that tells its parent's tenant."""
    said = spec(STORES_PART, SALES_PART, 'boxes children = ["sales.box_id"]')
    sales = table("sales", "store_id > stores", "box_id > boxes")
    found = contract_steps(plan_context(said, STORES, sales, table("boxes")))
    assert "adoption:public.sales" in {key for one in found if isinstance(one, DropTrigger) for key in one.ends}
