"""What every step can be asked, and that what it wants does not depend on partitions."""

from __future__ import annotations

from dataclasses import replace

from tenantry.steps.not_null import NotNullCheck
from tenantry.steps.step import Step
from unit.schemas import name
from unit.steps.examples import CONTRACT, ENFORCE, SALES

STEP = NotNullCheck(phase=ENFORCE, table=SALES, column="tenant_id", tree=(name("sales_1"),))


def test_what_it_wants() -> None:
    """Its statements: partitions come and go without a change of what is wanted of the whole, and so does the phase."""
    assert STEP.wants() == "\n".join(statement.text for statement in replace(STEP, tree=()).apply())
    for same in (replace(STEP, tree=()), replace(STEP, phase=CONTRACT)):
        assert same.wanted == STEP.wanted
    for other in (replace(STEP, column="other"), replace(STEP, table=name("stores"))):
        assert other.wanted != STEP.wanted


def test_of_a_partition_by_itself() -> None:
    """One that was detached has the same for itself."""
    alone = STEP.moved_to(name("sales_1"))
    assert (alone.table, alone.below) == (name("sales_1"), ())
    assert STEP.below == (name("sales_1"),)


def test_what_a_step_has_nothing_to_say_of() -> None:
    """A kind says only what it has: everything else has an answer that says so."""

    class Nothing(Step):
        key = title = "x"

        def definition(self) -> object: ...  # type: ignore[override]
        def apply(self) -> tuple[()]: ...
        def revert(self, before: object) -> tuple[()]: ...  # type: ignore[override]

    step = Nothing(phase=ENFORCE, table=SALES)
    assert step.subject == "On public.sales: x"
    nothing = (
        step.note, step.remedy, step.ends, step.below, step.built, step.trigger_function, step.own_index, step.indexed,
        step.withdraws, step.filled, step.allotted, step.derives, step.policies, step.acts_as, step.makes, step.loses,
        step.supersedes, step.record(), step.values(), step.keep({}),
    )  # fmt: skip
    assert not any(nothing)
