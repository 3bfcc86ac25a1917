"""What discover proposes, given what the rows say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tenantry.discovery.proposal import Undecided
from tenantry.errors import UsageError
from tenantry.model.spec import Assign, Orphans
from unit.discovery.answering import Rows, decision, proposed
from unit.planning.shop import LINES, PRODUCTS, SALES, STORES
from unit.schemas import TENANTS, column, table

MIGRATIONS = table("alembic_version", "version_num text")


def test_a_schema_with_tenants() -> None:
    """Each table by its way; what no way reaches waits for a person."""
    found = proposed(STORES, SALES, LINES, PRODUCTS, MIGRATIONS)
    assert {one.name: one.paths for one in found.spec.table} == {
        "stores": ((("tenant_id",),),), "sales": ((("store_id",),),), "lines": ((("sale_id",),),), "products": (),
        "alembic_version": (),
    }  # fmt: skip
    assert [one.part.name for one in found.undecided] == ["products"]
    assert decision(found, "alembic_version").part.shared is True
    assert found.reasons == ("The tenants are the rows of public.tenants; 3 tables contain rows of tenants.",)


@pytest.mark.parametrize("undecided", Undecided)
def test_what_no_path_reaches(undecided: Undecided) -> None:
    found = proposed(STORES, PRODUCTS, undecided=undecided)
    part = decision(found, "products").part
    assert (part.undecided is not None) == (undecided is Undecided.ASK)
    assert part.shared == (undecided is Undecided.SHARED)
    assert part.assign == (Assign(tenant="default") if undecided is Undecided.DEFAULT else None)
    assert found.spec.tenant.default == ("default" if undecided is Undecided.DEFAULT else None)


def test_without_a_tenant_all_rows_become_the_first_ones() -> None:
    """The tenant table is made; of one that is there, and that nothing refers to, the same."""
    found = proposed(PRODUCTS, MIGRATIONS, tenants=None)
    assert (found.spec.tenant.create, found.spec.tenant.default) == (True, "default")
    assert decision(found, "products").part.assign == Assign(tenant="default")
    assert decision(found, "alembic_version").part.shared is True
    assert "--tenant-table" in found.reasons[2]
    known = proposed(PRODUCTS)
    assert (known.spec.tenant.create, known.spec.tenant.table) == (False, "tenants")
    assert len(known.reasons) == 2


def test_nothing_to_migrate() -> None:
    with pytest.raises(UsageError, match="The schema public contains no table"):
        proposed(tenants=None)


def test_a_tenant_table_whose_key_cannot_serve() -> None:
    """All tables wait: nothing is merged into one new tenant."""
    tenants = replace(TENANTS, columns=(column("id money")[0], *TENANTS.columns[1:]))
    found = proposed(STORES, PRODUCTS, tenants=tenants)
    assert len(found.undecided) == len(found.decisions) == 3
    assert "cannot be used" in (decision(found, "products").part.undecided or "")


def test_columns_that_no_key_declares() -> None:
    """Of the tenant column's name and type: a way; where no row holds a tenant there, a question."""
    items = table("items", "tenant_id")
    assert decision(proposed(STORES, items), "items").part.paths == ((("tenant_id",),),)
    found = proposed(STORES, items, given={"items": Rows(paths={"tenant_id": (0, 0)})})
    assert (
        decision(found, "items").part.undecided
        == "tenant_id looks like a tenant's key, but contains no tenant in any of 10 rows"
    )
    assert decision(proposed(STORES, table("items", "tenant_id text")), "items").part.undecided is not None


def test_the_bookkeeping_of_a_tool_with_a_tenant() -> None:
    """A table that only is called so, and has the tenant's column, is one as others."""
    jobs = table("jobs", "queue text", "payload text", "attempts", "tenant_id > tenants")
    assert decision(proposed(STORES, jobs), "jobs").part.paths == ((("tenant_id",),),)
    alone = replace(jobs, columns=jobs.columns[:-1], foreign_keys=())
    assert decision(proposed(STORES, alone), "jobs").part.shared == "write"


def test_children_tell_the_owner() -> None:
    """Where they agree, but for a few mistakes; with one tenant in the data their agreement says nothing."""
    boxes, sales = table("boxes"), table("sales", "store_id > stores", "box_id > boxes")
    agreed = {"boxes": Rows(paths={"sales.box_id": (10, 0)})}
    part = decision(proposed(STORES, sales, boxes, given=agreed), "boxes").part
    assert (part.children, part.undecided) == (("sales.box_id",), None)
    mistakes = {"boxes": Rows(rows=40, conflicts=1, paths={"sales.box_id": (40, 1)})}
    part = decision(proposed(STORES, sales, boxes, given=mistakes), "boxes").part
    assert part.children == ("sales.box_id",)
    assert (part.undecided or "").startswith("sales.box_id leads to two tenants in 1 of 40 rows")
    quarrels = {"boxes": Rows(paths={"sales.box_id": (10, 9)})}
    part = decision(proposed(STORES, sales, boxes, given=quarrels), "boxes").part
    assert (part.children, part.shared) == ((), True)
    one = {"boxes": Rows(paths={"sales.box_id": (10, 0)}, several=False)}
    assert decision(proposed(STORES, sales, boxes, given=one), "boxes").part.undecided is not None


@pytest.mark.parametrize(
    ("found", "part"),
    [
        ((10, 0), {"shared": False, "orphans": Orphans.FAIL}),
        ((7, 0), {"shared": False, "orphans": Orphans.SHARED}),
        ((0, 0), {"shared": True, "orphans": Orphans.FAIL}),
    ],
)
def test_over_nullable_keys_the_data_decides(found: tuple[int, int], part: dict[str, object]) -> None:
    """All rows find a tenant: owned; some: mixed; none: shared."""
    made = proposed(STORES, table("items", "store_id? > stores"), given={"items": Rows(paths={"store_id": found})})
    items = decision(made, "items").part
    assert {name: getattr(items, name) for name in part} == part
    assert items.undecided is None


def test_what_leads_to_shared_tables_only() -> None:
    """Empty tables are decided by their keys."""
    kinds, templates = table("kinds", "tenant_id? > tenants"), table("templates", "kind_id > kinds")
    given = {"kinds": Rows(paths={"tenant_id": (0, 0)}), "templates": Rows(rows=0)}
    found = proposed(STORES, kinds, templates, given=given)
    assert [decision(found, one).part.shared for one in ("kinds", "templates")] == [True, True]
    assert "decided by its foreign keys" in decision(found, "templates").reasons[0]


def test_what_several_tenants_refer_to_is_not_the_default_tenants() -> None:
    sales = table("sales", "store_id > stores", "good_id > goods")
    found = proposed(STORES, sales, table("goods"), table("alone"), undecided=Undecided.DEFAULT,
                     given={"goods": Rows(paths={"sales.good_id": (0, 0)})})  # fmt: skip
    assert decision(found, "goods").part.shared is True
    assert decision(found, "alone").part.assign == Assign(tenant="default")


def test_who_typed_a_row_in() -> None:
    """The references stay, as ones that may lead to another tenant's row."""
    users, notes = table("users", "tenant_id > tenants"), table("notes", "tenant_id > tenants", "created_by? > users")
    found = proposed(users, notes)
    assert decision(found, "notes").part.paths == ((("tenant_id",),),)
    assert [(one.child, one.crosses) for one in found.spec.reference] == [("notes.created_by", True)]
