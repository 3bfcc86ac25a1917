"""A few read-only sessions that share the work of the checks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, TypeAlias

import psycopg
from psycopg import sql

from tenantry.checks.base import CheckContext
from tenantry.errors import Failed, Interrupted
from tenantry.postgres.connect import PinnedConnection

WORKERS = 2
SETTINGS = sql.SQL(
    "SELECT pg_catalog.set_config(name, value, false)"
    " FROM (VALUES ('work_mem', '64MB'), ('jit', 'off'), ('lock_timeout', '30s')) AS wanted (name, value)"
)
"""Settings for hash joins over millions of rows in few sessions. A session that waits to read a table only blocks
others that want to lock it exclusively."""


def search_path(schemas: Sequence[str]) -> sql.Composed:
    """The search path of the application, for the spec's own conditions; pg_catalog comes first."""
    path = sql.SQL(", ").join(map(sql.Identifier, ("pg_catalog", *schemas, "pg_temp")))
    return sql.SQL("SET search_path = {}").format(path)


Session: TypeAlias = PinnedConnection
Work: TypeAlias = Callable[[Session], None]


@dataclass(slots=True)
class Stop:
    """A request to stop, from any thread: cancels the statements of all registered sessions."""

    requested: threading.Event = field(default_factory=threading.Event)
    _sessions: list[psycopg.Connection[Any]] = field(default_factory=list)

    def also(self, session: psycopg.Connection[Any]) -> None:
        """Also cancel statements of this session."""
        self._sessions.append(session)

    def __call__(self) -> None:
        self.requested.set()
        self.cancel()

    def cancel(self) -> None:
        """Cancel the running statements."""
        for session in tuple(self._sessions):
            # A session that was just closed has nothing to cancel.
            with suppress(psycopg.Error):
                session.cancel_safe(timeout=5.0)

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Raises Interrupted for a statement of the block that a stop has cancelled."""
        try:
            yield
        except psycopg.errors.QueryCanceled:
            self.halt()
            raise

    def halt(self) -> None:
        """Raises Interrupted if a stop was asked for."""
        if self.requested.is_set():
            raise Interrupted("Stopped", remedy="Run the same command again: nothing was changed.")


@dataclass(frozen=True, slots=True)
class Readers:
    """Free sessions, and the request that stops them all."""

    free: SimpleQueue[Session]
    count: int
    stop: Stop

    @classmethod
    @contextmanager
    def opened(cls, context: CheckContext, purpose: str, stop: Stop, *, workers: int = WORKERS) -> Iterator[Readers]:
        """Opens the sessions for the block."""
        with ExitStack() as stack:
            free: SimpleQueue[Session] = SimpleQueue()
            for number in range(workers):
                session = stack.enter_context(context.session(f"{purpose} {number + 1}"))
                session.execute(SETTINGS)
                session.settle_path(search_path(context.spec.schemas))
                stop.also(session)
                free.put(session)
            yield cls(free, workers, stop)

    def all(self, work: Sequence[Work]) -> None:
        """Run all work, each piece in a free session; the first one that fails stops the rest.

        Raises Interrupted after a stop, and Failed if another session keeps a table locked.
        """
        given_up = threading.Event()
        with ThreadPoolExecutor(self.count) as pool:
            futures = [pool.submit(self._one, one, given_up) for one in work]
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            given_up.set()
            if any(future.exception() is not None for future in done):
                self.stop.cancel()
        self.stop.halt()
        for future in done:
            future.result()

    def _one(self, work: Work, given_up: threading.Event) -> None:
        if self.stop.requested.is_set() or given_up.is_set():
            return
        session = self.free.get()
        try:
            work(session)
        except psycopg.errors.LockNotAvailable as error:
            raise Failed(
                f"A table could not be read: another session has held a lock on it for 30 s:"
                f" {error.diag.message_primary}",
                remedy="Wait until that session has ended its transaction, or terminate it; then run the command"
                " again.",
            ) from error
        finally:
            self.free.put(session)
