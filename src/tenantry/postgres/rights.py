"""The privileges of roles in a database other than on tables; also for a role that is yet to be created."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tenantry.model.name import Name
from tenantry.postgres.queries import read_queries

_QUERIES = read_queries(Path(__file__).with_name("sql") / "rights.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaRights:
    """The privileges of some roles together in a schema."""

    name: str
    uses: bool
    creates: bool
    grants_usage: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokedUsage:
    """A LANGUAGE or TYPE that was revoked from PUBLIC and that none of some roles may use, by its name, or its schema
    and name. `table` has a column of the type."""

    kind: str
    names: tuple[str, ...]
    table: Name | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """The privileges of some roles together. `creates`: they may create schemas in the database. `opened` are the
    schemas that the application role may use, and `makers` are a role and a schema in which it may create tables."""

    creates: bool
    schemas: tuple[SchemaRights, ...]
    opened: frozenset[str]
    makers: frozenset[tuple[str, str]]
    withheld: tuple[RevokedUsage, ...]


def read_rights(
    connection: psycopg.Connection[Any], *, roles: Sequence[str], makers: Sequence[str], schemas: Sequence[str],
    application: str,
) -> Rights:  # fmt: skip
    """The privileges of `roles` together in `schemas`, which of `makers` may create tables there, and which schemas the
    application role, which need not exist, may use. It only reads the catalog."""
    parameters = {"roles": list(roles), "makers": list(makers), "schemas": list(schemas), "application": application}
    with connection.cursor(row_factory=dict_row) as cursor:

        def rows(query: str) -> list[dict[str, Any]]:
            return cursor.execute(_QUERIES[query], parameters).fetchall()

        return Rights(
            creates=rows("database")[0]["creates"],
            schemas=tuple(SchemaRights(**row) for row in rows("schemas")),
            opened=frozenset(row["name"] for row in rows("opened")),
            makers=frozenset((row["role"], row["schema"]) for row in rows("makers")),
            withheld=tuple(_withheld(**row) for row in rows("withheld")),
        )


def _withheld(*, kind: str, names: list[str], schema: str | None, table: str | None) -> RevokedUsage:
    return RevokedUsage(
        kind=kind, names=tuple(names), table=None if schema is None or table is None else Name(schema, table)
    )
