"""The server: connections, replication, long transactions, and disk space."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from tenantry.execution.preflight.findings import noted, refused, warned
from tenantry.execution.preflight.scope import Scope
from tenantry.model.finding import Finding, Severity
from tenantry.model.name import Name
from tenantry.model.schema import Index, Unique
from tenantry.model.size import readable
from tenantry.postgres.server_state import OtherSession, ServerCapacity, ServerState

BESIDE_WORKERS = 3
"""Connections of a run besides the workers': for the steps, the lock, and the observer."""
LAG_BYTES = 64 * 1024**2
LAG_SECONDS = 10.0
SLOT_BYTES = 1024**3


def server_findings(scope: Scope, facts: ServerState, workers: int) -> Iterator[Finding]:
    if facts.server.in_recovery:
        yield refused(
            name="server-is-standby",
            message="This server is a standby, which is read-only",
            remedy="connect to its primary",
            forcible=False,
        )
    yield from _connections(facts, workers)
    yield from _replication(facts)
    yield from _invalid_indexes(scope)
    yield from _event_triggers(facts)


def _connections(facts: ServerState, workers: int) -> Iterator[Finding]:
    left, wanted = facts.room.connections_left, workers + BESIDE_WORKERS
    if left < wanted:
        yield refused(
            name="connections-left",
            count=max(left, 0),
            message=f"{max(left, 0)} connections are available to {facts.server.user}, and the run needs {wanted}",
            remedy="end idle sessions, raise the limit, or use fewer workers",
        )


def _replication(facts: ServerState) -> Iterator[Finding]:
    for standby in facts.standbys:
        late = standby.seconds is not None and standby.seconds > LAG_SECONDS
        if late or (standby.bytes is not None and standby.bytes > LAG_BYTES):
            ages = [readable(standby.bytes)] if standby.bytes is not None else []
            ages += [f"{standby.seconds:.0f} s"] if standby.seconds is not None else []
            yield warned(
                name="replication-lag",
                message=f"The standby {standby.name!r} ({standby.state}) is {' and '.join(ages)} behind",
                remedy="wait until it has caught up: the backfill waits for it",
            )
    for slot in facts.slots:
        if not slot.active and ((slot.bytes or 0) > SLOT_BYTES or slot.holds_rows):
            yield warned(
                name="replication-slot-inactive",
                message=f"The replication slot {slot.name!r} is inactive, and retains"
                f" {readable(slot.bytes or 0)} of WAL" + (" and dead rows" if slot.holds_rows else ""),
                remedy=f"let its reader connect, or SELECT pg_drop_replication_slot({_literal(slot.name)})",
            )


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _invalid_indexes(scope: Scope) -> Iterator[Finding]:
    for name in sorted(scope.relations):
        table = scope.schema.tables.get(name)
        if table is None:
            continue
        indexes: list[Unique | Index] = [*table.uniques, *table.indexes]
        for index in indexes:
            if not index.valid:
                full = Name(name.schema, index.name)
                yield warned(
                    name="invalid-index",
                    table=name,
                    message=f"The index {full} of {name} is invalid: writes maintain it, and no query uses it",
                    remedy=f"REINDEX INDEX CONCURRENTLY {full}, or DROP INDEX CONCURRENTLY {full}",
                )


def _event_triggers(facts: ServerState) -> Iterator[Finding]:
    for trigger in facts.event_triggers:
        yield warned(
            name="event-trigger",
            message=f"The event trigger {trigger.name} fires on {trigger.event}"
            + (f" of {', '.join(trigger.tags)}" if trigger.tags else ", whatever the command")
            + ", and so for statements of the run",
            remedy="check that it allows them, or disable it for the run",
        )


LONG = 60.0
"""Seconds: older snapshots delay CREATE INDEX CONCURRENTLY and the pruning that a backfill relies on."""
IDLE = 5.0
"""Seconds for which a transaction has been idle."""


