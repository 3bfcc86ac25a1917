"""status: how far each table has come, and what the run in progress is doing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tenantry.commands.plan import estimate
from tenantry.commands.session import Session, open_session, read_entries
from tenantry.errors import ExitStatus, UsageError
from tenantry.execution.existing import altered, survey
from tenantry.execution.renames import known
from tenantry.model.name import Name
from tenantry.model.ownership import Owned
from tenantry.model.plan import Phase
from tenantry.model.run import MigrationState, RunBefore, RunSummary, Status, TableStatus
from tenantry.model.spec import Spec
from tenantry.postgres.activity import activities
from tenantry.postgres.connect import Target
from tenantry.postgres.journal import Journal, RunRecord
from tenantry.postgres.locks import run_lock_held
from tenantry.postgres.queries import read_queries
from tenantry.postgres.stuck import stuck
from tenantry.steps import Step
from tenantry.steps.step import Category

COUNTING_SECONDS = 2.0
"""How long a table may be counted for rows without a tenant."""
_QUERIES = read_queries(Path(__file__).with_name("sql") / "status.sql")


def status(target: Target, spec: Spec | None, *, runs: int = 5) -> Status:
    """How far the database has come, and the last `runs` runs. Changes nothing, and needs no journal.

    Without a spec, or with one whose tenant table does not fit, it tells what the journal and the server say; of one
    that does not fit otherwise, all but those entries. Raises ConnectionFailed without a connection.
    """
    with open_session(target, purpose="status") as connection:
        # First, for what follows may have to wait for the same lock as the run, until that gives up for a moment.
        busy, held_up, running = activities(connection), stuck(connection), run_lock_held(connection)
        journal = Journal(connection)
        recorded = Status(
            database=connection.info.dbname, word=None, tables=(), steps=(0, None), activity=busy, running=running,
            stuck=held_up, runs=tuple(_summary(record) for record in journal.runs(runs)),
        )  # fmt: skip
        try:
            session = None if spec is None else Session.begin(target, connection, spec, lenient=True)
        except UsageError as error:
            session, misfits = None, (error.message, *error.details)
        else:
            misfits = () if session is None else session.plan.ownership.misfits
        if session is None:
            return _without_plan(recorded, connection, journal, misfits)
        comparison = survey(connection, session.plan, session.entries, exact=False)
        done = comparison.in_force
        validated = _validated(session)
        # A step that nobody made, such as a role that was there before, is no beginning.
        begun = any(entry.state in ("done", "running") for entry in session.entries.values())
        return replace(
            recorded,
            word=MigrationState.NOT_STARTED
            if not begun
            # What does not fit may be what is missing.
            else None
            if misfits
            else word(session.plan.steps, done, validated=validated),
            found=begun and validated is ExitStatus.FINDINGS,
            tables=tuple(_tables(session, done)),
            steps=(sum(step.key in done for step in session.plan.steps), len(session.plan.steps)),
            altered=altered(connection, session.entries),
            orphaned=(*(entry.key for entry in comparison.orphans), *(step.key for step in comparison.early)),
            refusals=tuple(finding.message for finding in session.plan.refusals),
            misfits=misfits,
        )


def _without_plan(
    recorded: Status, connection: psycopg.Connection[Any], journal: Journal, misfits: tuple[str, ...]
) -> Status:
    """What the journal says of a database for which there is no plan."""
    entries = known(read_entries(journal)).entries
    done = sum(entry.state == "done" for entry in entries.values())
    begun = any(entry.state in ("done", "running") for entry in entries.values())
    return replace(
        recorded, word=None if begun else MigrationState.NOT_STARTED, steps=(done, None), misfits=misfits,
        altered=altered(connection, entries),
    )  # fmt: skip


def word(steps: Iterable[Step], done: frozenset[str], *, validated: ExitStatus | None) -> MigrationState:
    """The status word for a migration that has begun; `validated` is the exit status of the last validate, None without
    one since anything was changed."""
    pending = {step.phase for step in steps if step.key not in done}
    first = min((phase.position for phase in pending), default=len(Phase))
    if first > Phase.ISOLATE.position:
        contracted = first > Phase.CONTRACT.position and validated is None
        return (
            MigrationState.COMPLETED if contracted or validated is ExitStatus.DONE else MigrationState.SECURITY_ENABLED
        )
    return MigrationState.DATA_MIGRATED if first > Phase.BACKFILL.position else MigrationState.IN_PROGRESS


def _validated(session: Session) -> ExitStatus | None:
    if not session.entries:
        return None
    row = session.connection.execute(_QUERIES["validated"]).fetchone()
    return None if row is None or row[0] is None else ExitStatus(row[0])


def _tables(session: Session, done: frozenset[str]) -> Iterable[TableStatus]:
    ownership = session.plan.ownership
    families: dict[Name, list[Step]] = {}
    for step in session.plan.steps:
        families.setdefault(ownership.heirs.get(step.table, step.table), []).append(step)
    progress = _progress(session)
    owned = {one.table: one for one in ownership.owned}
    kinds = {ownership.tenant.name: "tenant"}
    kinds |= {name: "mixed" if one.mixed else "owned" for name, one in owned.items()}
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
    given = session.schema.tables[name].column(owned.column) if owned is not None and owned.given else None
    not_null = any(step.refuses_null and step.key in done for step in steps)
    not_null = not_null or (given is not None and given.not_null)
    return TableStatus(
        table=name, kind=kind, column=column, not_null=not_null, rows=estimate(session.schema, name),
        phases={
            phase: (sum(step.key in done for step in steps if step.phase is phase),
                    sum(step.phase is phase for step in steps))
            for phase in Phase
        },
        without_tenant=0 if not_null else _without_tenant(session, name, column), filling=filling,
        constraints=pair("constraint"), indexes=pair("index"), row_security=pair("row security"),
        missing=tuple(step.key for step in steps if step.key not in done),
    )  # fmt: skip


def _column(session: Session, owned: Owned | None, steps: list[Step], done: frozenset[str]) -> str | None:
    if owned is None:
        return None
    made = any(step.tenant_column is not None and step.key in done for step in steps)
    return owned.column if made or owned.given else None


def _without_tenant(session: Session, name: Name, column: str | None) -> int | None:
    """Rows without a tenant; None where there is no column, or counting takes too long or may not be done."""
    if column is None:
        return None
    query = sql.SQL("SELECT pg_catalog.count(*) FROM {} AS row WHERE row.{} IS NULL").format(
        name.identifier, sql.Identifier(column)
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
    """The share of a table's pages that a fill under way has gone through."""
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


def _summary(record: RunRecord) -> RunSummary:
    return RunSummary(
        id=record.id, command=record.command, username=record.username, started_at=record.started_at,
        finished_at=record.finished_at, exit_status=record.exit_status, outcome=record.outcome, seconds=record.seconds,
        steps=record.steps, rows=record.rows, longest_lock=record.waited / 1000, retries=record.retries,
        before=None if record.previous is None or record.previous_seconds is None
        else RunBefore(id=record.previous, seconds=record.previous_seconds, steps=record.previous_steps),
    )  # fmt: skip
