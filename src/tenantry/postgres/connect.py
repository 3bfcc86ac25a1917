"""Connections: where to, with which settings, and what is said when there is none."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import Conninfo
from psycopg.rows import TupleRow, class_row

from tenantry.errors import ConnectionFailed, Refused, TenantryError, UsageError, nearest
from tenantry.postgres.embedded import is_embedded, served
from tenantry.postgres.queries import read_queries

OLDEST = 14
SECRETS = ("password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key")
MASK = "****"

_QUERIES = read_queries(Path(__file__).with_name("sql") / "connect.sql")
_KEEPALIVES = {
    "keepalives": "1",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
}
_CONNECT_TIMEOUT = "10"


@dataclass(frozen=True, slots=True)
class Target:
    """A database that can be connected to; as text it has no password."""

    conninfo: str = field(repr=False)

    def __str__(self) -> str:
        return masked(self.conninfo)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What the server is and what the connected role may do there. `bypasses` is true of a superuser too."""

    version: int
    version_name: str
    database: str
    user: str
    session_user: str
    superuser: bool
    bypasses: bool
    can_create_role: bool
    can_create_schema: bool
    can_create_temporary: bool
    in_recovery: bool
    max_connections: int
    reserved_connections: int
    deadlock_timeout: str

    @property
    def major(self) -> int:
        return self.version // 10000


@contextmanager
def reach(dsn: str | None = None, *, environment: Mapping[str, str] = os.environ) -> Iterator[Target]:
    """The database that `dsn` names, else DATABASE_URL, else the PG* variables.

    A server of ours (`embedded:PATH`) runs as long as the block. Raises UsageError for a DSN that cannot be read, and
    ConnectionFailed where a server of ours cannot be started.
    """
    named = dsn or environment.get("DATABASE_URL") or ""
    if is_embedded(named):
        with served(named) as conninfo:
            yield Target(conninfo)
    else:
        # As web frameworks write it: postgresql+psycopg://…
        conninfo = re.sub(r"\A(postgres(?:ql)?)\+\w+://", r"\1://", named)
        _options(conninfo)
        yield Target(conninfo)


def masked(dsn: str) -> str:
    """`dsn` without its secrets; one that cannot be read is not shown at all."""
    if is_embedded(dsn):
        return dsn
    try:
        options = conninfo_to_dict(dsn)
    except psycopg.Error:
        return MASK
    return make_conninfo("", **{key: MASK if key in SECRETS else value for key, value in options.items()})


def connect(
    target: Target, *, purpose: str, run: str = "", autocommit: bool = True, operator: bool = True
) -> psycopg.Connection[TupleRow]:
    """A session with settings of its own, whatever the defaults of server, database and role.

    pg_stat_activity shows it as `tenantry RUN PURPOSE`. No timeout is set: who needs one sets it locally. As
    `operator`, a role that bypasses row security gets an error where a policy would hide rows.

    Raises ConnectionFailed where there is no connection or the server is older than PostgreSQL 14.
    """
    options = {**_KEEPALIVES, **_options(target.conninfo)}
    if "PGCONNECT_TIMEOUT" not in os.environ:
        options.setdefault("connect_timeout", _CONNECT_TIMEOUT)
    failure: TenantryError
    try:
        connection = psycopg.connect("", autocommit=True, prepare_threshold=None, **options)
    except psycopg.Error as error:
        failure = _explained(error, options)
    else:
        try:
            _require_supported(connection)
            _settle(connection, " ".join(filter(None, ("tenantry", run, purpose))), operator)
            connection.autocommit = autocommit
            return connection
        except psycopg.Error as error:
            failure = _explained(error, options)
            connection.close()
        except ConnectionFailed:
            connection.close()
            raise
    # Outside the handler, so that no traceback leads back to the driver's error, which may quote the DSN.
    raise failure


def read_server(connection: psycopg.Connection[Any]) -> Server:
    """What this server is, and what the connected role may do."""
    with connection.cursor(row_factory=class_row(Server)) as cursor:
        server = cursor.execute(_QUERIES["server"]).fetchone()
    assert server is not None
    return server


