"""status: how far each table has come, and what the run in progress is doing."""

from __future__ import annotations

from tenantry.execution.existing import altered, survey
from tenantry.execution.progress import migration_state, table_progress, validated
from tenantry.execution.session import Session, open_session
from tenantry.model.run import MigrationState, RunBefore, RunSummary, Status
from tenantry.model.spec import Spec
from tenantry.postgres.activity import activities
from tenantry.postgres.connect import Target
from tenantry.postgres.journal import RunRecord
from tenantry.postgres.locks import run_lock_held
from tenantry.postgres.stuck import stuck


def status(target: Target, spec: Spec, *, runs: int = 5) -> Status:
    """How far the database has come, and the last `runs` runs. Changes nothing, and needs no journal.

    Raises UsageError where the spec does not fit the database, ConnectionFailed without a connection.
    """
    with open_session(target, purpose="status") as connection:
        # First, for what follows may have to wait for the same lock as the run, until that gives up for a moment.
        busy, held_up, running = activities(connection), stuck(connection), run_lock_held(connection)
        session = Session.begin(target, connection, spec)
        comparison = survey(connection, session.plan, session.entries, exact=False)
        done = comparison.in_force
        # A step that nobody made, such as a role that was there before, is no beginning.
        begun = any(entry.state in ("done", "running") for entry in session.entries.values())
        return Status(
            database=session.schema.database,
            word=migration_state(session.plan.steps, done, validated=validated(session))
            if begun
            else MigrationState.NOT_STARTED,
            tables=tuple(table_progress(session, done)),
            steps=(sum(step.key in done for step in session.plan.steps), len(session.plan.steps)),
            runs=tuple(_summary(record) for record in session.journal.runs(runs)),
            activity=busy,
            altered=altered(connection, session.entries),
            orphaned=(*(entry.key for entry in comparison.orphans), *(step.key for step in comparison.early)),
            refusals=tuple(finding.message for finding in session.plan.refusals),
            running=running,
            stuck=held_up,
        )


def _summary(record: RunRecord) -> RunSummary:
    return RunSummary(
        id=record.id, command=record.command, username=record.username, started_at=record.started_at,
        finished_at=record.finished_at, exit_status=record.exit_status, outcome=record.outcome, seconds=record.seconds,
        steps=record.steps, rows=record.rows, longest_lock=record.waited / 1000, retries=record.retries,
        before=None if record.previous is None or record.previous_seconds is None
        else RunBefore(id=record.previous, seconds=record.previous_seconds, steps=record.previous_steps),
    )  # fmt: skip
