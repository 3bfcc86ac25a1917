"""rollback: reverts the steps that tenantry has applied, in reverse order."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tenantry.backups.create import BackupOptions, BackupRun, owned_names
from tenantry.backups.create import ensure_backup as back_up
from tenantry.commands.running import interruptible, refuse_during_move, run
from tenantry.errors import ExitStatus, Refused
from tenantry.execution.activity_monitor import monitor_activity
from tenantry.execution.events import FindingReported, Notice, Observer
from tenantry.execution.existing import read_entries
from tenantry.execution.prospect import refuse
from tenantry.execution.renames import current_names, settle
from tenantry.execution.rollback.executor import Reverting
from tenantry.execution.rollback.preflight import ALTERED, DroppedObjects, Obstacle, built_upon, obstacles
from tenantry.execution.rollback.select import Selection, select
from tenantry.execution.rollback.verify import StateBefore, look_back
from tenantry.execution.runner import Runner
from tenantry.execution.runs import RunCounts, filling, no_fill, stop
from tenantry.execution.transaction import LockPolicy
from tenantry.model.backup import MAX_SIZE, BackupKind, Reason
from tenantry.model.finding import Finding
from tenantry.model.name import Name
from tenantry.model.run import Result
from tenantry.postgres.connect import Target
from tenantry.postgres.journal import Entry, Journal
from tenantry.steps import from_json

WORKERS = 2
"""The sessions that take rows back in batches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackOptions:
    """`preserve_data` keeps the tenant columns with their values; `tables`, named as in SQL, are rolled back by
    themselves; `force` goes past refusals, and past steps that cannot be undone; lock times in seconds. `backup` is the
    kind of the automatic backup, None for copies of tables up to `max_size` bytes; with `preserve_data` and `force`,
    which are for emergencies and change no value, None is none. Dumps go into `dump_folder`."""

    preserve_data: bool = False
    tables: tuple[str, ...] = ()
    force: bool = False
    backup: BackupKind | None = None
    max_size: int = MAX_SIZE
    dump_folder: Path = Path("backups")
    free_space: int | None = None
    lock_timeout: float = 2.0
    lock_budget: float = 600.0

    @property
    def typed(self) -> str:
        """The options as on the command line."""
        words = ["--preserve-data" if self.preserve_data else "--confirm"]
        words += [f"--table {table}" for table in self.tables] + ["--force"] * self.force
        return " ".join(words)


def rollback(target: Target, options: RollbackOptions | None = None, observer: Observer | None = None) -> Result:
    """Roll back what tenantry has applied, from whatever state the database is in; it reads the journal, and needs no
    spec.

    Raises Refused if objects of others depend on it or values would clash, Failed if it stopped part-way,
    Interrupted after Ctrl-C. With `force` it goes past both, and the result lists what is left.
    """
    options = options or RollbackOptions()
    with run(target, "rollback", purpose="rollback", observer=observer) as current:
        connection, journal, observer = current.connection, current.journal, current.observer
        settle(journal, current_names(read_entries(journal)))
        refuse_during_move(connection)
        selection, found = prospect(journal, options)
        for obstacle in found:
            observer(FindingReported(obstacle.finding))
        refuse(tuple(obstacle.finding for obstacle in found), force=options.force)
        if selection.tables:
            observer(
                Notice(
                    f"Tables that are rolled back: {', '.join(map(str, selection.tables))}",
                    {"others": selection.others},
                )
            )
        tally = RunCounts(observer)
        runner = Runner(
            connection=connection, journal=journal, run=current.id, backfill=no_fill, observer=tally,
            patience=LockPolicy(timeout=options.lock_timeout, budget=options.lock_budget),
        )  # fmt: skip
        if selection.entries:
            current.begin(options=options.typed, partial=bool(options.tables), takes_back=True)
        result = _walk(target, runner, selection, options, found, tally)
        current.finish(result.outcome, result.next_step, exit_status=result.exit_status)
    return result


def prospect(journal: Journal, options: RollbackOptions) -> tuple[Selection, tuple[Obstacle, ...]]:
    """What these options would roll back, and what prevents it. Only reads.

    Raises UsageError for a table that has no steps of tenantry, Refused for one that has balances.
    """
    ours = current_names(read_entries(journal)).entries
    selection = select(
        (entry for entry in ours.values() if not (options.preserve_data and entry.state == "kept")), options.tables
    )
    if not selection.entries:
        return selection, ()
    refuse_balances(selection.entries)
    found = obstacles(
        journal.connection,
        selection.entries,
        journal=ours,
        keep=options.preserve_data,
        under_way=journal.taking_back(),
    )
    return selection, found


