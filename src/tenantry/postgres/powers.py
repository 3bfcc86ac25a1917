"""Roles, what they can become, and what was granted to them other than on tables."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import class_row

from tenantry.model.name import Name
from tenantry.postgres.queries import read_queries

_QUERIES = read_queries(Path(__file__).with_name("sql") / "powers.sql")
PARAMETERS = 15
"""The first version in which settings can be granted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleAttributes:
    """A role and its attributes; predefined ones have a name that begins with `pg_`."""

    name: str
    superuser: bool
    bypasses: bool
    creates_roles: bool
    creates_databases: bool
    replicates: bool
    login: bool

    @property
    def predefined(self) -> bool:
        return self.name.startswith("pg_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """`member` in `of`: whether it inherits the privileges, can SET ROLE, and can grant the membership."""

    member: str
    of: str
    inherits: bool
    settable: bool
    admin: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Possession:
    """Something that `holder`, a role or PUBLIC, has; `kind` as in ALTER … OWNER TO if it owns it."""

    name: str
    holder: str
    kind: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Powers:
    """Grants to roles or PUBLIC: functions that are restricted by default, and settings; and what they own."""

    functions: tuple[Possession, ...]
    parameters: tuple[Possession, ...]
    owned: tuple[Possession, ...]


def read_roles(connection: psycopg.Connection[Any]) -> tuple[tuple[RoleAttributes, ...], tuple[Membership, ...]]:
    """All roles of the server, and their memberships."""
    with connection.cursor(row_factory=class_row(RoleAttributes)) as cursor:
        standings = tuple(cursor.execute(_QUERIES["standings"]))
    with connection.cursor(row_factory=class_row(Membership)) as cursor:
        return standings, tuple(cursor.execute(_QUERIES["memberships"]))


def read_powers(
    connection: psycopg.Connection[Any], roles: Collection[str], *, schemas: Sequence[str], tables: Collection[Name]
) -> Powers:
    """What these roles themselves, or PUBLIC, have; the schemas and the triggers of the tables that they own."""
    parameters = {
        "roles": sorted(roles), "schemas": list(schemas),
        "names": [table.identifier.as_string(None) for table in sorted(tables)],
    }  # fmt: skip

    def read(query: str) -> tuple[Possession, ...]:
        with connection.cursor(row_factory=class_row(Possession)) as cursor:
            return tuple(cursor.execute(_QUERIES[query], parameters))

    settable = connection.info.server_version >= PARAMETERS * 10000
    return Powers(
        functions=read("opened_functions"), parameters=read("opened_parameters") if settable else (),
        owned=read("owned"),
    )  # fmt: skip
