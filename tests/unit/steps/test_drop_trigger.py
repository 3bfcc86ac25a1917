"""Triggers whose work is over."""

from __future__ import annotations

from tenantry.model.name import Name
from tenantry.steps.drop_trigger import DropTrigger
from unit.steps.examples import CONTRACT, SALES, assert_statements


def test_a_trigger() -> None:
    """With its function."""
    step = DropTrigger(
        phase=CONTRACT,
        table=SALES,
        trigger="~tenantry_assign",
        function=Name("tenantry", "assign_public__sales"),
        made_by="assignment:public.sales",
    )
    assert_statements(
        step.apply(),
        'DROP TRIGGER IF EXISTS "~tenantry_assign" ON "public"."sales"',
        """DELETE FROM "tenantry"."names" AS known WHERE known.own = pg_catalog.to_regclass('"public"."sales"') AND known.trigger = '~tenantry_assign'""",
        'DROP FUNCTION IF EXISTS "tenantry"."assign_public__sales"()',
    )
