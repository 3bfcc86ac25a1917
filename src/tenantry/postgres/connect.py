"""Connections: their target, their settings, and the message when there is none."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow, class_row

from tenantry.errors import ConnectionFailed, Refused, TenantryError
from tenantry.postgres.dsn import connection_options, masked, secrets, without_secrets
from tenantry.postgres.embedded import is_embedded, served
from tenantry.postgres.owner_context import fence
from tenantry.postgres.queries import read_queries

OLDEST = 14
CONNECT_SECONDS = "10"
KEEPALIVES = {
    "keepalives": "1",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
}

PIN = b"SET search_path = pg_catalog, pg_temp"
"""With pg_temp last: unless it is listed, it comes first."""

_QUERIES = read_queries(Path(__file__).with_name("sql") / "connect.sql")


class PinnedConnection(psycopg.Connection[TupleRow]):
    """A session whose search_path is tenantry's whenever no transaction is open.

    Code of the user's that a transaction runs, such as a trigger, may set the path for the rest of the session.
    """

    path: bytes | sql.SQL | sql.Composed = PIN
    """Sets the path."""
    _pinned: str | None = None
    """The path as the server reports it after that."""

    def settle_path(self, path: sql.SQL | sql.Composed) -> None:
        """Use another path for the session from now on; `path` is the statement that sets it."""
        self.path, self._pinned = path, None
        self.pin()

    def pin(self) -> None:
        """Set the path again. Since PostgreSQL 18 the server reports its changes."""
        shown = self.info.parameter_status("search_path")
        if shown is None or shown != self._pinned:
            self.execute(self.path)
            self._pinned = self.info.parameter_status("search_path")

    @contextmanager
    def transaction(
        self, savepoint_name: str | None = None, force_rollback: bool = False
    ) -> Iterator[psycopg.Transaction]:
        outermost = self.info.transaction_status is TransactionStatus.IDLE
        with super().transaction(savepoint_name, force_rollback) as transaction:
            yield transaction
        # A transaction that was rolled back has changed no setting.
        if outermost and self.autocommit and not force_rollback:
            self.pin()


@dataclass(frozen=True, slots=True)
class Target:
    """A database that can be connected to; its text has no password."""

    conninfo: str = field(repr=False)

    def __str__(self) -> str:
        return masked(self.conninfo)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The server's version, and what the connected role may do there. `bypasses` is also true for a superuser."""

    version: int
    version_name: str
    database: str
    user: str
    superuser: bool
    bypasses: bool
    can_create_role: bool
    can_create_schema: bool
    in_recovery: bool

    @property
    def major(self) -> int:
        return self.version // 10000


@contextmanager
def resolve_target(dsn: str | None = None, *, environment: Mapping[str, str] = os.environ) -> Iterator[Target]:
    """The database of `dsn`, else of DATABASE_URL, else of the PG* variables.

    An embedded server (`embedded:PATH`) runs during the block. Raises UsageError for a DSN that cannot be read, and
    ConnectionFailed if an embedded server cannot be started.
    """
    named = dsn or environment.get("DATABASE_URL") or ""
    if is_embedded(named):
        with served(named) as conninfo:
            yield Target(conninfo)
    else:
        # The form that web frameworks use: postgresql+psycopg://…
        conninfo = re.sub(r"\A(postgres(?:ql)?)\+\w+://", r"\1://", named)
        connection_options(conninfo)
        yield Target(conninfo)


def connect(
    target: Target, *, purpose: str, run: str = "", autocommit: bool = True, operator: bool = True
) -> PinnedConnection:
    """A session with tenantry's settings, whatever the defaults of server, database and role.

    pg_stat_activity shows it as `tenantry RUN PURPOSE`. No timeout is set: callers set them locally. As `operator`, a
    role that bypasses row-level security gets an error where a policy would hide rows.

    Raises ConnectionFailed if there is no connection or the server is older than PostgreSQL 14, and Refused if
    the connection goes through a pooler, or the database makes its sessions another role's.
    """
    options = {**KEEPALIVES, **connection_options(target.conninfo)}
    if "PGCONNECT_TIMEOUT" not in os.environ:
        options.setdefault("connect_timeout", CONNECT_SECONDS)
    connection = None
    try:
        connection = PinnedConnection.connect("", autocommit=True, prepare_threshold=None, **options)
        _require_supported(connection)
        # Before anything is set: in a pooled session it would stay for the application, above all search_path.
        refuse_pooler(connection)
        # Until here the database's owner decides the path: the query above is qualified, and this one uses no name. Not
        # set as a startup option, which poolers refuse, and which would hide the application's own path from tenantry.
        connection.execute(PIN)
        _refuse_other_role(connection)
        _settle(connection, " ".join(filter(None, ("tenantry", run, purpose))), operator)
        if operator:
            fence(connection)
        connection.autocommit = autocommit
        return connection
    except (psycopg.Error, TenantryError) as error:
        if connection is not None:
            connection.close()
        failure = error if isinstance(error, TenantryError) else _explained(error, options, target.conninfo)
    # Outside the handler, so that no traceback leads back to the driver's error, which may contain the DSN.
    raise failure


