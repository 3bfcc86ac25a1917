"""Schemas for tests that need no server, each table in a line."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from tenantry.model.name import Name
from tenantry.model.schema import Column, ForeignKey, Schema, Table, Unique
from tenantry.model.spec import Spec
from tenantry.planning import resolve
from tenantry.planning.context import PlanContext

EQUAL = ("pg_catalog", "=")
_COLUMN = re.compile(r"(?P<name>\w+)(?P<null>\?)?(?: (?P<type>[a-z ]+?))?(?: > (?P<parent>\w+)(?:\.(?P<key>\w+))?)?\Z")


def name(table: str) -> Name:
    return Name("public", table)


def column(text: str) -> tuple[Column, ForeignKey | None]:
    """`note? text` may be NULL; `store_id > stores` has a foreign key to stores.id. An integer unless it says
    otherwise."""
    found = _COLUMN.match(text)
    assert found is not None, text
    type_ = found["type"] or "integer"
    made = Column(name=found["name"], type=type_, base_type=type_, not_null=found["null"] is None)
    if found["parent"] is None:
        return made, None
    key = ForeignKey(
        name=f"{made.name}_fkey", columns=(made.name,), parent=name(found["parent"]),
        parent_columns=(found["key"] or "id",), operators=(EQUAL,),
    )  # fmt: skip
    return made, key


def table(called: str, *columns: str, **more: Any) -> Table:
    """A table with a primary key `id`, and columns as `column` reads them; `more` are further fields of it."""
    read = [column(text) for text in columns]
    own = Column(name="id", type="integer", base_type="integer", not_null=True)
    fields: dict[str, Any] = {
        "columns": (own, *(made for made, _ in read)),
        "primary_key": ("id",),
        "uniques": (unique("id", name=f"{called}_pkey", primary=True),),
        "foreign_keys": tuple(key for _, key in read if key is not None),
        "owner": "owner",
        "rows": 1000.0,
    }
    return Table(name=name(called), **{**fields, **more})


def unique(*columns: str, **more: Any) -> Unique:
    fields: dict[str, Any] = {"name": "_".join((*columns, "key")), "columns": columns, "constraint": True}
    return Unique(**{**fields, "rest": f"({', '.join(columns)})", **more})


def with_key(one: Table, **changes: Any) -> Table:
    """The table with its one foreign key changed."""
    (key,) = one.foreign_keys
    return replace(one, foreign_keys=(replace(key, **changes),))


def schema(*tables: Table, **more: Any) -> Schema:
    fields: dict[str, Any] = {
        "version": 180000, "database": "shop", "user": "owner", "schemas": ("public",),
        "tables": {one.name: one for one in tables}, "search_path": ("public",),
    }  # fmt: skip
    return Schema(**{**fields, **more})


TENANTS = table("tenants", "slug text", uniques=(unique("id", name="tenants_pkey", primary=True), unique("slug")))
TENANT = '[tenant]\ntable = "tenants"\n'


def spec(*tables: str, tenant: str = "", more: str = "") -> Spec:
    """Each table as its name and what its part says: `spec('sales paths = [["tenant_id"]]')`."""
    parts = (text.partition(" ") for text in tables)
    blocks = (f'[[table]]\nname = "{called}"\n{said}\n' for called, _, said in parts)
    return Spec.parse(f"{TENANT}{tenant}\n{more}\n" + "\n".join(blocks))


def plan_context(of: Spec, *tables: Table, tenants: Table | None = TENANTS, **more: Any) -> PlanContext:
    """What a plan is made from; the tenant table is there without being named."""
    found = schema(*filter(None, (tenants, *tables)), **more)
    return PlanContext(spec=of, schema=found, ownership=resolve(of, found))
