"""Distribute: the steps of the phases before say what takes another form, and in which order."""

from __future__ import annotations

from dataclasses import replace

from tenantry.model.schema import Trigger
from tenantry.planning import make_plan
from tenantry.planning.distribute import PHASE
from tenantry.steps import (
    ColocatedForeignKey,
    DirectPolicies,
    DropForeignKey,
    DropTrigger,
    Step,
    TenantForeignKey,
    ValidateColocatedKey,
    WidenKey,
)
from unit.planning.shop import LINES, PRODUCTS, SALES, STORES, keys, shop_spec
from unit.schemas import TENANTS, schema, spec, table


def distributed(*tables: object) -> tuple[Step, ...]:
    """The steps of the phase; a table of the shop is replaced by one of the same name."""
    named = {table.name: table for table in (TENANTS, STORES, SALES, LINES, PRODUCTS, *tables)}  # type: ignore[attr-defined]
    plan = make_plan(shop_spec(), schema(*named.values()), distribute=True)
    return tuple(step for step in plan.steps if step.phase is PHASE)


def test_the_order() -> None:
    """Triggers, policies, the keys that stay, the proofs of all of them, the user's own keys, then what they needed."""
    kinds = [type(step).__name__ for step in distributed()]
    order = list(dict.fromkeys(kinds))
    assert order == [
        "DropTrigger", "DirectPolicies", "ColocatedForeignKey", "ValidateColocatedKey", "DropForeignKey", "WidenKey",
    ]  # fmt: skip
    assert kinds == sorted(kinds, key=order.index)


MIXED_SPEC = spec(
    'stores paths = [["tenant_id"]]', 'sales paths = [["store_id"]]\norphans = "shared"', 'lines paths = [["store_id"]]',
    "products shared = true",
)  # fmt: skip
MIXED = (TENANTS, STORES, table("sales", "store_id? > stores"), table("lines", "sale_id? > sales", "store_id > stores"))


def test_mixed_tables() -> None:
    """Their rows get the sentinel tenant before the keys; a key that had none beside it as long as rows had no tenant
    gets one; and the triggers that did for it are dropped only then."""
    plan = make_plan(MIXED_SPEC, schema(*MIXED, PRODUCTS), distribute=True)
    steps = [step for step in plan.steps if step.phase is PHASE]
    order = list(dict.fromkeys(type(step).__name__ for step in steps))
    assert order == [
        "DropTrigger", "SentinelRow", "DirectPolicies", "SentinelFill", "SentinelDefault", "NotNullCheck",
        "ValidateNotNullCheck", "SetNotNull", "SentinelPolicies", "ColocatedForeignKey", "TenantForeignKey",
        "ValidateColocatedKey", "DropForeignKey", "WidenKey",
    ]  # fmt: skip
    (key,) = [step for step in steps if isinstance(step, TenantForeignKey)]
    assert (key.table.name, key.columns, key.parent.name, key.deferrable) == (
        "lines", ("sale_id", "tenant_id"), "sales", False
    )  # fmt: skip
    kept = [at for at, step in enumerate(steps) if isinstance(step, DropTrigger) and "refers" in step.trigger]
    proved = [at for at, step in enumerate(steps) if isinstance(step, ValidateColocatedKey)]
    assert min(kept) > max(proved)
    ended = {key for step in steps for key in step.ends}
    left = {step.key.split(":")[0] for step in plan.steps if step.phase is not PHASE and step.key not in ended}
    assert left.isdisjoint({"reference", "tenant_change", "reference_proof"})
    twins = {step.foreign_key.name: step.twin for step in steps if isinstance(step, DropForeignKey)}  # type: ignore[union-attr]
    assert "" not in twins.values()
    assert plan.ownership.tenant.sentinel == "0"
    assert make_plan(MIXED_SPEC, schema(*MIXED, PRODUCTS)).ownership.tenant.sentinel is None


def test_every_key_of_the_users_has_one_beside_it() -> None:
    """The one to the tenant table has the tenant in it already, and stays."""
    dropped = {step.foreign_key.name: step.twin for step in distributed() if isinstance(step, DropForeignKey)}  # type: ignore[union-attr]
    again = {step.constraint for step in distributed() if isinstance(step, ColocatedForeignKey)}
    assert dropped
    assert set(dropped.values()) <= again
    assert "" not in dropped.values()
    assert not any(name.startswith("stores_tenant") for name in dropped)


def test_a_primary_key_takes_the_index_that_composite_keys_are_held_by() -> None:
    """None is built for it."""
    widened = {step.table.name: step for step in distributed() if isinstance(step, WidenKey)}
    assert widened.keys() == {"stores", "sales", "lines"}
    assert all(step.by.name == f"tenantry_{name}__id_key" for name, step in widened.items())
    assert {key.table.name for key in widened["sales"].referred} == {"lines"}
    assert widened["lines"].referred == ()
    assert not [key for key in keys(distributed()) if key.startswith("index:")]


def test_what_a_key_no_longer_allows() -> None:
    """Whatever the user's own key allowed, told once for each key."""
    key = replace(LINES.foreign_keys[0], on_delete="n", on_update="c", deferrable=True)
    found = distributed(replace(LINES, foreign_keys=(key,)))
    (told,) = [step.note for step in found if isinstance(step, ColocatedForeignKey) and "sale_id" in step.constraint]
    assert told.split("; ") == [
        "a row of public.sales can no longer be deleted while sale_id of public.lines refers to it: there is no SET NULL",
        "id of public.sales can no longer be changed while sale_id of public.lines refers to it",
        "sale_id of public.lines can no longer be deferred: write the row of public.sales first",
    ]
    plain = distributed()
    assert {step.note for step in plain if isinstance(step, ColocatedForeignKey)} == {""}


def test_a_key_that_is_not_valid_stays_so() -> None:
    """Rows may violate it; a composite key beside it was validated long before."""
    key = replace(LINES.foreign_keys[0], parent=PRODUCTS.name, deferrable=True, validated=False, name="lines_sku")
    found = distributed(replace(LINES, foreign_keys=(*LINES.foreign_keys, key)))
    assert "lines_sku" in {step.constraint for step in found if isinstance(step, ColocatedForeignKey)}
    assert "lines_sku" not in {step.constraint for step in found if isinstance(step, ValidateColocatedKey)}


def test_what_stood_counts_as_done() -> None:
    """Each step ends those whose objects it makes otherwise, and nothing of ours is left beside it."""
    plan = make_plan(shop_spec(), schema(TENANTS, STORES, SALES, LINES, PRODUCTS), distribute=True)
    ended = {key for step in plan.steps if step.phase is PHASE for key in step.ends}
    before = {step.key for step in plan.steps if step.phase is not PHASE}
    assert ended <= before
    standing = {"row_security", "foreign_key", "foreign_key_valid", "tenants_deferred", "parents_deferred"}
    assert {key for key in before - ended if key.split(":")[0] in standing} == set()


def test_the_users_triggers_go_from_what_is_copied_as_well() -> None:
    touch = Trigger(name="touch", before=True, row=True, events=("UPDATE",), enabled="O", function=SALES.name)
    found = distributed(replace(SALES, triggers=(touch,)), replace(PRODUCTS, triggers=(touch,)))
    gone = {step.table.name for step in found if step.gives_up is not None}
    assert gone == {"sales", "products"}
    assert [step for step in found if isinstance(step, DropTrigger) and step.trigger == "touch"] == []


def test_shared_tables_have_no_policies() -> None:
    assert {step.table.name for step in distributed() if isinstance(step, DirectPolicies)} == {
        "tenants", "stores", "sales", "lines"
    }  # fmt: skip
