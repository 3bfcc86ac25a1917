"""Which rows are one tenant's, and along which references they lead out of it, and in."""

from __future__ import annotations

from tenantry.model.tenant_export import Holding
from tenantry.planning.tenant_selection import Reference, TenantSelection
from unit.planning.shop import PRODUCTS, shop
from unit.schemas import name, plan_context, spec, table

SHOP = shop()
SELECTION = TenantSelection(ownership=SHOP.ownership, schema=SHOP.schema)
LINK = table("listings", "tenant_id > tenants", "product_id > products")
GROUND = plan_context(spec('listings paths = [["tenant_id"]]', 'products membership = "listings"'), LINK, PRODUCTS)
MEMBERS = TenantSelection(ownership=GROUND.ownership, schema=GROUND.schema)


def columns(references: object) -> list[str]:
    return [one.columns for one in references if isinstance(one, Reference)]  # type: ignore[attr-defined]


def test_parents_before_children() -> None:
    """The tenant's own row first; shared tables are nobody's."""
    assert [table.name.name for table in SELECTION.tables.values()] == ["tenants", "stores", "sales", "lines"]
    assert [table.holding for table in SELECTION.tables.values()] == [Holding.TENANT, *[Holding.OWNED] * 3]
    assert next(one.name.name for component in SELECTION.removed_together for one in component) == "lines"


def test_rows_by_the_column_alone() -> None:
    """The key is a literal; a row of nobody is not another's."""
    sales = SELECTION.tables[name("sales")]
    assert sales.belongs("it's").as_string(None) == '"t"."tenant_id" OPERATOR("pg_catalog".=) \'it\'\'s\''
    assert sales.belongs_to_others("1").as_string(None).endswith("IS FALSE")
    assert sales.goes("1") == sales.belongs("1")
    assert sales.rows.as_string(None) == 'ONLY "public"."sales"'


def test_members_go_only_with_their_last_tenant() -> None:
    products = MEMBERS.tables[name("products")]
    assert products.holding is Holding.MEMBERSHIP
    belongs = products.belongs("1").as_string(None)
    assert belongs.startswith('EXISTS (SELECT FROM "public"."listings" AS "~link" WHERE')
    assert products.goes("1").as_string(None) == f"{belongs} AND NOT {products.belongs_to_others('1').as_string(None)}"
    together = [{one.name.name for one in component} for component in MEMBERS.removed_together]
    assert {"listings", "products"} in together


def test_references_that_lead_out() -> None:
    """To what is shared or everybody's; not those that a composite key holds within the tenant, nor the tenant's own."""
    assert columns(SELECTION.leading_out()) == []
    sales = table("sales", "store_id > stores", "product_id > products")
    context = shop(sales=sales)
    out = TenantSelection(ownership=context.ownership, schema=context.schema)
    assert columns(out.leading_out()) == ["public.sales (product_id)"]
    assert columns(SELECTION.leading_in()) == ["public.sales (store_id)", "public.lines (sale_id)"]
