"""Bring balances into step with a ledger while applications write to it. differences.py explains why this is exact."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from tenantry.balances.differences import differences, hold, share
from tenantry.balances.ledgers import QUERIES
from tenantry.errors import END_HOLDERS, Failed, Interrupted, Refused
from tenantry.execution.events import FillAdvanced, FillFinished, FillStarted, Observer
from tenantry.execution.existing import definitions
from tenantry.model.ledger import SUMS, Ledger
from tenantry.steps import Step
from tenantry.steps.introspection import identifiers, raw
from tenantry.steps.movement import correct

Connection = psycopg.Connection[Any]
RETRIED = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)
BATCH = 1000
"""The number of keys that are corrected in one transaction at first."""
LOCK_WAIT = 0.25
"""Seconds for which a batch waits for a row that a writer has locked: below deadlock_timeout, 1 s unless configured, so
that in a deadlock with a writer it is always the batch that gives up. The batch is halved then; a batch of one key
holds nothing that a writer could wait for, and so succeeds."""
AGAIN = "Run `tenantry balances backfill` again: it continues where it stopped."


@dataclass(slots=True, kw_only=True)
class BalanceBackfill:
    """One backfill of one ledger. `connections` opens a session for a purpose; times in seconds."""

    ledger: Ledger
    connection: Connection
    connections: Callable[[str], Connection]
    observer: Observer
    workers: int = 2
    budget: float = 600.0
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, triggers: Step) -> int:
        """Correct all keys that differ, and mark the balances as in step. Returns how many keys this run has corrected.

        Raises Refused if not all triggers exist, Failed if rows could not be locked within the budget, Interrupted if a
        stop was requested.
        """
        self._refuse_missing(triggers)
        keys = self._find()
        self.observer(FillStarted(self.ledger.balance, keys))
        corrected = self._add(keys) if keys else 0
        self._settle(triggers)
        self.observer(FillFinished(self.ledger.balance, corrected))
        return corrected

    def _refuse_missing(self, triggers: Step) -> None:
        if definitions(self.connection, [triggers])[triggers.key] is None:
            raise Refused(
                f"Some triggers on {self.ledger.table} are missing: movements would not be counted meanwhile",
                remedy="Run `tenantry balances install` first.",
            )

    def _find(self) -> int:
        """Find the differences, or those that an earlier run has found and not added; returns the number of
        corrections.

        CREATE TABLE AS, since only that may read with parallel workers. One statement, one snapshot, no lock on the
        ledger: writers go on.
        """
        corrections = self.ledger.corrections.identifier
        number = sql.SQL('SELECT pg_catalog.row_number() OVER () AS "tenantry number", found.* FROM ({}) AS found')
        with self.connection.transaction():
            generation, waiting = hold(self.connection, self.ledger)
            if waiting == generation and self._corrections_exist():
                return self._last()
            self.connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(corrections))
            self.connection.execute(
                sql.SQL("CREATE TABLE {} AS {}").format(corrections, number.format(differences(self.ledger)))
            )
            self.connection.execute(sql.SQL('ALTER TABLE {} ADD PRIMARY KEY ("tenantry number")').format(corrections))
            self.connection.execute(QUERIES["found"], {"ledger": self.ledger.called})
            return self._last()

    def _corrections_exist(self) -> bool:
        row = self.connection.execute(sql.SQL("SELECT {} IS NOT NULL").format(self.ledger.corrections.oid)).fetchone()
        return row == (True,)

    def _last(self) -> int:
        query = sql.SQL('SELECT coalesce(max("tenantry number"), 0) FROM {}').format(self.ledger.corrections.identifier)
        row = self.connection.execute(query).fetchone()
        return int(row[0]) if row is not None else 0

    def _add(self, keys: int) -> int:
        batches: queue.SimpleQueue[tuple[int, int]] = queue.SimpleQueue()
        for first in range(1, keys + 1, BATCH):
            batches.put((first, min(first + BATCH, keys + 1)))
        workers = max(1, min(self.workers, batches.qsize()))
        failed = threading.Event()

        def work(number: int) -> int:
            try:
                with self._session(number) as connection:
                    return sum(self._batches(connection, batches, failed))
            except BaseException:
                failed.set()
                raise

        with ThreadPoolExecutor(workers, thread_name_prefix="corrections") as pool:
            return sum(pool.map(work, range(workers)))

    @contextmanager
    def _session(self, number: int) -> Iterator[Connection]:
        connection = self.connections(f"balances {number + 1}")
        try:
            yield connection
        finally:
            connection.close()

    def _batches(
        self, connection: Connection, batches: queue.SimpleQueue[tuple[int, int]], failed: threading.Event
    ) -> Iterator[int]:
        deadline = time.monotonic() + self.budget
        size = BATCH
        while not failed.is_set():
            try:
                first, past = batches.get_nowait()
            except queue.Empty:
                return
            if past - first > size:
                batches.put((first + size, past))
                past = first + size
            self._halt()
            try:
                corrected = self._batch(connection, first, past)
            except RETRIED as error:
                if time.monotonic() > deadline:
                    raise self._lock_failure(error) from error
                size = max(1, size // 2)
                batches.put((first, past))
                continue
            deadline = time.monotonic() + self.budget
            size = min(BATCH, size * 2)
            self.observer(FillAdvanced(self.ledger.balance, past - first, corrected))
            yield corrected

    def _batch(self, connection: Connection, first: int, past: int) -> int:
        """Add the differences of some keys and delete their records, in one transaction."""
        ledger = self.ledger
        these = sql.SQL('FROM {} WHERE "tenantry number" >= {} AND "tenantry number" < {}').format(
            ledger.corrections.identifier, sql.Literal(first), sql.Literal(past)
        )
        found = sql.SQL("SELECT {}, {} {}").format(identifiers(ledger.columns), raw(", ".join(SUMS)), these)
        with connection.transaction():
            if not share(connection, ledger):
                raise Refused(f"The balances of {ledger.table} were marked stale meanwhile", remedy=AGAIN)
            connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(f"{LOCK_WAIT * 1000:.0f}ms")))
            corrected = connection.execute(correct(ledger, found)).rowcount
            connection.execute(sql.SQL("DELETE {}").format(these))
        return corrected

    def _settle(self, triggers: Step) -> None:
        """All differences are added: the balances are in step from here on."""
        corrections = self.ledger.corrections.identifier
        with self.connection.transaction():
            generation, waiting = hold(self.connection, self.ledger)
            self._refuse_missing(triggers)
            if waiting != generation or self._last():
                raise Refused(f"The balances of {self.ledger.table} were marked stale meanwhile", remedy=AGAIN)
            self.connection.execute(sql.SQL("DROP TABLE {}").format(corrections))
            self.connection.execute(QUERIES["settled"], {"ledger": self.ledger.called})

    def _halt(self) -> None:
        if self.stop.is_set():
            raise Interrupted("Stopped between two batches", remedy=AGAIN)

    def _lock_failure(self, error: psycopg.Error) -> Failed:
        return Failed(
            f"A balance of {self.ledger.table} was locked by writers for {self.budget:g} s:"
            f" {error.diag.message_primary}",
            remedy=f"{END_HOLDERS}. {AGAIN}",
        )
