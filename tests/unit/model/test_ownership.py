"""Who owns which rows, asked of a resolved spec."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tenantry.model.ownership import Child, Hop, Owned, Ownership, Path, TenantTable
from tenantry.model.spec import Orphans
from unit.schemas import EQUAL, name

TENANT = TenantTable(name=name("tenants"), key="id", slug="slug", type="uuid", default="rest", quarantine="aside")
SALES = Owned(table=name("sales"), column="tenant_id")
FOUND = Ownership(
    tenant=TENANT, setting="app.tenant_id", components=((SALES,),), heirs={name("sales_1"): name("sales")},
    crossing=frozenset({(name("sales"), ("store_id",))}),
)  # fmt: skip


def test_partitions_share_the_decision() -> None:
    assert FOUND.of(name("sales_1")) == FOUND.of(name("sales")) == SALES
    assert FOUND.of(name("tenants")) is None
    assert list(FOUND.owned) == [SALES]
    for table in ("sales", "sales_1"):
        assert FOUND.crosses(name(table), ("store_id",))
        assert not FOUND.crosses(name(table), ("id",))


@pytest.mark.parametrize(
    ("orphans", "slug"),
    [(Orphans.FAIL, None), (Orphans.SHARED, None), (Orphans.DEFAULT, "rest"), (Orphans.QUARANTINE, "aside")],
)
def test_the_tenant_of_the_last_resort(orphans: Orphans, slug: str | None) -> None:
    assert TENANT.fallback(orphans) == slug


def test_ways_as_people_read_them() -> None:
    first = Hop(columns=("a", "b"), parent=name("x"), parent_columns=("a", "b"), operators=(EQUAL, EQUAL))
    path = Path(hops=(first, replace(first, columns=("c",), parent=name("stores"))))
    assert str(path) == "a,b > c > public.stores"
    assert (path.target, path.columns) == (name("stores"), ("a", "b"))
    child = Child(table=name("lines"), columns=("sale_id",), own_columns=("id",), operators=(EQUAL,))
    assert str(child) == "public.lines.sale_id"
