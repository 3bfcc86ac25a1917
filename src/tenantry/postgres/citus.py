"""Citus: its nodes, and which tables it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg.rows import dict_row

from tenantry.model.name import Name
from tenantry.postgres.queries import read_queries

_QUERIES = read_queries(Path(__file__).with_name("sql") / "citus.sql")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A server of the cluster. `active`: it takes part; `synced`: it has the metadata, so that applications can connect
    to it; `takes_shards`: it gets rows of distributed tables."""

    name: str
    port: int
    coordinator: bool
    active: bool
    synced: bool
    takes_shards: bool

    def __str__(self) -> str:
        return f"{self.name}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """Whether a node could be reached from this one, and its max_prepared_transactions."""

    name: str
    port: int
    success: bool
    prepared: int

    def __str__(self) -> str:
        return f"{self.name}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """The column by which Citus has distributed a table. None: it copies it to each node, or the table has only
    `one_shard`, on the coordinator."""

    column: str | None
    one_shard: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CitusFacts:
    """`coordinator`: this server is it. `partitions`: the tables that Citus has, and how."""

    version: str
    coordinator: bool
    replication_factor: int
    nodes: tuple[Node, ...]
    reached: tuple[Reached, ...]
    partitions: Mapping[Name, Partition]

    @property
    def release(self) -> int:
        return int(self.version.partition(".")[0])


def read_citus(connection: psycopg.Connection[Any], tables: Sequence[Name]) -> CitusFacts:
    """The facts about the nodes and these tables; the database has Citus. It only reads, also on the other nodes."""
    names = {"names": [name.identifier.as_string(None) for name in tables]}

    def read(value: Callable[..., Value], query: str) -> tuple[Value, ...]:
        with connection.cursor(row_factory=dict_row) as cursor:
            return tuple(value(**row) for row in cursor.execute(_QUERIES[query], names).fetchall())

    with connection.cursor(row_factory=dict_row) as cursor:
        here = cursor.execute(_QUERIES["node"]).fetchone()
    assert here is not None
    nodes = read(Node, "nodes")
    return CitusFacts(
        **here, nodes=nodes, reached=read(Reached, "prepared") if here["coordinator"] else (),
        partitions=dict(read(_partition, "partitions")),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicationFacts:
    """What a node has for logical replication; `plugins` are output_plugin_libraries, None where there is no such
    setting."""

    name: str
    port: int
    coordinator: bool
    wal_level: str
    plugins: str | None
    free_slots: int
    free_senders: int
    free_workers: int

    def __str__(self) -> str:
        return f"{self.name}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConcurrentObstacle:
    """A table that cannot be distributed while writers go on: it has `dropped` columns, `generated` ones before the
    tenant column, or neither and no replica identity."""

    table: Name
    dropped: int
    generated: int


def read_replication(connection: psycopg.Connection[Any]) -> tuple[ReplicationFacts, ...]:
    """The nodes that could be reached."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(_QUERIES["replication"]).fetchall()
    return tuple(ReplicationFacts(**{**row.pop("facts"), **row}) for row in rows)


def read_concurrent_obstacles(
    connection: psycopg.Connection[Any], columns: Mapping[Name, str]
) -> tuple[ConcurrentObstacle, ...]:
    """Those of the tables, given with their tenant columns, that cannot be distributed while writers go on. A tenant
    column that does not exist yet is going to be the last one."""
    given = {"names": [name.identifier.as_string(None) for name in columns], "columns": [*columns.values()]}
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(_QUERIES["concurrent_obstacles"], given).fetchall()
    return tuple(ConcurrentObstacle(table=Name(row.pop("schema"), row.pop("name")), **row) for row in rows)


def allow_repartition_joins(connection: psycopg.Connection[Any]) -> None:
    """From now on the session can join distributed tables by other columns than the tenant, if the join is an inner
    one: Citus sends rows to other nodes for it."""
    connection.execute(_QUERIES["repartition"])


def change_shards_in_turn(connection: psycopg.Connection[Any]) -> None:
    """For the rest of the session a change of a distributed table goes from shard to shard over one connection for each
    node. In parallel, the same transaction could not look at another table afterwards, as triggers and checks do."""
    connection.execute(_QUERIES["in_turn"])


def read_one_shard(connection: psycopg.Connection[Any], tables: Sequence[Name]) -> frozenset[Name]:
    """Those of the tables that Citus has with one shard on the coordinator; the database has Citus."""
    names = {"names": [name.identifier.as_string(None) for name in tables]}
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(_QUERIES["partitions"], names).fetchall()
    return frozenset(Name(row["schema"], row["name"]) for row in rows if row["one_shard"])


def roles_not_settable(connection: psycopg.Connection[Any], roles: Sequence[str]) -> tuple[str, ...]:
    """Those of the roles whose settings the connected role may not change."""
    rows = connection.execute(_QUERIES["roles_not_settable"], {"roles": list(roles)}).fetchall()
    return tuple(name for (name,) in rows)


def open_sessions(connection: psycopg.Connection[Any], roles: Sequence[str]) -> int:
    """The number of sessions of these roles in this database."""
    row = connection.execute(_QUERIES["sessions"], {"roles": list(roles)}).fetchone()
    return int(row[0]) if row is not None else 0


def _partition(*, schema: str, name: str, column: str | None, one_shard: bool) -> tuple[Name, Partition]:
    return Name(schema, name), Partition(column=column, one_shard=one_shard)
