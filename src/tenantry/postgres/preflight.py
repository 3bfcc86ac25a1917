"""The preflight's queries about the server: sessions, privileges, replication, and how triggers and rules fire."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg import sql
from psycopg.rows import class_row, dict_row

from tenantry.model.name import Name
from tenantry.postgres.connect import read_server
from tenantry.postgres.queries import read_queries
from tenantry.postgres.rights import read_rights
from tenantry.postgres.server_state import (
    ColumnLimit,
    EventTrigger,
    LeakyIndex,
    MissingPrivilege,
    NarrowedTrigger,
    NotValidConstraint,
    OtherSession,
    Prepared,
    Published,
    RewriteRule,
    RoleAccess,
    SchemaAccess,
    ServerCapacity,
    ServerState,
    Slot,
    Standby,
    StatementStat,
)

_QUERIES = read_queries(Path(__file__).with_name("sql") / "preflight.sql")
_STATEMENTS = sql.SQL(
    "SELECT pg_catalog.pg_get_userbyid(s.userid)::text AS role, s.query AS text"
    " FROM {}.pg_stat_statements s"
    " WHERE s.dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())"
    " AND s.query ~* {}"
    " ORDER BY s.calls DESC LIMIT 5000"
)

WITH_COLUMNS = r"\*|\mcopy\M|\minsert\M|\mnatural\M"
"""Statements of which some depend on the columns of a table."""
Value = TypeVar("Value")


def read_facts(
    connection: psycopg.Connection[Any], *, roles: Sequence[str], schemas: Sequence[str], application: str
) -> ServerState:
    """Query the server, with a fixed number of queries, about `roles`, `schemas` and the application role's name.

    The connection is one of tenantry.postgres.connect. It is only read from.
    """

    def read(value: Callable[..., Value], query: str, **parameters: Any) -> tuple[Value, ...]:
        with connection.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(_QUERIES[query], parameters or None).fetchall()
        return tuple(value(**row) for row in rows)

    server = read_server(connection)
    return ServerState(
        server=server,
        room=read(ServerCapacity, "room")[0],
        roles=read(RoleAccess, "role_access", roles=list(roles)),
        schemas=read(SchemaAccess, "schema_access", schemas=list(schemas), application=application),
        rights=read_rights(connection, roles=[server.user], makers=roles, schemas=schemas, application=application),
        sessions=read(OtherSession, "sessions"),
        prepared=read(_prepared, "prepared"),
        standbys=read(Standby, "standbys"),
        slots=read(Slot, "slots"),
        event_triggers=read(_event_trigger, "event_triggers"),
        rules=read(_rule, "rules"),
        narrowed=read(_narrowed, "narrowed_triggers"),
        published=read(_published, "publications"),
        hidden=read(_hidden, "hidden"),
        unproved=read(_unproved, "unproved"),
        cramped=read(_cramped, "cramped"),
        leaky=read(_leaky, "leaky_indexes"),
        executed=read_statements(connection, WITH_COLUMNS),
    )


def read_barred(
    connection: psycopg.Connection[Any], needed: Sequence[tuple[str, Name, str]]
) -> tuple[MissingPrivilege, ...]:
    """Those of these that are missing: a role, a table, and a privilege on it; an empty privilege means USAGE of its
    schema only."""
    parameters = {
        "roles": [role for role, _, _ in needed],
        "schemas": [table.schema for _, table, _ in needed],
        "tables": [table.name for _, table, _ in needed],
        "privileges": [privilege for _, _, privilege in needed],
    }
    with connection.cursor(row_factory=dict_row) as cursor:
        return tuple(_barred(**row) for row in cursor.execute(_QUERIES["barred"], parameters))


def read_room(connection: psycopg.Connection[Any]) -> ServerCapacity:
    """The number of connections, and the folder of the data."""
    with connection.cursor(row_factory=class_row(ServerCapacity)) as cursor:
        room = cursor.execute(_QUERIES["room"]).fetchone()
    assert room is not None
    return room


def read_hidden(connection: psycopg.Connection[Any]) -> tuple[Name, ...]:
    """Tables whose rows policies may hide from tenantry's role: counts there could be wrong."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return tuple(_hidden(**row) for row in cursor.execute(_QUERIES["hidden"]))


def in_recovery(connection: psycopg.Connection[Any]) -> bool:
    """Whether the server is a standby, which is read-only."""
    return connection.execute("SELECT pg_catalog.pg_is_in_recovery()").fetchone() == (True,)


def read_statements(connection: psycopg.Connection[Any], matching: str) -> tuple[StatementStat, ...] | None:
    """The statements of this database that match a regular expression, the most frequent first; None if
    pg_stat_statements is not there or cannot be read."""
    found = connection.execute(_QUERIES["statements_schema"]).fetchone()
    if found is None:
        return None
    try:
        # A transaction, or a savepoint of the caller's: the view fails where its library is not loaded.
        with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(_STATEMENTS.format(sql.Identifier(found[0]), sql.Literal(matching))).fetchall()
    except (psycopg.errors.ObjectNotInPrerequisiteState, psycopg.errors.InsufficientPrivilege):
        return None
    return tuple(StatementStat(**row) for row in rows)


def _prepared(*, tables: list[list[str]], **row: Any) -> Prepared:
    return Prepared(tables=tuple(Name(*table) for table in tables), **row)


def _event_trigger(*, tags: list[str], **row: Any) -> EventTrigger:
    return EventTrigger(tags=tuple(tags), **row)


def _rule(*, schema: str, name: str, rule: str, **row: Any) -> RewriteRule:
    return RewriteRule(table=Name(schema, name), name=rule, **row)


def _narrowed(*, schema: str, name: str, trigger: str, **row: Any) -> NarrowedTrigger:
    return NarrowedTrigger(table=Name(schema, name), name=trigger, **row)


def _published(*, schema: str, name: str, **row: Any) -> Published:
    return Published(table=Name(schema, name), **row)


def _unproved(*, schema: str, name: str, constraint: str, condition: str) -> NotValidConstraint:
    return NotValidConstraint(table=Name(schema, name), name=constraint, condition=condition)


def _cramped(*, schema: str, name: str, of_type: str | None) -> ColumnLimit:
    return ColumnLimit(table=Name(schema, name), of_type=of_type)


def _leaky(*, schema: str, name: str, index: str, functions: list[str]) -> LeakyIndex:
    return LeakyIndex(table=Name(schema, name), name=index, functions=tuple(functions))


def _barred(*, schema: str, name: str, **row: Any) -> MissingPrivilege:
    return MissingPrivilege(table=Name(schema, name), **row)


def _hidden(*, schema: str, name: str) -> Name:
    return Name(schema, name)
