"""The schema of a database, read from its catalog in a fixed number of queries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow, dict_row
from tenacity import retry, retry_if_exception_type, stop_after_attempt

from tenantry.errors import Failed, UsageError, nearest
from tenantry.model.name import Name
from tenantry.model.schema import (
    Column,
    Executed,
    ForeignKey,
    Function,
    Grant,
    Index,
    Kind,
    ManagedObjects,
    Policy,
    Role,
    Schema,
    Table,
    Trigger,
    Unique,
    View,
)
from tenantry.postgres.locks import exclusive
from tenantry.postgres.owner_context import fence
from tenantry.postgres.queries import read_queries

LONGEST_WAIT = 3
EVERY_SCHEMA = "*"
OUR_PREFIXES = ("tenantry_", "~tenantry_")

_QUERIES = read_queries(Path(__file__).with_name("sql") / "catalog.sql")

Value = TypeVar("Value")
Row = dict[str, Any]
Part = Callable[..., Value]


def read_schema(connection: psycopg.Connection[TupleRow], schemas: Sequence[str], *, managed: ManagedObjects) -> Schema:
    """The first schema that read_schemas returns, if any."""
    return read_schemas(connection, schemas, managed=(managed,))[0]


def read_schemas(
    connection: psycopg.Connection[TupleRow], schemas: Sequence[str], *, managed: Sequence[ManagedObjects]
) -> tuple[Schema, ...]:
    """The user's own objects in `schemas` (`("*",)` for all), without what tenantry made; once for each of `managed`,
    all in one snapshot.

    Each of `managed` lists what tenantry made; everything in the schema tenantry is left out, too.

    The connection is one of tenantry.postgres.connect: names are qualified by its search_path. Partitions, inheritance
    children and views that read a table are included whatever their schema; functions and roles are those of the
    database. In a transaction of the caller it waits for locks as long as that does, else for LONGEST_WAIT seconds
    each.

    Raises UsageError for a schema that does not exist, and Failed if another session keeps a table locked.
    """
    if connection.info.transaction_status is not TransactionStatus.IDLE:
        return _fenced(connection, _read(connection, schemas, managed))
    try:
        return _fenced(connection, _read_in_snapshot(connection, schemas, managed))
    except psycopg.errors.LockNotAvailable as error:
        raise Failed(
            f"The schema cannot be read: another session has held a lock on a table for {LONGEST_WAIT} s",
            remedy="wait until that session is done, or end it",
            details=[str(blocker) for blocker in exclusive(connection)],
        ) from error


def _fenced(connection: psycopg.Connection[TupleRow], schemas: tuple[Schema, ...]) -> tuple[Schema, ...]:
    """They may refer to objects of an owner who had none when the session was opened."""
    fence(connection)
    return schemas


def application_path(connection: psycopg.Connection[Any]) -> tuple[str, ...]:
    """The search_path of a session of this role without settings of its own."""
    row = connection.execute(_QUERIES["search_path"]).fetchone()
    return tuple(row[1]) if row is not None else ()


# A table was dropped while its definition was being built; the next attempt does not see it.
@retry(
    retry=retry_if_exception_type((psycopg.errors.InternalError_, psycopg.errors.UndefinedTable)),
    stop=stop_after_attempt(3),
    reraise=True,
)
def _read_in_snapshot(
    connection: psycopg.Connection[TupleRow], schemas: Sequence[str], managed: Sequence[ManagedObjects]
) -> tuple[Schema, ...]:
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        # PostgreSQL locks a table to build its definition, and would wait for a VACUUM FULL, with locks on what it has
        # read, behind which the application's statements could queue.
        connection.execute("SELECT set_config('lock_timeout', %s, true)", [f"{LONGEST_WAIT}s"])
        return _read(connection, schemas, managed)


def _read(
    connection: psycopg.Connection[TupleRow], schemas: Sequence[str], managed: Sequence[ManagedObjects]
) -> tuple[Schema, ...]:
    answers: dict[tuple[str, str], list[Row]] = {}
    return tuple(_Reader(connection, one, answers).schema(schemas) for one in managed)


class _Reader:
    """One reading of the catalog; values are grouped by the oid of their table. `answers` caches results, by the query
    and its parameters."""

    def __init__(
        self,
        connection: psycopg.Connection[TupleRow],
        managed: ManagedObjects,
        answers: dict[tuple[str, str], list[Row]],
    ) -> None:
        self._connection = connection
        self._ours = managed
        self._answers = answers
        self._oids: list[int] = []

    def schema(self, schemas: Sequence[str]) -> Schema:
        chosen = _chosen(schemas, [row["name"] for row in self._rows("schemas")])
        leftovers = self._leftovers()
        tables = [
            row for row in self._rows("tables", schemas=chosen)
            if _name(row) not in self._ours.created and row["oid"] not in leftovers
        ]  # fmt: skip
        self._oids = [row["oid"] for row in tables]
        views = self._rows("views", schemas=chosen, tables=self._oids)
        grants = self._grants(views)
        executes = self._executes(views)
        return Schema(
            **self._rows("database")[0],
            schemas=tuple(chosen),
            tables=self._tables(tables, grants, executes),
            views={_name(row): _view(row, grants, executes) for row in views if _name(row) not in self._ours.created},
            functions=tuple(_function(row) for row in self._rows("functions")),
            sequences=frozenset(map(_name, self._rows("every_sequence"))),
            roles={row["name"]: Role(**_frozen(row)) for row in self._rows("roles")},
            preserved=self._ours.preserved,
            search_path=tuple(dict.fromkeys([*self._rows("search_path")[0]["schemas"], *chosen])),
        )

    def _leftovers(self) -> frozenset[int]:
        """The OIDs of tables that Citus is to drop: its own, from an interrupted distribution of another table."""
        if not self._rows("has_citus_cleanup")[0]["there"]:
            return frozenset()
        return frozenset(row["oid"] for row in self._rows("citus_cleanup"))

    def _tables(
        self, rows: list[Row], grants: Mapping[int, tuple[Grant, ...]], executes: Mapping[int, tuple[Executed, ...]]
    ) -> dict[Name, Table]:
        columns = self._columns(rows)
        indexes: dict[int, tuple[Row, ...]] = self._grouped("indexes", dict)
        foreign_keys = self._grouped("foreign_keys", _foreign_key)
        triggers = self._grouped("triggers", _trigger)
        rules = self._grouped("rules", lambda *, name: name)
        policies = self._grouped("policies", Policy)
        sequences = self._grouped("sequences", Name)
        type_users = self._grouped("type_users", lambda *, column: column)
        published = {row["relation"] for row in self._rows("published", tables=self._oids)}
        tables = {}
        for row in rows:
            oid = row["oid"]
            tables[_name(row)] = _table(
                row,
                columns=columns[oid],
                primary_key=next(
                    (tuple(index["columns"]) for index in indexes.get(oid, ()) if index["is_primary"]), ()
                ),
                uniques=tuple(_unique(index) for index in indexes.get(oid, ()) if _is_unique(index)),
                indexes=tuple(_index(index) for index in indexes.get(oid, ()) if not _is_unique(index)),
                foreign_keys=foreign_keys.get(oid, ()),
                triggers=triggers.get(oid, ()),
                rules=rules.get(oid, ()),
                policies=policies.get(oid, ()),
                grants=grants.get(oid, ()),
                sequences=sequences.get(oid, ()),
                executes=executes.get(oid, ()),
                type_used_by=type_users.get(oid, ()),
                published=oid in published,
            )
        return _with_totals(tables)

    def _columns(self, rows: list[Row]) -> dict[int, tuple[Column, ...]]:
        """The columns of each table, without a tenant column of tenantry, which partitions and children have, too."""
        names = {_name(row): row for row in rows}

        def hidden(row: Row, inherited: bool) -> set[str]:
            name = _name(row)
            found = {self._ours.columns[name]} if name in self._ours.tables else set()
            if inherited:
                for parent in (Name(*parent) for parent in row["parents"]):
                    found |= hidden(names[parent], inherited=True) if parent in names else set()
            return found

        columns: dict[int, list[Column]] = {row["oid"]: [] for row in rows}
        tables = {row["oid"]: row for row in rows}
        for row in self._rows("columns", tables=self._oids):
            relation, inherited = row.pop("relation"), row.pop("inherited")
            if row["name"] not in hidden(tables[relation], inherited):
                columns[relation].append(Column(**row))
        return {oid: tuple(found) for oid, found in columns.items()}

    def _grants(self, views: list[Row]) -> dict[int, tuple[Grant, ...]]:
        relations = [*self._oids, *(row["oid"] for row in views)]
        return _grouped(self._rows("grants", relations=relations), Grant)

    def _executes(self, views: list[Row]) -> dict[int, tuple[Executed, ...]]:
        relations = [*self._oids, *(row["oid"] for row in views)]
        return _grouped(self._rows("executed", relations=relations), Executed)

    def _grouped(self, query: str, value: Part[Value]) -> dict[int, tuple[Value, ...]]:
        rows = self._rows(query, tables=self._oids)
        if self._ours.named:
            rows = [row for row in rows if not str(row.get("name", "")).startswith(OUR_PREFIXES)]
        return _grouped(rows, value)

    def _rows(self, query: str, **parameters: Any) -> list[Row]:
        key = query, str(parameters)
        if key not in self._answers:
            with self._connection.cursor(row_factory=dict_row) as cursor:
                self._answers[key] = cursor.execute(_QUERIES[query], parameters or None).fetchall()
        return [dict(row) for row in self._answers[key]]


def _grouped(rows: Iterable[Row], value: Part[Value]) -> dict[int, tuple[Value, ...]]:
    found: dict[int, list[Value]] = {}
    for row in rows:
        found.setdefault(row.pop("relation"), []).append(value(**_frozen(row)))
    return {oid: tuple(values) for oid, values in found.items()}


def _chosen(requested: Sequence[str], existing: list[str]) -> list[str]:
    if EVERY_SCHEMA in requested:
        return existing
    for name in requested:
        if name not in existing:
            raise UsageError(f'The schema "{name}" does not exist{nearest(name, existing)}')
    return list(dict.fromkeys(requested))


def _name(row: Row) -> Name:
    return Name(row["schema"], row["name"])


def _frozen(row: Row) -> Row:
    """`row` with its lists, and the lists in them, as tuples."""

    def tuples(value: Any) -> Any:
        return tuple(tuples(item) for item in value) if isinstance(value, list) else value

    return {key: tuples(value) for key, value in row.items()}


def _table(row: Row, **parts: Any) -> Table:
    parents = tuple(Name(*parent) for parent in row["parents"])
    is_partition = row["is_partition"] and bool(parents)
    return Table(
        name=_name(row),
        kind=Kind(row["kind"]),
        owner=row["owner"],
        row_security=row["row_security"],
        forced=row["forced"],
        partition_of=parents[0] if is_partition else None,
        partition_key=tuple(row["partition_key"]),
        inherits=() if is_partition else parents,
        replica_identity=row["replica_identity"],
        rows=row["rows"],
        bytes=row["bytes"],
        comment=row["comment"],
        **parts,
    )


def _with_totals(tables: dict[Name, Table]) -> dict[Name, Table]:
    """Partitioned tables with the row counts of their leaves, and as published where one of them is."""
    leaves: dict[Name, list[Table]] = {}
    for table in tables.values():
        ancestor = table.partition_of
        while ancestor in tables and table.kind is not Kind.PARTITIONED:
            leaves.setdefault(ancestor, []).append(table)
            ancestor = tables[ancestor].partition_of
    for name, below in leaves.items():
        tables[name] = replace(
            tables[name],
            rows=sum(leaf.rows for leaf in below),
            published=tables[name].published or any(leaf.published for leaf in below),
        )
    return tables


def _is_unique(index: Row) -> bool:
    return bool(index["is_unique"] or index["exclusion"])


def _unique(index: Row) -> Unique:
    return Unique(
        name=index["name"],
        columns=() if None in index["columns"] else index["columns"],
        constraint=index["is_constraint"],
        primary=index["is_primary"],
        partial=index["partial"],
        deferrable=index["deferrable"],
        deferred=index["deferred"],
        valid=index["valid"],
        rest=_rest(index),
        exclusion=index["exclusion"],
        referenced=index["referenced"],
        inherited=index["inherited"],
        part_of=index["part_of"] or "",
        identity=index["identity"],
    )


def _index(index: Row) -> Index:
    parts = {key: index[key] for key in ("name", "columns", "method", "partial", "valid", "inherited")}
    return Index(**parts, rest=_rest(index))


def _rest(index: Row) -> str:
    """An index's definition from its opening parenthesis on; None rather than a text from which no index can be
    created."""
    definition, prefix = index["definition"], index["prefix"]
    return str(definition.removeprefix(prefix)) if definition.startswith(prefix) else ""


def _foreign_key(*, parent_schema: str, parent_name: str, **row: Any) -> ForeignKey:
    return ForeignKey(parent=Name(parent_schema, parent_name), **row)


def _trigger(*, function_schema: str, function_name: str, **row: Any) -> Trigger:
    return Trigger(function=Name(function_schema, function_name), **row)


WRITABLE = {"UPDATE": 1 << 2, "INSERT": 1 << 3, "DELETE": 1 << 4}
"""The bits of pg_relation_is_updatable."""


def _view(row: Row, grants: Mapping[int, tuple[Grant, ...]], executes: Mapping[int, tuple[Executed, ...]]) -> View:
    return View(
        name=_name(row),
        kind=Kind(row["kind"]),
        owner=row["owner"],
        options=tuple(row["options"]),
        reads=tuple(Name(*relation) for relation in row["reads"]),
        definition=row["definition"],
        grants=grants.get(row["oid"], ()),
        writable=tuple(statement for statement, bit in WRITABLE.items() if row["writable"] & bit),
        executes=executes.get(row["oid"], ()),
    )


def _function(row: Row) -> Function:
    returned = row["returned_name"]
    return Function(
        name=_name(row),
        signature=row["signature"],
        owner=row["owner"],
        language=row["language"],
        security_definer=row["security_definer"],
        returns_table=Name(row["returned_schema"], returned) if returned is not None else None,
        source=row["source"] or "",
    )
