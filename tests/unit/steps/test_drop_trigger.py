"""Triggers whose work is over."""

from __future__ import annotations

from tenantry.model.name import Name
from tenantry.model.plan import Phase
from tenantry.model.schema import Trigger
from tenantry.steps.drop_trigger import DropTrigger, DropUserTrigger
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


def test_a_trigger_of_the_users() -> None:
    """It comes back as it was: how it fires, and its comment."""
    trigger = Trigger(
        name="sales_touch", before=True, row=True, events=("UPDATE",), enabled="D", function=Name("public", "touch")
    )  # fmt: skip
    step = DropUserTrigger(phase=Phase.DISTRIBUTE, table=SALES, trigger=trigger)
    assert_statements(step.apply(), 'DROP TRIGGER "sales_touch" ON "public"."sales"')
    text = "CREATE TRIGGER sales_touch BEFORE UPDATE ON public.sales FOR EACH ROW EXECUTE FUNCTION touch()"
    told = {"trigger": text}
    assert_statements(
        step.revert({**told, "enabled": "D", "comment": "counts"}),
        text,
        'ALTER TABLE "public"."sales" DISABLE TRIGGER "sales_touch"',
        """COMMENT ON TRIGGER "sales_touch" ON "public"."sales" IS 'counts'""",
    )
    assert step.revert({}) == ()


def test_the_copies_of_a_trigger_on_partitions() -> None:
    """They may fire in another mode than the trigger itself."""
    trigger = Trigger(
        name="touch", before=True, row=True, events=("UPDATE",), enabled="D", function=Name("public", "touch")
    )  # fmt: skip
    parts = Name("public", "sales_1"), Name("public", "sales_2")
    step = DropUserTrigger(phase=Phase.DISTRIBUTE, table=SALES, trigger=trigger, partitions=parts)
    copies = {"public.sales_1": {"enabled": "O"}, "public.sales_2": {"enabled": "A", "comment": "here"}}
    assert_statements(
        step.revert({"trigger": "CREATE …", "enabled": "D", "copies": copies}),
        "CREATE …",
        'ALTER TABLE "public"."sales" DISABLE TRIGGER "touch"',
        'ALTER TABLE ONLY "public"."sales_1" ENABLE TRIGGER "touch"',
        'ALTER TABLE ONLY "public"."sales_2" ENABLE ALWAYS TRIGGER "touch"',
        """COMMENT ON TRIGGER "touch" ON "public"."sales_2" IS 'here'""",
    )
    assert {lock.table for lock in step.apply()[0].locks} == {SALES, *parts}