def refuse_pooler(connection: psycopg.Connection[Any]) -> None:
    """Raises Refused where a pooler stands between us and the server: locks and settings would be somebody else's."""
    row = connection.execute(_QUERIES["backend"]).fetchone()
    # A pooler greets with a process number of its own making.
    if row is None or row[0] != connection.info.backend_pid:
        raise Refused(
            "The connection goes through a pooler, where a lock does not stay with the run that took it",
            remedy="connect to the server itself: its own host and port, not the pooler's",
        )


def _settle(connection: psycopg.Connection[TupleRow], application_name: str, operator: bool) -> None:
    connection.execute(_QUERIES["settle"], {"application_name": application_name})
    # Servers on some systems cannot check for lost clients and refuse the setting.
    with suppress(psycopg.DataError):
        connection.execute(_QUERIES["notice_lost_client"])
    if operator:
        connection.execute(_QUERIES["no_silent_filter"])


def _require_supported(connection: psycopg.Connection[TupleRow]) -> None:
    if connection.info.server_version < OLDEST * 10000:
        version = connection.info.parameter_status("server_version")
        raise ConnectionFailed(
            f"The server is PostgreSQL {version}; tenantry needs PostgreSQL {OLDEST} or newer",
            remedy="upgrade the server first",
        )


def _options(conninfo: str) -> dict[str, Any]:
    reason = ""
    try:
        return dict(conninfo_to_dict(conninfo))
    except psycopg.Error as error:
        reason = _malformed(str(error).strip())
    # Outside the handler: the driver's error quotes pieces of the DSN, the password among them.
    raise UsageError(
        f"The connection string cannot be read: {reason}",
        remedy="write postgresql://user:password@host:port/database, with %XX for signs such as @ / : in the password",
    )


def _malformed(message: str) -> str:
    """libpq's reason without what it quotes; an unknown option is compared with those that there are."""
    quoted = re.search(r'(?:option|parameter:) "(\w+)"$', message)
    known = [option.keyword.decode() for option in Conninfo.get_defaults()]
    return re.sub(r'"[^"=].*"', "a part of it", message) + (nearest(quoted.group(1), known) if quoted else "")


_REASONS = (
    (
        r"password authentication failed|no password supplied|authentication failed",
        "check the user and the password",
    ),
    (r"database .* does not exist", "check the name of the database"),
    (r"role .* (does not exist|is not permitted to log in)", "check the name of the user"),
    (
        r"too many (connections|clients)|remaining connection slots|connection limit",
        "end idle sessions, or try later",
    ),
    (
        r"no pg_hba\.conf entry",
        "let this user and host in, in the server's pg_hba.conf, or try another sslmode",
    ),
    (r"SSL|TLS|certificate|GSSAPI", "check sslmode and the certificates"),
    (r"starting up|shutting down|recovery mode", "try again in a moment"),
    (r"permission denied for database|CONNECT privilege", "GRANT CONNECT ON DATABASE … to this user"),
    (
        r"refused|resolve host|timeout|timed out|No such file|No route|unreachable|Permission denied",
        "check host and port, and that the server runs and can be reached from here",
    ),
)


def _explained(error: psycopg.Error, options: Mapping[str, Any]) -> ConnectionFailed:
    """One sentence, and what to do; the driver's own words where none of the known reasons fits (other languages)."""
    first, *others = [line.strip() for line in str(error).splitlines() if line.strip()] or [
        type(error).__name__
    ]
    reason = re.sub(r"^connection (failed|is bad): |^connection to server .*? failed: ", "", first)
    reason = re.sub(
        r"^connection to server .*? failed: |^(FATAL|ERROR): +",
        "",
        re.sub(r"^connection to.*?failed: ", "", reason),
    )
    text = " ".join((first, *others))
    remedy = next((remedy for pattern, remedy in _REASONS if re.search(pattern, text)), "")
    shown = masked(
        make_conninfo(
            "", **{key: options[key] for key in ("host", "port", "user", "dbname") if options.get(key)}
        )
    )
    return ConnectionFailed(
        _without_secrets(f"No connection to {shown or 'the default server'}: {reason}", options),
        remedy=remedy,
        details=[_without_secrets(line, options) for line in others],
    )


def _without_secrets(text: str, options: Mapping[str, Any]) -> str:
    for secret in SECRETS:
        if options.get(secret):
            text = text.replace(str(options[secret]), MASK)
    return text
