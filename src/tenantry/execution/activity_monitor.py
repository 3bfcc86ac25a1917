"""Polls pg_stat_activity for what the run's session waits on, which index it builds, or how many rows Citus copies."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import psycopg

from tenantry.errors import TenantryError
from tenantry.execution.events import Observer, SessionActivity, ignore
from tenantry.execution.session import open_session
from tenantry.postgres.activity import activities, rows_copied
from tenantry.postgres.connect import Target
from tenantry.postgres.distribution import has_citus

INTERVAL = 1.0


@contextmanager
def monitor_activity(target: Target, pid: int, observer: Observer, *, run: str) -> Iterator[None]:
    """During the block `observer` is called once a second with what session `pid` waits for or builds."""
    if observer is ignore:
        yield
        return
    over = threading.Event()
    thread = threading.Thread(target=_look, args=(target, pid, observer, run, over), name="lookout", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=5)


def _look(target: Target, pid: int, observer: Observer, run: str, over: threading.Event) -> None:
    # Short steps need no monitor, and a run continues without one.
    if over.wait(INTERVAL):
        return
    with suppress(psycopg.Error, TenantryError), open_session(target, run=run, purpose="watch") as connection:
        told, citus, copied, lasted = False, has_citus(connection), 0, 0.0
        while not over.is_set():
            found = next(iter(activities(connection, pid)), None)
            if citus and found is not None and found.state == "active":
                # A copy that is finished is not counted any more, while others of the same statement go on.
                earlier = copied if found.seconds >= lasted else 0
                copied, lasted = max(earlier, rows_copied(connection)), found.seconds
                found = replace(found, copied=copied)
            worth = found is not None and bool(found.blockers or found.build or found.behind or found.copied)
            if worth or told:
                observer(SessionActivity(found if worth else None))
            told = worth
            over.wait(INTERVAL)
