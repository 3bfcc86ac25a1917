"""Sessions of an application that write as tenants, each where its tenant is, and record what was committed."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg

from moves.conftest import APPLICATION, Pair
from servers import Database

NUMBERS = itertools.count(1_000_000)
WHERE = "SELECT state FROM tenantry.moves WHERE side = 'source' AND tenant = %s ORDER BY started_at DESC LIMIT 1"


@dataclass(kw_only=True)
class Application:
    """One session of a tenant, as the application role: inserts, changes and deletes rows until it is stopped."""

    pair: Pair
    slug: str
    pause: float = 0.002
    committed: list[int] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)
    changed: dict[int, int] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    longest: float = 0.0
    """The longest time from the first try of a transaction until it was committed, in seconds."""
    tolerant: bool = False
    """A server is killed meanwhile: its sessions are lost, and a commit without an answer may have happened."""
    uncertain: list[int] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        rows = self.pair.source.rows("SELECT id::text FROM firms WHERE slug = %s", [self.slug])
        rows = rows or self.pair.target.rows("SELECT id::text FROM firms WHERE slug = %s", [self.slug])
        self.key = rows[0][0]

    def place(self) -> Database:
        """Where the tenant is, as a directory of tenants would know it."""
        for here, there in ((self.pair.source, self.pair.target), (self.pair.target, self.pair.source)):
            if here.rows("SELECT to_regclass('tenantry.moves')") != [(None,)]:
                states = here.rows(WHERE, [self.key])
                if states and states[0][0] in ("switched", "moved"):
                    return there
                if states:
                    return here
        return self.pair.source

    def work(self) -> None:
        connection: psycopg.Connection | None = None
        while not self.over.is_set():
            number, begun = next(NUMBERS), time.monotonic()
            while True:
                try:
                    if connection is None or connection.closed:
                        connection = self.place().connect()
                    self._transaction(connection, number)
                    break
                except psycopg.errors.SerializationFailure as error:
                    self.refused.append(str(error))
                except psycopg.OperationalError as error:
                    # The row may be there: it is written again under another number.
                    self.uncertain.append(number)
                    number = next(NUMBERS)
                    if not self.tolerant:
                        self.others.append(f"{type(error).__name__}: {error}")
                except psycopg.Error as error:
                    self.others.append(f"{type(error).__name__}: {error}")
                if connection is not None:
                    connection.close()
                connection = None
                time.sleep(0.005)
                if self.over.is_set():
                    return
            self.longest = max(self.longest, time.monotonic() - begun)
            time.sleep(self.pause)
        if connection is not None:
            connection.close()

    def _transaction(self, connection: psycopg.Connection, number: int) -> None:
        with connection.transaction():
            connection.execute(f"SET LOCAL ROLE {APPLICATION}")
            connection.execute("SELECT set_config('app.tenant_id', %s, true)", [self.key])
            place = connection.execute("SELECT min(id) FROM places").fetchone()
            assert place not in (None, (None,)), "the tenant sees its own rows"
            assert place is not None
            connection.execute(
                "INSERT INTO items (place_id, unit, note, firm_id) VALUES (%s, 'kg', %s, %s)",
                [place[0], f"written {number}", self.key],
            )
            if number % 3 == 0 and self.committed:
                self._change(connection, number)
        self.committed.append(number)
        if number % 3 == 0 and len(self.committed) > 1:
            self.changed[self.committed[0]] = number

    def _change(self, connection: psycopg.Connection, number: int) -> None:
        done = connection.execute(
            "UPDATE items SET document = to_jsonb(%s::int) WHERE note = %s", [number, f"written {self.committed[0]}"]
        )
        assert done.rowcount == 1, "a committed row is there"


@contextmanager
def working(*applications: Application) -> Iterator[None]:
    threads = [threading.Thread(target=one.work) for one in applications]
    for thread in threads:
        thread.start()
    try:
        time.sleep(0.2)
        yield
        time.sleep(0.2)
    finally:
        for one in applications:
            one.over.set()
        for thread in threads:
            thread.join()


def check(one: Application) -> None:
    """Nothing that was committed is lost or doubled, and only serialization failures were seen."""
    assert one.others == []
    written = one.place().rows(
        "SELECT split_part(note, ' ', 2)::int, document FROM items WHERE note LIKE 'written %%' AND firm_id = %s",
        [one.key],
    )
    numbers = sorted(number for number, _ in written)
    mine = set(one.committed)
    assert sorted(number for number in numbers if number in mine) == sorted(one.committed)
    found = dict(written)
    # A change without an answer may have followed the last one that is known.
    known = {number: value for number, value in one.changed.items() if not one.tolerant or found[number] == value}
    assert {number: found[number] for number in known} == known
    assert one.tolerant or known == one.changed
