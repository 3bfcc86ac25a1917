"""An old application, which knows nothing of tenants: several writers, what they did, and how long each statement took.

A writer is a thread with a connection of its own. It draws its actions from a seeded generator, logs what it has
committed, and measures every statement. What all of them have written is kept in a Book, row by row, which the tables
must equal in the end.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import psycopg
from psycopg import errors, sql

from servers import Database

Key = tuple[Any, ...]
Row = dict[str, Any]
RETRIES = 3
"""How often a transaction that is not READ COMMITTED is tried again before that counts as a failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A statement that failed."""

    writer: str
    label: str
    error: str

    def __str__(self) -> str:
        return f"{self.writer}, {self.label}: {self.error}"


@dataclass(frozen=True, slots=True)
class Change:
    """What a transaction did to a row: `columns` are its new values, or what was added; None where it was deleted."""

    table: str
    key: Key
    columns: Row | None
    added: bool = False


class Book:
    """What the rows must be: as they were, with every change that a writer has committed."""

    def __init__(self, database: Database, keys: Mapping[str, Sequence[str]], volatile: Mapping[str, str]) -> None:
        """`keys`: the primary key of each table; `volatile`: the column that the table's own trigger sets on UPDATE."""
        self.keys = keys
        self.volatile = volatile
        self.rows = {table: self._read(database, table) for table in keys}
        self._lock = threading.Lock()

    def _read(self, database: Database, table: str) -> dict[Key, Row]:
        with database.connect() as connection:
            cursor = connection.execute(sql.SQL("SELECT * FROM {}").format(sql.SQL(table)))
            names = [column.name for column in cursor.description or ()]
            rows = [dict(zip(names, row, strict=True)) for row in cursor]
        return {tuple(row[name] for name in self.keys[table]): row for row in rows}

    def enter(self, changes: Sequence[Change]) -> None:
        """Take over what a transaction has done; it has committed."""
        with self._lock:
            for change in changes:
                rows = self.rows[change.table]
                if change.columns is None:
                    rows.pop(change.key, None)
                    continue
                row = rows.setdefault(change.key, {})
                for name, value in change.columns.items():
                    row[name] = row[name] + value if change.added else value
                row.pop(self.volatile.get(change.table, ""), None)
                key = tuple(row.get(name) for name in self.keys[change.table])
                if key != change.key and None not in key:
                    rows[key] = rows.pop(change.key)

    def differences(self, database: Database) -> list[str]:
        """Rows that are not what they must be; empty where no write was lost and none was changed by another hand."""
        found = []
        for table, expected in self.rows.items():
            actual = self._read(database, table)
            for key in expected.keys() | actual.keys():
                if key not in actual:
                    found.append(f"{table} {key} is lost: {expected[key]}")
                elif key not in expected:
                    found.append(f"{table} {key} was never written: {actual[key]}")
                else:
                    row = actual[key]
                    found.extend(
                        f"{table} {key}.{name} is {row[name]!r}, and {value!r} was written"
                        for name, value in expected[key].items()
                        if row[name] != value
                    )
        return found


@dataclass(slots=True, kw_only=True)
class Diary:
    """What the writers went through: the longest time of each kind of statement, failures, retries."""

    failures: list[Failure] = field(default_factory=list)
    longest: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    counts: Counter[str] = field(default_factory=Counter)
    retries: Counter[int] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def took(self, label: str, seconds: float) -> None:
        with self._lock:
            self.longest[label] = max(self.longest[label], seconds)
            self.counts[label] += 1

    def failed(self, failure: Failure) -> None:
        with self._lock:
            self.failures.append(failure)

    def retried(self, times: int) -> None:
        with self._lock:
            self.retries[times] += 1

    def turn(self) -> dict[str, float]:
        """The longest times until now, which begin anew."""
        with self._lock:
            past, self.longest = dict(self.longest), defaultdict(float)
            return past


class AgainError(Exception):
    """The transaction could not be serialised, and is to be tried again."""


