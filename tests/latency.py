"""Sessions that measure: how long a writer waits, and what a busy machine adds to a statement, measured where nobody can
be in the way."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import psycopg


class Connects(Protocol):
    """A database of a test, or what has one."""

    def connect(self, *, autocommit: bool) -> psycopg.Connection[Any]: ...


@dataclass(slots=True)
class Bystander:
    """A session that wants nothing of anybody; `seconds` is the longest that one of its statements took."""

    seconds: float = 0.0


@contextmanager
def unblocked_session(database: Connects) -> Iterator[Bystander]:
    """It runs a statement again and again while the block does, and has run one when that begins."""
    found, over, begun = Bystander(), threading.Event(), threading.Event()

    def stand() -> None:
        with closing(database.connect(autocommit=True)) as session:
            while not over.wait(0.01):
                started = time.monotonic()
                session.execute("SELECT 1")
                found.seconds = max(found.seconds, time.monotonic() - started)
                begun.set()

    thread = threading.Thread(target=stand)
    thread.start()
    begun.wait(60)
    try:
        yield found
    finally:
        over.set()
        thread.join()


@contextmanager
def writing(database: Connects, statement: str) -> Iterator[list[float]]:
    """A session that writes again and again; the seconds that each took."""
    took: list[float] = []
    over, begun = threading.Event(), threading.Event()

    def write() -> None:
        with closing(database.connect(autocommit=True)) as session:
            while not over.is_set():
                started = time.monotonic()
                session.execute(statement)
                took.append(time.monotonic() - started)
                begun.set()
                time.sleep(0.002)

    thread = threading.Thread(target=write)
    thread.start()
    begun.wait(60)
    try:
        yield took
    finally:
        over.set()
        thread.join()
