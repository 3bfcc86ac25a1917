"""Names that the examples of steps are about, and how their statements are compared."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tenantry.model.ledger import KeyColumn, Ledger, TenantColumn
from tenantry.model.name import Name
from tenantry.model.ownership import Hop
from tenantry.model.plan import Phase, Statement
from tenantry.steps.derivation import ByPath, TenantReference

SALES, STORES, PRODUCTS, TENANTS = (Name("public", name) for name in ("sales", "stores", "products", "tenants"))
EQUAL = (("pg_catalog", "="),)
TENANT = TenantReference(table=TENANTS, key="id", slug="slug", type="uuid")
TO_STORE = Hop(columns=("store_id",), parent=STORES, parent_columns=("id",), operators=EQUAL)
TO_PRODUCT = Hop(columns=("product_id",), parent=PRODUCTS, parent_columns=("id",), operators=EQUAL)
BY_STORE = ByPath(hops=(TO_STORE,), column="tenant_id")
LEDGER = Ledger(
    table=Name("public", "movements"), called="public.movements", balance=Name("public", "stock"),
    key=(
        KeyColumn(name="tenant_id", type="uuid", nullable=False, operator=("pg_catalog", "=")),
        KeyColumn(name="product_id", type="integer", nullable=False, operator=("pg_catalog", "=")),
    ),
    quantity="quantity", owner="owner", tenant=TenantColumn(name="tenant_id", type="uuid", setting="app.tenant_id"),
)  # fmt: skip
EXPAND, ENFORCE, ISOLATE, CONTRACT = Phase.EXPAND, Phase.ENFORCE, Phase.ISOLATE, Phase.CONTRACT


def texts(statements: Iterable[Statement]) -> list[str]:
    """The statements as they are sent, with one space where there is any white space."""
    return [" ".join(statement.text.split()) for statement in statements]


def assert_statements(statements: Iterable[Statement], *expected: str) -> None:
    """They are these, in this order; `…` in an expected one stands for anything."""
    found = texts(statements)
    for text, wanted in zip(found, expected, strict=False):
        pattern = ".*".join(map(re.escape, wanted.split("…")))
        assert re.fullmatch(pattern, text), f"{wanted}\n\n{text}"
    assert len(found) == len(expected), found[len(expected) :]
