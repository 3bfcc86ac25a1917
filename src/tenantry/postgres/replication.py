"""Logical replication: what servers and tables have for it, publications, slots and subscriptions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import class_row, tuple_row

from tenantry.model.name import Name
from tenantry.postgres.connect import Target
from tenantry.postgres.dsn import connection_options
from tenantry.postgres.queries import read_queries

_QUERIES = read_queries(Path(__file__).with_name("sql") / "replication.sql")
OWNER_OPTION = 160000
"""The version since which changes can be applied as the owner of the subscription, or as that of each table."""
_QUIET = (
    "log_statement = 'none'", "log_min_duration_statement = -1", "log_min_error_statement = 'panic'",
    "pg_stat_statements.track_utility = off",
)  # fmt: skip
"""Settings that keep a statement out of the server's log and statistics; only a superuser may set them."""
_LOCAL = ("service", "servicefile", "passfile")
"""Options of a DSN that name files of this machine, or what is in them."""

Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What a server still has free for logical replication, and what the connected role may do. `server` identifies the
    database among all servers."""

    version: int
    wal_level: str
    free_slots: int
    free_senders: int
    free_origins: int
    free_workers: int
    superuser: bool
    replicates: bool
    bypasses: bool
    subscribes: bool
    creates: bool
    server: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicatedTable:
    """What replication needs to know of a table. `plain`: it is neither partitioned nor unlogged; `identity` is a
    letter of the catalog. `tenant_keys` are indexes with the tenant column that can be its replica identity, `key` the
    numbers of the columns of the first one, `global_keys` unique ones without that column. `stranger`: code of its
    owner, who has fewer rights than the connected role, would run as that. `incomparable` is a column whose values
    cannot be compared."""

    oid: int
    plain: bool
    identity: str
    identity_index: str | None
    tenant_keys: Sequence[str]
    key: Sequence[int]
    primary_key: str | None
    global_keys: Sequence[str]
    incomparable: str | None
    owner: str
    stranger: bool
    may_alter: bool

    @property
    def keeps_tenant(self) -> bool:
        """Whether the present replica identity contains the tenant column."""
        match self.identity:
            case "f":
                return True
            case "d":
                return self.primary_key is not None and self.primary_key in self.tenant_keys
            case "i":
                return self.identity_index is not None and self.identity_index in self.tenant_keys
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A replication slot; `lag` in bytes."""

    flushed: str | None
    active: bool
    wal_status: str | None
    lag: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A subscription. Of its `tables`, `ready` were copied and have caught up; its workers have failed `failures`
    times."""

    oid: int
    enabled: bool
    tables: int
    ready: int
    failures: int


def read_capacity(connection: Connection) -> Capacity:
    with connection.cursor(row_factory=class_row(Capacity)) as cursor:
        found = cursor.execute(_QUERIES["capacity"]).fetchone()
    assert found is not None
    return found


def read_table(connection: Connection, name: Name, column: str) -> ReplicatedTable | None:
    """None if the table, or its tenant column, does not exist."""
    with connection.cursor(row_factory=class_row(ReplicatedTable)) as cursor:
        asked = {"name": name.identifier.as_string(None), "column": column}
        return cursor.execute(_QUERIES["table"], asked).fetchone()


def identity_before(connection: Connection, table: ReplicatedTable) -> list[Any]:
    """The replica identity of a table, for `identity_restored`: its letter, and the index."""
    row = connection.execute(_QUERIES["index_oid"], {"oid": table.oid}).fetchone()
    return [table.identity, None if row is None else row[0]]


def set_identity(name: Name, table: ReplicatedTable) -> sql.Composed | None:
    """The statement by which the tenant column becomes part of a table's replica identity; None if it is."""
    if table.keeps_tenant:
        return None
    if not table.tenant_keys:
        chosen: sql.Composable = sql.SQL("FULL")
    elif table.tenant_keys[0] == table.primary_key:
        chosen = sql.SQL("DEFAULT")
    else:
        chosen = sql.SQL("USING INDEX {}").format(sql.Identifier(table.tenant_keys[0]))
    return sql.SQL("ALTER TABLE {} REPLICA IDENTITY {}").format(name.identifier, chosen)


def identity_restored(connection: Connection, oid: int, before: Sequence[Any]) -> tuple[Name, sql.Composed] | None:
    """The table with this OID, and the statement that gives it its earlier replica identity; None if it has it, or was
    dropped. If the earlier index was dropped, it becomes the default."""
    letter, index = before
    query = {"oid": oid, "index": index}
    row = psycopg.Cursor(connection, row_factory=tuple_row).execute(_QUERIES["identity"], query).fetchone()
    if row is None or (row[2], row[3] if letter == "i" else None) == (letter, index if letter == "i" else None):
        return None
    name = Name(row[0], row[1])
    match letter:
        case "f":
            chosen: sql.Composable = sql.SQL("FULL")
        case "n":
            chosen = sql.SQL("NOTHING")
        case "i" if row[4] is not None:
            chosen = sql.SQL("USING INDEX {}").format(sql.Identifier(row[4]))
        case _:
            chosen = sql.SQL("DEFAULT")
    return name, sql.SQL("ALTER TABLE {} REPLICA IDENTITY {}").format(name.identifier, chosen)