def session_findings(scope: Scope, facts: ServerState, *, long: float = LONG, idle: float = IDLE) -> Iterator[Finding]:
    """`long` and `idle` in seconds."""
    for session in facts.sessions:
        if session.transaction_age is None:
            continue
        if session.state.startswith("idle in transaction") and (session.state_age or 0.0) >= idle:
            yield _waiting(session)
        elif session.transaction_age >= long:
            yield _long(session)
    hidden = sum(session.hidden for session in facts.sessions)
    if hidden:
        yield noted(
            name="sessions-hidden",
            count=hidden,
            message=f"The state of {hidden} sessions of other roles is hidden from {facts.server.user}",
            remedy=f"GRANT pg_read_all_stats TO {facts.server.user}",
        )
    yield from _prepared(scope, facts)


def _who(session: OtherSession) -> str:
    application = f", {session.application}" if session.application else ""
    return f"pid {session.pid} ({session.user}{application})"


def _long(session: OtherSession) -> Finding:
    return warned(
        name="long-transaction",
        message=f"The transaction of {_who(session)} is {session.transaction_age:.0f} s old",
        remedy=f"wait for it, as index builds have to, or SELECT pg_terminate_backend({session.pid})",
    )


def _waiting(session: OtherSession) -> Finding:
    return warned(
        name="idle-in-transaction",
        message=f"The transaction of {_who(session)} has been idle for {session.state_age:.0f} s",
        remedy=f"let it commit, or SELECT pg_terminate_backend({session.pid})",
    )


def _prepared(scope: Scope, facts: ServerState) -> Iterator[Finding]:
    for prepared in facts.prepared:
        ours = sorted(scope.relations.intersection(prepared.tables))
        since = f"prepared {prepared.age:.0f} s ago by {prepared.owner}"
        held = f"holds locks on {', '.join(map(str, ours))}" if ours else "delays index builds and vacuum"
        literal = prepared.name.replace("'", "''")
        yield Finding(
            name="prepared-transaction",
            severity=Severity.ERROR if ours else Severity.WARNING,
            table=ours[0] if ours else None,
            refuses=bool(ours),
            message=f"The transaction {prepared.name!r}, {since}, {held}",
            remedy=f"COMMIT PREPARED '{literal}' or ROLLBACK PREPARED '{literal}'",
        )


GROWTH = 0.35
"""The share of a table filled in place, with its indexes: measured at up to 0.3."""
ENTRY_BYTES = 40
COLUMN_BYTES = 12
"""Bytes of an index entry with its tenant, for a page that is nine tenths full; and of each further column."""
LOCAL = ("localhost", "127.0.0.1", "::1")
SAME_START = 5.0


def needed_bytes(scope: Scope, room: ServerCapacity) -> int:
    """A generous estimate: backfills in place, indexes and the largest one's sort, and the WAL of both.

    WAL is recycled beyond max_wal_size.
    """
    tables = scope.schema.tables
    fills = sum(GROWTH * tables[name].bytes for name in scope.updated)
    indexes = [
        tables[step.table].rows * (ENTRY_BYTES + COLUMN_BYTES * len(step.indexed))
        for step in scope.steps
        if step.indexed is not None and step.table in tables
    ]
    written = sum(2.0 * tables[name].bytes for name in scope.updated) + sum(indexes)
    return int(fills + sum(indexes) + max(indexes, default=0) + min(written, room.wal_bytes))


def free_bytes(room: ServerCapacity, host: str) -> int | None:
    """Free space on the disk with the server's data; None if that is not on this machine, or not readable."""
    if room.data_directory is None or not (host.startswith("/") or host in LOCAL or host == ""):
        return None
    data = Path(room.data_directory)
    try:
        # Another server, in a container, may have a folder of the same name.
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
            message=f"The run needs up to {readable(needed)} of disk space, and the free space is not known to SQL",
            remedy="look it up on the server, and pass it with --free-space",
        )
    elif free < needed:
        yield refused(
            name="disk-space",
            message=f"The run needs up to {readable(needed)} of disk space, and {readable(free)} is free",
            remedy="free disk space first",
        )
