"""migrate: apply the steps that are not applied."""

from __future__ import annotations

import time
from functools import partial

from tenantry.backups.create import BackupOptions, BackupRun
from tenantry.backups.create import ensure_backup as back_up
from tenantry.commands.distribution import distributions
from tenantry.commands.running import interruptible, refuse_during_move, run
from tenantry.errors import ExitStatus
from tenantry.execution.activity_monitor import monitor_activity
from tenantry.execution.events import Distributed, Observer, Reading
from tenantry.execution.orphans import (
    columns_going,
)
from tenantry.execution.prospect import MigrateOptions, Prospect, examine, prospects
from tenantry.execution.renames import settle
from tenantry.execution.rollback.executor import Reverting
from tenantry.execution.rollback.preflight import DroppedObjects, built_upon
from tenantry.execution.runner import Runner
from tenantry.execution.runs import RunCounts, filling, make_runner, stop
from tenantry.execution.session import Session
from tenantry.model.backup import Reason
from tenantry.model.evidence import Evidence
from tenantry.model.finding import Finding
from tenantry.model.name import Name
from tenantry.model.plan import Phase
from tenantry.model.run import Result
from tenantry.model.spec import Spec
from tenantry.planning import until_option
from tenantry.planning.diff import State
from tenantry.postgres.connect import Target
from tenantry.postgres.schema_snapshot import note_first_description


def migrate(
    target: Target, spec: Spec, options: MigrateOptions | None = None, observer: Observer | None = None
) -> Result:
    """Migrate the database to `options.until`, from whatever state it is in.

    Raises Refused if a person must decide, Failed if it stopped part-way, Interrupted after Ctrl-C; after each of
    these the same call continues.
    """
    options = options or MigrateOptions()
    with run(target, "migrate", purpose="migrate", observer=observer) as current:
        observer = current.observer
        observer(Reading("the schema and the server"))
        session = Session.begin(target, current.connection, spec, distribute=options.distribute, engine=options.engine)
        refuse_during_move(current.connection)
        prospect = prospects(session, options)
        tally = RunCounts(observer)
        runner = make_runner(session, current.id, observer, tally, options)
        findings, evidence = examine(session, prospect, options, observer)
        session.journal.install()
        note_first_description(current.connection)
        current.begin(options=f"--until {options.until}", takes_back=prospect.takes_back)
        settle(session.journal, session.current_names)
        if prospect.pending or prospect.takes_back:
            _back_up(session, current.id, prospect, options, observer)
        with filling(runner, session.target, observer, options.workers):
            result = _apply(target, runner, prospect, tally, options, findings, evidence)
        current.finish(result.outcome, result.next_step, exit_status=result.exit_status)
        observer(Reading("how the rows are spread over the tenants"))
        for distribution in distributions(current.connection, session.plan.ownership):
            observer(Distributed(distribution))
    return result


def backup_wanted(
    session: Session, prospect: Prospect, options: MigrateOptions
) -> tuple[tuple[Name, ...], BackupOptions]:
    """The tables of the backup at the beginning of a migration, and how it is made."""
    chosen = BackupOptions(
        kind=options.backup, free_space=options.free_space, workers=options.workers, force=options.force
    )
    ownership = session.plan.ownership
    names = (ownership.tenant.name, *(owned.table for owned in ownership.owned))
    names = (*names, *sorted(columns_going(prospect.leaving.all).difference(names)))
    return names, chosen.of(session.spec, options.dump_folder)


def _back_up(session: Session, run: str, prospect: Prospect, options: MigrateOptions, observer: Observer) -> None:
    names, chosen = backup_wanted(session, prospect, options)
    making = BackupRun(target=session.target, connection=session.connection, run=run, options=chosen, observer=observer)
    back_up(making, Reason.MIGRATION, names, changes=False)


def _apply(
    target: Target, runner: Runner, prospect: Prospect, tally: RunCounts, options: MigrateOptions,
    findings: tuple[Finding, ...], evidence: Evidence | None,
) -> Result:  # fmt: skip
    started = time.monotonic()
    walk = Reverting(
        runner=runner, dependents=partial(built_upon, runner.connection),
        concerns_dropped_table=DroppedObjects.of(runner.connection, prospect.leaving.all).names,
    )  # fmt: skip
    with (
        interruptible(lambda: stop(runner, tally.observer)),
        monitor_activity(target, runner.connection.info.backend_pid, tally.observer, run=runner.run),
    ):
        reverted = walk.all(prospect.leaving.first)
        applied = runner.apply_all(prospect.steps)
        reverted += walk.all(prospect.leaving.last)
    back = f"{reverted} removed, " if reverted else ""
    complete = prospect.complete(options.until)
    outcome = (
        f"{applied} steps applied, {back}{tally.found} already in place; the database is migrated through {complete}"
    )
    return Result(
        command="migrate", run=runner.run, exit_status=ExitStatus.DONE, outcome=outcome,
        next_step=_next(prospect, complete), applied=applied + reverted, found=tally.found, rows=tally.rows,
        seconds=time.monotonic() - started, longest_lock=tally.longest_lock, retries=tally.retries, findings=findings,
        evidence=evidence,
    )  # fmt: skip


def _next(prospect: Prospect, until: Phase) -> str:
    states = prospect.comparison.states
    late = (step for step in prospect.plan if step.phase.position > until.position)
    if lost := [step.phase for step in late if states[step.key] is State.MISSING]:
        return f"Run `tenantry migrate {until_option(lost[-1], prospect.plan)}`: what that phase made is missing."
    match until:
        case Phase.EXPAND:
            return "Run `tenantry migrate --until backfill`, which gives the existing rows their tenant."
        case Phase.BACKFILL:
            return "Run `tenantry migrate --until enforce`, which adds the constraints within each tenant."
        case Phase.ENFORCE:
            return (
                "Deploy the application that sets its tenant in each transaction, then run `tenantry migrate`, which"
                " adds the policies."
            )
        case Phase.ISOLATE:
            return (
                "Connect the application as the application role, with its tenant set in each transaction; when no old "
                "application is left, run `tenantry migrate --until contract`."
            )
        case Phase.CONTRACT:
            return "Nothing: the migration is complete."
        case Phase.DISTRIBUTE:
            if any(step.engine for step in prospect.steps):
                return "Restart the application, if it was not: its older sessions see no row of a distributed table."
            return "Nothing: the tables are as a distributed engine takes them."
