"""Objects of others that depend on tenantry's, and the files of tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from tenantry.model.name import Name
from tenantry.postgres.queries import filled, read_queries

_QUERIES = read_queries(Path(__file__).with_name("sql") / "dependents.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyTo:
    """A foreign key of one column, of the table `schema`.`name`."""

    schema: str
    name: str
    key: str
    column: str
    parent_column: str

    @property
    def table(self) -> Name:
        return Name(self.schema, self.name)


def dependents(
    connection: psycopg.Connection[Any], objects: Sequence[tuple[Name, str | None]], spared: Sequence[Name] = ()
) -> list[tuple[str, ...]]:
    """For each relation or index, or column of a table and its children, the objects of others that depend on it;
    empty if it does not exist. `spared` are indexes of the user's that tenantry has replaced."""
    found: list[list[str]] = [[] for _ in objects]
    parameters = {
        "relations": [name.identifier.as_string(None) for name, _ in objects],
        "columns": [column for _, column in objects],
        "spared": [name.identifier.as_string(None) for name in spared],
    }
    if objects:
        for number, description in connection.execute(_QUERIES["dependents"], parameters):
            found[number - 1].append(description)
    return [tuple(one) for one in found]


def anything_built(built: tuple[Name, str | None]) -> sql.Composed:
    """The same as a boolean query: whether objects of others depend on it."""
    name, column = built
    query = filled(
        _QUERIES["dependents"], relations=sql.Literal([name.identifier.as_string(None)]), columns=sql.Literal([column]),
        spared=sql.Literal([]),
    )  # fmt: skip
    return sql.SQL("SELECT EXISTS ({})").format(query)


def keys_to(connection: psycopg.Connection[Any], table: Name) -> tuple[KeyTo, ...]:
    """Others' foreign keys of one column to this table."""
    with connection.cursor(row_factory=class_row(KeyTo)) as cursor:
        return tuple(cursor.execute(_QUERIES["keys_to"], {"table": table.identifier.as_string(None)}))


def detached(connection: psycopg.Connection[Any], table: Name, below: Sequence[Name]) -> tuple[Name, ...]:
    """Those of the tables that exist, and are no longer partitions or children of `table`."""
    if not below:
        return ()
    parameters = {
        "table": table.identifier.as_string(None), "below": [name.identifier.as_string(None) for name in below],
    }  # fmt: skip
    return tuple(below[number - 1] for (number,) in connection.execute(_QUERIES["detached"], parameters))


def existing(connection: psycopg.Connection[Any], schemas: Sequence[str]) -> list[str]:
    """Those of the schemas that still exist."""
    return [name for (name,) in connection.execute(_QUERIES["existing"], {"schemas": list(schemas)})]


def files(connection: psycopg.Connection[Any]) -> Mapping[int, tuple[str, int | None]]:
    """Each table's name and file, by its oid: a table that is rewritten or emptied gets another file."""
    return {oid: (name, file) for oid, name, file in connection.execute(_QUERIES["files"])}
