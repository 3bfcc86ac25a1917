"""Transactions that hold back the run: long, idle, or prepared."""

from __future__ import annotations

from collections.abc import Iterator

from tenantry.execution.preflight.findings import noted, warned
from tenantry.execution.preflight.scope import Scope
from tenantry.model.finding import Finding, Severity
from tenantry.postgres.server_state import ServerState, Session

LONG = 60.0
"""Seconds: older snapshots hold back CREATE INDEX CONCURRENTLY and the pruning that a fill lives on."""
IDLE = 5.0
"""Seconds for which a transaction has done nothing."""


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
            message=f"What {hidden} sessions of other roles do is hidden from {facts.server.user}",
            remedy=f"GRANT pg_read_all_stats TO {facts.server.user}",
        )
    yield from _prepared(scope, facts)


def _who(session: Session) -> str:
    application = f", {session.application}" if session.application else ""
    return f"pid {session.pid} ({session.user}{application})"


def _long(session: Session) -> Finding:
    return warned(
        name="long-transaction",
        message=f"The transaction of {_who(session)} is {session.transaction_age:.0f} s old",
        remedy=f"wait for it, as index builds have to, or SELECT pg_terminate_backend({session.pid})",
    )


def _waiting(session: Session) -> Finding:
    return warned(
        name="idle-in-transaction",
        message=f"The transaction of {_who(session)} has been idle for {session.state_age:.0f} s",
        remedy=f"let it commit, or SELECT pg_terminate_backend({session.pid})",
    )


def _prepared(scope: Scope, facts: ServerState) -> Iterator[Finding]:
    for prepared in facts.prepared:
        ours = sorted(scope.relations.intersection(prepared.tables))
        since = f"prepared {prepared.age:.0f} s ago by {prepared.owner}"
        held = f"holds locks on {', '.join(map(str, ours))}" if ours else "holds back index builds and pruning"
        literal = prepared.name.replace("'", "''")
        yield Finding(
            name="prepared-transaction",
            severity=Severity.ERROR if ours else Severity.WARNING,
            table=ours[0] if ours else None,
            refuses=bool(ours),
            message=f"The transaction {prepared.name!r}, {since}, {held}",
            remedy=f"COMMIT PREPARED '{literal}' or ROLLBACK PREPARED '{literal}'",
        )
