"""The server's state as read by a preflight."""

from __future__ import annotations

from dataclasses import dataclass

from tenantry.model.name import Name
from tenantry.postgres.connect import Server
from tenantry.postgres.rights import Rights


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerCapacity:
    """The connections that are free for tenantry's role; the folder of the data, if the role may see it; the WAL's soft
    limit in bytes.

    `started` is when the server started, in seconds since 1970.
    """

    connections_left: int
    data_directory: str | None
    started: float
    wal_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleAccess:
    """Whether tenantry's role has another role's privileges, and whether it may act as it and make it the owner of
    objects."""

    name: str
    usage: bool
    settable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaAccess:
    """The privileges of tenantry's role in a schema, and whether the application role may use it already."""

    name: str
    creates: bool
    grants_usage: bool
    open_to_application: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherSession:
    """Another session in this database; ages in seconds, None if there is none or tenantry's role may not see it."""

    pid: int
    user: str
    application: str
    state: str
    hidden: bool
    transaction_age: float | None
    state_age: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A prepared transaction and the tables that it has locks on; `age` in seconds."""

    name: str
    owner: str
    age: float
    tables: tuple[Name, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standby:
    """A connected standby or subscriber, and how far it is behind; None if tenantry's role may not see it."""

    name: str
    state: str
    bytes: int | None
    seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A replication slot, and the bytes of WAL that it retains. `here`: a logical one of this database."""

    name: str
    active: bool
    plugin: str
    here: bool
    holds_rows: bool
    bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventTrigger:
    """An event trigger that is enabled; no `tags` means every command."""

    name: str
    event: str
    tags: tuple[str, ...]
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RewriteRule:
    """A rewrite rule on a table; `event` is SELECT, INSERT, UPDATE or DELETE."""

    table: Name
    name: str
    event: str
    instead: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NarrowedTrigger:
    """A trigger that fires on some updates only: of its columns, or under the condition in its `definition`."""

    table: Name
    name: str
    on_columns: bool
    definition: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A table in a publication; `updates`: its updates are published; `every_column`: columns added later are, too."""

    table: Name
    updates: bool
    every_column: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NotValidConstraint:
    """A check that is NOT VALID, on a relation that holds rows; `condition` as the server writes it."""

    table: Name
    name: str
    condition: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnLimit:
    """A table to which no column can be added: it is `of_type`, or has reached the maximum number of columns."""

    table: Name
    of_type: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakyIndex:
    """An index that can be searched only with operators whose `functions`, as regprocedure, are not leakproof."""

    table: Name
    name: str
    functions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementStat:
    """A statement in pg_stat_statements, and the role that ran it."""

    role: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingPrivilege:
    """A privilege on a table that is not `held` by a role, or has no effect without `usage` of the table's schema."""

    role: str
    table: Name
    privilege: str
    usage: bool
    held: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerState:
    """The state of the server. `executed` is None if pg_stat_statements is missing or cannot be read."""

    server: Server
    room: ServerCapacity
    roles: tuple[RoleAccess, ...]
    schemas: tuple[SchemaAccess, ...]
    rights: Rights
    sessions: tuple[OtherSession, ...]
    prepared: tuple[Prepared, ...]
    standbys: tuple[Standby, ...]
    slots: tuple[Slot, ...]
    event_triggers: tuple[EventTrigger, ...]
    rules: tuple[RewriteRule, ...]
    narrowed: tuple[NarrowedTrigger, ...]
    published: tuple[Published, ...]
    hidden: tuple[Name, ...]
    unproved: tuple[NotValidConstraint, ...]
    cramped: tuple[ColumnLimit, ...]
    leaky: tuple[LeakyIndex, ...]
    executed: tuple[StatementStat, ...] | None
