"""Ownerships for tests, written as a spec would: paths as lists of columns, children as `table.column`."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import networkx

from tenantry.model.name import Name
from tenantry.model.ownership import Assignment, Child, Hop, Owned, Ownership, Path, TenantTable
from tenantry.model.schema import Schema

EQUAL = ("pg_catalog", "=")


def hop(schema: Schema, table: Name, columns: Sequence[str]) -> Hop:
    key = next(key for key in schema.tables[table].foreign_keys if key.columns == tuple(columns))
    return Hop(columns=key.columns, parent=key.parent, parent_columns=key.parent_columns, operators=key.operators)


def path(schema: Schema, table: Name, hops: Sequence[str | Sequence[str]]) -> Path:
    made: list[Hop] = []
    for columns in hops:
        columns = (columns,) if isinstance(columns, str) else columns
        made.append(hop(schema, made[-1].parent if made else table, columns))
    return Path(hops=tuple(made))


def child(schema: Schema, text: str) -> Child:
    name, _, columns = text.rpartition(".")
    found = hop(schema, Name.parse(name, schema="public"), columns.split(","))
    return Child(
        table=Name.parse(name, schema="public"), columns=found.columns, own_columns=found.parent_columns,
        operators=found.operators,
    )  # fmt: skip


def ownership(schema: Schema, tables: dict[str, dict[str, Any]], *, type: str = "integer", **tenant: Any) -> Ownership:
    """`tables` maps a table to `paths`, `children`, `assign` (an Assignment) and fields of Owned."""
    owned = {}
    for text, ways in tables.items():
        name = Name.parse(text, schema="public")
        ways = dict(ways)
        owned[name] = Owned(
            table=name,
            column=ways.pop("column", "tenant_id"),
            paths=tuple(path(schema, name, hops) for hops in ways.pop("paths", ())),
            children=tuple(child(schema, text) for text in ways.pop("children", ())),
            assignment=ways.pop("assign", None),
            **ways,
        )
    heirs = {heir.name: name for name in owned for heir in (*schema.partitions(name), *schema.heirs(name))}
    graph = networkx.DiGraph()
    graph.add_nodes_from(owned)
    for name, one in owned.items():
        needed = [path.target for path in one.paths] + [child.table for child in one.children]
        graph.add_edges_from((heirs.get(other, other), name) for other in needed if heirs.get(other, other) in owned)
    condensed = networkx.condensation(graph)
    components = tuple(
        tuple(owned[name] for name in owned if name in condensed.nodes[node]["members"])
        for node in networkx.topological_sort(condensed)
    )
    table = replace(TenantTable(name=Name("public", "tenants"), key="id", slug="slug", type=type), **tenant)
    return Ownership(tenant=table, setting="app.tenant_id", components=components, heirs=heirs)


def assigned(**fields: Any) -> Assignment:
    return Assignment(**fields)
