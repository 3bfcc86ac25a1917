"""Backups of the kind `tables`: copies in schema tenantry, all from one snapshot, while applications go on writing.

Every session locks all tables, ACCESS SHARE, before the snapshot is taken: so no TRUNCATE and no ALTER TABLE can come
between the snapshot and the copying, and no session waits for a lock while another one holds some.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import psycopg
from psycopg import sql
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random

from tenantry.backups.content import checksum, rows_of, selected
from tenantry.errors import END_HOLDERS, Failed
from tenantry.model.backup import TableCopy
from tenantry.model.name import JOURNAL_SCHEMA, Name
from tenantry.model.plan import LockMode
from tenantry.postgres.backups import read_sequences, set_stable_text_format, table_bytes
from tenantry.postgres.session import holders

LOCK_SECONDS = 3
PATIENCE = 60.0
"""Seconds for all attempts to lock the tables together: only a session with an exclusive lock is waited for."""

Connection = psycopg.Connection[Any]


def copy_all(
    sessions: Sequence[Connection],
    tables: Sequence[TableCopy],
    *,
    finish: Callable[[tuple[TableCopy, ...]], None],
    copied: Callable[[TableCopy], None] = lambda table: None,
    patience: float = PATIENCE,
) -> tuple[TableCopy, ...]:
    """Copy the tables, each into its `copy`; the result has rows, checksums, sizes and sequences.

    `sessions` work in parallel and must be in autocommit mode. The first session commits its copies, together with what
    `finish` writes with it, after all others have committed. Raises Failed if a table stays locked.
    """
    done: list[TableCopy] = []
    one = threading.Lock()
    waiting = sorted(tables, key=lambda table: table.bytes)

    def work(session: Connection) -> None:
        while True:
            with one:
                if not waiting:
                    return
                table = waiting.pop()
            found = copy_one(session, table)
            with one:
                done.append(found)
                copied(found)

    # Closed in reverse order: what `finish` writes is committed after all copies.
    with snapshot(sessions, tables, patience=patience):
        _in_parallel(sessions, work)
        order = {table.table: number for number, table in enumerate(tables)}
        result = tuple(sorted(done, key=lambda table: order[table.table]))
        finish(result)
    return result


def copy_one(session: Connection, table: TableCopy) -> TableCopy:
    """Copy a table, in the transaction and snapshot that the session is in."""
    target = Name(JOURNAL_SCHEMA, table.copy)
    session.execute(
        sql.SQL("CREATE TABLE {} AS SELECT {} FROM {} AS t").format(
            target.identifier, selected(table.columns), rows_of(table)
        )
    )
    # A role that default privileges include, or that may use the schema for its functions, can read nothing here.
    session.execute(sql.SQL("ALTER TABLE {} ENABLE ROW LEVEL SECURITY").format(target.identifier))
    return replace(counted(session, table), bytes=table_bytes(session, [target]))


def counted(session: Connection, table: TableCopy) -> TableCopy:
    """With the number of rows, the checksum and the sequences of the source, in the session's snapshot."""
    row = session.execute(checksum(rows_of(table), table.columns)).fetchone()
    assert row is not None
    return replace(table, rows=row[0], checksum=row[1], sequences=read_sequences(session, table.table))


@contextmanager
def snapshot(
    sessions: Sequence[Connection], tables: Sequence[TableCopy], *, patience: float = PATIENCE
) -> Iterator[str]:
    """Within the block all sessions are in a transaction that has locked the tables and uses the same snapshot; the
    value is the name of the snapshot for others. At its end the transactions are committed, that of the first session
    last. Raises Failed."""
    names = [table.table for table in tables]
    try:
        for attempt in Retrying(
            retry=retry_if_exception_type((psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)),
            stop=stop_after_delay(patience), wait=wait_random(0.1, 1.0), reraise=True,
        ):  # fmt: skip
            with attempt:
                stack = ExitStack()
                try:
                    exported = _begin(sessions, names, stack)
                except BaseException as error:
                    stack.__exit__(type(error), error, None)
                    raise
    except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
        blockers = [str(blocker) for blocker in holders(sessions[0], names, LockMode.ACCESS_SHARE)]
        raise Failed(
            f"The tables could not be locked for a backup within {patience:g} s: another session has a lock on one",
            remedy=f"{END_HOLDERS}, then run the same command again: nothing was changed.",
            details=blockers,
        ) from error
    with stack:
        yield exported


def _begin(sessions: Sequence[Connection], names: Sequence[Name], stack: ExitStack) -> str:
    for session in sessions:
        stack.enter_context(session.transaction())
        session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        # LOCK TABLE takes no snapshot: the first query below does.
        session.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(f"{LOCK_SECONDS}s")))
        if names:
            tables = sql.SQL(", ").join(name.identifier for name in names)
            session.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(tables))
        session.execute("SET LOCAL lock_timeout = 0")
    row = sessions[0].execute("SELECT pg_catalog.pg_export_snapshot()").fetchone()
    assert row is not None
    for session in sessions[1:]:
        session.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(row[0])))
    for session in sessions:
        set_stable_text_format(session)
    return str(row[0])


def _in_parallel(sessions: Sequence[Connection], work: Callable[[Connection], None]) -> None:
    """Run `work` on each session at once; if one fails, the queries of the others are cancelled."""
    if len(sessions) == 1:
        work(sessions[0])
        return
    with ThreadPoolExecutor(len(sessions), thread_name_prefix="backup") as pool:
        running = [pool.submit(work, session) for session in sessions]
        try:
            ended, _ = wait(running, return_when=FIRST_EXCEPTION)
            for one in ended:
                one.result()
        except BaseException:
            for session in sessions:
                session.cancel_safe(timeout=5.0)
            raise
