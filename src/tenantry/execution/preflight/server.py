"""The server: connections left, replication, invalid indexes, event triggers."""

from __future__ import annotations

from collections.abc import Iterator

from tenantry.execution.preflight.findings import refused, warned
from tenantry.execution.preflight.scope import Scope
from tenantry.model.finding import Finding
from tenantry.model.name import Name
from tenantry.model.schema import Index, Unique
from tenantry.model.size import readable
from tenantry.postgres.server_state import ServerState

BESIDE_WORKERS = 3
"""Connections of a run besides the workers': the steps', the lock's, and the observer's."""
LAG_BYTES = 64 * 1024**2
LAG_SECONDS = 10.0
SLOT_BYTES = 1024**3


def server_findings(scope: Scope, facts: ServerState, workers: int) -> Iterator[Finding]:
    if facts.server.in_recovery:
        yield refused(
            name="server-is-standby",
            message="This server is a standby, which only reads",
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
            message=f"{max(left, 0)} connections are left for {facts.server.user}, the run takes {wanted}",
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
                remedy="let it catch up first: a fill waits for it",
            )
    for slot in facts.slots:
        if not slot.active and ((slot.bytes or 0) > SLOT_BYTES or slot.holds_rows):
            yield warned(
                name="replication-slot-inactive",
                message=f"Nobody reads the replication slot {slot.name!r}, which keeps"
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
                    message=f"The index {full} of {name} is invalid: writes pay for it, and no query uses it",
                    remedy=f"REINDEX INDEX CONCURRENTLY {full}, or DROP INDEX CONCURRENTLY {full}",
                )


def _event_triggers(facts: ServerState) -> Iterator[Finding]:
    for trigger in facts.event_triggers:
        yield warned(
            name="event-trigger",
            message=f"The event trigger {trigger.name} runs on {trigger.event}"
            + (f" of {', '.join(trigger.tags)}" if trigger.tags else ", whatever the command")
            + ", and so on the statements of the run",
            remedy="see that it lets them pass, or disable it meanwhile",
        )
