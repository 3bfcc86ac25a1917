"""The progress of a migration and of each of its tables."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import psycopg
from psycopg import sql

from tenantry.errors import ExitStatus
from tenantry.execution.session import Session
from tenantry.model.name import Name
from tenantry.model.ownership import Owned
from tenantry.model.plan import Phase
from tenantry.model.run import MigrationState, TableStatus
from tenantry.planning.expected import estimated_rows
from tenantry.postgres.queries import read_queries
from tenantry.steps import Step
from tenantry.steps.derivation import of_all_tenants
from tenantry.steps.step import Category

COUNTING_SECONDS = 2.0
"""The time limit for counting a table's rows without a tenant."""


_QUERIES = read_queries(Path(__file__).with_name("sql") / "progress.sql")


def migration_state(steps: Iterable[Step], done: frozenset[str], *, validated: ExitStatus | None) -> MigrationState:
    """The status word of a migration that has begun; `validated` is the result of `last_verdict`."""
    pending = {step.phase for step in steps if step.key not in done}
    first = min((phase.position for phase in pending), default=len(Phase))
    if first > Phase.ISOLATE.position:
        contracted = first > Phase.CONTRACT.position and validated is None
        return (
            MigrationState.COMPLETED if contracted or validated is ExitStatus.DONE else MigrationState.SECURITY_ENABLED
        )
    return MigrationState.DATA_MIGRATED if first > Phase.BACKFILL.position else MigrationState.IN_PROGRESS


def last_verdict(session: Session) -> ExitStatus | None:
    """The exit status of the last validate; None if there was none since the last change."""
    if not session.entries:
        return None
    row = session.connection.execute(_QUERIES["validated"]).fetchone()
    return None if row is None or row[0] is None else ExitStatus(row[0])


def table_progress(session: Session, done: frozenset[str]) -> Iterable[TableStatus]:
    ownership = session.plan.ownership
    families: dict[Name, list[Step]] = {}
    for step in session.plan.steps:
        families.setdefault(ownership.heirs.get(step.table, step.table), []).append(step)
    progress = _progress(session)
    owned = {one.table: one for one in ownership.owned}
    kinds = {ownership.tenant.name: "tenant"}
    kinds |= {name: "mixed" if one.mixed else "owned" for name, one in owned.items()}
    kinds |= {member.table: "membership" for member in ownership.members}
    kinds |= dict.fromkeys(ownership.shared, "shared") | dict.fromkeys(ownership.undecided, "undecided")
    for name, kind in kinds.items():
        yield _table(session, name, kind, owned.get(name), families.get(name, []), done, progress.get(name))


def _table(
    session: Session, name: Name, kind: str, owned: Owned | None, steps: list[Step], done: frozenset[str],
    filling: float | None,
) -> TableStatus:  # fmt: skip
    def pair(category: Category) -> tuple[int, int]:
        chosen = [step for step in steps if step.category == category]
        return sum(step.key in done for step in chosen), len(chosen)

    column = _column(session, owned, steps, done)
    given = session.schema.tables[name].column(owned.column) if owned is not None and owned.has_own_column else None
    not_null = any(step.refuses_null and step.key in done for step in steps)
    not_null = not_null or (given is not None and given.not_null)
    # In a mixed table, those of the sentinel tenant count as well.
    never = not_null and not (owned is not None and owned.mixed)
    return TableStatus(
        table=name, kind=kind, column=column, not_null=not_null, rows=estimated_rows(session.schema, name),
        phases={
            phase: (sum(step.key in done for step in steps if step.phase is phase),
                    sum(step.phase is phase for step in steps))
            for phase in Phase
        },
        without_tenant=0 if never else _without_tenant(session, name, column), filling=filling,
        constraints=pair("constraint"), indexes=pair("index"), row_security=pair("row security"),
        missing=tuple(step.key for step in steps if step.key not in done),
    )  # fmt: skip


def _column(session: Session, owned: Owned | None, steps: list[Step], done: frozenset[str]) -> str | None:
    if owned is None:
        return None
    made = any(step.tenant_column is not None and step.key in done for step in steps)
    return owned.column if made or owned.has_own_column else None


def _without_tenant(session: Session, name: Name, column: str | None) -> int | None:
    """The number of rows without a tenant, or with the sentinel tenant; None if the column does not exist, or counting
    takes too long or is not allowed."""
    if column is None:
        return None
    tenant = session.plan.ownership.tenant
    query = sql.SQL("SELECT pg_catalog.count(*) FROM {} AS row WHERE {}").format(
        name.identifier, of_all_tenants(sql.Identifier("row", column), tenant.sentinel, tenant.type)
    )
    limit = sql.SQL("SET LOCAL statement_timeout = {0}; SET LOCAL lock_timeout = {0}").format(
        sql.Literal(round(COUNTING_SECONDS * 1000))
    )
    try:
        with session.connection.transaction():
            session.connection.execute(limit)
            row = session.connection.execute(query).fetchone()
    except (
        psycopg.errors.QueryCanceled,
        psycopg.errors.LockNotAvailable,
        psycopg.errors.InsufficientPrivilege,
    ):
        return None
    return None if row is None else int(row[0])


def _progress(session: Session) -> dict[Name, float]:
    """The share of a table's pages that a running backfill has processed."""
    if not session.entries:
        return {}
    running = {key for key, entry in session.entries.items() if entry.state == "running"}
    heirs = session.plan.ownership.heirs
    found: dict[Name, tuple[int, int]] = {}
    for step, relation, pages, past in session.connection.execute(_QUERIES["progress"]):
        if step in running:
            name = Name.parse(relation, schema="public")
            name = heirs.get(name, name)
            before = found.get(name, (0, 0))
            found[name] = (before[0] + int(pages), before[1] + int(past))
    return {name: done / total for name, (done, total) in found.items() if total}
