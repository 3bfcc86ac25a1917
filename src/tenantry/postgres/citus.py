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
class CitusFacts:
    """`coordinator`: this server is it. `partitions`: the tables that Citus has, with the column by which it has
    distributed them, None if it copies them to each node."""

    version: str
    coordinator: bool
    replication_factor: int
    nodes: tuple[Node, ...]
    reached: tuple[Reached, ...]
    partitions: Mapping[Name, str | None]

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


def allow_repartition_joins(connection: psycopg.Connection[Any]) -> None:
    """From now on the session can join distributed tables by other columns than the tenant, if the join is an inner
    one: Citus sends rows to other nodes for it."""
    connection.execute(_QUERIES["repartition"])


def open_sessions(connection: psycopg.Connection[Any], roles: Sequence[str]) -> int:
    """The number of sessions of these roles in this database."""
    row = connection.execute(_QUERIES["sessions"], {"roles": list(roles)}).fetchone()
    return int(row[0]) if row is not None else 0


def _partition(*, schema: str, name: str, column: str | None) -> tuple[Name, str | None]:
    return Name(schema, name), column
