"""Isolate: the application role may do no more than the spec says, and sees one tenant."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from tenantry.model.name import Name
from tenantry.model.plan import Phase
from tenantry.model.schema import Executed, Grant, Kind, Table, View
from tenantry.planning.context import PlanContext
from tenantry.planning.isolate import OWN, READ, UNCHECKED, WRITES, isolate_steps, row_securities
from tenantry.steps import ApplicationGrants, ContextDefault, FunctionGrant, InvokerView, SchemaUsage, Step
from tenantry.steps.row_security import Sight
from unit.planning.shop import PRODUCTS, SALES, SALES_PART, STORES, STORES_PART, keys, shop, shop_spec
from unit.schemas import name, plan_context, spec, table

ROLE = "tenantry_app"


def grants(steps: Iterable[Step]) -> dict[str, ApplicationGrants]:
    return {str(step.table).removeprefix("public."): step for step in steps if isinstance(step, ApplicationGrants)}


def test_the_order() -> None:
    """The role may read nothing before the policies stand: neither now, nor half-way back."""
    found = keys(isolate_steps(shop()))
    last = max(number for number, key in enumerate(found) if key.startswith("row_security:"))
    assert found[0] == f"role:{ROLE}"
    assert all(found.index(key) > last for key in found if key.startswith(("grants:", "schema_usage:")))
    assert {step.phase for step in isolate_steps(shop())} == {Phase.ISOLATE}


def test_what_it_may_do() -> None:
    """With its own rows all, with those of all and the tenant table read."""
    found = grants(isolate_steps(shop()))
    assert {table: step.grants for table, step in found.items()} == {
        "stores": OWN, "sales": OWN, "lines": OWN, "products": READ, "tenants": READ,
    }  # fmt: skip
    said = spec(STORES_PART, 'products shared = "write"')
    assert grants(isolate_steps(plan_context(said, STORES, PRODUCTS)))["products"].grants == OWN


@pytest.mark.parametrize("privilege", [*OWN, *UNCHECKED])
def test_what_is_taken_from_it(privilege: str) -> None:
    """What policies do not cover, and on shared tables to write; and from nobody else."""
    held = tuple(Grant(grantor="owner", grantee=one, privilege=privilege) for one in (ROLE, "clerk"))
    found = grants(isolate_steps(shop(stores=replace(STORES, grants=held), products=replace(PRODUCTS, grants=held))))
    assert found["stores"].revokes == (((privilege, "owner"),) if privilege in UNCHECKED else ())
    assert found["products"].revokes == (((privilege, "owner"),) if privilege != "SELECT" else ())


def test_partitions_are_read_through_the_whole() -> None:
    """A partition gets no grant; what the role has there that policies do not cover goes."""
    whole = replace(SALES, kind=Kind.PARTITIONED)
    bare = replace(SALES, name=name("sales_1"), partition_of=SALES.name)
    held = (Grant(grantor="owner", grantee=ROLE, privilege="TRUNCATE"),)
    granted = replace(bare, name=name("sales_2"), grants=held)
    found = grants(isolate_steps(plan_context(spec(STORES_PART, SALES_PART), STORES, whole, bare, granted)))
    assert "sales_1" not in found
    assert (found["sales_2"].grants, found["sales_2"].revokes) == ((), (("TRUNCATE", "owner"),))


def member_context(*, writable: bool = False) -> PlanContext:
    """Products that a link table pairs with tenants."""
    link = table("listings", "tenant_id > tenants", "product_id > products")
    writes = "\nwritable = true" if writable else ""
    said = spec('listings paths = [["tenant_id"]]', f'products membership = "listings"{writes}')
    return plan_context(said, link, PRODUCTS)


@pytest.mark.parametrize(("writable", "may"), [(False, READ), (True, (*READ, "UPDATE"))])
def test_members(*, writable: bool, may: tuple[str, ...]) -> None:
    """Who belongs where is not a tenant's to say: it could make any row its own."""
    found = grants(isolate_steps(member_context(writable=writable)))
    assert found["listings"].grants == READ
    assert found["products"].grants == may
    sights = {one.table.name: one.sight for one in row_securities(member_context(writable=writable), legacy=())}
    assert sights["listings"] is Sight.LINK
    assert sights["products"] is (Sight.WRITING_MEMBER if writable else Sight.MEMBER)


def test_who_sees_what() -> None:
    """The owner of a table and those whose triggers read it see all of it; partitions and heirs are under it, too."""
    whole = replace(SALES, kind=Kind.PARTITIONED, owner="other")
    leaf = replace(SALES, name=name("sales_1"), partition_of=SALES.name)
    found = {one.table.name: one for one in row_securities(plan_context(spec(STORES_PART, SALES_PART), STORES, whole, leaf),
                                                           legacy=("old",))}  # fmt: skip
    assert set(found) == {"stores", "sales", "sales_1", "tenants"}
    assert set(found["stores"].operators) == {"owner", "other"}
    assert {one.sight for one in found.values()} == {Sight.OWN, Sight.READ}
    assert found["tenants"].sight is Sight.READ
    assert all(one.legacy == ("old",) for one in found.values())


