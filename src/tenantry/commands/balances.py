"""balances: install, backfill, validate, compact."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg

from tenantry.backups.create import BackupOptions
from tenantry.balances.backfill import AGAIN, BalanceBackfill
from tenantry.balances.compaction import compact
from tenantry.balances.differences import states
from tenantry.balances.inspection import Line, inspect
from tenantry.balances.ledgers import Subject
from tenantry.balances.selection import installed_subjects, orphans, selected_ledgers
from tenantry.commands.running import Run, interruptible, run
from tenantry.errors import ExitStatus, Interrupted
from tenantry.execution.activity_monitor import monitor_activity
from tenantry.execution.events import FindingReported, Notice, Observer, Reading
from tenantry.execution.existing import in_force
from tenantry.execution.outline import Outline, PlannedStep, takes_back
from tenantry.execution.prospect import MigrateOptions
from tenantry.execution.renames import settle
from tenantry.execution.rollback.executor import Reverting, backwards
from tenantry.execution.runs import RunCounts, make_runner, stop
from tenantry.execution.session import Session, open_session
from tenantry.model.name import Name
from tenantry.model.run import Result
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target, connect
from tenantry.postgres.journal import Journal
from tenantry.postgres.schema_snapshot import note_first_description


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancesOptions:
    """`ledger` is one of the spec's, None for all; `slots` overrides the spec's hot_keys; `backup` is made before a
    ledger is emptied; lock times in seconds, None for the spec's."""

    ledger: str | None = None
    slots: int | None = None
    workers: int = 2
    lock_timeout: float | None = None
    lock_budget: float | None = None
    backup: BackupOptions = field(default_factory=BackupOptions)


def install_balances(
    target: Target, spec: Spec, options: BalancesOptions | None = None, observer: Observer | None = None
) -> Result:
    """Create the table, functions, triggers and view of each ledger; existing ones are kept, and objects that the spec
    no longer asks for are removed.

    Raises UsageError if the spec does not fit the database, Refused if a person must decide, Failed if it
    stopped part-way.
    """
    options = options or BalancesOptions()
    with run(target, "balances install", purpose="balances", observer=observer) as current:
        connection, observer = current.connection, current.observer
        session = Session.begin(target, connection, spec)
        chosen = selected_ledgers(session, options.ledger, options.slots)
        steps, going = [step for subject in chosen for step in subject.steps], orphans(session, chosen)
        tally = RunCounts(observer)
        runner = make_runner(session, current.id, observer, tally, migrating(options))
        session.journal.install()
        note_first_description(connection)
        current.begin()
        started = time.monotonic()
        settle(session.journal, session.current_names)
        with (
            interruptible(lambda: stop(runner, current.observer)),
            monitor_activity(target, connection.info.backend_pid, observer, run=current.id),
        ):
            Reverting(runner=runner, dependents=lambda step: ()).all(going)
            applied = runner.apply_all(steps)
        stale = [state.ledger for state in states(connection).values() if state.stale]
        outcome = f"{applied} steps applied, {tally.found} already in place"
        following = "Nothing: the balances are kept up to date."
        if stale:
            following = f"Stale until they are backfilled: {', '.join(stale)}. Run `tenantry balances backfill`."
        current.finish(outcome, following)
    return Result(
        command="balances install", run=current.id, exit_status=ExitStatus.DONE, outcome=outcome, applied=applied,
        found=tally.found, seconds=time.monotonic() - started, longest_lock=tally.longest_lock, retries=tally.retries,
        next_step=following,
    )  # fmt: skip


def preview_install(target: Target, spec: Spec, options: BalancesOptions | None = None) -> Outline:
    """What install would do. Changes nothing."""
    with open_session(target, purpose="plan") as connection:
        options, session = options or BalancesOptions(), Session.begin(target, connection, spec)
        chosen = selected_ledgers(session, options.ledger, options.slots)
        steps = [step for subject in chosen for step in subject.steps]
        done = in_force(connection, steps, session.entries)
        pending = tuple(
            PlannedStep(step=step, in_force=False, statements=step.apply()) for step in steps if step.key not in done
        )
        going = takes_back(sorted(orphans(session, chosen), key=backwards))
        return replace(outline(connection, "balances install", pending), reverts=going)


