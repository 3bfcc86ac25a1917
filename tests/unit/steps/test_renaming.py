"""Steps on tables that their owner has renamed: the same, in the names of now."""

from __future__ import annotations

from dataclasses import replace

from tenantry.steps.cascade_trigger import Follower, TenantCascadeTrigger
from tenantry.steps.column import AddTenantColumn
from tenantry.steps.index import TenantIndex
from tenantry.steps.naming import Renamed
from tenantry.steps.renaming import named_in, renamed, same_index, with_columns, words_in
from unit.schemas import EQUAL, name
from unit.steps.examples import ENFORCE, EXPAND, SALES, STORES, TENANT, TENANTS

FOLLOW = TenantCascadeTrigger(
    phase=EXPAND, table=STORES, name="~t", column="tenant_id", owner="o",
    followers=(Follower(table=SALES, column="tenant_id", columns=("store_id",), parent_columns=("id",), operators=(EQUAL,)),),
)  # fmt: skip


def test_tables_wherever_they_stand() -> None:
    """In a step, and in what it is made of; and nothing else of it."""
    now = renamed(FOLLOW, {STORES: name("shops"), SALES: name("bills")})
    assert now == replace(FOLLOW, table=name("shops"), followers=(replace(FOLLOW.followers[0], table=name("bills")),))
    assert renamed(FOLLOW, {}) == FOLLOW
    assert set(named_in(FOLLOW)) == {STORES, SALES}
    assert set(words_in(FOLLOW)) >= {"~t", "store_id", "tenant_id"}
    assert "public" not in set(words_in(FOLLOW))


def test_columns() -> None:
    """Its own, and those of the tenant table."""
    step = AddTenantColumn(phase=EXPAND, table=SALES, column="tenant_id", type="uuid", tenant=TENANT)
    names = Renamed({(SALES, "tenant_id"): "shop", (TENANTS, "slug"): "code", (STORES, "tenant_id"): "no"})
    now = with_columns(step, names)
    assert now == replace(step, column="shop", tenant=replace(TENANT, slug="code"))


def test_the_same_index_under_another_name() -> None:
    index = TenantIndex(phase=ENFORCE, table=SALES, column="tenant_id", columns=("a",), index=name("i"), reason="x")
    assert same_index(index, replace(index, index=name("j"), reason="y"))
    assert not same_index(index, replace(index, columns=("b",)))
    assert not same_index(index, replace(index, unique=True))
    assert not same_index(FOLLOW, FOLLOW)
