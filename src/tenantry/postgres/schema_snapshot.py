"""The definitions of a database's objects, one by one; stored before the first migrate, for rollback."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from tenantry.postgres.queries import read_queries

_QUERIES = read_queries(Path(__file__).with_name("sql") / "description.sql")


@dataclass(frozen=True, slots=True)
class Described:
    """An object's definition; `relation` is the table or view to which it belongs, empty if there is none."""

    relation: str
    definition: str


def describe(connection: psycopg.Connection[Any]) -> dict[str, Described]:
    """Everything of the user's that a dump of the schema would contain, by its name. It only reads."""
    return _read(connection, "describe")


def note_first_description(connection: psycopg.Connection[Any]) -> None:
    """Store the present description, unless steps are applied: then the one from before them is kept. Called by
    whatever command is the first to change the schema. The journal's schema must exist."""
    begun = connection.execute(_QUERIES["begun"]).fetchone()
    if begun is None or not begun[0]:
        note_description(connection)


def note_description(connection: psycopg.Connection[Any]) -> None:
    """Store the present description in place of an older one. The journal's schema must exist."""
    _store(connection, describe(connection))


def rename_noted(
    connection: psycopg.Connection[Any], change: Callable[[str, Described], tuple[str, Described]]
) -> None:  # fmt: skip
    """Replace each object of the stored description, if there is one, by what `change` makes of it."""
    noted = noted_description(connection)
    if noted is not None:
        _store(connection, dict(change(name, one) for name, one in noted.items()))


def _store(connection: psycopg.Connection[Any], described: Mapping[str, Described]) -> None:
    rows = [{"relation": one.relation, "object": name, "definition": one.definition} for name, one in described.items()]
    with connection.transaction():
        connection.execute(_QUERIES["forget"])
        connection.execute(_QUERIES["note"], {"rows": Jsonb(rows)})


def noted_description(connection: psycopg.Connection[Any]) -> dict[str, Described] | None:
    """The stored description; None if there is none."""
    known = connection.execute(_QUERIES["known"]).fetchone()
    return _read(connection, "noted") if known is not None and known[0] else None


def _read(connection: psycopg.Connection[Any], query: str) -> dict[str, Described]:
    rows = connection.execute(_QUERIES[query])
    return {name: Described(relation, definition) for relation, name, definition in rows}