def backfill_balances(
    target: Target, spec: Spec, options: BalancesOptions | None = None, observer: Observer | None = None
) -> Result:
    """Set the balances to the sums of their ledgers while writers go on, and merge slots that are left over.

    Raises Refused if they are not installed, Failed or Interrupted if it stopped part-way; the same call then
    continues.
    """
    options = options or BalancesOptions()
    with run(target, "balances backfill", purpose="balances", observer=observer) as current:
        chosen = installed_subjects(current.journal, spec, options.ledger, options.slots)
        current.begin()
        started = time.monotonic()
        corrected = _backfill_all(current, chosen, options, options.lock_budget or spec.locks.budget)
        outcome = (
            f"{corrected} balances corrected; "
            + ("the balances are" if len(chosen) == 1 else f"{len(chosen)} balances are")
            + " in step"
        )
        current.finish(outcome)
    return Result(
        command="balances backfill", run=current.id, exit_status=ExitStatus.DONE, outcome=outcome, rows=corrected,
        seconds=time.monotonic() - started,
    )  # fmt: skip


def _backfill_all(current: Run, chosen: tuple[Subject, ...], options: BalancesOptions, budget: float) -> int:
    """Returns the number of balances corrected. Raises Interrupted after Ctrl-C, which cancels a running comparison."""
    connection, observer, halt, corrected = current.connection, current.observer, threading.Event(), 0

    def interrupt() -> None:
        observer(Notice("Stopping after the current batch; press Ctrl-C again to stop at once …"))
        halt.set()
        connection.cancel_safe(timeout=5.0)

    with interruptible(interrupt):
        for subject in chosen:
            observer(Reading(f"the movements of {subject.ledger.table}"))
            work = BalanceBackfill(
                ledger=subject.ledger, connection=connection, observer=observer, workers=options.workers,
                connections=lambda purpose: connect(current.target, run=current.id, purpose=purpose), stop=halt,
                budget=budget,
            )  # fmt: skip
            try:
                corrected += work.run(subject.triggers)
                compact(connection, subject.ledger, stop=halt)
            except psycopg.errors.QueryCanceled as error:
                if not halt.is_set():
                    raise
                raise Interrupted("Stopped before everything was compared", remedy=AGAIN) from error
    return corrected


def validate_balances(
    target: Target, spec: Spec, options: BalancesOptions | None = None, observer: Observer | None = None
) -> tuple[Line, ...]:
    """Check that all objects exist and the balances equal their ledgers. Changes nothing, takes no lock."""
    with run(target, "balances validate", purpose="balances", observer=observer, locks=False) as current:
        connection, observer = current.connection, current.observer
        options, session = options or BalancesOptions(), Session.begin(target, connection, spec)
        lines: list[Line] = []
        for subject in selected_ledgers(session, options.ledger, options.slots):
            observer(Reading(f"the balances of {subject.ledger.table}"))
            lines += inspect(connection, subject.ledger, subject.steps)
        failed = [line for line in lines if not line.holds]
        for line in failed:
            observer(FindingReported(line.finding))
        outcome = f"{len(failed)} of {len(lines)} checks failed" if failed else f"all {len(lines)} checks passed"
        current.finish(outcome, failed[0].remedy if failed else "")
    return tuple(lines)


def compact_balances(target: Target, spec: Spec, options: BalancesOptions | None = None) -> dict[Name, int]:
    """Merge the slots that writers have left; returns how many rows were removed, by ledger. Other runs may be
    active."""
    with open_session(target, purpose="balances") as connection:
        options = options or BalancesOptions()
        chosen = installed_subjects(Journal(connection), spec, options.ledger, options.slots)
        return {subject.ledger.table: compact(connection, subject.ledger) for subject in chosen}


def outline(connection: psycopg.Connection[Any], command: str, steps: tuple[PlannedStep, ...]) -> Outline:
    version = connection.info.server_version
    return Outline(
        command=command, database=connection.info.dbname, server=f"PostgreSQL {version // 10000}.{version % 10000}",
        steps=steps, undecided={},
    )  # fmt: skip


def migrating(options: BalancesOptions) -> MigrateOptions:
    return MigrateOptions(lock_timeout=options.lock_timeout, lock_budget=options.lock_budget)
