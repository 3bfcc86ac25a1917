"""Kills of a run while it waits for a lock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from servers import Database

WAITING = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
AND application_name LIKE 'tenantry%%' AND wait_event_type = 'Lock' AND query ~ %s
"""


@contextmanager
def holding(database: Database, *statements: str) -> Iterator[psycopg.Connection[Any]]:
    """A session of somebody else's in the middle of a transaction."""
    with database.connect() as connection:
        for statement in statements:
            connection.execute(statement)
        yield connection
        connection.rollback()
