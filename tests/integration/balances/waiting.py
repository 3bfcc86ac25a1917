"""Waits for a backfill."""

from __future__ import annotations

import subprocess

from balances.stock import Stock
from servers import wait_until


def wait_for_begin(shop: Stock, process: subprocess.Popen[str]) -> None:
    """Until the run holds its lock, or is over already."""
    lock = (
        "SELECT 1 FROM pg_locks WHERE locktype = 'advisory'"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    wait_until(lambda: bool(shop.rows(lock)) or process.poll() is not None, seconds=60)
