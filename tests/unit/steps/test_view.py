"""Views as which the reader is asked."""

from __future__ import annotations

from tenantry.model.name import Name
from tenantry.steps.view import InvokerView
from unit.steps.examples import ISOLATE, assert_statements


def test_a_view() -> None:
    """It reads as who reads it, and so through the policies."""
    step = InvokerView(phase=ISOLATE, table=Name("public", "monthly_sales"))
    assert_statements(
        step.apply(),
        'ALTER VIEW "public"."monthly_sales" SET (security_invoker = true)',
    )
    assert_statements(
        step.revert({}),
        'ALTER VIEW "public"."monthly_sales" RESET ("security_invoker")',
    )
