"""Whether both sides of a move have the same rows of the tenant, found out while its writes go on.

In a short pause, in which the target has everything that the source has, both sides take a snapshot; all rows are
compared in these, at leisure. From that pause on the triggers of the gate record the keys of the rows that are written.
If many are, those are compared in the same way, from the snapshots of another short pause; in the last pause only the
few that are left. So a pause depends on what is written, and not on the number of the tenant's rows.

What sessions of the target have written to the tenant's rows there is compared in each round.

Rows of a table without a usable key, whose replica identity is FULL, cannot be found one by one: if any of them is
written meanwhile, the tenant's rows of that table are compared once more in the last pause.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar

import psycopg
from psycopg import sql

from tenantry.backups.content import checksum, selected
from tenantry.errors import Failed, Refused
from tenantry.execution.events import Notice, Reading
from tenantry.model.name import Name
from tenantry.model.wording import counted, duration
from tenantry.planning.tenant_selection import SelectedTable
from tenantry.postgres.backups import set_stable_text_format
from tenantry.postgres.replication import Connection, read_key_columns, read_recorded_keys, read_structure
from tenantry.steps.introspection import raw
from tenantry.tenants.gate import Gate
from tenantry.tenants.move_checks import MoveChecks
from tenantry.tenants.scope import TenantScope

SECONDS_PER_KEY = 0.0005
"""What it takes to compare one row by its key, until that was measured."""
BATCH = 2_000
"""Keys that are compared by one statement."""
PLANNER = "SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off"
"""Rows are found by their keys: an estimate gone wrong must not read a whole table within a pause."""
TELL_SECONDS = 5.0
"""The time between two messages about progress."""
LOOK_SECONDS = 0.2
"""The time between two looks at whether the comparison is to be stopped."""

T = TypeVar("T")
Sum = tuple[int, str]
Keys = Sequence[Sequence[str]]


class Unlocked(Exception):
    """The tables of a side could not be locked in time; the text says which side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The rows of a table that were written: their keys, each as texts in the order of `columns`; `whole` if a key is
    not known, so that the whole table is to be compared."""

    table: SelectedTable
    columns: tuple[str, ...]
    keys: Keys
    whole: bool


@dataclass(kw_only=True)
class Comparison:
    """Compares the rows by two sessions of its own, `here` at the source and `there` at the target. `look` is called
    while it waits, and raises an error to end it. Times in seconds."""

    checks: MoveChecks
    gate: Gate
    here: Connection
    there: Connection
    lock_timeout: float
    look: Callable[[], object]
    floor: int | None = None
    """The number of the last change that was compared. None: all rows are yet to be compared."""
    ceiling: int = 0
    """The number of the last change that the snapshots have."""
    per_key: float = field(default_factory=lambda: SECONDS_PER_KEY)
    took: float = 0.0
    """What the last comparison took."""
    seconds: dict[Name, float] = field(default_factory=dict)
    """What it took to compare all rows of a table."""
    _structure: tuple[frozenset[str], frozenset[str]] | None = None

    # --- what is left

    def left(self) -> float:
        """The seconds that it would take to compare what was written since the last comparison. Infinite if all rows
        are yet to be compared."""
        if self.floor is None:
            return float("inf")
        keyed, whole = self._left()
        return keyed + sum(whole.values())

    def forget(self) -> None:
        """Forget what was recorded and committed before all rows are compared."""
        for _, _, scope in self._sides:
            scope.connection.execute(sql.SQL("DELETE FROM {}").format(self.gate.changes))

    def refuse_whole(self, most: float) -> None:
        """Raises Refused if comparing tables without a usable key alone takes longer than `most` seconds."""
        _, whole = self._left()
        needed = sum(whole.values())
        if needed > most:
            names = ", ".join(map(str, sorted(whole)))
            raise Refused(
                f"{names} has no unique key with the tenant, and was written to while rows were compared: comparing all"
                f" of the tenant's rows again takes {duration(needed)}, during which its writes would be refused",
                remedy=f"Run it again with --max-pause {max(1, round(needed * 3))}s, when that is possible; or give the"
                " table a primary key, after ending the move by --abort.",
            )

    def _left(self) -> tuple[float, Mapping[Name, float]]:
        query = sql.SQL(
            "SELECT relation::bigint, pg_catalog.count(*), pg_catalog.bool_or(key IS NULL) FROM {} WHERE id > {}"
            " GROUP BY relation"
        )
        keyed, whole = 0.0, {}
        for _, _, scope in self._sides:
            since = query.format(self.gate.changes, sql.Literal(self._since(scope)))
            for oid, count, unknown in scope.connection.execute(since).fetchall():
                found = self._table(scope, oid)
                if found is not None and unknown:
                    whole[found[0].name] = self.seconds.get(found[0].name, 0.0)
                else:
                    keyed += count * self.per_key
        return keyed, whole

    def _since(self, scope: TenantScope) -> int:
        """The number of the last change of a side that need not be compared again. At the target, where the gate was
        never closed, one with a lower number may be committed later."""
        return 0 if scope is self.checks.target else self.floor or 0

    # --- snapshots

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Within the block both sides have locked their tables against changes of the schema, TRUNCATE and the like. If
        there was any since the last comparison, all rows are compared again. Raises Unlocked, and Refused if the sides
        do not fit any more."""
        with ExitStack() as stack:
            for side, connection, scope in self._sides:
                stack.enter_context(connection.transaction())
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                connection.execute(
                    sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(max(1, int(self.lock_timeout * 1000))))
                )
                names = sql.SQL(", ").join(sql.SQL("ONLY {}").format(name.identifier) for name in self._names(scope))
                try:
                    # LOCK TABLE takes no snapshot; catalogs are read by other sessions.
                    connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(names))
                except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
                    raise Unlocked(f"the tables at the {side} could not be locked") from error
                except psycopg.errors.UndefinedTable as error:
                    self.checks.refuse_changed()
                    raise Failed(f"{error.diag.message_primary} at the {side}") from error
                connection.execute("SET LOCAL lock_timeout = 0")
            self._refuse_changed()
            yield

    def _refuse_changed(self) -> None:
        self.checks.refuse_changed()
        source = self.checks.source
        for side, _, scope in self._sides:
            gate = Gate(move=replace(self.gate.move, side="source" if scope is source else "target"))
            if not gate.complete(scope.connection, tuple(scope.selection.tables.values())):
                raise Refused(
                    f"Triggers of the move {self.gate.move.id} were disabled or dropped at the {side}",
                    remedy="Run the same command again: it creates them, and compares all rows.",
                )
        found = (
            read_structure(source.connection, self._names(source)),
            read_structure(self.checks.target.connection, self._names(self.checks.target)),
        )
        if self.floor is not None and found != self._structure:
            self._say("a table was changed meanwhile: all rows are compared again")
            self.floor = None
        self._structure = found

    def take_snapshots(self, seconds: float) -> None:
        """To be called in a pause, once the target has everything that the source has."""
        for connection in (self.here, self.there):
            connection.execute(
                sql.SQL("SET LOCAL statement_timeout = {}").format(sql.Literal(max(1, int(seconds * 1000))))
            )
            set_stable_text_format(connection)
        query = sql.SQL("SELECT coalesce(pg_catalog.max(id), 0) FROM {}").format(self.gate.changes)
        row = self.here.execute(query).fetchone()
        assert row is not None
        self.ceiling = row[0]

    # --- comparing

    def compare(self) -> list[str]:
        """Compare what the snapshots have, however long it takes: all rows, or those that were written since the last
        comparison. Returns the tables in which both sides differ, in words."""
        for connection in (self.here, self.there):
            connection.execute("SET LOCAL statement_timeout = 0")
        begun = time.monotonic()
        differing = self._all() if self.floor is None else self._batches()
        self.floor, self.took = self.ceiling, time.monotonic() - begun
        return differing

    def compare_last(self, seconds: float) -> list[str]:
        """The same within the pause, for what was written since the last comparison. Raises QueryCanceled after the
        given time."""
        assert self.floor is not None
        deadline = time.monotonic() + seconds
        differing: list[str] = []
        for written in self._written():
            left = deadline - time.monotonic()
            for connection in (self.here, self.there):
                connection.execute(
                    sql.SQL("SET LOCAL statement_timeout = {}").format(sql.Literal(max(1, int(left * 1000))))
                )
            differing += self._whole(written.table) if written.whole else self._keyed(written)
        return differing

    def _all(self) -> list[str]:
        differing, begun = [], time.monotonic()
        told = begun
        for number, table in enumerate(self.checks.tables, start=1):
            started = time.monotonic()
            self.checks.source.observer(Reading(f"comparing the rows of {table.name}"))
            differing += self._whole(table)
            self.seconds[table.name] = time.monotonic() - started
            if time.monotonic() - told >= TELL_SECONDS:
                told = time.monotonic()
                self._say(f"{number} of {len(self.checks.tables)} tables are compared, after {duration(told - begun)}")
        return differing

    def _batches(self) -> list[str]:
        begun, count = time.monotonic(), 0
        differing: list[str] = []
        self.checks.source.observer(Reading("comparing the rows that were written meanwhile"))
        for written in self._written():
            if not written.whole:
                # Those of tables without keys would only have to be compared again.
                differing += self._keyed(written)
                count += len(written.keys)
        if count:
            self.per_key = max(self.per_key / 10, (time.monotonic() - begun) / count)
        return differing

    def _whole(self, table: SelectedTable) -> list[str]:
        here, there = self._both(lambda connection, scope: self._sum(connection, scope, table, None))
        return [] if here == there else [
            f"{table.name} has {counted(there[0], 'row')} of the tenant at the target, and {here[0]:,} at the source"
            + _other_values(here, there)
        ]  # fmt: skip

    def _keyed(self, written: Written) -> list[str]:
        here, there = self._both(lambda connection, scope: self._sum(connection, scope, written.table, written))
        return [] if here == there else [
            f"{written.table.name} has {counted(there[0], 'row')} at the target of those that were written while rows"
            f" were compared, and {here[0]:,} at the source" + _other_values(here, there)
        ]  # fmt: skip

    def _sum(self, connection: Connection, scope: TenantScope, table: SelectedTable, written: Written | None) -> Sum:
        """The number and the checksum of the tenant's rows, or of those that were written."""
        columns, key = scope.copied(table.name), self.checks.tenant.key
        rows, condition = table.rows, table.belongs(key)
        # What is set here ends here.
        with connection.transaction(force_rollback=True):
            if written is not None:
                by = read_key_columns(connection, table.name, written.columns)
                if len(by) != len(written.columns):
                    raise Failed(
                        f"{table.name} has no unique key ({', '.join(written.columns)}) any more",
                        remedy="Run the same command again: it compares all rows.",
                    )
                connection.execute(PLANNER)
                # In base types: a check of a domain has nothing to say here.
                types = {column.name: column.type for column in columns}
                lists = [list(values) for values in zip(*written.keys, strict=True)]
                names = [sql.Identifier(f"key {number}") for number in range(len(by))]
                rows = sql.SQL("ROWS FROM ({}) AS written ({}) JOIN {} AS t ON {}").format(
                    sql.SQL(", ").join(
                        sql.SQL("pg_catalog.unnest({}::text[])").format(sql.Literal(values)) for values in lists
                    ),
                    sql.SQL(", ").join(names), table.rows,
                    sql.SQL(" AND ").join(
                        sql.SQL("t.{} OPERATOR({}.{}) written.{}::{}").format(
                            sql.Identifier(column.name), sql.Identifier(column.operator[0]), raw(column.operator[1]),
                            name, raw(types[column.name]),
                        )
                        for column, name in zip(by, names, strict=True)
                    ),
                )  # fmt: skip
            else:
                rows = sql.SQL("{} AS t").format(rows)
            relation = sql.SQL("(SELECT {} FROM {} WHERE {})").format(selected(columns), rows, condition)
            row = connection.execute(checksum(relation, columns)).fetchone()
        assert row is not None
        return row[0], row[1]

    def _both(self, query: Callable[[Connection, TenantScope], T]) -> tuple[T, T]:
        """The query on both sides at the same time. What ends it cancels both."""
        with ThreadPoolExecutor(2) as pool:
            running = [pool.submit(query, connection, scope) for _, connection, scope in self._sides]
            try:
                while wait(running, timeout=LOOK_SECONDS, return_when=FIRST_EXCEPTION).not_done:
                    if (failed := next((one for one in running if one.done() and one.exception()), None)) is not None:
                        failed.result()
                    self.look()
            except BaseException:
                # A request may arrive between two statements.
                while wait(running, timeout=LOOK_SECONDS / 2).not_done:
                    for connection in (self.here, self.there):
                        with suppress(psycopg.Error):
                            connection.cancel_safe(timeout=5.0)
                raise
            return running[0].result(), running[1].result()

    def _written(self) -> Iterator[Written]:
        """What the snapshots have that was written since the last comparison, in batches."""
        for _, connection, scope in self._sides:
            most = (
                sql.SQL("AND id <= {}").format(sql.Literal(self.ceiling))
                if scope is self.checks.source
                else sql.SQL("")
            )
            since = sql.SQL("FROM {} WHERE id > {} {}").format(self.gate.changes, sql.Literal(self._since(scope)), most)
            yield from self._written_at(connection, scope, since)

    def _written_at(self, connection: Connection, scope: TenantScope, since: sql.Composable) -> Iterator[Written]:
        relations = sql.SQL("SELECT relation::bigint, pg_catalog.bool_or(key IS NULL) {} GROUP BY 1 ORDER BY 1")
        for oid, unknown in connection.execute(relations.format(since)).fetchall():
            found = self._table(scope, oid)
            if found is None:
                raise Failed(
                    f"The table with the OID {oid} is not a table of the move any more",
                    remedy="Run the same command again; or end the move by --abort.",
                )
            table, columns = found
            if unknown:
                yield Written(table=table, columns=(), keys=(), whole=True)
                continue
            keys = sql.SQL("SELECT DISTINCT key {} AND relation = {}").format(since, sql.Literal(oid))
            with connection.cursor("tenantry_keys") as cursor:
                cursor.execute(keys)
                while batch := cursor.fetchmany(BATCH):
                    yield Written(table=table, columns=columns, keys=[key for (key,) in batch], whole=False)

    # --- what it is about

    @property
    def _sides(self) -> tuple[tuple[str, Connection, TenantScope], ...]:
        return ("source", self.here, self.checks.source), ("target", self.there, self.checks.target)

    def _names(self, scope: TenantScope) -> list[Name]:
        return list(scope.selection.tables)

    def _table(self, scope: TenantScope, oid: int) -> tuple[SelectedTable, tuple[str, ...]] | None:
        keys = self._keys[0 if scope is self.checks.source else 1]
        found = keys.get(oid)
        if found is None or (table := self.checks.source.selection.tables.get(found[0])) is None:
            return None
        return table, found[1]

    @cached_property
    def _keys(self) -> tuple[Mapping[int, tuple[Name, tuple[str, ...]]], ...]:
        return tuple(read_recorded_keys(scope.connection, self.gate.move.object_name) for _, _, scope in self._sides)

    def _say(self, text: str) -> None:
        move = self.gate.move
        self.checks.source.observer(Notice(text, {"move": move.id, "tenant": move.slug}))


def _other_values(here: Sum, there: Sum) -> str:
    return ", with other values" if here[0] == there[0] else ""
