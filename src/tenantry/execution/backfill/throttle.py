"""Slows a fill down if replicas lag behind or sessions wait for its locks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from tenantry.postgres.queries import read_queries

_QUERIES = read_queries(Path(__file__).with_name("sql") / "throttle.sql")
_LAG_INTERVAL = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ThrottleLimits:
    """How far a streaming replica may lag behind, and how long a fill waits for it at a time.

    After `patience` seconds one batch runs nevertheless, so that a replica that never catches up does not stop the fill
    for ever. None: no limit.
    """

    lag_bytes: float | None = 64 * 1024 * 1024
    lag_seconds: float | None = 10.0
    patience: float = 60.0
    interval: float = 0.1
    """Seconds between two checks for sessions that wait for the fill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """A replica's distance, in bytes of WAL not yet replayed and in seconds."""

    replica: str
    bytes: float
    seconds: float

    def exceeds(self, limits: ThrottleLimits) -> bool:
        return (limits.lag_bytes is not None and self.bytes > limits.lag_bytes) or (
            limits.lag_seconds is not None and self.seconds > limits.lag_seconds
        )

    def __str__(self) -> str:
        return f"replica {self.replica} is {self.bytes / 1e6:.0f} MB and {self.seconds:.0f} s behind"


class Throttle:
    """Monitors with a connection of its own; every worker calls it before each batch."""

    def __init__(self, limits: ThrottleLimits | None = None) -> None:
        self.limits = limits or ThrottleLimits()
        self._behind: Lag | None = None
        self._crowded: set[int] = set()
        self._workers: Sequence[int] = ()
        self._changed = threading.Condition()
        self._pausing = False
        self.seen = threading.Event()
        """Set after the first check."""

    def watch(self, connection: psycopg.Connection[Any], workers: Sequence[int], ended: threading.Event) -> None:
        """Check repeatedly until `ended`; `workers` are the backend pids of the fill's sessions."""
        self._workers = tuple(workers)
        cursor = psycopg.RawCursor(connection)
        looked_at_replicas = float("-inf")
        while not ended.is_set():
            try:
                if time.monotonic() - looked_at_replicas >= _LAG_INTERVAL:
                    self._see_lag(self._lag(cursor))
                    looked_at_replicas = time.monotonic()
                row = cursor.execute(_QUERIES["waiting"], [list(self._workers)]).fetchone()
                if row is not None and row[0] > 0:
                    self._crowded = set(self._workers)
            except psycopg.Error:
                # Workers whose connections are lost, too, report that themselves.
                self._see_lag(None)
                if connection.closed:
                    return
            finally:
                self.seen.set()
            ended.wait(self.limits.interval)

    def admit(self, worker: int, stop: threading.Event, tell: Callable[[str], None]) -> bool:
        """Wait until the next batch may run; True if others have waited for the fill since this worker's last call.

        Returns early when `stop` is set. `tell` is called once with the reason, however many workers wait.
        """
        deadline = time.monotonic() + self.limits.patience
        with self._changed:
            while (lag := self._behind) is not None and not stop.is_set() and time.monotonic() < deadline:
                if not self._pausing:
                    self._pausing = True
                    tell(f"{lag}: waiting for it, {self.limits.patience:g} s at most")
                self._changed.wait(0.2)
            if self._behind is None:
                self._pausing = False
            crowded = worker in self._crowded
            self._crowded.discard(worker)
        return crowded

    def _see_lag(self, lag: Lag | None) -> None:
        with self._changed:
            self._behind = lag
            self._changed.notify_all()

    def _lag(self, cursor: psycopg.RawCursor[Any]) -> Lag | None:
        """The lag of the first replica that is too far behind."""
        rows = cursor.execute(_QUERIES["replicas"]).fetchall()
        lags = (Lag(replica=name, bytes=size, seconds=seconds) for name, size, seconds in rows)
        return next((lag for lag in lags if lag.exceeds(self.limits)), None)
