"""Somebody who tries: a session that is the application, or that becomes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import pq, sql

from tenantry.checks.base import CheckContext
from tenantry.checks.isolation.attempts import got_through
from tenantry.errors import UsageError
from tenantry.model.name import Name, quoted
from tenantry.postgres.connect import connect
from tenantry.postgres.owner_context import fenced
from tenantry.postgres.preflight import in_recovery
from tenantry.postgres.queries import read_queries

_QUERIES = read_queries(Path(__file__).with_name("sql") / "experiment.sql")
NOBODY = ""
"""The setting of a session that has named no tenant."""


def become(connection: psycopg.Connection[Any], role: str) -> None:
    """Be the role until the transaction ends, which is to be rolled back: who may, makes itself a member for so long.
    Since 16 whoever makes a role is not one that can become it. Raises InsufficientPrivilege."""
    take_on = sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role))
    try:
        with connection.transaction():
            connection.execute(take_on)
    except psycopg.errors.InsufficientPrivilege:
        if in_recovery(connection):
            raise  # Nothing can be granted there.
        connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(role)))
        connection.execute(take_on)


class _RowSeen(Exception):
    """COPY gave a row, which is all that is to be known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """A session of the user `name`, who is the application, or that becomes it: by SET ROLE to `role`."""

    connection: psycopg.Connection[Any]
    name: str
    role: str | None
    setting: str

    @contextmanager
    def trials(self) -> Iterator[None]:
        """A transaction that is rolled back, and in which we are the application."""
        with self.connection.transaction(force_rollback=True):
            self.connection.execute(_QUERIES["settle"])
            if self.role is not None:
                become(self.connection, self.role)
            yield

    @contextmanager
    def sharing(self, snapshot: str) -> Iterator[None]:
        """As `trials`, with the eyes of a transaction that has exported its snapshot."""
        with self.connection.transaction(force_rollback=True):
            self.connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            self.connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot)))
            self.connection.execute(_QUERIES["settle"])
            if self.role is not None:
                become(self.connection, self.role)
            yield

    def ask(self, tenant: str, query: sql.Composed) -> tuple[Any, ...] | None:
        """The first row of what the tenant is answered. Raises psycopg's errors."""
        with self.connection.transaction():
            self.connection.execute("SELECT set_config(%s, %s, true)", (self.setting, tenant))
            return self.connection.execute(query).fetchone()

    def attempt(self, tenant: str, statement: sql.Composed) -> psycopg.Error | bool | None:
        """What happened when the tenant tried: whether it got through, or the error that leaves it open."""
        # Thousands are made on a large schema: what is ours goes to the server in one message, past the fence, since it
        # runs nobody's code.
        ours = psycopg.Cursor(self.connection)
        named = sql.SQL("SELECT pg_catalog.set_config({}, {}, true)").format(
            sql.Literal(self.setting), sql.Literal(tenant)
        )
        ours.execute(sql.SQL("SAVEPOINT tenantry_attempt; {}").format(named))
        try:
            self.connection.execute(statement)
            through: bool | None = False
        except psycopg.Error as error:
            if self.connection.closed:
                raise
            through = got_through(error)
            if through is None:
                return error
        finally:
            if self.connection.info.transaction_status in (pq.TransactionStatus.INTRANS, pq.TransactionStatus.INERROR):
                ours.execute("ROLLBACK TO SAVEPOINT tenantry_attempt; RELEASE SAVEPOINT tenantry_attempt")
        return through

    def copies_out(self, table: Name) -> psycopg.Error | bool:
        """Whether COPY gives a row to a session without a tenant. It is left at the first."""
        copy = sql.SQL("COPY {} TO STDOUT").format(table.identifier)
        try:
            with self.connection.transaction(force_rollback=True), self.connection.cursor() as cursor:
                cursor.execute("SELECT set_config(%s, %s, true)", (self.setting, NOBODY))
                if fenced(self.connection):
                    # COPY cannot be run as somebody else's; where there are policies it is this query.
                    query = sql.SQL("SELECT true FROM {} LIMIT 1").format(table.identifier)
                    return cursor.execute(query).fetchone() is not None
                with cursor.copy(copy) as rows:
                    for _ in rows:
                        raise _RowSeen  # By which the driver ends the command on the server.
                return False
        except _RowSeen:
            return True
        except psycopg.Error as error:
            if self.connection.closed:
                raise
            refused = isinstance(error, psycopg.errors.InsufficientPrivilege | psycopg.errors.WrongObjectType)
            return False if refused else error


def application_user(ground: CheckContext) -> str | None:
    """Who the application is by its own connection, None where none is given. Raises ConnectionFailed."""
    if ground.application is None:
        return None
    connection = connect(ground.application, run=ground.run, purpose="experiment", operator=False)
    try:
        row = connection.execute(_QUERIES["user"]).fetchone()
    finally:
        connection.close()
    return str(row[0]) if row is not None else None


@contextmanager
def acting(ground: CheckContext) -> Iterator[Actor]:
    """The application, by its own connection where one is given. Raises UsageError where that is not one of it."""
    setting, role = ground.ownership.setting, ground.spec.application.role
    if ground.application is None:
        with ground.session("experiment", read_only=False) as connection:
            yield Actor(connection=connection, name=role, role=role, setting=setting)
        return
    connection = connect(ground.application, run=ground.run, purpose="experiment", operator=False)
    try:
        here = ground.connection.execute(_QUERIES["database"]).fetchone()
        if connection.execute(_QUERIES["database"]).fetchone() != here:
            raise UsageError("--application-dsn is of another database", remedy="Name the one that is validated.")
        user, stands, becomes = connection.execute(_QUERIES["stands_for"], {"role": role}).fetchone() or (
            "",
            False,
            False,
        )
        if not stands and not becomes:
            raise UsageError(
                f"--application-dsn connects as {user}, which has not the privileges of {role}",
                remedy=f"Name the user that the application connects as, or GRANT {quoted(role)} TO {quoted(user)}.",
            )
        # Who has not its privileges without asking takes them on, as its application must.
        yield Actor(connection=connection, name=user, role=None if stands else role, setting=setting)
    finally:
        connection.close()