@dataclass(slots=True, kw_only=True)
class Session:
    """A writer's connection."""

    name: str
    connection: psycopg.Connection[Any]
    book: Book
    diary: Diary
    random: Random
    changes: list[Change] = field(default_factory=list)
    strict: bool = False

    def run(self, label: str, query: Any, parameters: Any = None, *, prepare: bool | None = None) -> list[Any]:
        """One statement, measured; what it returns."""
        with self._measured(label):
            cursor = self.connection.execute(query, parameters, prepare=prepare)
            return cursor.fetchall() if cursor.description else []

    def copy(self, label: str, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """COPY with a column list."""
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.SQL(table), names)
        with self._measured(label), self.connection.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)

    @contextmanager
    def _measured(self, label: str) -> Iterator[None]:
        begun = time.monotonic()
        try:
            yield
        except psycopg.Error as error:
            if self.strict and isinstance(error, errors.SerializationFailure):
                raise AgainError from error
            said = f"{error.sqlstate} {error.diag.message_primary or error} {error.diag.message_detail or ''}"
            context = (error.diag.context or "").splitlines()[:2]
            self.diary.failed(Failure(writer=self.name, label=label, error=f"{said} {context}"))
            raise
        finally:
            self.diary.took(label, time.monotonic() - begun)

    def wrote(self, table: str, *key: Any, **columns: Any) -> None:
        """A row is inserted or changed."""
        self.changes.append(Change(table, key, columns))

    def added(self, table: str, *key: Any, **columns: Any) -> None:
        """To a row that others change as well something was added."""
        self.changes.append(Change(table, key, columns, added=True))

    def deleted(self, table: str, *key: Any) -> None:
        """A row is gone."""
        self.changes.append(Change(table, key, None))

    @contextmanager
    def transaction(self, isolation: str = "READ COMMITTED") -> Iterator[None]:
        """BEGIN and COMMIT, both measured; what was written goes into the book once it has committed."""
        self.changes.clear()
        self.strict = isolation != "READ COMMITTED"
        self.run("BEGIN", f"BEGIN ISOLATION LEVEL {isolation}")
        try:
            yield
            self.run("COMMIT", "COMMIT")
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        finally:
            self.strict = False
        self.book.enter(self.changes)

    @contextmanager
    def undone(self) -> Iterator[None]:
        """A savepoint, to which the transaction goes back after the block."""
        kept = len(self.changes)
        self.run("SAVEPOINT", "SAVEPOINT here")
        yield
        self.run("ROLLBACK TO", "ROLLBACK TO SAVEPOINT here")
        del self.changes[kept:]

    def repeatable(self, work: Callable[[], None]) -> None:
        """`work` in a REPEATABLE READ transaction, tried again where it cannot be serialised."""
        for attempt in range(RETRIES + 1):
            try:
                with self.transaction("REPEATABLE READ"):
                    work()
                self.diary.retried(attempt)
                return
            except AgainError:
                continue
        self.diary.failed(Failure(writer=self.name, label="retry", error=f"{RETRIES} retries failed"))


class Gate:
    """What an application may do until it is told otherwise; nobody is at it any more once that was told."""

    def __init__(self) -> None:
        self._is_shut, self._inside, self._changed = False, 0, threading.Condition()

    @contextmanager
    def entered(self) -> Iterator[bool]:
        """False in the block where it may not be done any more."""
        with self._changed:
            enters = not self._is_shut
            self._inside += enters
        try:
            yield enters
        finally:
            with self._changed:
                self._inside -= enters
                self._changed.notify_all()

    def shut(self) -> None:
        """From now on."""
        with self._changed:
            self._is_shut = True
            self._changed.wait_for(lambda: self._inside == 0)


Action = Callable[[], None]
"""What a writer does: one transaction or more."""


@dataclass(kw_only=True)
class Application:
    """Writers at work. `make` gives the actions of a writer, each with its weight; roles take turns."""

    database: Database
    roles: Sequence[str]
    make: Callable[[Session, int], Mapping[Action, int]]
    book: Book
    seed: int
    writers: int = 8
    pause: float = 0.02
    """Seconds between two actions at most: so that the machine is not the bottleneck."""

    def __post_init__(self) -> None:
        self.diary = Diary()
        self._stop = threading.Event()
        self._ready = threading.Barrier(self.writers + 1)
        self._threads = [
            threading.Thread(target=self._write, args=(number,), name=f"writer {number}")
            for number in range(self.writers)
        ]

    def __enter__(self) -> Application:
        for thread in self._threads:
            thread.start()
        self._ready.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    @property
    def working(self) -> int:
        """How many have not come to an end."""
        return sum(thread.is_alive() for thread in self._threads)

    def _write(self, number: int) -> None:
        role = self.roles[number % len(self.roles)]
        name, random = f"writer {number} ({role})", Random(self.seed * 1000 + number)
        try:
            with psycopg.connect(self.database.dsn, user=role, autocommit=True, application_name=name) as connection:
                session = Session(name=name, connection=connection, book=self.book, diary=self.diary, random=random)
                try:
                    actions = self.make(session, number)
                finally:
                    self._ready.wait(60)
                choices, weights = list(actions), list(actions.values())
                while not self._stop.is_set():
                    action = random.choices(choices, weights)[0]
                    # What failed is in the diary; the application goes on, as one with an error page would.
                    try:
                        action()
                    except psycopg.Error:
                        if connection.closed:
                            raise
                    self._stop.wait(random.uniform(0, self.pause))
        except Exception as error:
            self.diary.failed(Failure(writer=name, label="the writer itself", error=repr(error)))
