"""Undoes fixes: restores every value, last fix first, unless it was changed since."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import errors, sql
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

from tenantry.checks.base import column
from tenantry.checks.fixes.plan import FIXED_ROWS, matching
from tenantry.errors import Refused
from tenantry.execution.backfill.workers import TRANSIENT_ERRORS
from tenantry.model.name import JOURNAL_SCHEMA, Name
from tenantry.postgres.catalog import application_path
from tenantry.postgres.connect import PIN
from tenantry.postgres.fixes import FixJournal, FixPart, FixRecord, RowChangingTrigger
from tenantry.postgres.owner_context import raw_cursor
from tenantry.steps.fill import FILLING_NOW
from tenantry.steps.introspection import raw, with_search_path

SIZE = 500
"""The largest number of rows that one transaction restores."""
SHOWN = 20
_ENABLE = {"O": sql.SQL("ENABLE"), "A": sql.SQL("ENABLE ALWAYS")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A row that was changed or deleted since its fix: its table, its key, and the columns."""

    table: Name
    key: Mapping[str, str]
    columns: tuple[str, ...]
    gone: bool

    def __str__(self) -> str:
        key = ", ".join(f"{name} = {value}" for name, value in self.key.items())
        return f"{self.table} ({key}): " + (
            "deleted since" if self.gone else f"{', '.join(self.columns)} changed since"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoMethod:
    """How the rows of one fix are found and restored. `types` are those of the table's present columns; `search_path`
    is for the user's triggers."""

    record: FixRecord
    types: Mapping[str, str]
    only: bool
    search_path: tuple[str, ...]

    @property
    def exists(self) -> bool:
        """Whether the table and its key still exist."""
        return all(name in self.types for name in self.record.keys)

    @property
    def target(self) -> sql.Composed:
        return self.record.relation.from_item(only=self.only)

    @property
    def match(self) -> sql.Composed:
        return matching({name: self.types[name] for name in self.record.keys})

    def existing_columns(self, names: Sequence[str]) -> tuple[str, ...]:
        """The columns that still exist."""
        return tuple(name for name in names if name in self.types)

    def _equals(self, names: Sequence[str], image: str) -> sql.Composed:
        return sql.SQL(" AND ").join(
            sql.SQL("{}::text IS NOT DISTINCT FROM i.{} ->> {}").format(
                column(name), sql.Identifier(image), sql.Literal(name)
            )
            for name in self.existing_columns(names)
        )

    def restore(self, names: Sequence[str], *, force: bool) -> sql.Composed:
        """Restore the rows of the images $1; returns the images' ids."""
        unchanged = sql.SQL("") if force else sql.SQL(" AND {}").format(self._equals(names, "after"))
        values = sql.SQL(", ").join(
            sql.SQL("{} = CAST(i.before ->> {} AS {})").format(
                sql.Identifier(name), sql.Literal(name), raw(self.types[name])
            )
            for name in self.existing_columns(names)
        )
        return sql.SQL(
            "UPDATE {} AS t SET {} FROM {} AS i WHERE i.id = ANY ($1::bigint[]) AND {}{} AND {} RETURNING i.id"
        ).format(self.target, values, FIXED_ROWS.identifier, self.match, unchanged, with_search_path(self.search_path))

    def back(self, names: Sequence[str]) -> sql.Composed:
        """The images, of $1, whose rows have their values from before the fix."""
        return sql.SQL("SELECT i.id FROM {} AS i JOIN {} AS t ON {} WHERE i.id = ANY ($1::bigint[]) AND {}").format(
            FIXED_ROWS.identifier, self.target, self.match, self._equals(names, "before")
        )

    def changed(self, names: Sequence[str]) -> sql.Composed:
        """Keys and columns of the rows of the run $1 with a value that none of their images has.

        A row that one run has corrected several times has several images.
        """
        now = sql.SQL("pg_catalog.jsonb_object(ARRAY[{}]::text[], ARRAY[{}]::text[])").format(
            sql.SQL(", ").join(map(sql.Literal, names)),
            sql.SQL(", ").join(sql.SQL("{}::text").format(column(name)) for name in names),
        )
        return sql.SQL(
            "SELECT i.key, pg_catalog.array_agg(i.name ORDER BY i.name), pg_catalog.bool_or(n.image IS NULL) FROM"
            " (SELECT r.key, e.key AS name,"
            "         pg_catalog.array_agg(e.value) || pg_catalog.array_agg(r.after ->> e.key) AS known"
            "  FROM {images} AS r JOIN {fixes} AS f ON f.id = r.fix, pg_catalog.jsonb_each_text(r.before) AS e"
            "  WHERE f.run = $1 AND f.schema_name = $2 AND f.table_name = $3 AND r.undone_by IS NULL"
            "  AND e.key = ANY ($4::text[]) GROUP BY r.key, e.key) AS i"
            " LEFT JOIN LATERAL (SELECT {now} AS image FROM {target} AS t WHERE {match}) AS n ON true"
            " WHERE n.image IS NULL OR pg_catalog.array_position(i.known, n.image ->> i.name) IS NULL"
            " GROUP BY i.key"
        ).format(
            images=FIXED_ROWS.identifier, fixes=sql.Identifier(JOURNAL_SCHEMA, "fixes"), now=now, target=self.target,
            match=self.match,
        )  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Undoing:
    """Undoes the fixes of the run `undone`, over one connection, which holds the run lock, as the run `run`.

    `timeout` and `patience` in seconds: how long to wait for a lock, and for all tries together. `force` overwrites
    later changes.
    """

    connection: psycopg.Connection[Any]
    run: str
    undone: str
    force: bool = False
    timeout: float = 2.0
    patience: float = 600.0
    size: int = SIZE
    halt: Callable[[], None] = lambda: None
    tell: Callable[[Name, int], None] = lambda table, rows: None
    _methods: dict[int, UndoMethod] = field(default_factory=dict)
    _search_path: tuple[str, ...] | None = None

    @property
    def journal(self) -> FixJournal:
        return FixJournal(self.connection)

    @property
    def search_path(self) -> tuple[str, ...]:
        if self._search_path is None:
            self._search_path = application_path(self.connection)
        return self._search_path

    def methods(self) -> dict[int, UndoMethod]:
        """How the rows of each fix of the run are restored, by its number."""
        if not self._methods:
            for record in self.journal.fixes(self.undone):
                kind = self.connection.execute(
                    sql.SQL("SELECT c.relkind <> 'p' FROM pg_catalog.pg_class c WHERE c.oid = {}").format(
                        record.relation.oid
                    )
                ).fetchone()
                types = self.journal.columns(record.relation) if kind is not None else {}
                self._methods[record.id] = UndoMethod(
                    record=record, types=types, only=bool(kind and kind[0]), search_path=self.search_path
                )
        return self._methods

    def parts(self) -> list[tuple[UndoMethod, FixPart]]:
        """What is still to be restored, last first."""
        methods = self.methods()
        return [(methods[part.fix], part) for part in self.journal.parts(self.undone, self.size)]

    def changed(self, parts: Sequence[tuple[UndoMethod, FixPart]]) -> Iterator[Changed]:
        """The rows that were changed or deleted since."""
        columns_by_table: dict[Name, tuple[UndoMethod, dict[str, None]]] = {}
        for method, part in parts:
            _, names = columns_by_table.setdefault(method.record.relation, (method, {}))
            names.update(dict.fromkeys(method.existing_columns(part.columns)))
        for table, (method, names) in columns_by_table.items():
            if not (method.exists and names):
                continue
            cursor = raw_cursor(self.connection)
            parameters = [self.undone, table.schema, table.name, list(names)]
            for key, columns, gone in cursor.execute(method.changed(tuple(names)), parameters):
                yield Changed(table=table, key=key, columns=tuple(columns), gone=gone)

    def statements(self, parts: Sequence[tuple[UndoMethod, FixPart]]) -> list[str]:
        """The templates of the statements, each once."""
        texts = [
            method.restore(part.columns, force=self.force).as_string(None)
            for method, part in parts
            if method.exists and method.existing_columns(part.columns)
        ]
        return list(dict.fromkeys(texts))

    def put_back(self, method: UndoMethod, part: FixPart) -> int:
        """Restore one part, in one transaction with its entry in the journal; returns the rows that have their values
        from before.

        Parts whose table or column no longer exists are recorded as done, too.
        """
        names = method.existing_columns(part.columns)
        if not (method.exists and names):
            with self.connection.transaction():
                self.journal.undone(self.run, part.ids)
            return 0
        retrying = Retrying(
            retry=retry_if_exception_type(TRANSIENT_ERRORS), stop=stop_after_delay(self.patience), reraise=True,
            wait=wait_exponential_jitter(multiplier=0.05, max=2.0, jitter=0.1), before_sleep=lambda _: self.halt(),
        )  # fmt: skip
        try:
            rows: int = retrying(self._once, method, part)
        except (psycopg.IntegrityError, errors.RaiseException, psycopg.DataError, psycopg.NotSupportedError) as error:
            said = (error.diag.message_primary or str(error)).splitlines()[0]
            raise Refused(
                f"PostgreSQL refuses to restore rows of {method.record.relation} to their values before the fix:"
                f" {said}",
                remedy="Drop or change the constraint or trigger that was added since; the other rows are restored.",
            ) from error
        self.tell(method.record.relation, rows)
        return rows

    def _once(self, method: UndoMethod, part: FixPart) -> int:
        cursor = raw_cursor(self.connection)
        with self.connection.transaction():
            cursor.execute("SELECT pg_catalog.set_config('lock_timeout', $1, true)", [f"{self.timeout * 1000:.0f}ms"])
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")
            if method.record.filling:
                cursor.execute(FILLING_NOW)
            with self._without(self.journal.triggers(method.record.relation)):
                returned = cursor.execute(method.restore(part.columns, force=self.force), [list(part.ids)])
                done = {number for (number,) in returned}
                cursor.execute(PIN)
                done |= {number for (number,) in cursor.execute(method.back(part.columns), [list(part.ids)])}
            self.journal.undone(self.run, part.ids if self.force else sorted(done))
            self._open_path()
        return len(done)

    def _open_path(self) -> None:
        """Deferred triggers of the user's run with the search path of an application session."""
        self.connection.execute(sql.SQL("SELECT {}").format(with_search_path(self.search_path)))

    @contextmanager
    def _without(self, triggers: Sequence[RowChangingTrigger]) -> Iterator[None]:
        """During the block, and in this transaction only, no trigger changes a row: an `updated_at` is restored, too.

        The lock blocks writers until the end of the transaction, so that each of their triggers fires.
        """
        for trigger in triggers:
            self._alter(trigger, sql.SQL("DISABLE"))
        yield
        if triggers:
            # A table with pending deferred checks cannot be altered.
            self._open_path()
            self.connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
            self.connection.execute(PIN)
        for trigger in triggers:
            self._alter(trigger, _ENABLE[trigger.enabled])

    def _alter(self, trigger: RowChangingTrigger, how: sql.SQL) -> None:
        self.connection.execute(
            sql.SQL("ALTER TABLE ONLY {} {} TRIGGER {}").format(
                trigger.table.identifier, how, sql.Identifier(trigger.name)
            )
        )
