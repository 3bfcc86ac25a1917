"""What runs are doing at the moment, read from another session."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tenantry.model.name import Name
from tenantry.model.run import Activity, IndexBuild
from tenantry.postgres.locks import blockers
from tenantry.postgres.queries import read_queries

_QUERIES = read_queries(Path(__file__).with_name("sql") / "activity.sql")


def activities(connection: psycopg.Connection[Any], pid: int | None = None) -> tuple[Activity, ...]:
    """The sessions of runs in this database, or the one with `pid`: what they do and what blocks them."""
    with connection.cursor(row_factory=dict_row) as cursor:
        sessions = cursor.execute(_QUERIES["sessions"], {"pid": pid}).fetchall()
    builds = index_builds(connection, pid)
    return tuple(
        Activity(
            pid=row["pid"], application=row["application"], state=row["state"], query=row["query"],
            waiting=row["waiting"] if row["state"] == "active" else "", seconds=row["seconds"] or 0.0,
            blockers=tuple(str(blocker) for blocker in blockers(connection, row["pid"])),
            behind=row["behind"], build=builds.get(row["pid"]),
        )
        for row in sessions
    )  # fmt: skip


def rows_copied(connection: psycopg.Connection[Any]) -> int:
    """The rows that Citus has copied so far on all nodes, in statements that are not finished: fewer than it has
    copied once some of these are finished. The database has Citus."""
    row = connection.execute(_QUERIES["rows_copied"]).fetchone()
    return int(row[0]) if row is not None else 0


def index_builds(connection: psycopg.Connection[Any], pid: int | None = None) -> dict[int, IndexBuild]:
    """Index builds in progress in this database by their sessions' pids, or the one of `pid`."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return {row["pid"]: _build(row) for row in cursor.execute(_QUERIES["index_builds"], {"pid": pid})}


def _build(row: dict[str, Any]) -> IndexBuild:
    return IndexBuild(
        table=Name(row["schema"], row["name"]),
        phase=row["phase"],
        done=row["done"] or 0,
        total=row["total"] or 0,
    )
