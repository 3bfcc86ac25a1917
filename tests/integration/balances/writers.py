"""Eight sessions that do to a ledger whatever SQL can do, each transaction seeded, and look after every commit."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg

from balances.stock import FALSE_BALANCES, Stock
from servers import wait_until

SESSIONS = 8
ENDLESS = 10**9
REST = 0.01
"""Seconds."""
RETRIED = (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected, psycopg.errors.UniqueViolation)
Session = psycopg.Connection[Any]
LEVELS = ("READ COMMITTED", "READ COMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")


@dataclass(slots=True, kw_only=True)
class Writer:
    """One session. `statements` counts what it has run, `committed` its transactions."""

    session: Session
    chance: random.Random
    version: int
    statements: int = 0
    committed: int = 0
    kinds: set[str] = field(default_factory=set)

    def transaction(self) -> bool:
        """One to three statements; True where they were committed."""
        level = self.chance.choice(LEVELS)
        try:
            self.session.execute(f"BEGIN ISOLATION LEVEL {level}")
            for _ in range(self.chance.randint(1, 3)):
                self.statement()
            if self.chance.random() < 0.12:
                self.session.execute("ROLLBACK")
                return False
            self.session.execute("COMMIT")
        except RETRIED:
            self.session.execute("ROLLBACK")
            return False
        self.kinds.add(level)
        self.committed += 1
        return True

    def statement(self) -> None:
        kind = self.chance.choice(
            KINDS if self.version >= 15 else [one for one in KINDS if one not in (merge, merge_moves)]
        )
        self.kinds.add(kind.__name__)
        self.statements += 1
        if self.chance.random() < 0.15:
            self.session.execute("SAVEPOINT here")
            kind(self)
            self.session.execute("ROLLBACK TO here")
            return
        kind(self)

    # --- what is random

    def row(self) -> tuple[Any, ...]:
        chance = self.chance
        lot = chance.choice([None, None, "L1", "L2", "it's"])
        return (
            chance.randint(1, 2), chance.randint(0, 6), chance.choice([None, 1, 2]), lot, chance.randint(-9, 9) / 4
        )  # fmt: skip

    def some(self) -> str:
        """A condition that a few rows meet."""
        modulus = self.chance.randint(5, 40)
        return f"mod(id, {modulus}) = {self.chance.randrange(modulus)}"

    def run(self, statement: str, *parameters: Any) -> None:
        self.session.execute(statement, parameters or None)


COLUMNS = "(org, item, location, lot, quantity)"


def insert_one(writer: Writer) -> None:
    writer.run(f"INSERT INTO ledger {COLUMNS} VALUES (%s, %s, %s, %s, %s)", *writer.row())


def insert_select(writer: Writer) -> None:
    writer.run(
        f"INSERT INTO ledger {COLUMNS} SELECT %s, g %% 7, nullif(g %% 3, 0), nullif('L' || g %% 3, 'L0'), g - 5"
        " FROM generate_series(1, %s) g", writer.chance.randint(1, 2), writer.chance.randint(0, 12),
    )  # fmt: skip


def copy(writer: Writer) -> None:
    with writer.session.cursor().copy(f"COPY ledger {COLUMNS} FROM STDIN") as lines:
        for _ in range(writer.chance.randint(1, 8)):
            lines.write_row(writer.row())


def upsert(writer: Writer) -> None:
    number, (org, item, *rest) = writer.chance.randint(1, 60), writer.row()
    action = writer.chance.choice(["NOTHING", "UPDATE SET quantity = ledger.quantity + 1, lot = excluded.lot"])
    writer.run(
        "INSERT INTO ledger (id, org, item, location, lot, quantity) VALUES (%s, %s, %s, %s, %s, %s)"
        f" ON CONFLICT (id, item) DO {action}", number, org, item, *rest,
    )  # fmt: skip


def change_quantity(writer: Writer) -> None:
    writer.run(f"UPDATE ledger SET quantity = quantity + %s WHERE {writer.some()}", writer.chance.choice([-2, 0.25, 3]))


def change_note(writer: Writer) -> None:
    writer.run(f"UPDATE ledger SET note = 'seen' WHERE {writer.some()}")


def change_key(writer: Writer) -> None:
    org, item, location, lot, _ = writer.row()
    writer.run(
        f"UPDATE ledger SET org = %s, item = %s, location = %s, lot = %s WHERE {writer.some()}",
        org, item, location, lot,
    )  # fmt: skip


def delete(writer: Writer) -> None:
    writer.run(f"DELETE FROM ledger WHERE {writer.some()}")


def merge(writer: Writer) -> None:
    writer.run(
        "MERGE INTO ledger USING (SELECT g AS id, g % 7 AS item FROM generate_series(1, 12) g) AS source"
        " ON ledger.id = source.id AND ledger.item = source.item"
        " WHEN MATCHED AND ledger.quantity < 0 THEN DELETE WHEN MATCHED THEN UPDATE SET quantity = -ledger.quantity"
        " WHEN NOT MATCHED THEN INSERT (id, org, item, quantity) VALUES (source.id, 1, source.item, 2)"
    )


def merge_moves(writer: Writer) -> None:
    """Rows to another partition, by a MERGE that has other actions or none."""
    low, extra = writer.chance.randint(1, 50), writer.chance.choice([
        "", " WHEN MATCHED THEN DELETE", " WHEN NOT MATCHED THEN INSERT (id, org, item, quantity) VALUES (s.id, 1, 2, 2)"
    ])  # fmt: skip
    writer.run(
        f"MERGE INTO ledger USING generate_series({low}, {low + 12}) AS s (id) ON ledger.id = s.id"
        " WHEN MATCHED AND mod(ledger.id, 3) > 0 THEN UPDATE SET item = mod(ledger.item + 3, 7), quantity = 1" + extra
    )


def in_partition(writer: Writer) -> None:
    org, _, location, lot, quantity = writer.row()
    kind = writer.chance.randrange(4)
    if kind == 0:
        writer.run(f"INSERT INTO ledger_low {COLUMNS} VALUES (%s, 1, %s, %s, %s)", org, location, lot, quantity)
    elif kind == 1:
        writer.run(f"INSERT INTO ledger_high {COLUMNS} VALUES (%s, 5, %s, %s, %s)", org, location, lot, quantity)
    elif kind == 2:
        writer.run(f"UPDATE ledger_high SET quantity = quantity - 1, lot = %s WHERE {writer.some()}", lot)
    else:
        writer.run(f"DELETE FROM ledger_high_0 WHERE {writer.some()}")


def move_back(writer: Writer) -> None:
    """A writable CTE: rows out and in again in one statement."""
    writer.run(
        f"WITH gone AS (DELETE FROM ledger WHERE {writer.some()} RETURNING *)"
        f" INSERT INTO ledger {COLUMNS} SELECT org, (item + 3) % 7, location, lot, quantity * 2 FROM gone"
    )


KINDS: list[Callable[[Writer], None]] = [
    insert_one, insert_one, insert_select, copy, upsert, change_quantity, change_note, change_key, delete, merge,
    merge_moves, in_partition, in_partition, move_back,
]  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Load:
    """What eight writers did. `wrong` is what the first of them saw after a commit of its own."""

    wrong: list[tuple[Any, ...]] = field(default_factory=list)
    statements: int = 0
    committed: int = 0
    kinds: set[str] = field(default_factory=set)
    failures: list[BaseException] = field(default_factory=list)
    looking: threading.Event = field(default_factory=threading.Event)
    lookers: int = 0
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def look_away(self) -> None:
        """Nobody looks any more when this returns: what comes next may be wrong."""
        with self.lock:
            self.looking.clear()
        wait_until(lambda: self.lookers == 0 or self.over.is_set(), seconds=60)

    def write(self, stock: Stock, seed: int, number: int, statements: int) -> None:
        """Until `statements` are run by all together, or it is over; each looks after its commits once `looking`."""
        try:
            with closing(stock.connect(autocommit=True)) as session:
                # So that a deadlock, which every application has to be ready for, costs no second.
                session.execute("SET deadlock_timeout = '30ms'")
                writer = Writer(
                    session=session, chance=random.Random(seed * SESSIONS + number),
                    version=session.info.server_version // 10000,
                )  # fmt: skip
                while not self.over.is_set() and self.statements < statements:
                    before = writer.statements
                    done = writer.transaction()
                    with self.lock:
                        looks = done and self.looking.is_set()
                        self.lookers += looks
                    wrong = session.execute(FALSE_BALANCES).fetchall() if looks else []
                    with self.lock:
                        self.lookers -= looks
                        self.statements += writer.statements - before
                        self.committed += done
                        self.kinds |= writer.kinds
                        self.wrong = self.wrong or wrong
                    if self.wrong:
                        self.over.set()
                    # Those that write beside something leave it a part of the machine.
                    if statements == ENDLESS:
                        self.over.wait(REST)
        except BaseException as error:
            self.failures.append(error)
            self.over.set()


@contextmanager
def writing(stock: Stock, seed: int, *, statements: int = ENDLESS, looking: bool = False) -> Iterator[Load]:
    """Eight sessions that write in the block; at its end they stop, or have run `statements`."""
    load = Load()
    if looking:
        load.looking.set()
    threads = [
        threading.Thread(target=load.write, args=(stock, seed, number, statements), name=f"writer {number}")
        for number in range(SESSIONS)
    ]
    for thread in threads:
        thread.start()
    try:
        yield load
        if statements == ENDLESS:
            load.over.set()
    except BaseException:
        load.over.set()
        raise
    finally:
        for thread in threads:
            thread.join()
    if load.failures:
        raise load.failures[0]


def oracle(stock: Stock, seed: int, *, statements: int = 500) -> Load:
    """Run the writers to their end, looking after each commit."""
    with writing(stock, seed, statements=statements, looking=True) as load:
        pass
    return load
