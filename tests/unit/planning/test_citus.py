"""What Citus does: in which order, and with which keys."""

from __future__ import annotations

from dataclasses import replace

from tenantry.model.name import Name
from tenantry.model.schema import ForeignKey
from tenantry.planning import make_plan, until_option
from tenantry.planning.citus import PHASE
from tenantry.steps import AttachForeignKey, DetachForeignKey, DistributeTable, IdentityToDefault, Step
from unit.planning.shop import LINES, PRODUCTS, SALES, STORES, shop_spec
from unit.schemas import TENANTS, schema


def whole(*tables: object) -> tuple[Step, ...]:
    named = {table.name: table for table in (TENANTS, STORES, SALES, LINES, PRODUCTS, *tables)}  # type: ignore[attr-defined]
    return make_plan(shop_spec(), schema(*named.values()), distribute=True, engine=True).steps


def of_engine(*tables: object) -> tuple[Step, ...]:
    return tuple(step for step in whole(*tables) if step.engine)


def test_only_on_request() -> None:
    """The first part of the phase needs no Citus."""
    prepared = make_plan(shop_spec(), schema(TENANTS, STORES, SALES, LINES, PRODUCTS), distribute=True).steps
    assert [step for step in prepared if step.engine] == []
    assert until_option(PHASE, prepared) == "--until distribute --prepare"
    assert until_option(PHASE, whole()) == "--until distribute"


def test_the_order() -> None:
    """The setting first, so that sessions have it; no foreign key while tables are distributed; checks last."""
    kinds = [type(step).__name__ for step in of_engine()]
    order = list(dict.fromkeys(kinds))
    assert order == [
        "PropagateTenant", "DetachForeignKey", "DistributeTable", "EmptyLocalTable", "AttachForeignKey",
        "ValidateAttachedKey", "CheckShards",
    ]  # fmt: skip
    assert kinds == sorted(kinds, key=order.index)


def test_every_key_comes_back() -> None:
    """Those of tenantry and the user's that are left after the first part, each once, and each in the form of that."""
    found = of_engine()
    detached = {(step.table, step.constraint): step for step in found if isinstance(step, DetachForeignKey)}
    attached = {(step.table, step.constraint): step for step in found if isinstance(step, AttachForeignKey)}
    assert detached
    assert detached.keys() == attached.keys()
    assert all(step.wanted_key == attached[place].wanted_key for place, step in detached.items())
    assert all(not step.wanted_key.deferrable for step in attached.values())
    of_users = {step.table.name for step in found if isinstance(step, DetachForeignKey) and step.foreign_key}
    assert of_users == {"stores"}, "its key to the tenant table is the user's"


def test_shared_tables_come_first_and_owned_ones_together() -> None:
    found = [step for step in of_engine() if isinstance(step, DistributeTable)]
    copied = [step for step in found if step.column is None]
    owned = [step for step in found if step.column is not None]
    assert found == [*copied, *owned]
    assert {step.table.name for step in copied} == {"products", "tenants"}
    first, *others = owned
    assert first.together_with is None
    assert {step.together_with for step in others} == {first.table}


def test_copied_tables_in_the_order_of_their_keys() -> None:
    """A table that is copied to each node can refer only to one that is."""
    key = ForeignKey(
        name="tenants_best_fkey", columns=("best",), parent=Name("public", "products"), parent_columns=("id",)
    )  # fmt: skip
    found = of_engine(replace(TENANTS, foreign_keys=(key,)))
    names = [step.table.name for step in found if isinstance(step, DistributeTable) and step.column is None]
    assert names == ["products", "tenants"]
    kept = [step for step in found if isinstance(step, DetachForeignKey) and step.constraint == key.name]
    assert [step.foreign_key for step in kept] == [key]


def test_what_stood_counts_as_done() -> None:
    """A key that is detached ends the steps that made it, and one that is attached ends that it is detached."""
    steps = whole()
    keys = {step.key for step in steps}
    ended = {key for step in steps if step.engine for key in step.ends}
    assert ended <= keys
    standing = ("colocated_foreign_key:", "colocated_foreign_key_valid:", "detached_foreign_key:")
    assert {key for key in keys - ended if key.startswith(standing)} == set()


def test_identity_columns_are_numbered_by_a_default() -> None:
    columns = tuple(replace(one, identity="a") if one.name == "id" else one for one in SALES.columns)
    found = [step for step in of_engine(replace(SALES, columns=columns)) if isinstance(step, IdentityToDefault)]
    assert [(step.table, step.column, step.identity) for step in found] == [(SALES.name, "id", "a")]
    assert found[0].original_table(SALES, {}).column("id") == replace(columns[0], default=None)
