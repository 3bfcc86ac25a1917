"""An application without tenants, for the demo: it writes in threads, and records its errors and times."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tenantry.postgres.connect import Target, connect
from tenantry.presets import transactions

ROLE = "old_application"
PAUSE = 0.005
"""Seconds between two transactions of a thread: an ordinary load, not a load test."""


@dataclass(slots=True, kw_only=True)
class StatementCounts:
    """What the application did and measured so far; times in seconds."""

    statements: int = 0
    errors: list[str] = field(default_factory=list)
    longest: float = 0.0
    longest_of: dict[str, float] = field(default_factory=dict)
    """The longest statement of each part of the demo."""
    chapter: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, seconds: float) -> None:
        with self._lock:
            self.statements += 1
            self.longest = max(self.longest, seconds)
            self.longest_of[self.chapter] = max(self.longest_of.get(self.chapter, 0.0), seconds)

    def fail(self, error: psycopg.Error) -> None:
        with self._lock:
            self.errors.append((error.diag.message_primary or str(error)).strip())


@contextmanager
def old_application(target: Target, preset: str, *, threads: int = 4, seed: int = 1) -> Iterator[StatementCounts]:
    """Reads and writes as an ordinary role during the block, and disconnects after it."""
    as_role = Target(make_conninfo(target.conninfo, user=ROLE))
    tally, over = StatementCounts(), threading.Event()
    workers = [
        threading.Thread(
            target=_work,
            args=(as_role, preset, tally, over, random.Random(seed * 100 + number), number),
            daemon=True,
        )
        for number in range(threads)
    ]
    for worker in workers:
        worker.start()
    try:
        yield tally
    finally:
        over.set()
        for worker in workers:
            worker.join()


def _work(
    target: Target, preset: str, tally: StatementCounts, over: threading.Event, dice: random.Random, number: int
) -> None:  # fmt: skip
    try:
        connection = connect(target, purpose="demo", operator=False)
    except Exception as error:
        tally.errors.append(str(error))
        return
    with connection:
        # As in an application's own session: its name, and its schema.
        connection.path = sql.SQL("SET search_path = public")
        connection.execute(sql.SQL("SET application_name = 'shop'; SET search_path = public"))
        choices, numbers = transactions(preset), itertools.count(1)
        while not over.is_set():
            name = f"demo-{number}-{next(numbers)}"
            _run(
                connection,
                dice.choice(choices),
                {"pick": dice.random(), "other": dice.random(), "name": name},
                tally,
            )
            over.wait(PAUSE)


def _run(
    connection: psycopg.Connection[Any], statements: tuple[bytes, ...], values: dict[str, Any], tally: StatementCounts
) -> None:
    try:
        with connection.transaction():
            for statement in statements:
                started = time.monotonic()
                connection.execute(statement, values)
                tally.count(time.monotonic() - started)
    except psycopg.Error as error:
        tally.fail(error)
