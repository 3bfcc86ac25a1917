"""Short queries about relations and the sessions that lock them, and a setting for sessions that only read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tenantry.model.name import Name
from tenantry.model.plan import LockMode
from tenantry.postgres.locks import Blocker
from tenantry.postgres.queries import read_queries

_QUERIES = read_queries(Path(__file__).with_name("sql") / "session.sql")

_STRONG = ("EXCLUSIVE", "ACCESS EXCLUSIVE")
_CONFLICTS = {
    LockMode.ACCESS_SHARE: _STRONG[1:],
    LockMode.ROW_SHARE: _STRONG,
    LockMode.ROW_EXCLUSIVE: ("SHARE", "SHARE ROW EXCLUSIVE", *_STRONG),
    LockMode.SHARE_UPDATE_EXCLUSIVE: ("SHARE UPDATE EXCLUSIVE", "SHARE", "SHARE ROW EXCLUSIVE", *_STRONG),
    LockMode.SHARE: ("ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE", "SHARE ROW EXCLUSIVE", *_STRONG),
    LockMode.SHARE_ROW_EXCLUSIVE: (
        "ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE", "SHARE", "SHARE ROW EXCLUSIVE", *_STRONG,
    ),
    LockMode.EXCLUSIVE: (
        "ROW SHARE", "ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE", "SHARE", "SHARE ROW EXCLUSIVE", *_STRONG,
    ),
    LockMode.ACCESS_EXCLUSIVE: tuple(mode.value for mode in LockMode),
}  # fmt: skip


def _texts(names: Sequence[Name]) -> list[str]:
    return [name.identifier.as_string(None) for name in names]


def holders(connection: psycopg.Connection[Any], names: Sequence[Name], mode: LockMode) -> list[Blocker]:
    """Sessions that hold a lock on one of the tables that conflicts with `mode`."""
    modes = [conflicting.title().replace(" ", "") + "Lock" for conflicting in _CONFLICTS[mode]]
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(_QUERIES["holders"], {"names": _texts(names), "modes": modes}).fetchall()
    return [
        Blocker(
            pid=row["pid"] or 0, user=row["user"], application=row["application"], state=row["state"],
            query=row["query"], age=row["age"], relation=Name(row["schema"], row["name"]), mode=row["mode"],
            granted=row["granted"],
        )
        for row in rows
    ]  # fmt: skip


def set_uncounted(connection: psycopg.Connection[Any]) -> None:
    """From now on the session's reads do not count as use of an index or a table. Only a superuser can set this: reads
    of other roles are counted."""
    connection.execute(_QUERIES["uncounted"])
