"""rollback: revert, in reverse, the steps that are ours."""

from __future__ import annotations

import time
from dataclasses import dataclass

from psycopg import sql

from tenantry.errors import ExitStatus, Refused
from tenantry.execution.runner import Runner
from tenantry.execution.transaction import Patience
from tenantry.model.run import Result, new_run
from tenantry.postgres.connect import Target
from tenantry.postgres.journal import Entry, Journal
from tenantry.postgres.locks import hold_run_lock
from tenantry.steps import Fill, GlobalUniqueDropped, from_json
from tenantry.workflow.lookout import lookout
from tenantry.workflow.migrate import Tally, stop
from tenantry.workflow.session import end_noted, interruptible, opened
from tenantry.workflow.watcher import Nobody, Watcher


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackOptions:
    """`preserve_data` keeps the tenant columns with their values; lock times in seconds."""

    preserve_data: bool = False
    lock_timeout: float = 2.0
    lock_budget: float = 600.0


def rollback(target: Target, options: RollbackOptions | None = None, watcher: Watcher | None = None) -> Result:
    """Take away what tenantry made, from wherever the database is; needs no spec, the journal knows.

    Raises Refused where values would clash, Failed where it stopped part-way, Interrupted after Ctrl-C.
    """
    options, watcher, run = options or RollbackOptions(), watcher or Nobody(), new_run()
    watcher.began("rollback", run)
    with opened(target, run=run, purpose="rollback", watcher=watcher) as connection, hold_run_lock(connection):
        journal = Journal(connection)
        entries = [
            entry for entry in journal.entries().values() if not (options.preserve_data and entry.state == "kept")
        ]
        refuse_clashes(journal, entries)
        started, tally = time.monotonic(), Tally(watcher)
        runner = Runner(
            connection=connection, journal=journal, run=run, backfill=_no_fill, tell=tally.step,
            patience=Patience(timeout=options.lock_timeout, budget=options.lock_budget),
            on_retry=lambda message: watcher.said(message), ran=watcher.statement,
        )  # fmt: skip
        if entries:
            journal.begin_run(run, "rollback --preserve-data" if options.preserve_data else "rollback --confirm")
        with (
            end_noted(journal, run),
            interruptible(lambda: stop(runner, watcher)),
            lookout(target, connection.info.backend_pid, watcher, run=run),
        ):
            reverted = runner.revert_all(entries, keep=options.preserve_data)
        outcome = f"{reverted} steps reverted" if reverted else "nothing of ours was there"
        if entries:
            journal.finish_run(run, exit_status=ExitStatus.DONE, outcome=outcome)
    result = Result(
        command="rollback", run=run, exit_status=ExitStatus.DONE, outcome=outcome, applied=reverted,
        seconds=time.monotonic() - started, longest_lock=tally.longest_lock, retries=tally.retries,
        next_step="Run `tenantry migrate` to fill what has changed since." if options.preserve_data
        else "Only the schema tenantry with the journal is left; `tenantry housekeeping --purge` removes it.",
    )  # fmt: skip
    watcher.concluded(result.outcome, result.next_step)
    return result


def refuse_clashes(journal: Journal, entries: list[Entry]) -> None:
    """Raises Refused where a unique constraint that became per-tenant can no longer be made global."""
    clashes = []
    for entry in entries:
        step = from_json(entry.value)
        if isinstance(step, GlobalUniqueDropped):
            query = step.clashes()
            row = journal.connection.execute(sql.Composed([query])).fetchone() if query is not None else None
            if row is not None and row[0]:
                clashes.append(f"{step.index}: {row[0]} values are used by more than one row, such as {row[1]}")
    if clashes:
        raise Refused(
            "A unique constraint cannot be made global again: two tenants use the same value",
            remedy="Change these values, or keep the migration.",
            details=clashes,
        )


def _no_fill(fill: Fill) -> int:
    raise AssertionError("a rollback fills nothing")
