"""Writers for any migrated schema: what they write is made from the catalog and the spec.

A writer copies existing rows with fresh keys, changes its copies and deletes them. Half of the writers are the
application with a tenant set; the others are an owner without one, who names each row's tenant. One more tries all the
time to refer to another tenant's row. What a writer does was tried once beforehand: it fails later only if the phase
breaks it.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count, cycle
from typing import Any

import psycopg
from psycopg import errors, sql

from acceptance.distributed import Distributed, distributed
from servers import Database
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

ENDED = (errors.UndefinedColumn, errors.UndefinedTable, errors.UndefinedObject)
"""What a writer that names the tenant column, or sets the role, is told once a rollback has taken it away."""
COLUMNS = """
SELECT a.attname::text AS name, format_type(a.atttypid, NULL) AS type, a.atttypmod AS modifier,
  a.attgenerated <> '' OR a.attidentity = 'a' AS generated,
  EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = a.attrelid AND c.contype = 'f' AND a.attnum = ANY (c.conkey)) AS refers,
  EXISTS (SELECT FROM pg_index i WHERE i.indrelid = a.attrelid AND i.indisunique AND a.attnum = ANY (i.indkey)) AS keyed,
  EXISTS (SELECT FROM pg_index i WHERE i.indrelid = a.attrelid AND i.indisprimary AND a.attnum = ANY (i.indkey)) AS primary
FROM pg_attribute a WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
REFERENCES = """
SELECT c.conrelid::regclass::text, c.confrelid::regclass::text, array_agg(a.attname::text ORDER BY k.n),
  array_agg(b.attname::text ORDER BY k.n)
FROM pg_constraint c, unnest(c.conkey, c.confkey) WITH ORDINALITY AS k(here, there, n), pg_attribute a, pg_attribute b
WHERE c.contype = 'f' AND c.conparentid = 0 AND a.attrelid = c.conrelid AND a.attnum = k.here
  AND b.attrelid = c.confrelid AND b.attnum = k.there GROUP BY c.oid, c.conrelid, c.confrelid
"""


def _identifier(name: str) -> sql.Identifier:
    """For a statement with parameters, in which % begins a placeholder."""
    return sql.Identifier(name.replace("%", "%%"))


