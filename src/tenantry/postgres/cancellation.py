"""Cancelling the statement of a connection from another thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg

AGAIN = 0.25
"""Seconds between two requests to cancel a statement that has not ended."""


@dataclass(slots=True)
class Cancellation:
    """Cancels what a connection executes within a block that allows it, and nothing before or after that."""

    connection: psycopg.Connection[Any]
    _allowed: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def allowed(self, begin: Callable[[], None]) -> Iterator[None]:
        """Within the block statements may be cancelled. `begin` is called first, and raises an error if a stop was
        requested before, when there was nothing to cancel."""
        with self._lock:
            begin()
            self._allowed = True
        try:
            yield
        finally:
            with self._lock:
                self._allowed = False

    def request(self) -> None:
        """Cancel, until the block has ended: the first request may arrive before the statement does. To be called in
        another thread than the one that executes the block, and after whatever `begin` looks at is set."""
        while self._cancel():
            time.sleep(AGAIN)

    def _cancel(self) -> bool:
        # Held, so that a request cannot reach a statement after the block.
        with self._lock:
            if self._allowed:
                self.connection.cancel_safe(timeout=5.0)
            return self._allowed
