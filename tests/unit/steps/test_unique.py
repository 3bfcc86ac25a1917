"""What contract takes away of uniqueness across tenants."""

from __future__ import annotations

from tenantry.model.name import Name
from tenantry.model.schema import Unique
from tenantry.steps.unique import DropGlobalUnique
from unit.steps.examples import CONTRACT, SALES, assert_statements


def test_a_constraint() -> None:
    """Dropped, once the one by tenant is there."""
    step = DropGlobalUnique(
        phase=CONTRACT,
        table=SALES,
        unique=Unique(name="sales_code_key", columns=("code",), constraint=True),
        replaced_by=Name("public", "sales_tenant_code"),
    )
    assert_statements(
        step.apply(),
        'ALTER TABLE "public"."sales" DROP CONSTRAINT "sales_code_key"',
    )


def test_an_index() -> None:
    """Of an index without a constraint, the index."""
    step = DropGlobalUnique(
        phase=CONTRACT,
        table=SALES,
        unique=Unique(name="sales_code", columns=("code",), constraint=False),
        replaced_by=Name("public", "sales_tenant_code"),
    )
    assert_statements(
        step.apply(),
        'DROP INDEX "public"."sales_code"',
    )
