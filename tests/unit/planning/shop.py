"""A small shop: stores belong to a tenant, sales to a store, lines to a sale, and products to all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tenantry.model.schema import Table
from tenantry.model.spec import Spec
from tenantry.planning.context import PlanContext
from tenantry.steps import Step
from unit.schemas import plan_context, spec, table

STORES = table("stores", "tenant_id > tenants")
SALES = table("sales", "store_id > stores")
LINES = table("lines", "sale_id? > sales")
PRODUCTS = table("products", "sku text")
STORES_PART, SALES_PART = 'stores paths = [["tenant_id"]]', 'sales paths = [["store_id"]]'
LINES_PART, PRODUCTS_PART = 'lines paths = [["sale_id"]]', "products shared = true"


def shop_spec(**more: str) -> Spec:
    return spec(STORES_PART, SALES_PART, LINES_PART, PRODUCTS_PART, **more)


def shop(*, of: Spec | None = None, **more: Any) -> PlanContext:
    """The shop; a table that is given by its name takes the place of that one."""
    known = {"stores": STORES, "sales": SALES, "lines": LINES, "products": PRODUCTS}
    tables: dict[str, Table] = {name: more.pop(name, one) for name, one in known.items()}
    return plan_context(of or shop_spec(), *tables.values(), **more)


def keys(steps: Iterable[Step]) -> list[str]:
    """The keys of steps, without the schema that is all tables' own."""
    return [step.key.replace("public.", "") for step in steps]
