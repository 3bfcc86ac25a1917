"""The user's schema as it was before tenantry changed it, reconstructed from the journal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from tenantry.model.name import Name
from tenantry.model.schema import ForeignKey, ManagedObjects, Schema, Table
from tenantry.postgres.journal import Entry
from tenantry.steps import from_json


def managed_objects(entries: Mapping[str, Entry]) -> ManagedObjects:
    """What tenantry made according to the journal, to be left out of the original schema."""
    columns: dict[Name, str] = {}
    live: set[Name] = set()
    kept: set[Name] = set()
    created: set[Name] = set()
    for entry in entries.values():
        step = from_json(entry.value)
        if step.makes is not None:
            created.add(step.makes)
        if step.tenant_column is not None:
            columns[step.table] = step.tenant_column
            (kept if entry.state == "kept" else live).add(step.table)
    return ManagedObjects(
        tables=frozenset(live), columns=columns, created=frozenset(created), preserved=frozenset(kept)
    )


def original_schema(schema: Schema, entries: Mapping[str, Entry]) -> Schema:
    """The schema with the changes that steps have made to the user's own objects undone: the unique indexes that
    contract has dropped, the NULLs that the user's own tenant columns allowed, the earlier privileges of the
    application role, and the keys and triggers that distribute has dropped."""
    tables, views = dict(schema.tables), dict(schema.views)
    for entry in entries.values():
        step, before = from_json(entry.value), entry.before
        for name in step.below:
            if (part := tables.get(name)) is not None:
                tables[name] = step.moved_to(name).original_table(part, before)
        if (table := tables.get(step.table)) is not None:
            table = step.original_table(table, before)
            tables[step.table] = replace(table, grants=step.original_grants(table.grants, before))
        elif (view := views.get(step.table)) is not None:
            views[step.table] = replace(view, grants=step.original_grants(view.grants, before))
    for name, table in schema.tables.items():
        for key in _put_back(table, tables[name]):
            _refer(tables, schema, key)
    return replace(schema, tables=tables, views=views)


def _put_back(table: Table, original: Table) -> Iterator[ForeignKey]:
    """The foreign keys that the table has only in the original schema."""
    there = {key.name for key in table.foreign_keys}
    yield from (key for key in original.foreign_keys if key.name not in there)


def _refer(tables: dict[Name, Table], schema: Schema, key: ForeignKey) -> None:
    """The unique keys of `tables` to which this foreign key refers, also those of partitions, are marked as
    referenced."""
    for part in schema.tree(key.parent) if key.parent in tables else ():
        parent = tables[part.name]
        tables[part.name] = replace(
            parent,
            uniques=tuple(
                replace(one, referenced=True) if set(one.columns) == set(key.parent_columns) else one
                for one in parent.uniques
            ),
        )


def with_dropped_keys(schema: Schema, original: Schema) -> Schema:
    """The present schema with the foreign keys of the user's that were dropped: rows still refer along them."""
    tables = dict(schema.tables)
    for name, table in original.tables.items():
        if (live := tables.get(name)) is not None:
            tables[name] = replace(live, foreign_keys=(*live.foreign_keys, *_put_back(live, table)))
    return replace(schema, tables=tables)