def read_server(connection: psycopg.Connection[Any]) -> Server:
    """What this server is, and what the connected role may do."""
    with connection.cursor(row_factory=class_row(Server)) as cursor:
        server = cursor.execute(_QUERIES["server"]).fetchone()
    assert server is not None
    return server


def refuse_pooler(connection: psycopg.Connection[Any]) -> None:
    """Raises Refused if the connection goes through a pooler.

    Locks and settings would stay with a session that others use next. A pooler reports a process number of its own.
    """
    row = connection.execute(_QUERIES["backend"]).fetchone()
    if row is None or row[0] != connection.info.backend_pid:
        raise Refused(
            "The connection goes through a pooler, which does not keep a lock with the session that took it",
            remedy="connect to the server itself: its own host and port, not the pooler's",
        )


def _refuse_other_role(connection: psycopg.Connection[Any]) -> None:
    """Raises Refused if the database makes every session another role's.

    Code of that role could return to the connected role, with all its privileges.
    """
    row = connection.execute(_QUERIES["set_role"], {"user": connection.info.user}).fetchone()
    if row is not None:
        raise Refused(
            f"The database sets {row[0]} to {row[1]} for all sessions: code of the tables' owners could become"
            f" {connection.info.user} by RESET",
            remedy=f"ALTER DATABASE … RESET {row[0]}, or connect as {row[1]}",
        )


def _settle(connection: psycopg.Connection[TupleRow], application_name: str, operator: bool) -> None:
    try:
        connection.execute(_QUERIES["settle"], {"application_name": application_name, "operator": operator})
    except psycopg.errors.InsufficientPrivilege as error:
        raise Refused(
            "The connection has session_replication_role = replica: foreign keys and triggers would not be enforced",
            remedy="ALTER ROLE … (or DATABASE …) RESET session_replication_role, as a superuser",
        ) from error
    if operator:
        connection.execute(_QUERIES["settle_citus"])
    # Servers on some systems cannot check for lost clients and refuse the setting.
    with suppress(psycopg.DataError):
        connection.execute(_QUERIES["notice_lost_client"])


def _require_supported(connection: psycopg.Connection[TupleRow]) -> None:
    if connection.info.server_version < OLDEST * 10000:
        version = connection.info.parameter_status("server_version")
        raise ConnectionFailed(
            f"The server is PostgreSQL {version}; tenantry needs PostgreSQL {OLDEST} or newer",
            remedy="upgrade the server first",
        )


# The driver gives no SQLSTATE for a refused connection, only the server's message.
_REMEDIES = {
    r"authentication failed|no password supplied": "check the user and the password",
    r"database .* does not exist": "check the name of the database",
    r"role .* (does not exist|is not permitted to log in)": "check the name of the user",
    r"too many (connections|clients)|connection slots": "end idle sessions, or try again later",
    r"no pg_hba\.conf entry": "allow this user and host in pg_hba.conf, or try another sslmode",
    r"SSL|TLS|certificate|GSSAPI": "check sslmode and the certificates",
    r"starting up|shutting down|recovery mode": "try again in a moment",
    r"permission denied for database": "GRANT CONNECT ON DATABASE … to this user",
    r"refused|resolve|timeout|timed out|No such file|No route|unreachable|Permission denied": (
        "check host and port, and that the server is running and can be reached from here"
    ),
}
_PREFIXES = re.compile(r"(connection (failed|is bad): |connection to .*? failed: |(FATAL|ERROR): +)+")


def _explained(error: psycopg.Error, options: Mapping[str, Any], conninfo: str) -> ConnectionFailed:
    """One sentence and a remedy; a message in another language gets no remedy.

    If a password contains a /, libpq takes its parts for port and database: they are masked, too.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    remedy = next((text for pattern, text in _REMEDIES.items() if re.search(pattern, " ".join(lines))), "")
    shown = {name: options[name] for name in ("host", "port", "user", "dbname") if options.get(name)}
    place = make_conninfo("", **shown) or "the server that the PG* environment variables give"
    hidden = secrets(conninfo)
    return ConnectionFailed(
        without_secrets(f"Cannot connect to {place}: {_PREFIXES.sub('', lines[0], count=1)}", hidden),
        remedy=remedy,
        details=[without_secrets(line, hidden) for line in lines[1:]],
    )