def read_columns(connection: Connection, tables: Sequence[Name]) -> dict[Name, dict[str, str]]:
    """The columns of these tables as they are now, by name, each with a text that begins with the table, for comparison
    with those of another database; tables that do not exist are left out."""
    found = {}
    for name in tables:
        rows = connection.execute(_QUERIES["columns"], {"name": name.identifier.as_string(None)}).fetchall()
        if rows:
            found[name] = {column: f"{name}.{text}" for column, text in rows}
    return found


def read_referring_keys(connection: Connection, tables: Sequence[Name]) -> list[tuple[Name, str, str]]:
    """The foreign keys that lead to these tables: the table and the name of each, and to which table it leads."""
    asked = {"names": [name.identifier.as_string(None) for name in tables]}
    rows = connection.execute(_QUERIES["referring_keys"], asked).fetchall()
    return [(Name(schema, name), key, parent) for schema, name, key, parent in rows]


def read_structure(connection: Connection, tables: Sequence[Name]) -> frozenset[str]:
    """What must stay as it is for rows of these tables that were compared to be the same still: their storage, columns,
    and the foreign keys that lead to them."""
    asked = {"names": [name.identifier.as_string(None) for name in tables]}
    return frozenset(text for (text,) in connection.execute(_QUERIES["structure"], asked))


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyColumn:
    """A column of a unique key, and the operator by which its values are compared, in two parts."""

    name: str
    operator: tuple[str, str]


def read_recorded_keys(connection: Connection, function: str) -> dict[int, tuple[Name, tuple[str, ...]]]:
    """The tables with triggers of this function, by their OIDs, each with the columns that the triggers record."""
    rows = connection.execute(_QUERIES["recorded_keys"], {"function": function}).fetchall()
    return {oid: (Name(schema, name), tuple(columns)) for oid, schema, name, columns in rows}


def read_key_columns(connection: Connection, table: Name, columns: Sequence[str]) -> tuple[KeyColumn, ...]:
    """The columns of a unique key of a table, in the given order."""
    asked = {"table": table.identifier.as_string(None), "columns": list(columns)}
    rows = connection.execute(_QUERIES["key_columns"], asked).fetchall()
    return tuple(KeyColumn(name=name, operator=(schema, sign)) for name, schema, sign in rows)


def foreign_objects(connection: Connection) -> list[str]:
    """The first objects of users in a database, in words, without those of extensions; empty in a new database."""
    return [text for (text,) in connection.execute(_QUERIES["foreign_objects"]).fetchall()]


def missing_roles(connection: Connection, other: Connection) -> list[str]:
    """The roles that objects of a database name, and the server of the other one does not have."""
    known = {name for (name,) in other.execute(_QUERIES["roles"]).fetchall()}
    return [name for (name,) in connection.execute(_QUERIES["named_roles"]).fetchall() if name not in known]


def read_column_names(connection: Connection) -> list[tuple[str, str, str]]:
    """Of each column that the journal has: its table, its present name, and the name that the journal knows."""
    return connection.execute(_QUERIES["column_names"]).fetchall()


def write_column_names(connection: Connection, columns: Sequence[tuple[str, str, str]]) -> None:
    """Record them in another database with the same tables, whose columns may have other numbers."""
    tables, present, names = ([one[place] for one in columns] for place in range(3))
    asked = {"tables": tables, "columns": present, "names": names}
    connection.execute(_QUERIES["write_column_names"], asked)


def has_publication(connection: Connection, name: str) -> bool:
    return connection.execute(_QUERIES["publication"], {"name": name}).fetchone() is not None


def create_publication(name: str, tables: Sequence[tuple[Name, sql.Composable]]) -> sql.Composed:
    """The statement that publishes, of each table, the rows for which a condition holds. TRUNCATE is not published: it
    would empty the whole table of a subscriber."""
    return sql.SQL("CREATE PUBLICATION {} FOR TABLE {} WITH (publish = 'insert, update, delete')").format(
        sql.Identifier(name),
        sql.SQL(", ").join(
            sql.SQL("ONLY {} WHERE ({})").format(table.identifier, condition) for table, condition in tables
        ),
    )


def drop_publication(connection: Connection, name: str) -> None:
    connection.execute(sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(name)))


def read_slot(connection: Connection, name: str) -> Slot | None:
    with connection.cursor(row_factory=class_row(Slot)) as cursor:
        return cursor.execute(_QUERIES["slot"], {"name": name}).fetchone()


def create_slot(connection: Connection, name: str) -> None:
    """It waits for all transactions that have written and are still open."""
    connection.execute(_QUERIES["create_slot"], {"name": name})


def drop_slot(connection: Connection, name: str) -> bool:
    """Whether the slot is gone; while its sender is still active, that is ended, and the slot stays."""
    connection.execute(_QUERIES["end_sender"], {"name": name})
    with suppress(psycopg.errors.ObjectInUse):
        connection.execute(_QUERIES["drop_slot"], {"name": name})
    return read_slot(connection, name) is None


