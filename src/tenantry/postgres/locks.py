"""Locks: the lock that prevents two runs at a time, and the sessions that block another one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row, kwargs_row

from tenantry.errors import Refused
from tenantry.model.name import Name
from tenantry.postgres.connect import Target, connect
from tenantry.postgres.owner_context import fenced
from tenantry.postgres.queries import read_queries

RUN_LOCK = int.from_bytes(b"tenantry", "big")
"""The key of the advisory lock; advisory locks are separate for each database."""

ORPHAN_SECONDS = 5.0
"""How long a killed run may still hold the lock: its server process checks for its client once a second
(client_connection_check_interval), and then rolls back."""

_QUERIES = read_queries(Path(__file__).with_name("sql") / "locks.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocker:
    """A session that blocks another one; `pid` is 0 for a prepared transaction, whose name is then the `query`.

    `age` is that of its transaction in seconds, None if it has none or tenantry's role may not see it. `relation`
    and `mode` are known where the wait is for a table or a row; `granted` is False if the blocker waits, too, ahead
    in the queue.
    """

    pid: int
    user: str
    application: str
    state: str
    query: str
    age: float | None
    relation: Name | None
    mode: str | None
    granted: bool

    def __str__(self) -> str:
        who = f"prepared transaction {self.query!r}" if self.pid == 0 else f"pid {self.pid}"
        parts = [f"{who} ({', '.join(filter(None, (self.user, self.application)))})", self.state]
        if self.age is not None:
            parts.append(f"transaction open for {self.age:.1f} s")
        if self.relation is not None and self.mode is not None:
            parts.append(f"{'holds' if self.granted else 'waits for'} {self.mode} on {self.relation}")
        if self.pid != 0 and self.query:
            parts.append(" ".join(self.query.split()))
        return ", ".join(filter(None, parts))


@contextmanager
def hold_run_lock(
    connection: psycopg.Connection[Any], target: Target, *, patience: float = ORPHAN_SECONDS
) -> Iterator[None]:
    """Keep other runs out of the database during the block; `connection`, to `target`, must be in autocommit mode and
    direct. Where it may run code of other owners, which could release its locks, a second session, which runs nothing
    else, also holds the lock.

    Raises Refused, with the holder, if another run keeps the lock for `patience` seconds, and ConnectionFailed if
    the second session cannot be opened.
    """
    deadline = time.monotonic() + patience
    while not _acquired(connection):
        if time.monotonic() >= deadline:
            raise _refusal(connection)
        time.sleep(0.1)
    try:
        with _keeper(connection, target) if fenced(connection) else nullcontext():
            yield
    finally:
        _release(connection)


@contextmanager
def _keeper(connection: psycopg.Connection[Any], target: Target) -> Iterator[None]:
    """A session that shares the lock of `connection`. If its program dies, the server ends both: it notices at once
    that an idle client is gone, so not later than for the other one, which may be running a statement."""
    named = (connection.info.parameter_status("application_name") or "").removeprefix("tenantry ")
    with closing(connect(target, purpose=f"{named} lock", operator=False)) as keeper:
        connection.execute(_QUERIES["share_run_lock"], {"key": RUN_LOCK})
        if keeper.execute(_QUERIES["keep_run_lock"], {"key": RUN_LOCK}).fetchone() != (True,):
            raise _refusal(connection)
        try:
            yield
        finally:
            # A closed session releases its locks a moment later.
            _release(keeper)


def _release(connection: psycopg.Connection[Any]) -> None:
    # A lost session has released them.
    with suppress(psycopg.Error):
        connection.execute(_QUERIES["release_run_lock"], {"key": RUN_LOCK})


def run_lock_held(connection: psycopg.Connection[Any]) -> bool:
    """Whether a run is active in this database, also one that has lost its client."""
    return connection.execute(_QUERIES["run_lock_holder"], {"key": RUN_LOCK}).fetchone() is not None


def _acquired(connection: psycopg.Connection[Any]) -> bool:
    return connection.execute(_QUERIES["try_run_lock"], {"key": RUN_LOCK}).fetchone() == (True,)


def blockers(connection: psycopg.Connection[Any], pid: int) -> list[Blocker]:
    """The sessions that session `pid` waits for, the oldest transaction first."""
    with connection.cursor(row_factory=kwargs_row(_blocker)) as cursor:
        return cursor.execute(_QUERIES["blockers"], {"pid": pid}).fetchall()


def exclusive(connection: psycopg.Connection[Any]) -> list[Blocker]:
    """Sessions that hold or want ACCESS EXCLUSIVE on a table, each with the table."""
    with connection.cursor(row_factory=kwargs_row(_blocker)) as cursor:
        return cursor.execute(_QUERIES["exclusive"]).fetchall()


def _blocker(*, schema: str | None, name: str | None, **row: Any) -> Blocker:
    return Blocker(relation=Name(schema, name) if schema is not None and name is not None else None, **row)


def _refusal(connection: psycopg.Connection[Any]) -> Refused:
    with connection.cursor(row_factory=dict_row) as cursor:
        holder = cursor.execute(_QUERIES["run_lock_holder"], {"key": RUN_LOCK}).fetchone()
    if holder is None:
        return Refused("Another run on this database has just ended", remedy="run the command again")
    since = f", connected since {holder['since']:%Y-%m-%d %H:%M:%S %Z}" if holder["since"] else ""
    application = f"{holder['application']!r}, " if holder["application"] else ""
    return Refused(
        f"Another run is active on this database: {application}pid {holder['pid']} as {holder['user']}{since}",
        remedy="wait until it ends, or end it; then run the same command again",
    )
