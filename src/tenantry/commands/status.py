"""status: how far each table has come, and what the current run does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import psycopg

from tenantry.errors import ExitStatus, UsageError
from tenantry.execution.existing import altered, read_entries, survey
from tenantry.execution.progress import last_verdict, migration_state, table_progress
from tenantry.execution.renames import current_names
from tenantry.execution.session import Session, open_session
from tenantry.model.run import MigrationState, RunBefore, RunSummary, Status
from tenantry.model.spec import Spec
from tenantry.model.tenant_move import Move
from tenantry.postgres.activity import activities
from tenantry.postgres.connect import Target
from tenantry.postgres.journal import Journal, RunRecord
from tenantry.postgres.locks import run_lock_held
from tenantry.postgres.moves import Moves
from tenantry.postgres.replication import read_slot
from tenantry.postgres.stuck import stuck


def status(target: Target, spec: Spec | None, *, runs: int = 5) -> Status:
    """How far the database has come, and the last `runs` runs. Changes nothing, and needs no journal.

    Without a spec, or with one whose tenant table does not fit, it shows what the journal and the server tell; if other
    entries do not fit, all but those. Raises ConnectionFailed without a connection.
    """
    with open_session(target, purpose="status") as connection:
        # First, because what follows may have to wait for the same lock as the run, until that gives up for a moment.
        busy, held_up, running = activities(connection), stuck(connection), run_lock_held(connection)
        journal = Journal(connection)
        recorded = Status(
            database=connection.info.dbname, word=None, tables=(), steps=(0, None), activity=busy, running=running,
            stuck=held_up, runs=tuple(_summary(record) for record in journal.runs(runs)), moves=_moves(connection),
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
        verdict = last_verdict(session)
        # A step that was not applied by a run, such as a role that existed before, is no beginning.
        begun = any(entry.state in ("done", "running") for entry in session.entries.values())
        return replace(
            recorded,
            word=MigrationState.NOT_STARTED
            if not begun
            # An entry that does not fit may be the missing one.
            else None
            if misfits
            else migration_state(session.plan.steps, done, validated=verdict),
            found=begun and verdict is ExitStatus.FINDINGS,
            tables=tuple(table_progress(session, done)),
            steps=(sum(step.key in done for step in session.plan.steps), len(session.plan.steps)),
            altered=altered(connection, session.entries),
            orphaned=(*(entry.key for entry in comparison.orphans), *(step.key for step in comparison.early)),
            refusals=tuple(finding.message for finding in session.plan.refusals),
            misfits=misfits,
        )


def _without_plan(
    recorded: Status, connection: psycopg.Connection[Any], journal: Journal, misfits: tuple[str, ...]
) -> Status:
    """What the journal tells about a database for which there is no plan."""
    entries = current_names(read_entries(journal)).entries
    done = sum(entry.state == "done" for entry in entries.values())
    begun = any(entry.state in ("done", "running") for entry in entries.values())
    return replace(
        recorded, word=None if begun else MigrationState.NOT_STARTED, steps=(done, None), misfits=misfits,
        altered=altered(connection, entries),
    )  # fmt: skip


def _moves(connection: psycopg.Connection[Any]) -> tuple[Move, ...]:
    """The moves of which something is left to do, each with how much the target has yet to get."""
    found = []
    for move in Moves(connection).all():
        if move.state != "moved":
            slot = read_slot(connection, move.object_name) if move.side == "source" else None
            found.append(replace(move, lag=None if slot is None else slot.lag))
    return tuple(found)


def _summary(record: RunRecord) -> RunSummary:
    return RunSummary(
        id=record.id, command=record.command, username=record.username, started_at=record.started_at,
        finished_at=record.finished_at, exit_status=record.exit_status, outcome=record.outcome, seconds=record.seconds,
        steps=record.steps, rows=record.rows, longest_lock=record.waited / 1000, retries=record.retries,
        before=None if record.previous is None or record.previous_seconds is None
        else RunBefore(id=record.previous, seconds=record.previous_seconds, steps=record.previous_steps),
    )  # fmt: skip
