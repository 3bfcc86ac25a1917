"""The foreign key of each tenant column to the tenant table: what it does on delete and update, and what it changes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tenantry.model.schema import Kind, Table
from tenantry.planning.tenant_keys import TENANT_KEY, bearers, tenant_keys, tenant_keys_valid
from tenantry.steps import TenantForeignKey
from unit.planning.shop import SALES, SALES_PART, STORES, STORES_PART, keys, shop
from unit.schemas import name, plan_context, spec, table, with_key


def tenant_foreign_keys(**tables: Table) -> dict[str, TenantForeignKey]:
    return {step.table.name: step for step in tenant_keys(shop(**tables)) if isinstance(step, TenantForeignKey)}


def test_only_where_there_is_none() -> None:
    """A column with the user's own key to the tenant table needs no second one; before ours the trigger that defers
    them."""
    assert set(tenant_foreign_keys()) == {"sales", "lines"}
    assert keys(tenant_keys(shop()))[0] == "tenants_deferred:tenants"
    alone = plan_context(spec(STORES_PART), STORES)
    assert not list(tenant_keys(alone))


@pytest.mark.parametrize(
    ("sales", "changes"),
    [
        (SALES, ""),
        (with_key(SALES, on_delete="c"), ""),
        (with_key(SALES, on_delete="n"), "store_id_fkey of public.sales is ON DELETE SET NULL"),
        (with_key(SALES, on_delete="d"), "store_id_fkey of public.sales is ON DELETE SET DEFAULT"),
        (table("sales", "store_id? > stores"), "store_id_fkey of public.sales can be NULL"),
        (replace(SALES, foreign_keys=()), "public.sales (store_id) is not a foreign key of the database"),
    ],
)
def test_whether_a_tenant_can_be_deleted_as_before(sales: Table, changes: str) -> None:
    """It can where the user's keys take its rows along, or refuse; where they let them stay, ours holds them."""
    more = "" if sales.foreign_keys else '[[reference]]\nfrom = "sales.store_id"\nto = "stores.id"'
    found = plan_context(spec(STORES_PART, SALES_PART, more=more), STORES, sales)
    (step,) = (one for one in tenant_keys(found) if isinstance(one, TenantForeignKey))
    assert step.on_delete == "a"
    assert step.changes.removeprefix("a tenant can no longer be deleted while it has rows in public.sales: ") == changes


def test_a_table_that_nothing_leads_from() -> None:
    found = plan_context(spec('notes assign = { tenant = "a" }'), table("notes"))
    (step,) = (one for one in tenant_keys(found) if isinstance(one, TenantForeignKey))
    assert "no foreign key leads from them to it" in step.changes
    assert step.on_update == "c"


def test_who_takes_rows_along_when_a_tenants_key_changes() -> None:
    """The user's keys and the composite ones do, where they lead to the tenant's key; else ours."""
    assert {table: step.on_update for table, step in tenant_foreign_keys().items()} == {"sales": "a", "lines": "a"}
    by_slug = table("stores", "code text > tenants.slug")
    found = plan_context(spec('stores paths = [["code"]]', SALES_PART), by_slug, SALES)
    keys_ = [one for one in tenant_keys(found) if isinstance(one, TenantForeignKey)]
    assert [(one.table.name, one.on_update) for one in keys_] == [("stores", "c"), ("sales", "c")]


def test_deferred_where_a_key_on_the_way_is() -> None:
    """Rows may come before their tenant then."""
    assert {table: step.deferred for table, step in tenant_foreign_keys().items()} == {"sales": False, "lines": False}
    late = tenant_foreign_keys(sales=with_key(SALES, deferrable=True))
    assert {table: step.deferred for table, step in late.items()} == {"sales": True, "lines": True}


def test_partitions() -> None:
    """First on each leaf, then the whole takes theirs over."""
    whole = replace(SALES, kind=Kind.PARTITIONED)
    leaf = replace(SALES, name=name("sales_1"), partition_of=SALES.name)
    context = plan_context(spec(STORES_PART, SALES_PART), STORES, whole, leaf)
    unit = next(one for one in context.units() if one.name == SALES.name)
    assert [(table.name.name, taken) for table, taken in bearers(unit)] == [("sales_1", False), ("sales", True)]
    assert keys(tenant_keys(context))[1:] == [f"foreign_key:sales_1:{TENANT_KEY}"]
    taking = [one for one in tenant_keys_valid(context) if isinstance(one, TenantForeignKey)]
    assert [(one.whole, one.tree) for one in taking] == [(True, (leaf.name,))]
    assert keys(tenant_keys_valid(context)) == [
        f"foreign_key_valid:sales_1:{TENANT_KEY}", f"foreign_key:sales:{TENANT_KEY}",
    ]  # fmt: skip
