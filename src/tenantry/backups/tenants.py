"""A backup from before the migration has no tenants; when it is restored after the migration, every row needs one.

The backup's rows are put in temporary tables together with the tenants that the rows have now, and the migration's own
fills run over these: the paths lead through the rows of the backup, not through those that are about to be replaced.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg import sql

from tenantry.model.backup import CopiedColumn, TableCopy
from tenantry.model.name import Name
from tenantry.model.schema import Schema
from tenantry.steps import Backfill, RelationFill, Step, TenantRow, from_json, to_json
from tenantry.steps.derivation import ByChildren, ByPath, Source, derived

PURPOSES = ("fill", "default", "everybody")
MOST_ROUNDS = 1000
TEMPORARY = "pg_temp"


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedTable:
    """A table of a backup, and the relation that holds its rows."""

    copy: TableCopy
    relation: sql.Composable


def with_tenants(
    session: psycopg.Connection[Any], schema: Schema, steps: Iterable[Step], saved: Sequence[SavedTable]
) -> tuple[SavedTable, ...]:
    """The same tables; those that tenantry has filled in temporary tables, with the tenant of each row. If rows of all
    tenants have the sentinel tenant now, they have it there, too, and the tenant table has its row."""
    steps = tuple(steps)
    saved = tuple(_with_rows(session, saved, [row for step in steps if (row := step.tenant_row) and not row.preserved]))
    fills = [fill for step in steps if (fill := step.filling) is not None and fill.purpose in PURPOSES]
    shared = {fill.relation for step in fills if step.undoing is not None for fill in step.fills}
    roots = {fill.relation: schema.topmost(fill.relation) for step in fills for fill in step.fills}
    columns = {roots[fill.relation]: fill.column for step in fills for fill in step.fills}
    columns |= {step.table: step.tenant_column for step in steps if step.tenant_column is not None}
    constants = {step.table: key for step in steps if (key := step.constant_key) is not None}
    if not any(_lacks(one.copy, columns) for one in saved):
        # Only the rows of mixed tables may have another tenant than in the backup.
        fills = [step for step in fills if step.undoing is not None]
        columns = {name: column for name, column in columns.items() if name in shared}
        schema = replace(schema, tables={name: table for name, table in schema.tables.items() if name in shared})
    result, laid = list(saved), dict[Name, Name]()
    for number, one in enumerate(saved):
        table = schema.tables.get(one.copy.table)
        if table is None:
            continue
        name = Name(TEMPORARY, f"tenants_{number}")
        column = table.column(columns[table.name]) if table.name in columns else None
        if column is None:
            _aside(session, one, name)
        else:
            tenant = CopiedColumn(name=column.name, type=column.base_type)
            result[number] = _beside(session, one, name, tenant, table.primary_key, constants.get(table.name))
        laid |= {leaf: name for leaf, root in roots.items() if root == table.name} | {table.name: name}
    mapped = [fill for step in fills if (fill := _renamed(step, laid).filling) is not None]
    for name, wanted in {*_looked_up(mapped, frozenset(laid.values()))}:
        session.execute(_index(name, wanted))
    for name in laid.values():
        session.execute(sql.SQL("ANALYZE {}").format(name.identifier))
    for step in mapped:
        _fill(session, {fill.relation: fill for fill in step.fills if fill.relation.schema == TEMPORARY})
    return tuple(result)


def _with_rows(
    session: psycopg.Connection[Any], saved: Iterable[SavedTable], rows: Sequence[TenantRow]
) -> Iterator[SavedTable]:  # fmt: skip
    """The tenant table with these tenants, as they are now: they did not exist yet when the backup was made."""
    for one in saved:
        for number, row in enumerate(rows if one.copy.table in {row.table for row in rows} else ()):
            name = Name(TEMPORARY, f"tenants_with_{number}")
            _aside(session, one, name)
            columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in one.copy.columns)
            slug = sql.SQL("{}::pg_catalog.text OPERATOR(pg_catalog.=) {}").format(
                sql.Identifier(row.tenant.slug), sql.Literal(row.slug)
            )
            session.execute(
                sql.SQL(
                    "INSERT INTO {0} ({1}) SELECT {1} FROM {2} WHERE {3} AND NOT EXISTS (SELECT FROM {0} WHERE {3})"
                ).format(name.identifier, columns, row.table.identifier, slug)
            )
            one = replace(one, relation=name.identifier)
        yield one


def _lacks(copy: TableCopy, columns: Mapping[Name, str]) -> bool:
    """Whether the table has a tenant column that the backup lacks."""
    return copy.table in columns and all(column.name != columns[copy.table] for column in copy.columns)


def _aside(session: psycopg.Connection[Any], saved: SavedTable, name: Name) -> None:
    """A temporary table with the backup's rows, through which paths lead."""
    session.execute(
        sql.SQL("CREATE TEMPORARY TABLE {} AS SELECT * FROM {}").format(sql.Identifier(name.name), saved.relation)
    )