def refuse_balances(entries: Sequence[Entry]) -> None:
    """Raises Refused if one of these tables is a ledger with balances: their key contains the tenant."""
    kept = (from_json(entry.value).keeps for entry in entries)
    ledgers = sorted({str(ledger.table) for ledger in kept if ledger is not None})
    if ledgers:
        raise Refused(
            f"{', '.join(ledgers)} {'has' if len(ledgers) == 1 else 'have'} balances by tenant",
            remedy="Run `tenantry balances remove --confirm` first.",
        )


def _walk(
    target: Target, runner: Runner, selection: Selection, options: RollbackOptions, found: Sequence[Obstacle],
    tally: RunCounts,
) -> Result:  # fmt: skip
    connection, observer, entries = runner.connection, tally.observer, selection.entries
    started = time.monotonic()
    walk = Reverting(
        runner=runner, dependents=partial(built_upon, connection), keep=options.preserve_data, force=options.force,
        expected_failures={obstacle.step: obstacle.finding.message for obstacle in found if obstacle.step is not None},
        concerns_dropped_table=DroppedObjects.of(connection, entries).names,
    )  # fmt: skip
    reverted, after = 0, tuple[Finding, ...]()
    if entries:
        _back_up(target, runner, selection, options, observer)
        aftermath = StateBefore(
            connection=connection, tables=frozenset(selection.tables) or None,
            altered=frozenset(o.finding.table for o in found if o.finding.name == ALTERED and o.finding.table),
        )  # fmt: skip
        with (
            interruptible(lambda: stop(runner, observer)),
            monitor_activity(target, connection.info.backend_pid, observer, run=runner.run),
            filling(runner, target, observer, WORKERS),
        ):
            reverted = walk.all(entries)
        after = look_back(connection, walk, selection, aftermath, tally)
    result = _result(runner.run, options, selection, walk, reverted, after)
    return _timed(result, tally, time.monotonic() - started)


def backup_wanted_back(selection: Selection, options: RollbackOptions) -> tuple[frozenset[Name], BackupOptions]:
    """The tables of the backup at the beginning of a rollback, and how it is made: none in an emergency, unless asked
    for, since no row is changed."""
    emergency = options.preserve_data and options.force
    return owned_names(selection.entries), BackupOptions(
        kind=options.backup or (BackupKind.NONE if emergency else None), max_size=options.max_size,
        folder=options.dump_folder, free_space=options.free_space, force=options.force,
    )  # fmt: skip


def _back_up(
    target: Target, runner: Runner, selection: Selection, options: RollbackOptions, observer: Observer
) -> None:
    names, chosen = backup_wanted_back(selection, options)
    making = BackupRun(target=target, connection=runner.connection, run=runner.run, options=chosen, observer=observer)
    back_up(making, Reason.ROLLBACK, names, changes=False)


def _result(
    run: str, options: RollbackOptions, selection: Selection, walk: Reverting, reverted: int,
    findings: tuple[Finding, ...],
) -> Result:  # fmt: skip
    remaining = any(finding.severity.serious for finding in findings)
    outcome = f"{reverted} steps reverted" if selection.entries else "tenantry had applied nothing"
    if walk.still_applied:
        outcome += f", {len(walk.still_applied)} could not be reverted"
    if not selection.entries:
        following = ""
    elif walk.still_applied:
        following = "Remove what blocks the remaining steps, and run the same rollback again."
    elif options.preserve_data:
        following = "Run `tenantry migrate` to fill what was written since."
    elif selection.tables:
        following = "Run `tenantry migrate` to complete it again; `tenantry status` shows what is missing."
    else:
        following = "Only the schema tenantry with the journal is left; `tenantry housekeeping --purge` removes it."
    return Result(
        command="rollback", run=run, exit_status=ExitStatus.FINDINGS if remaining else ExitStatus.DONE,
        outcome=outcome, next_step=following, applied=reverted, findings=findings,
    )  # fmt: skip


def _timed(result: Result, tally: RunCounts, seconds: float) -> Result:
    return replace(result, seconds=seconds, longest_lock=tally.longest_lock, retries=tally.retries)
