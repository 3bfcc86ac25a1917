"""The plan as a whole: phases in order, each step under one name, and the same for the same spec and schema."""

from __future__ import annotations

from dataclasses import replace

from tenantry.model.finding import Finding, Severity
from tenantry.model.plan import Phase
from tenantry.planning import make_plan
from tenantry.steps import NotNullCheck, from_json, to_json
from unit.planning.shop import LINES, PRODUCTS, SALES, STORES, shop_spec
from unit.schemas import TENANTS, name, schema

TABLES = (TENANTS, STORES, SALES, LINES, PRODUCTS)


def test_phases_in_order() -> None:
    """Whatever the order in which the catalog has the tables; distribute where it is asked for."""
    plan = make_plan(shop_spec(), schema(*TABLES), distribute=True)
    positions = [step.phase.position for step in plan.steps]
    assert positions == sorted(positions)
    assert set(positions) == {phase.position for phase in Phase}
    assert make_plan(shop_spec(), schema(*reversed(TABLES)), distribute=True).steps == plan.steps
    without = make_plan(shop_spec(), schema(*TABLES)).steps
    assert without == plan.until(Phase.CONTRACT)


def test_until_a_phase() -> None:
    plan = make_plan(shop_spec(), schema(*TABLES))
    for phase in Phase:
        assert plan.until(phase) == tuple(step for step in plan.steps if step.phase.position <= phase.position)
    assert plan.until(Phase.CONTRACT) == plan.steps


def test_more_steps_stand_at_the_end_of_their_phase() -> None:
    plan = make_plan(shop_spec(), schema(*TABLES))
    more = NotNullCheck(phase=Phase.EXPAND, table=name("stock"), column="x")
    refusal = Finding(name="x", severity=Severity.ERROR, message="no")
    whole = plan.along([more], (refusal,))
    assert whole.steps[len(plan.until(Phase.EXPAND))] == more
    assert len(whole.steps) == len(plan.steps) + 1
    assert whole.refusals == (refusal,)


def test_what_does_not_fit_is_left_out_where_that_is_asked() -> None:
    """status and validate say all that they can."""
    plan = make_plan(shop_spec(), schema(TENANTS, STORES, LINES, PRODUCTS), lenient=True)
    assert len(plan.ownership.misfits) == 2
    assert {step.table.name for step in plan.steps} == {"stores", "products", "tenants"}


def test_the_journal_keeps_each_as_it_is() -> None:
    """A step is read back from JSON equal to what was written, and so wants the same."""
    for step in make_plan(shop_spec(), schema(*TABLES)).steps:
        again = from_json(to_json(step))
        assert again == step
        assert again.wanted == step.wanted
    assert replace(STORES, name=name("x")).name.name == "x"