def sync_slots(connection: Connection, *, subscription: int | None = None, system: str | None = None) -> list[str]:
    """The slots by which tables are or were copied: of a subscription, given by its OID at the target; or inactive ones
    of all subscriptions of a target, given by its system identifier."""
    of = "%" if subscription is None else str(subscription)
    pattern = rf"pg\_{of}\_sync\_%" + ("" if system is None else rf"\_{system}")
    asked = {"pattern": pattern, "active": system is None}
    rows = connection.execute(_QUERIES["sync_slots"], asked).fetchall()
    return [name for (name,) in rows]


def read_subscription(connection: Connection, name: str) -> Subscription | None:
    with connection.cursor(row_factory=class_row(Subscription)) as cursor:
        return cursor.execute(_QUERIES["subscription"], {"name": name}).fetchone()


def create_subscription(connection: Connection, name: str, conninfo: str) -> None:
    """Subscribe to the publication of this name, from the slot of this name; `conninfo` is how this server connects to
    the publisher.

    Changes are applied as the owner of the subscription, since policies apply to owners of tables. A password in
    `conninfo` is stored in pg_subscription, which superusers can read. A superuser keeps it out of the server's log and
    statistics of statements.
    """
    options = [
        "create_slot = false", f"slot_name = '{name}'", "copy_data = true", "enabled = true",
        "synchronous_commit = 'on'",
    ]  # fmt: skip
    if connection.info.server_version >= OWNER_OPTION:
        options.append("run_as_owner = true")
    with connection.transaction():
        for setting in _QUIET:
            with suppress(psycopg.errors.InsufficientPrivilege), connection.transaction():
                connection.execute(sql.SQL("SET LOCAL {}").format(sql.SQL(setting)))
        connection.execute(
            sql.SQL("CREATE SUBSCRIPTION {0} CONNECTION {1} PUBLICATION {0} WITH ({2})").format(
                sql.Identifier(name), sql.Literal(conninfo), sql.SQL(", ").join(map(sql.SQL, options))
            )
        )


def drop_subscription(connection: Connection, name: str) -> None:
    """Drop a subscription of this database, if it exists, with its slots at the publisher if that can be reached."""
    if read_subscription(connection, name) is None:
        return
    subscription = sql.Identifier(name)
    # First, so that nothing is applied from here on.
    connection.execute(sql.SQL("ALTER SUBSCRIPTION {} DISABLE").format(subscription))
    try:
        connection.execute(sql.SQL("DROP SUBSCRIPTION {}").format(subscription))
    except psycopg.Error as error:
        if connection.closed or read_subscription(connection, name) is None:
            raise
        if isinstance(error, psycopg.errors.InsufficientPrivilege):
            raise
        connection.execute(sql.SQL("ALTER SUBSCRIPTION {} SET (slot_name = NONE)").format(subscription))
        connection.execute(sql.SQL("DROP SUBSCRIPTION {}").format(subscription))


def position(connection: Connection) -> str:
    """The end of the write-ahead log."""
    row = connection.execute(_QUERIES["position"]).fetchone()
    assert row is not None
    return str(row[0])


def reached(connection: Connection, slot: str, place: str) -> bool:
    """Whether the subscriber of a slot has applied, and written to disk, everything up to this position."""
    return connection.execute(_QUERIES["reached"], {"name": slot, "position": place}).fetchone() == (True,)


def is_session_of(connection: Connection, other: Connection) -> bool:
    """Whether both sessions are of the same database of the same server."""
    asked = {
        "pid": other.info.backend_pid, "application": other.info.parameter_status("application_name"),
    }  # fmt: skip
    return connection.execute(_QUERIES["same_session"], asked).fetchone() == (True,)


def conninfo_for(connection: Connection, target: Target, given: str | None) -> str:
    """How another server connects to that of this connection: as `given`, or as this session does, with what its DSN
    names, and nothing that comes from this machine's environment or files, above all no password."""
    if given is not None:
        return make_conninfo("", **connection_options(given))
    named = connection_options(target.conninfo)
    info = connection.info
    told = {"host": info.host, "port": info.port, "dbname": info.dbname, "user": info.user}
    kept = {key: value for key, value in named.items() if value is not None and key not in _LOCAL}
    return make_conninfo("", **{**kept, **told})


def place_of(connection: Connection) -> str:
    """Where the server is, for people and for applications: host, port and database, without user and secrets."""
    info = connection.info
    return make_conninfo("", host=info.host, port=info.port, dbname=info.dbname)


@contextmanager
def limited(connection: Connection, seconds: float) -> Iterator[None]:
    """Within the block, statements of an autocommit session end with an error after this time."""
    milliseconds = max(1, int(seconds * 1000))
    connection.execute(sql.SQL("SET statement_timeout = {}").format(sql.Literal(milliseconds)))
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute("SET statement_timeout = 0")
