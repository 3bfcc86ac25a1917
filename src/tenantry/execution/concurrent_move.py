"""Distributes a table while its writers go on, and compares its rows in a snapshot of the moment of the change.

Two sessions take part. The first runs `create_distributed_table_concurrently`. When Citus has made writers wait and
has applied the last of their changes, the first session waits for an advisory lock of the second one. The second takes
a snapshot on all nodes, which takes milliseconds, and gives the lock back; then the first one commits. In this snapshot
the one shard from before, which nobody changes any more, and the shards on the nodes must have the same rows.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from tenantry.errors import Failed
from tenantry.execution.events import Notice, Observer
from tenantry.execution.transaction import fetch_bool
from tenantry.steps.citus_concurrent_move import (
    DROP_ANCHOR,
    MAKE_ANCHOR,
    ON_ALL_NODES,
    TAKEN,
    WAITING,
    WAITS,
    ConcurrentMove,
)
from tenantry.steps.citus_table import SAME_TEXT
from tenantry.steps.introspection import raw

LOOK = 0.05
"""Seconds between two looks at whether the first session waits."""
PATIENCE = 5.0
"""Seconds for which the second session waits for a lock while writers wait."""

Connect = Callable[[str], psycopg.Connection[Any]]
"""Opens a connection in autocommit mode, with a purpose that pg_stat_activity shows."""


def move_concurrently(
    connection: psycopg.Connection[Any], move: ConcurrentMove, run: Callable[[], None], connect: Connect,
    observer: Observer,
) -> None:  # fmt: skip
    """Distribute a table: `run` executes its statement over `connection`.

    Raises Failed if the rows differ, or if they could not be compared; the driver's errors otherwise.
    """
    with closing(connect("snapshot")) as second:
        snapshot = _Snapshot(connection=second, pid=connection.info.backend_pid, move=move)
        snapshot.prepare()
        try:
            with snapshot.taken_meanwhile():
                try:
                    run()
                except psycopg.Error as error:
                    if snapshot.error is not None:
                        raise Failed(
                            f"{move.table} was not distributed: a snapshot of its rows could not be taken",
                            remedy="Run the same command again.", details=[str(snapshot.error)],
                        ) from error  # fmt: skip
                    raise
            snapshot.compare(connection, observer)
        finally:
            snapshot.close()


@dataclass(kw_only=True)
class _Snapshot:
    """The second session."""

    connection: psycopg.Connection[Any]
    pid: int
    move: ConcurrentMove
    error: Exception | None = None
    taken: bool = False
    shard: sql.Composable | None = None
    _over: threading.Event = field(default_factory=threading.Event)

    def prepare(self) -> None:
        """Make the table by which transactions are opened on all nodes, and take the lock that the first session is
        to wait for."""
        self.connection.execute(DROP_ANCHOR)
        for statement in MAKE_ANCHOR:
            self.connection.execute(statement)
        row = self.connection.execute(self.move.shard).fetchone()
        if row is None:
            raise Failed(f"{self.move.table} was changed by another session", remedy="Run the same command again.")
        self.shard = raw(row[0])
        self.connection.execute("SELECT pg_catalog.pg_advisory_lock(%s, %s)", [WAITING, self.pid])

    def taken_meanwhile(self) -> _Watching:
        """Within the block the snapshot is taken as soon as the first session waits for it."""
        return _Watching(self)

    def watch(self) -> None:
        waits = WAITS.format(pid=sql.Literal(self.pid), waiting=sql.Literal(WAITING))
        try:
            while not self._over.wait(LOOK):
                if fetch_bool(self.connection, waits):
                    self._take()
                    return
        except Exception as error:
            self.error = error
            # Without this session's locks the first one fails, and writers go on.
            self.connection.close()

    def _take(self) -> None:
        connection, shard = self.connection, self.shard
        assert shard is not None
        connection.execute("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(int(PATIENCE * 1000))))
        # Each a message of its own, so that Citus passes it on. One connection to each node has one snapshot there.
        connection.execute("SET LOCAL citus.propagate_set_commands = 'local'")
        connection.execute("SET LOCAL citus.max_adaptive_executor_pool_size = 1")
        for setting in SAME_TEXT:
            connection.execute(setting)
        # Takes the lock that keeps Citus from dropping it; Citus refuses LOCK TABLE.
        connection.execute(sql.SQL("SELECT FROM {} LIMIT 0").format(shard))
        connection.execute(ON_ALL_NODES)
        connection.execute("SELECT pg_catalog.pg_advisory_lock(%s, %s)", [TAKEN, self.pid])
        self.taken = True
        connection.execute("SELECT pg_catalog.pg_advisory_unlock(%s, %s)", [WAITING, self.pid])

    def stop(self) -> None:
        self._over.set()

    def compare(self, first: psycopg.Connection[Any], observer: Observer) -> None:
        """Raises Failed if the rows differ; then those from before are kept. `first` is the other session: in the
        snapshot a query of Citus's tables still finds the one shard."""
        connection, table, shard = self.connection, self.move.table, self.shard
        assert self.taken
        assert shard is not None
        observer(Notice(f"{table} is distributed; its rows are compared while writers go on"))
        before, after = _text(connection, self.move.rows_before(shard)), _text(connection, self.move.rows_after)
        misplaced = _text(first, self.move.misplaced)
        if before == after and misplaced == "0":
            connection.execute("COMMIT")
            return
        connection.execute(self.move.keep(shard))
        connection.execute("COMMIT")
        what = f"differ: {before} before, and {after} on the nodes"
        if before == after:
            what = f"are not all in the shards of their tenants ({misplaced})"
        raise Failed(
            f"The rows of {table} {what}",
            remedy=f"Those from before are in {self.move.kept}: compare and correct them, drop that table, and run the"
            " same command again.",
        )  # fmt: skip

    def close(self) -> None:
        """Without the table for the snapshot, if the session is still there; the next run drops it otherwise."""
        with suppress(psycopg.Error):
            if self.connection.info.transaction_status is not psycopg.pq.TransactionStatus.IDLE:
                self.connection.execute("ROLLBACK")
            self.connection.execute("SELECT pg_catalog.pg_advisory_unlock_all()")
            self.connection.execute(DROP_ANCHOR)


def _text(connection: psycopg.Connection[Any], query: sql.Composable) -> str:
    ((text,),) = connection.execute(sql.Composed([query])).fetchall()
    return str(text)


class _Watching:
    def __init__(self, snapshot: _Snapshot) -> None:
        self._snapshot = snapshot
        self._thread = threading.Thread(target=snapshot.watch, name="snapshot", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._snapshot.stop()
        self._thread.join()