def test_mixed_tables_and_quarantine() -> None:
    """Rows without a tenant are seen by all; the quarantine tenant by no application."""
    said = spec(STORES_PART, SALES_PART + '\norphans = "shared"')
    found = {one.table.name: one for one in row_securities(plan_context(said, STORES, SALES), legacy=())}
    assert found["sales"].sight is Sight.MIXED
    assert found["sales"].quarantine is None
    said = spec(STORES_PART, SALES_PART + '\norphans = "quarantine"')
    found = {one.table.name: one for one in row_securities(plan_context(said, STORES, SALES), legacy=())}
    assert found["sales"].quarantine is not None
    assert found["sales"].quarantine.slug == "quarantine"


def test_a_generated_tenant_has_no_default() -> None:
    computed = replace(STORES.columns[1], generated="s")
    context = shop(stores=replace(STORES, columns=(STORES.columns[0], computed)))
    assert {step.table.name for step in isolate_steps(context) if isinstance(step, ContextDefault)} == {
        "sales",
        "lines",
    }


def view(*reads: str, called: str = "seen", **more: object) -> dict[Name, View]:
    made = View(name=name(called), kind=Kind.VIEW, owner="owner", reads=tuple(map(name, reads)), writable=WRITES)
    return {made.name: replace(made, **more)}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("views", "major", "may", "invoker"),
    [
        (view("sales"), 18, OWN, True),
        (view("sales"), 14, None, False),
        (view("products"), 18, READ, False),
        (view("products"), 14, READ, False),
        (view("sales", kind=Kind.MATERIALIZED_VIEW), 18, None, False),
        (view("sales", writable=()), 18, READ, True),
        (view("seen_too", called="seen") | view("sales", called="seen_too"), 14, None, False),
    ],
)
def test_views(views: dict[Name, View], major: int, may: tuple[str, ...] | None, *, invoker: bool) -> None:
    """Over owned tables only those that run as whoever asks, since 15; else nothing holds them to the policies."""
    steps = list(isolate_steps(shop(views=views, version=major * 10000)))
    found = grants(steps).get("seen")
    assert (found.grants if found else None) == may
    assert (name("seen") in {step.table for step in steps if isinstance(step, InvokerView)}) == invoker


def test_a_view_that_it_may_no_longer_read() -> None:
    """What it was granted on one that policies cannot hold is taken away."""
    held = (Grant(grantor="owner", grantee=ROLE, privilege="SELECT"),)
    found = grants(isolate_steps(shop(views=view("sales", grants=held), version=140000)))["seen"]
    assert (found.grants, found.revokes) == ((), (("SELECT", "owner"),))


def test_what_others_may_write_through_a_view() -> None:
    """It is said, for the role does not get what goes by somebody's triggers or rules."""
    held = (Grant(grantor="owner", grantee="clerk", privilege="DELETE"),)
    found = grants(isolate_steps(shop(views=view("sales", grants=held, writable=("INSERT",)))))["seen"]
    assert found.grants == (*READ, "INSERT")
    assert "other roles may DELETE there" in found.left_out


def run(source: str = "", *, public: bool = True, trigger: str | None = None) -> Executed:
    return Executed(signature="app.f()", source=source, public=public, trigger=trigger)


def test_what_functions_name() -> None:
    """Sequences and schemas in their texts, and the functions themselves where not everybody may call them."""

    def context(one: Executed) -> PlanContext:
        sales: Table = replace(SALES, executes=(one,))
        return shop(sales=sales, sequences=frozenset({Name("seq", "numbers")}))

    steps = list(isolate_steps(context(run("SELECT nextval('seq.numbers')"))))
    (sequence,) = (step for step in steps if isinstance(step, ApplicationGrants) and step.object == "SEQUENCE")
    assert (sequence.table, sequence.grants, sequence.used_by) == (Name("seq", "numbers"), ("USAGE",), (SALES.name,))
    steps = list(isolate_steps(context(run("SELECT seq.f()"))))
    assert {step.table.schema for step in steps if isinstance(step, SchemaUsage)} == {"public", "seq"}
    for one, granted in ((run(), False), (run(public=False), True), (run(public=False, trigger="t"), False)):
        assert any(isinstance(step, FunctionGrant) for step in isolate_steps(context(one))) == granted


def test_types_of_other_schemas() -> None:
    """Statements may have to name them."""
    column = replace(SALES.columns[1], type_schema="kinds")
    steps = isolate_steps(shop(sales=replace(SALES, columns=(SALES.columns[0], column))))
    assert "kinds" in {step.table.schema for step in steps if isinstance(step, SchemaUsage)}


def test_api_keys() -> None:
    """Only where the spec asks for them."""
    asked = shop(of=shop_spec(more="[application]\napi_keys = true"))
    assert [key for key in keys(isolate_steps(asked)) if key.startswith("api_key")]
    assert not [key for key in keys(isolate_steps(shop())) if key.startswith("api_key")]
