"""Disk space: what the run needs, and what there is where the server's disk can be seen."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from tenantry.execution.preflight.findings import refused, warned
from tenantry.execution.preflight.scope import Scope
from tenantry.model.finding import Finding
from tenantry.model.size import readable
from tenantry.postgres.server_state import ServerCapacity

GROWTH = 0.35
"""Of a table filled in place, with its indexes: measured at up to 0.3."""
ENTRY_BYTES = 40
COLUMN_BYTES = 12
"""An index entry with its tenant, for a page that is nine tenths full; and each further column of it."""
LOCAL = ("localhost", "127.0.0.1", "::1")
SAME_START = 5.0


def needed_bytes(scope: Scope, room: ServerCapacity) -> int:
    """A generous estimate: fills in place, indexes and the largest one's sort, and the WAL of both.

    WAL is recycled beyond max_wal_size.
    """
    tables = scope.schema.tables
    fills = sum(GROWTH * tables[name].bytes for name in scope.fills)
    indexes = [
        tables[step.table].rows * (ENTRY_BYTES + COLUMN_BYTES * len(step.indexed))
        for step in scope.steps
        if step.indexed is not None and step.table in tables
    ]
    written = sum(2.0 * tables[name].bytes for name in scope.fills) + sum(indexes)
    return int(fills + sum(indexes) + max(indexes, default=0) + min(written, room.wal_bytes))


def free_bytes(room: ServerCapacity, host: str) -> int | None:
    """Free space where the server's data lie; None where they are not on this machine, or not to be seen."""
    if room.data_directory is None or not (host.startswith("/") or host in LOCAL or host == ""):
        return None
    data = Path(room.data_directory)
    try:
        # Another server may have a folder of the same name, in a container.
        started = float((data / "postmaster.pid").read_text().splitlines()[2])
        if abs(started - room.started) > SAME_START:
            return None
        return shutil.disk_usage(data).free
    except (OSError, ValueError, IndexError):
        return None


def space_findings(scope: Scope, room: ServerCapacity, free: int | None) -> Iterator[Finding]:
    needed = needed_bytes(scope, room)
    if needed == 0:
        return
    if free is None:
        yield warned(
            name="disk-space-unknown",
            message=f"The run takes up to {readable(needed)} of disk, and SQL cannot tell what is free",
            remedy="look at the server, and say how much is free with --free-space",
        )
    elif free < needed:
        yield refused(
            name="disk-space",
            message=f"The run takes up to {readable(needed)} of disk, and {readable(free)} are free",
            remedy="make room first",
        )
