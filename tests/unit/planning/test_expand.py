"""Expand: tenants and columns first, then what takes rows along, and only then what gives them their tenant."""

from __future__ import annotations

from dataclasses import replace

from tenantry.model.schema import Column
from tenantry.planning.expand import constant, expand_steps
from tenantry.steps import AddTenantColumn, AssignmentTrigger, TenantRow
from tenantry.steps.derivation import ByPath
from unit.planning.shop import SALES, STORES, STORES_PART, keys, shop
from unit.schemas import TENANTS, name, plan_context, spec, table


def test_the_order() -> None:
    """A row that got its tenant before its parent's trigger stood would stay behind where the parent moves."""
    assert keys(expand_steps(shop())) == [
        "column:sales:tenant_id",
        "column:lines:tenant_id",
        "follow:stores:~tenantry_follow",
        "follow:sales:~tenantry_follow",
        "assignment:sales",
        "assignment:lines",
    ]


def test_a_certain_tenant() -> None:
    """Along keys that are never NULL a new row has its tenant at once; along one that may be NULL it is not certain."""
    triggers = {step.table.name: step for step in expand_steps(shop()) if isinstance(step, AssignmentTrigger)}
    certain = {
        name: [source.certain for source in trigger.sources if isinstance(source, ByPath)]
        for name, trigger in triggers.items()
    }
    assert certain == {"sales": [True], "lines": [False]}
    assert triggers["lines"].watched == ("sale_id",)


def test_one_tenant_for_all_rows() -> None:
    """The column is added with the tenant's key for all rows, but not where a column of the row's type would refuse
    that, nor where an earlier run's column stayed."""
    said = spec('notes assign = { tenant = "north" }')
    notes = table("notes")
    for context, slug in (
        (plan_context(said, notes), "north"),
        (plan_context(said, replace(notes, type_used_by=("public.others.note",))), None),
        (plan_context(said, notes, preserved=frozenset({notes.name})), None),
    ):
        (owned,) = context.ownership.owned
        assert constant(context, owned) == slug
        added = next(step for step in expand_steps(context) if isinstance(step, AddTenantColumn))
        assert added.constant == slug


def test_tenants_that_the_spec_names() -> None:
    """Each once, with what a row of the table cannot do without, and the user's columns that refer to it."""
    named = Column(name="name", type="text", base_type="text", not_null=True)
    code = Column(name="code", type="text", base_type="text", not_null=True, default="'x'")
    tenants = replace(TENANTS, columns=(*TENANTS.columns, named, code))
    said = spec(
        STORES_PART, 'notes assign = { tenant = "north" }\norphans = "default"',
        tenant='default = "north"\nrows = [{ slug = "south", name = "South" }]',
    )  # fmt: skip
    context = plan_context(said, STORES, table("notes"), tenants=tenants)
    rows = [step for step in expand_steps(context) if isinstance(step, TenantRow)]
    assert [(row.slug, row.name, row.columns) for row in rows] == [
        ("north", None, ("name",)), ("south", "South", ("name",)),
    ]  # fmt: skip
    assert rows[0].referenced_by == ((name("stores"), "tenant_id"),)


def test_a_tenant_table_that_is_made() -> None:
    """It comes first, then its tenants."""
    said = spec('notes assign = { tenant = "a" }', tenant="create = true")
    found = keys(expand_steps(plan_context(said, table("notes"), tenants=None)))
    assert found == ["tenant_table:tenants", "tenant_row:tenants:a", "column:notes:tenant_id", "assignment:notes"]


def test_a_given_column_is_guarded() -> None:
    """The user's own column gets a trigger only where a fill may set its NULLs; rows follow it all the same."""
    loose = table("stores", "tenant_id? > tenants")
    assert "assignment:stores" in keys(expand_steps(shop(stores=loose)))
    assert "assignment:stores" not in keys(expand_steps(shop()))
    computed = replace(loose.columns[1], generated="s")
    fixed = replace(loose, columns=(loose.columns[0], computed))
    assert "assignment:stores" not in keys(expand_steps(shop(stores=fixed)))


def test_children_that_tell() -> None:
    """The parent learns of its tenant from the child; it keeps no tenant of the last resort meanwhile."""
    boxes = table("boxes")
    sales = table("sales", "store_id > stores", "box_id > boxes")
    said = spec(
        STORES_PART, 'sales paths = [["store_id"]]', 'boxes children = ["sales.box_id"]\norphans = "default"',
        tenant='default = "north"',
    )  # fmt: skip
    steps = list(expand_steps(plan_context(said, STORES, sales, boxes)))
    assert "adoption:sales" in keys(steps)
    trigger = next(one for one in steps if isinstance(one, AssignmentTrigger) and one.table.name == "boxes")
    assert (trigger.sources, trigger.fallback) == ((), None)


def test_two_owners_have_a_trigger_each() -> None:
    """What follows a parent is changed as its own owner: one trigger for each of them, the second one numbered."""
    more = replace(table("returns", "store_id > stores"), owner="other")
    said = spec(STORES_PART, 'sales paths = [["store_id"]]', 'returns paths = [["store_id"]]')
    found = keys(expand_steps(plan_context(said, STORES, SALES, more)))
    assert [key for key in found if key.startswith("follow:stores")] == [
        "follow:stores:~tenantry_follow", "follow:stores:~tenantry_follow_2",
    ]  # fmt: skip