def _relation(text: str) -> sql.SQL:
    """The same for the name of a relation as PostgreSQL writes it."""
    return sql.SQL(text.replace("%", "%%"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How rows of a table are copied: `fresh` by column an expression of the writer's next number."""

    table: str
    tenant: str
    columns: tuple[str, ...]
    fresh: Mapping[str, str]
    primary: tuple[str, ...]
    plain: str | None
    """A column that is in no key."""

    @property
    def relation(self) -> sql.Composable:
        return _relation(self.table)

    def copied(self, *, named: bool, replaced: Mapping[str, sql.Composable] | None = None) -> sql.Composed:
        """`named`: the statement names the tenant. The row to be copied is that of the key %(key)s."""
        names = [name for name in self.columns if named or name != self.tenant]
        values: list[sql.Composable] = []
        for name in names:
            other = (replaced or {}).get(name)
            own = sql.SQL(self.fresh[name]) if name in self.fresh else sql.SQL("r.{}").format(_identifier(name))
            values.append(own if other is None else other)
        return sql.SQL("INSERT INTO {0} ({1}) SELECT {2} FROM {0} AS r WHERE {3} RETURNING ROW({4})::text, {4}").format(
            self.relation, sql.SQL(", ").join(map(_identifier, names)), sql.SQL(", ").join(values),
            self.at("r"), sql.SQL(", ").join(map(_identifier, self.primary)),
        )  # fmt: skip

    def at(self, alias: str) -> sql.Composed:
        return sql.SQL(" AND ").join(
            sql.SQL("{}.{} = {}").format(_identifier(alias), _identifier(name), sql.Placeholder(f"key{number}"))
            for number, name in enumerate(self.primary)
        )

    def key(self, values: Sequence[Any]) -> dict[str, Any]:
        return {f"key{number}": value for number, value in enumerate(values)}


def shapes(database: Database, tables: Distributed) -> list[Shape]:
    """Those of the distributed tables that have a primary key of which some column can have fresh values."""
    found = []
    for table, tenant in tables.columns.items():
        with database.connect() as connection:
            cursor = connection.execute(COLUMNS, [table])
            names = [column.name for column in cursor.description or ()]
            columns = [dict(zip(names, row, strict=True)) for row in cursor]
        fresh = {}
        for column in columns:
            if column["keyed"] and not column["refers"] and not column["generated"] and column["name"] != tenant:
                expression = _fresh(column["type"], column["modifier"])
                if expression is not None:
                    fresh[column["name"]] = expression
        primary = tuple(column["name"] for column in columns if column["primary"] and column["name"] != tenant)
        plain = next(
            (one["name"] for one in columns
             if not (one["keyed"] or one["refers"] or one["generated"] or one["name"] == tenant)), None
        )  # fmt: skip
        if primary and (fresh or any(one["primary"] and one["generated"] for one in columns)):
            kept = tuple(one["name"] for one in columns if not one["generated"])
            found.append(
                Shape(table=table, tenant=tenant, columns=kept, fresh=fresh, primary=primary, plain=plain)
            )  # fmt: skip
    return found


def _fresh(type: str, modifier: int) -> str | None:
    match type:
        case "integer" | "bigint" | "numeric":
            return "%(number)s"
        case "smallint":
            return "(20000 + %(number)s %% 12000)::smallint"
        case "uuid":
            return "gen_random_uuid()"
        case "text" | "character varying" | "character" | "citext":
            length = modifier - 4 if modifier > 4 else 20
            return f"'w' || right((%(number)s)::text, {length - 1})"
        case "date":
            return "date '2030-01-01' + (%(number)s %% 100000)::integer"
        case "timestamp without time zone" | "timestamp with time zone":
            return f"{type} '2030-01-01' + (%(number)s)::integer * interval '1 second'"
    return None


@dataclass(slots=True, kw_only=True)
class Writers:
    """Eight writers at work on a migrated database; `role` is the application's."""

    database: Database
    spec: Spec
    tables: Distributed
    stop: threading.Event = field(default_factory=threading.Event)
    going_back: threading.Event = field(default_factory=threading.Event)
    failures: list[str] = field(default_factory=list)
    written: Counter[str] = field(default_factory=Counter)
    longest: float = 0.0
    slowest: str = ""
    left: list[tuple[Shape, tuple[Any, ...]]] = field(default_factory=list)
    """The rows that writers have added and not deleted."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(9))
    _running: list[Future[None]] = field(default_factory=list)
    work: list[tuple[Shape, str, tuple[Any, ...]]] = field(default_factory=list)
    """The rows that are copied, each with its tenant: tried once."""
    crossings: list[tuple[Shape, str, tuple[Any, ...], Mapping[str, Any]]] = field(default_factory=list)
    """Copies that would refer to another tenant's row: by column, that row's values."""

    @classmethod
    def on(cls, database: Database, spec: Spec) -> Writers:
        made = cls(database=database, spec=spec, tables=distributed(Target(database.dsn), spec))
        made._choose()
        return made

    # --- choosing

    def _choose(self, most: int = 3) -> None:
        """Up to `most` rows of each table and tenant that the application and an owner can copy."""
        numbers = count(1_900_000_000)
        for shape in shapes(self.database, self.tables):
            key = sql.SQL(", ").join(map(_identifier, shape.primary))
            tenants = self.database.rows(
                sql.SQL("SELECT DISTINCT {0}::text FROM {1} WHERE {0} IS NOT NULL ORDER BY 1 LIMIT 4").format(
                    _identifier(shape.tenant), shape.relation
                ),  # type: ignore[arg-type]
                [],
            )
            for (tenant,) in tenants:
                rows = self.database.rows(
                    sql.SQL("SELECT {} FROM {} WHERE {}::text = %s ORDER BY 1 LIMIT {}").format(
                        key, shape.relation, _identifier(shape.tenant), sql.Literal(most)
                    ),  # type: ignore[arg-type]
                    [tenant],
                )
                for row in rows:
                    if all(self._try(shape, tenant, row, next(numbers), named) for named in (False, True)):
                        self.work.append((shape, tenant, row))
        self._choose_crossings()

    def _try(self, shape: Shape, tenant: str, row: tuple[Any, ...], number: int, named: bool) -> bool:
        with self.database.connect() as connection:
            try:
                with connection.transaction(force_rollback=True):
                    added = self._copy(connection, shape, tenant, row, number, named=named)
                    self._change(connection, shape, added)
                    self._delete(connection, shape, added)
            except (psycopg.Error, AssertionError) as error:
                # Those of the quarantine, which the application does not see, and what it cannot copy.
                self.written[f"not tried again: {shape.table} {type(error).__name__}"] += 1
                return False
        return True

    def _choose_crossings(self) -> None:
        references = self.database.rows(REFERENCES)
        crossing = {one.child.split("(")[0] for one in self.spec.reference if one.crosses}
        for shape, tenant, row in self.work:
            for table, parent, here, there in references:
                if not _same(self.database, table, shape.table):
                    continue
                column = next(
                    (c for name, c in self.tables.columns.items() if _same(self.database, name, parent)), None
                )
                if column is None or shape.tenant in here or column in there or set(here) & set(shape.fresh):
                    continue
                if any(f"{table.split('.')[-1]}.{','.join(here)}" in one for one in crossing):
                    continue
                other = self.database.rows(
                    sql.SQL("SELECT {} FROM {} WHERE {}::text <> %s ORDER BY 1 LIMIT 1").format(
                        sql.SQL(", ").join(map(_identifier, there)), _relation(parent), _identifier(column)
                    ),  # type: ignore[arg-type]
                    [tenant],
                )
                if other:
                    self.crossings.append((shape, tenant, row, dict(zip(here, other[0], strict=True))))

    # --- writing

    def _copy(
        self, connection: psycopg.Connection[Any], shape: Shape, tenant: str, row: tuple[Any, ...], number: int, *,
        named: bool, replaced: Mapping[str, Any] | None = None,
    ) -> tuple[Any, ...]:  # fmt: skip
        if not named:
            connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(self.spec.application.role)))
            connection.execute("SELECT set_config(%s, %s, true)", [self.spec.tenant.setting, tenant])
        other = {name: sql.Literal(value) for name, value in (replaced or {}).items()}
        statement = shape.copied(named=named, replaced=other)
        found = connection.execute(statement, {"number": number, **shape.key(row)}).fetchall()
        if len(found) != 1:
            raise AssertionError(f"{shape.table}: {len(found)} rows were copied as {tenant}")
        return tuple(found[0][1:])

    @staticmethod
    def _change(connection: psycopg.Connection[Any], shape: Shape, key: Sequence[Any]) -> None:
        if shape.plain is not None:
            change = sql.SQL("UPDATE {0} AS r SET {1} = r.{1} WHERE {2}").format(
                shape.relation, _identifier(shape.plain), shape.at("r")
            )
            changed = connection.execute(change, shape.key(key)).rowcount
            assert changed == 1, f"{shape.table}: {changed} rows were changed"

    @staticmethod
    def _delete(connection: psycopg.Connection[Any], shape: Shape, key: Sequence[Any]) -> None:
        remove = sql.SQL("DELETE FROM {} AS r WHERE {}").format(shape.relation, shape.at("r"))
        deleted = connection.execute(remove, shape.key(key)).rowcount
        assert deleted == 1, f"{shape.table}: {deleted} rows were deleted"

    def _write(self, place: int) -> None:
        named, numbers = place % 2 == 1, count(1_000_000_000 + place, 8)
        own: list[tuple[Shape, tuple[Any, ...], str]] = []
        with self.database.connect() as connection:
            for shape, tenant, row in cycle(self.work[place % len(self.work) :] + self.work[: place % len(self.work)]):
                if self.stop.wait(0.015):
                    break
                began, gone = time.monotonic(), None
                try:
                    with connection.transaction():
                        added = self._copy(connection, shape, tenant, row, next(numbers), named=named)
                        self._change(connection, shape, added)
                        gone = own.pop(0) if len(own) > 5 else None
                        if gone is not None:
                            if not named:
                                connection.execute(
                                    "SELECT set_config(%s, %s, true)", [self.spec.tenant.setting, gone[2]]
                                )
                            self._delete(connection, gone[0], gone[1])
                except (psycopg.Error, AssertionError) as error:
                    if gone is not None:
                        own.insert(0, gone)
                    if self._ended(error):
                        break
                    self.failures.append(f"writer {place}, {shape.table}: {type(error).__name__}: {error}")
                    continue
                own.append((shape, added, tenant))
                took = time.monotonic() - began
                with self._lock:
                    self.written["rows"] += 1
                    self.written["copied by the application" if not named else "copied by an owner"] += 1
                    if took > self.longest:
                        self.longest, self.slowest = took, shape.table
        with self._lock:
            self.left += [(shape, row) for shape, row, _ in own]

    def _ended(self, error: BaseException) -> bool:
        """A rollback takes back the application role's privileges, and with them the application."""
        denied = isinstance(error, errors.InsufficientPrivilege) and "permission denied" in str(error)
        return self.going_back.is_set() and (denied or isinstance(error, (*ENDED, errors.InvalidParameterValue)))

    def _cross(self) -> None:
        """Refused at every moment, until nothing of the phase is in force any more."""
        numbers = count(1_950_000_000)
        with self.database.connect() as connection:
            for (shape, tenant, row, values), named in zip(
                cycle(self.crossings), cycle((False, True, True)), strict=False
            ):
                if self.stop.wait(0.015):
                    return
                try:
                    with connection.transaction(force_rollback=True):
                        self._copy(connection, shape, tenant, row, next(numbers), named=named, replaced=values)
                        connection.execute("RESET ROLE; SET CONSTRAINTS ALL IMMEDIATE")
                        left = connection.execute(
                            "SELECT key, state FROM tenantry.steps WHERE phase = 'distribute' ORDER BY position"
                        ).fetchall()
                        if left:
                            where = "on the way back" if self.going_back.is_set() else "in the phase"
                            self.failures.append(
                                f"{shape.table}: a row of {tenant} refers to another tenant's by {dict(values)},"
                                f" {'named' if named else 'as the application'}, {where}, after {left[-1]}"
                            )
                except errors.ForeignKeyViolation:
                    self.written["refused"] += 1
                except ENDED:
                    return
                except psycopg.Error as error:
                    if self._ended(error):
                        return
                    self.written[f"refused otherwise: {shape.table} {type(error).__name__}"] += 1

    def __enter__(self) -> Writers:
        self._running = [self._threads.submit(self._write, place) for place in range(8)]
        if self.crossings:
            self._running.append(self._threads.submit(self._cross))
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for one in self._running:
            one.result(120)
        self._threads.shutdown()

    def remove(self) -> None:
        """Delete the rows that are left, which is no writer's business any more."""
        with self.database.connect() as connection:
            for shape, row in reversed(self.left):
                remove = sql.SQL("DELETE FROM {} AS r WHERE {}").format(shape.relation, shape.at("r"))
                connection.execute(remove, shape.key(row))


def _same(database: Database, one: str, other: str) -> bool:
    return database.rows("SELECT %s::regclass = %s::regclass", [one, other]) == [(True,)]


def assert_within_tenants(database: Database, tables: Distributed, spec: Spec) -> int:
    """No row refers to a row of another tenant; the number of references that were looked at. Those of rows of all
    tenants are not: whether these have NULL or the sentinel tenant changes meanwhile."""
    crossing = {one.child for one in spec.reference if one.crosses}
    looked, sentinel = 0, "00000000-0000-0000-0000-000000000000"
    for child, parent, here, there in database.rows(REFERENCES):
        columns = {name: column for name, column in tables.columns.items() for one in (child, parent)
                   if _same(database, name, one)}  # fmt: skip
        mine = next((column for name, column in columns.items() if _same(database, name, child)), None)
        theirs = next((column for name, column in columns.items() if _same(database, name, parent)), None)
        pairs = [(one, other) for one, other in zip(here, there, strict=True) if (one, other) != (mine, theirs)]
        named = ",".join(one for one, _ in pairs)
        if mine is None or theirs is None or not pairs or any(one.endswith(f".{named}") for one in crossing):
            continue
        query = sql.SQL(
            "SELECT c.{mine}::text, p.{theirs}::text FROM {child} c JOIN {parent} p ON {match}"
            " WHERE c.{mine} <> p.{theirs} AND NOT c.{mine}::text = ANY (%(all)s) AND NOT p.{theirs}::text = ANY (%(all)s)"
        ).format(
            mine=_identifier(mine), theirs=_identifier(theirs), child=_relation(child), parent=_relation(parent),
            match=sql.SQL(" AND ").join(
                sql.SQL("c.{} = p.{}").format(_identifier(one), _identifier(other)) for one, other in pairs
            ),
        )  # fmt: skip
        assert database.rows(query, {"all": [sentinel, "0"]}) == [], f"{child} ({named}) to {parent}"  # type: ignore[arg-type]
        looked += 1
    return looked