def _beside(
    session: psycopg.Connection[Any], saved: SavedTable, name: Name, tenant: CopiedColumn, key: tuple[str, ...],
    constant: sql.Composable | None,
) -> SavedTable:  # fmt: skip
    """A temporary table with the backup's rows. Their tenant is that of the backup, or else the one that they have now,
    or else the constant that all rows got."""
    others = [column for column in saved.copy.columns if column.name != tenant.name]
    values: list[sql.Composable] = [sql.SQL("NULL")]
    if len(others) < len(saved.copy.columns):
        values.append(sql.Identifier("s", tenant.name))
    if key:
        values.append(sql.Identifier("t", tenant.name))
    if constant is not None:
        values.append(constant)
    value = sql.SQL("coalesce({})").format(sql.SQL(", ").join(values))
    join: sql.Composable = sql.SQL("")
    if key:
        same = sql.SQL(" AND ").join(
            sql.SQL("{}::text = {}::text").format(sql.Identifier("t", part), sql.Identifier("s", part)) for part in key
        )
        join = sql.SQL("LEFT JOIN {} AS t ON {}").format(saved.copy.table.identifier, same)
    session.execute(
        sql.SQL("CREATE TEMPORARY TABLE {} AS SELECT {}, ({})::{} AS {} FROM {} AS s {}").format(
            sql.Identifier(name.name), sql.SQL(", ").join(sql.Identifier("s", column.name) for column in others),
            value, sql.SQL(tenant.type), sql.Identifier(tenant.name), saved.relation, join,
        )
    )  # fmt: skip
    return SavedTable(copy=replace(saved.copy, columns=(*others, tenant)), relation=name.identifier)


def _renamed(step: Step, names: Mapping[Name, Name]) -> Step:
    """The step over other relations. An expression of the user's still finds its table under the same name."""

    def renamed(value: Any) -> Any:
        if isinstance(value, list):
            return [renamed(item) for item in value]
        if not isinstance(value, dict) or value.get("kind") == "text":
            return value
        if value.keys() == {"schema", "name"}:
            new = names.get(Name(value["schema"], value["name"]))
            return value if new is None else {"schema": new.schema, "name": new.name}
        return {key: renamed(item) for key, item in value.items()}

    return from_json(renamed(to_json(step)))


def _looked_up(steps: Iterable[Backfill], relations: frozenset[Name]) -> Iterator[tuple[Name, tuple[str, ...]]]:
    """The columns by which the fills look for rows in these relations."""
    waiting: list[Source] = [source for step in steps for fill in step.fills for source in fill.sources]
    while waiting:
        source = waiting.pop()
        if isinstance(source, ByPath):
            yield from ((hop.parent, hop.parent_columns) for hop in source.hops if hop.parent in relations)
        elif isinstance(source, ByChildren):
            if source.table in relations:
                yield source.table, source.columns
            waiting += source.told


def _index(name: Name, columns: tuple[str, ...]) -> sql.Composed:
    return sql.SQL("CREATE INDEX ON {} ({})").format(name.identifier, sql.SQL(", ").join(map(sql.Identifier, columns)))


def _fill(session: psycopg.Connection[Any], fills: Mapping[Name, RelationFill]) -> None:
    """Tables that derive from each other take several rounds, until none fills anything."""
    for _ in range(MOST_ROUNDS if len(fills) > 1 else 1):
        if not sum(session.execute(_statement(fill)).rowcount for fill in fills.values()):
            return


def _statement(fill: RelationFill) -> sql.Composed:
    row, column = sql.Identifier("row"), sql.Identifier(fill.column)
    wanting = sql.SQL("row.{0} IS DISTINCT FROM derived.tenant" if fill.overrides else "row.{0} IS NULL").format(column)
    return sql.SQL(
        "UPDATE {relation} AS row SET {column} = found.tenant FROM"
        " (SELECT row.ctid AS address, derived.tenant FROM {relation} AS row"
        " CROSS JOIN LATERAL (SELECT {derived} AS tenant OFFSET 0) AS derived"
        " WHERE derived.tenant IS NOT NULL AND {wanting}) AS found WHERE row.ctid = found.address"
    ).format(
        relation=fill.relation.identifier, column=column, derived=derived(fill.sources, row), wanting=wanting
    )  # fmt: skip
