"""Of each step, what plan, journal and catalog together say of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

import pytest

from tenantry.model.name import Name
from tenantry.model.ownership import Ownership
from tenantry.model.plan import Phase
from tenantry.planning import make_plan
from tenantry.planning.diff import (
    State,
    altered,
    compare,
    differing,
    ended,
    enders,
    made,
    orphaned,
    reached,
    steps_to_read,
    too_early,
)
from tenantry.planning.plan import Plan
from tenantry.postgres.journal import Entry
from tenantry.steps import AddTenantColumn, AssignmentTrigger, DropTrigger, Step, TenantForeignKey
from unit.planning.entries import entry, journal
from unit.planning.shop import LINES, PRODUCTS, SALES, STORES, shop_spec
from unit.schemas import TENANTS, name, schema
from unit.steps.examples import TENANT

COLUMN = AddTenantColumn(phase=Phase.EXPAND, table=SALES.name, column="tenant_id", type="uuid", tenant=TENANT)
KEY = TenantForeignKey(
    phase=Phase.ENFORCE, table=SALES.name, constraint="tenantry_store", columns=("store_id", "tenant_id"),
    parent=STORES.name, parent_columns=("id", "tenant_id"),
)  # fmt: skip
TRIGGER = AssignmentTrigger(
    phase=Phase.EXPAND, table=SALES.name, column="tenant_id", type="uuid", sources=(), guard=True, tenant=TENANT,
    owner="owner",
)  # fmt: skip
END = DropTrigger(
    phase=Phase.CONTRACT, table=SALES.name, trigger="~tenantry_assign", made_by="assignment",
    function=Name("tenantry", "assign_public__sales"),
)  # fmt: skip


OTHER = replace(KEY, on_delete="c")


@pytest.mark.parametrize(
    ("there", "found", "state"),
    [
        (None, {}, State.PENDING),
        (None, {KEY.key: "made by hand"}, State.APPLIED),
        (None, {KEY.key: None}, State.PENDING),
        (entry(KEY), {}, State.APPLIED),
        (entry(KEY), {KEY.key: "as it was"}, State.APPLIED),
        (entry(KEY), {KEY.key: "otherwise"}, State.ALTERED),
        (entry(KEY, definition=None), {KEY.key: "otherwise"}, State.APPLIED),
        (entry(KEY), {KEY.key: None}, State.MISSING),
        (entry(KEY, state="running"), {KEY.key: None}, State.PENDING),
        (entry(KEY, state="kept"), {KEY.key: None}, State.PENDING),
        (entry(KEY, wanted=OTHER.wanted), {KEY.key: "as it was"}, State.CHANGED),
        (entry(KEY, wanted=OTHER.wanted, state="kept"), {KEY.key: None}, State.PENDING),
    ],
)
def test_the_state_of_a_step(there: Entry | None, found: dict[str, str | None], state: State) -> None:
    compared = compare([KEY], journal(*filter(None, (there,))), found)
    assert compared.states == {KEY.key: state}
    assert compared.in_force == ({KEY.key} if state in (State.APPLIED, State.ALTERED) else set())
    assert compared.of([KEY], state) == (KEY,)


def test_what_ends_another_is_done_after_it() -> None:
    """Once the end is in force, the trigger counts as done; before the trigger is there, so is not its end, though
    there is nothing that it would have to take away."""
    steps = [TRIGGER, END]
    assert END.ends == (TRIGGER.key,)
    done = compare(steps, journal(entry(TRIGGER), entry(END)), {TRIGGER.key: None, END.key: "as it was"})
    assert set(done.states.values()) == {State.APPLIED}
    early = compare(steps, {}, {TRIGGER.key: None, END.key: "gone"})
    assert set(early.states.values()) == {State.PENDING}


def test_whether_an_ended_step_is_needed_again() -> None:
    """It is where it has become another one; not where the plan has it no more, nor where what ended it is to go."""
    entries = journal(entry(TRIGGER), entry(END))
    assert ended(entries) == ended(entries, [TRIGGER, END]) == ended(entries, [END]) == {TRIGGER.key}
    assert ended(entries, [replace(TRIGGER, owner="other"), END]) == frozenset()
    assert ended(entries, [TRIGGER], (entries[END.key],)) == frozenset()
    assert ended(journal(entry(TRIGGER), entry(END, state="running"))) == frozenset()
    assert enders(entries) == {TRIGGER.key: (END.key,)}


def test_what_is_asked_of_the_catalog() -> None:
    """What the journal knows nothing of is asked only where the catalog can tell; a fill only where it is exact."""
    plan = make_plan(shop_spec(), schema(TENANTS, STORES, SALES, LINES, PRODUCTS))
    entries = journal(*(entry(step, state="done") for step in plan.steps if step.phase is Phase.BACKFILL))
    quick, exact = (steps_to_read(plan.steps, entries, exact=one) for one in (False, True))
    assert {step.phase for step in exact if step not in quick} == {Phase.BACKFILL}
    assert not [step for step in quick if step.journaled]


def test_phases() -> None:
    """How far it has come, and what was applied in an earlier phase than the spec wants it in now."""
    assert reached({}) is Phase.EXPAND
    entries = journal(entry(COLUMN), entry(KEY), entry(END, state="running"))
    assert reached(entries) is Phase.ENFORCE
    moved = replace(KEY, phase=Phase.CONTRACT)
    assert too_early([COLUMN, moved], entries, Phase.ISOLATE) == (moved,)
    assert too_early([COLUMN, moved], entries, Phase.CONTRACT) == ()
    assert compare([COLUMN, moved], entries, {}).early == (moved,)


def planned(*steps: Step, undecided: Iterable[str] = (), misfits: tuple[str, ...] = ()) -> Plan:
    context = make_plan(shop_spec(), schema(TENANTS, STORES, SALES, LINES, PRODUCTS)).ownership
    of: partial[Ownership] = partial(replace, context)
    return Plan(ownership=of(undecided={name(one): "?" for one in undecided}, misfits=misfits), steps=steps)


def test_orphans() -> None:
    """What we made and the plan has no more; of what is undecided, or does not fit, nothing is known."""
    entries = journal(entry(COLUMN), entry(KEY))
    assert [one.key for one in orphaned(planned(COLUMN), entries)] == [KEY.key]
    assert orphaned(planned(COLUMN, KEY), entries) == ()
    assert orphaned(planned(undecided=["sales"]), entries) == ()
    assert orphaned(planned(misfits=("a table is gone",)), entries) == ()


def test_what_others_have_changed() -> None:
    """Of all that the journal has in force; what a later step of ours has ended is not missed."""
    entries = journal(entry(KEY), entry(TRIGGER), entry(END))
    assert made(entries) == (KEY, END)
    found = {KEY.key: "otherwise", END.key: None, TRIGGER.key: None}
    assert altered(entries, found) == (KEY.key, END.key)
    assert altered(entries, {KEY.key: "as it was"}) == ()


def test_a_trigger_comes_back_for_a_fill() -> None:
    """What shields a fill from changing more than the tenant is needed again where rows are to be filled once more."""
    context = schema(TENANTS, STORES, SALES, LINES, PRODUCTS)
    steps = make_plan(shop_spec(), context).steps
    trigger = next(one for one in steps if isinstance(one, AssignmentTrigger) and one.table == SALES.name)
    entries = journal(*(entry(step) for step in steps))
    assert trigger.key in ended(entries, steps)
    fill = next(one for one in steps if one.phase is Phase.BACKFILL and one.table == SALES.name)
    again = entries | {fill.key: replace(entries[fill.key], wanted="another")}
    assert trigger.key not in ended(again, steps)


def test_databases_that_differ() -> None:
    """By what their steps on tables want; whether a step applied, or found, a role is nothing to the rows."""
    assert differing(journal(entry(KEY), entry(COLUMN)), journal(entry(COLUMN), entry(KEY))) == ()
    assert differing(journal(entry(KEY)), journal(entry(KEY, wanted=OTHER.wanted))) == (KEY.key,)
    assert differing(journal(entry(KEY), entry(COLUMN)), journal(entry(KEY))) == (COLUMN.key,)
