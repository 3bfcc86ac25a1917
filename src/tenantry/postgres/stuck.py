"""Which sessions wait for which others in this database, and the end of a session."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from tenantry.errors import ConnectionFailed
from tenantry.model.run import Stuck
from tenantry.postgres.activity import index_builds
from tenantry.postgres.queries import read_queries

_QUERIES = read_queries(Path(__file__).with_name("sql") / "stuck.sql")
LONG = 60.0
"""Seconds after which a transaction counts as long: it delays index builds, and the pruning on which a fill depends."""
WAITED = 1.0
"""Seconds after which a waiting session is listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockingSession:
    """A session; `since` when it connected, None if tenantry's role may not see it."""

    pid: int
    user: str
    application: str
    state: str
    query: str
    since: datetime | None
    run: bool
    age: float | None
    lasts: float | None
    waits_for: list[int]


def parties(connection: psycopg.Connection[Any], pid: int | None = None) -> dict[int, BlockingSession]:
    """The other sessions of this database by their pid, or the one with `pid`."""
    with connection.cursor(row_factory=class_row(BlockingSession)) as cursor:
        return {party.pid: party for party in cursor.execute(_QUERIES["parties"], {"pid": pid})}


def blocking_pids(sessions: Mapping[int, BlockingSession]) -> frozenset[int]:
    """The sessions for which a run of tenantry waits, and those for which these wait in turn; 0 is a prepared
    transaction."""
    waiting = [pid for party in sessions.values() if party.run for pid in party.waits_for]
    found: set[int] = set()
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting += sessions[pid].waits_for if pid in sessions else []
    return frozenset(found)


def stuck(connection: psycopg.Connection[Any]) -> tuple[Stuck, ...]:
    """Sessions that wait, block others, build an index or have a long transaction; the oldest transaction first."""
    sessions = parties(connection)
    blocking, builds = blocking_pids(sessions), index_builds(connection)
    behind = {pid: tuple(one.pid for one in sessions.values() if pid in one.waits_for) for pid in (*sessions, 0)}
    found = [
        Stuck(
            pid=party.pid, user=party.user, application=party.application, state=party.state, query=party.query,
            age=party.age, lasts=party.lasts, run=party.run, waits_for=tuple(dict.fromkeys(party.waits_for)),
            blocks=behind[party.pid], blocks_run=party.pid in blocking, build=builds.get(party.pid),
            ending=_ending(party),
        )
        for party in sessions.values()
        if behind[party.pid] or party.pid in blocking or party.pid in builds or (party.age or 0.0) >= LONG
        or (party.waits_for and (party.lasts or 0.0) >= WAITED)
    ]  # fmt: skip
    return (*found, *_prepared(connection, behind[0], 0 in blocking))


def _prepared(connection: psycopg.Connection[Any], behind: tuple[int, ...], blocking: bool) -> Iterable[Stuck]:
    for name, owner, age in connection.execute(_QUERIES["prepared"]).fetchall():
        if behind or age >= LONG:
            yield Stuck(
                pid=0, user=owner, application="", state="prepared transaction", query=name, age=age, lasts=age,
                blocks=behind, blocks_run=blocking,
                ending=sql.SQL("ROLLBACK PREPARED {}").format(sql.Literal(name)).as_string(None),
            )  # fmt: skip


def _ending(party: BlockingSession) -> str:
    # The statement of an active session can be cancelled, and the session goes on; an idle one has nothing to cancel.
    function = "pg_cancel_backend" if party.state == "active" else "pg_terminate_backend"
    return f"SELECT {function}({party.pid})"


def terminate(connection: psycopg.Connection[Any], party: BlockingSession) -> bool:
    """End a session, if it is still the same; returns whether the signal was sent. Raises ConnectionFailed without the
    privilege."""
    try:
        row = connection.execute(_QUERIES["terminate"], {"pid": party.pid, "since": party.since}).fetchone()
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConnectionFailed(
            f"{connection.info.user} may not terminate the session {party.pid} of {party.user}",
            remedy="Connect as that role or as a superuser, or GRANT pg_signal_backend.",
        ) from error
    return row is not None and bool(row[0])
