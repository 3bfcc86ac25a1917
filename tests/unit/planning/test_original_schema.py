"""The schema as the user made it, given what the journal says that we did."""

from __future__ import annotations

from dataclasses import replace

from tenantry.model.plan import Phase
from tenantry.model.schema import Column, Grant, Kind, Trigger, View
from tenantry.planning.original_schema import managed_objects, original_schema, with_dropped_keys
from tenantry.steps import (
    AddTenantColumn,
    ApplicationGrants,
    CreateTenantTable,
    DropForeignKey,
    DropGlobalUnique,
    DropUserTrigger,
    SetNotNull,
    WidenKey,
)
from unit.planning.entries import entry, journal
from unit.planning.shop import SALES, STORES
from unit.schemas import name, schema, unique
from unit.steps.examples import TENANT

COLUMN = AddTenantColumn(phase=Phase.EXPAND, table=SALES.name, column="tenant_id", type="uuid", tenant=TENANT)
KEPT = replace(COLUMN, table=STORES.name)
MADE = CreateTenantTable(phase=Phase.EXPAND, table=name("tenants"), key_column="id", slug="slug", owner="owner")


def test_what_is_ours() -> None:
    """Tenant columns by table, those of an earlier migration that stayed apart, and the tables that we made."""
    ours = managed_objects(journal(entry(COLUMN), entry(KEPT, state="kept"), entry(MADE)))
    assert ours.tables == {SALES.name}
    assert ours.preserved == {STORES.name}
    assert ours.columns == {SALES.name: "tenant_id", STORES.name: "tenant_id"}
    assert ours.created == {MADE.table}


def test_what_is_put_back() -> None:
    """The NULLs of the user's own column, a unique index that was replaced, and the rights of the application role."""
    own = Column(name="tenant_id", type="integer", base_type="integer", not_null=True)
    stores = replace(STORES, columns=(STORES.columns[0], own))
    sku = unique("sku")
    gone = DropGlobalUnique(
        phase=Phase.CONTRACT, table=STORES.name, unique=sku, replaced_by=name("tenantry_stores__sku_key")
    )
    flag = SetNotNull(phase=Phase.ENFORCE, table=STORES.name, column="tenant_id")
    found = original_schema(schema(stores), journal(entry(flag), entry(gone))).tables[STORES.name]
    assert found.column("tenant_id") == replace(own, not_null=False)
    assert sku in found.uniques
    assert original_schema(schema(stores), {}) == schema(stores)


def test_rights() -> None:
    """What we granted is left out, what we revoked is there again; of tables and views alike. A table that is gone
    is no reason to fail."""
    given, had = (Grant(grantor="owner", grantee="app", privilege=one) for one in ("SELECT", "TRUNCATE"))
    others = Grant(grantor="owner", grantee="clerk", privilege="SELECT")
    step = ApplicationGrants(
        phase=Phase.ISOLATE, table=STORES.name, role="app", grants=("SELECT",), revokes=(("TRUNCATE", "owner"),)
    )
    before = {
        "entries": [
            {"grantor": "owner", "grantee": "app", "privilege": "TRUNCATE", "grantable": False, "on_column": None}
        ]
    }
    seen = View(name=name("seen"), kind=Kind.VIEW, owner="owner", grants=(given, others))
    entries = journal(
        entry(step, before=before), entry(replace(step, table=seen.name, revokes=())),
        entry(replace(step, table=name("gone"))),
    )  # fmt: skip
    start = schema(replace(STORES, grants=(given, others)), views={seen.name: seen})
    found = original_schema(start, entries)
    assert set(found.tables[STORES.name].grants) == {had, others}
    assert found.views[seen.name].grants == (others,)


def test_what_distribute_has_taken() -> None:
    """A foreign key and a trigger are in the picture again, the key of before is the primary key, and it is referred
    to, as it was: a plan made half-way is the plan made at the start."""
    touch = Trigger(name="touch", before=True, row=True, events=("UPDATE",), enabled="O", function=name("touch"))
    key = unique("id", primary=True, referenced=True)
    wide = unique("tenant_id", "id", name=key.name, primary=True)
    start = schema(replace(STORES, uniques=(key,)), replace(SALES, triggers=(touch,)))
    (sold,) = SALES.foreign_keys
    live = schema(
        replace(STORES, uniques=(wide,), primary_key=("tenant_id", "id")), replace(SALES, foreign_keys=())
    )  # fmt: skip
    entries = journal(
        entry(DropUserTrigger(phase=Phase.DISTRIBUTE, table=SALES.name, trigger=touch)),
        entry(DropForeignKey(phase=Phase.DISTRIBUTE, table=SALES.name, foreign_key=sold)),
        entry(WidenKey(
            phase=Phase.DISTRIBUTE, table=STORES.name, unique=key, column="tenant_id", by=name("by"), columns=("id",)
        )),
    )  # fmt: skip
    assert original_schema(live, entries) == start
    half_way = {one: entries[one] for one in list(entries)[:2]}
    narrow = schema(
        replace(STORES, uniques=(replace(key, referenced=False),)), replace(SALES, foreign_keys=())
    )  # fmt: skip
    assert original_schema(narrow, half_way) == start


def test_rows_refer_along_keys_that_were_dropped() -> None:
    """What looks at the tables as they are still goes from children to parents; nothing else is put back."""
    live = schema(replace(STORES, primary_key=("tenant_id", "id")), replace(SALES, foreign_keys=()))
    found = with_dropped_keys(live, schema(STORES, SALES))
    assert found.tables[SALES.name] == SALES
    assert found.tables[STORES.name] == live.tables[STORES.name]
    assert with_dropped_keys(schema(STORES, SALES), schema(STORES, SALES)) == schema(STORES, SALES)
