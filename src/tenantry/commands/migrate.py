"""migrate: apply the steps that are not in force."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tenantry.balances.ledgers import without_tenant
from tenantry.commands.activity_monitor import lookout
from tenantry.commands.backups import BackupOptions, Making
from tenantry.commands.backups import ensure_backup as back_up
from tenantry.commands.distribution import distributions
from tenantry.commands.running import run
from tenantry.commands.session import Session, interruptible
from tenantry.discovery.profile import census
from tenantry.errors import ExitStatus, Refused, TenantryError
from tenantry.execution.backfill.run import BackfillOptions, FillSessions, backfill
from tenantry.execution.backfill.throttle import Throttle
from tenantry.execution.events import Distributed, Event, Found, Looking, Observer, Said, StepEvent
from tenantry.execution.existing import survey
from tenantry.execution.orphans import (
    Leaving,
    columns_going,
    contradictions,
    given_earlier,
    kept_from_earlier,
    leaving,
)
from tenantry.execution.preflight import preflight
from tenantry.execution.renames import settle
from tenantry.execution.rollback.executor import Reverting
from tenantry.execution.rollback.preflight import Gone, built_upon, obstacles
from tenantry.execution.runner import Runner
from tenantry.execution.transaction import LockPolicy
from tenantry.model.backup import BackupKind, Reason
from tenantry.model.evidence import Evidence, TableEvidence, WayKind
from tenantry.model.finding import Finding
from tenantry.model.name import Name
from tenantry.model.plan import Phase
from tenantry.model.run import Result, StepAction
from tenantry.model.spec import Spec
from tenantry.model.verdict import accepted
from tenantry.planning.diff import Comparison, State
from tenantry.postgres.census import run_census
from tenantry.postgres.connect import Target, connect
from tenantry.postgres.schema_snapshot import note_first_description
from tenantry.steps import Backfill, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrateOptions:
    """`workers` fill in parallel; `free_space` in bytes where the server's disk cannot be seen; lock times in seconds,
    None for the spec's. `backup` is the kind of the automatic backup, None for copies of tables up to the spec's size;
    dumps go into `dump_folder`, None for the spec's."""

    until: Phase = Phase.ISOLATE
    force: bool = False
    workers: int = 2
    free_space: int | None = None
    backup: BackupKind | None = None
    dump_folder: Path | None = None
    lock_timeout: float | None = None
    lock_budget: float | None = None


NAMED = 10
"""Tables with orphans or conflicts that a refusal names."""


@dataclass(slots=True)
class Tally:
    """Counts what the runner tells, and passes it on."""

    observer: Observer
    applied: int = 0
    found: int = 0
    rows: int = 0
    longest_lock: float = 0.0
    retries: int = 0

    def __call__(self, event: Event) -> None:
        match event:
            case StepEvent(action=StepAction.APPLIED | StepAction.REVERTED | StepAction.KEPT):
                self.applied += 1
                self.rows += event.rows or 0
                self.longest_lock = max(self.longest_lock, event.waited / 1000)
                self.retries += event.tries - 1
            case StepEvent(action=StepAction.FOUND):
                self.found += 1
        self.observer(event)


def migrate(
    target: Target, spec: Spec, options: MigrateOptions | None = None, observer: Observer | None = None
) -> Result:
    """Bring the database as far as `options.until`, from wherever it is.

    Raises Refused where a person must decide, Failed where it stopped part-way, Interrupted after Ctrl-C; after each of
    these the same call goes on where it stopped.
    """
    options = options or MigrateOptions()
    with run(target, "migrate", purpose="migrate", observer=observer) as current:
        observer = current.observer
        observer(Looking("the schema and the server"))
        session = Session.begin(target, current.connection, spec)
        prospect = prospects(session, options)
        tally = Tally(observer)
        runner = make_runner(session, current.id, observer, tally, options)
        findings, evidence = examine(session, prospect, options, observer)
        session.journal.install()
        note_first_description(current.connection)
        current.begin(options=f"--until {options.until}", takes_back=prospect.takes_back)
        settle(session.journal, session.known)
        if prospect.pending or prospect.takes_back:
            _back_up(session, current.id, prospect, options, observer)
        with filling(runner, session, observer, options):
            result = _apply(target, runner, prospect, tally, options, findings, evidence)
        current.finish(result.outcome, result.next_step, exit_status=result.exit_status)
        observer(Looking("how the rows are spread over the tenants"))
        for distribution in distributions(current.connection, session.plan.ownership):
            observer(Distributed(distribution))
    return result


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """What a migration is to do: `steps` of the plan are walked, of which `pending` are not in force; `leaving` goes
    back."""

    comparison: Comparison
    plan: tuple[Step, ...]
    steps: tuple[Step, ...]
    leaving: Leaving

    @property
    def takes_back(self) -> bool:
        """Something of an earlier spec goes, for good or to be made otherwise."""
        return bool(self.leaving.all or self.comparison.of(self.steps, State.CHANGED))

    def complete(self, until: Phase) -> Phase:
        """The last phase of which all steps are in force, once those until this one are."""
        for phase in Phase:
            steps = [step for step in self.plan if step.phase is phase and phase.position > until.position]
            if not all(self.comparison.states[step.key].in_force for step in steps):
                break
            until = phase if steps else until
        return until

    @property
    def pending(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if not self.comparison.states[step.key].in_force)


def prospects(session: Session, options: MigrateOptions, *, exact: bool = True) -> Prospect:
    """Plan, journal and catalog compared, for a run until this phase; `exact` as in execution.survey."""
    comparison = survey(session.connection, session.plan, session.entries, exact=exact)
    plan, entries = session.plan.steps, session.entries
    return Prospect(
        comparison=comparison, plan=plan, steps=session.plan.until(options.until),
        leaving=leaving(comparison, plan, entries, options.until),
    )  # fmt: skip


def backup_wanted(
    session: Session, prospect: Prospect, options: MigrateOptions
) -> tuple[tuple[Name, ...], BackupOptions]:
    """The tables of the backup that a migration begins with, and how it is made."""
    chosen = BackupOptions(
        kind=options.backup, free_space=options.free_space, workers=options.workers, force=options.force
    )
    ownership = session.plan.ownership
    names = (ownership.tenant.name, *(owned.table for owned in ownership.owned))
    names = (*names, *sorted(columns_going(prospect.leaving.all).difference(names)))
    return names, chosen.of(session.spec, options.dump_folder)


def _back_up(session: Session, run: str, prospect: Prospect, options: MigrateOptions, observer: Observer) -> None:
    names, chosen = backup_wanted(session, prospect, options)
    making = Making(target=session.target, connection=session.connection, run=run, options=chosen, observer=observer)
    back_up(making, Reason.MIGRATION, names, changes=False)


def _apply(
    target: Target, runner: Runner, prospect: Prospect, tally: Tally, options: MigrateOptions,
    findings: tuple[Finding, ...], evidence: Evidence | None,
) -> Result:  # fmt: skip
    started = time.monotonic()
    walk = Reverting(
        runner=runner, dependents=partial(built_upon, runner.connection),
        gone=Gone.of(runner.connection, prospect.leaving.all).names,
    )  # fmt: skip
    with (
        interruptible(lambda: stop(runner, tally.observer)),
        lookout(target, runner.connection.info.backend_pid, tally.observer, run=runner.run),
    ):
        reverted = walk.all(prospect.leaving.first)
        applied = runner.apply_all(prospect.steps)
        reverted += walk.all(prospect.leaving.last)
    back = f"{reverted} taken back, " if reverted else ""
    complete = prospect.complete(options.until)
    outcome = f"{applied} steps applied, {back}{tally.found} were in force; the database is migrated until {complete}"
    return Result(
        command="migrate", run=runner.run, exit_status=ExitStatus.DONE, outcome=outcome, next_step=_next(complete),
        applied=applied + reverted, found=tally.found, rows=tally.rows, seconds=time.monotonic() - started,
        longest_lock=tally.longest_lock, retries=tally.retries, findings=findings, evidence=evidence,
    )  # fmt: skip


def make_runner(session: Session, run: str, observer: Observer, tally: Tally, options: MigrateOptions) -> Runner:
    """A runner over the session's connection, for steps that fill nothing: see `filling`."""
    locks = session.spec.locks
    patience = LockPolicy(timeout=options.lock_timeout or locks.timeout, budget=options.lock_budget or locks.budget)
    return Runner(
        connection=session.connection, journal=session.journal, run=run, patience=patience,
        backfill=_no_fill, observer=tally,
    )  # fmt: skip


def _no_fill(fill: Backfill) -> int:
    raise AssertionError("these steps fill nothing")


@contextmanager
def filling(runner: Runner, session: Session, observer: Observer, options: MigrateOptions) -> Iterator[None]:
    """Within the block the runner fills, over connections of its own that are shared by its fills."""

    def fill(step: Backfill) -> int:
        result = backfill(
            step,
            connections=sessions,
            workers=options.workers,
            observer=observer,
            stop=runner.stop,
            throttle=Throttle(),
            options=BackfillOptions(budget=runner.patience.budget),
        )
        return result.rows

    with closing(FillSessions(lambda purpose: connect(session.target, run=runner.run, purpose=purpose))) as sessions:
        runner.backfill = fill
        yield


def stop(runner: Runner, observer: Observer) -> None:
    """What Ctrl-C does: it lets the batch in hand, or a step that cannot be cut short, come to its end."""
    observer(Said("Stopping after the batch or step in hand; Ctrl-C again stops at once …"))
    runner.interrupt()


def refuse_undecided(session: Session) -> None:
    """Raises Refused while the spec leaves a table undecided."""
    undecided = session.plan.ownership.undecided
    if not undecided:
        return
    source = session.spec.path or "the spec"
    lines = [f"{name}: {reason}" for name, reason in sorted(undecided.items())]
    first = min(undecided)
    raise Refused(
        f"{len(undecided)} table{'s are' if len(undecided) > 1 else ' is'} undecided, the first is {first}",
        remedy=f"Edit {source}: give each of them paths, children, assign, or shared = true.",
        details=lines,
    )


def examine(
    session: Session, prospect: Prospect, options: MigrateOptions, observer: Observer
) -> tuple[tuple[Finding, ...], Evidence | None]:
    """All that a run, dry or not, asks before anything is changed: what the spec leaves open or contradicts, what is in
    the way of what goes back, the preflight of the steps to be applied, and the census of orphans and conflicts while
    rows are still to get their tenant, or to be proved to refer to none of another. Raises Refused."""
    refuse_undecided(session)
    pending = prospect.pending
    findings = risks(session, prospect, options)
    for finding in findings:
        observer(Found(finding))
    refuse(findings, force=options.force)
    filling = [step for step in pending if step.allotted]
    if not filling and not any(step.proves for step in pending):
        return findings, None
    filled = all(step.phase is Phase.CONTRACT for step in filling)
    observer(Looking("the rows, and whether each finds its tenant"))
    earlier = given_earlier(session.connection, session.plan, session.entries)
    evidence = run_census(
        session.connection,
        census(session.plan.ownership, session.schema, filled=filled, earlier=earlier),
        watch=lambda table: observer(Looking(f"the rows of {table}")),
    )
    refuse_rows(evidence)
    kept = tuple(kept_from_earlier(evidence))
    for finding in kept:
        observer(Found(finding))
    refuse(kept, force=options.force)
    return (*findings, *kept), evidence


def risks(session: Session, prospect: Prospect, options: MigrateOptions) -> tuple[Finding, ...]:
    """What is found without counting the rows of all tables: contradictions, and the preflight of what is pending."""
    findings = contradicted(session, prospect, options.until)
    findings += preflight(
        session.connection, schema=session.schema, plan=replace(session.plan, steps=prospect.pending),
        until=options.until, free_space=options.free_space, workers=options.workers,
    )  # fmt: skip
    return tuple(accepted(findings, session.spec))


def contradicted(session: Session, prospect: Prospect, until: Phase) -> tuple[Finding, ...]:
    """What the spec contradicts of that which an earlier one has made, and what is in the way of what goes back."""
    findings = tuple(contradictions(session.connection, session.plan, session.entries, prospect.comparison, until))
    back = prospect.leaving.all
    findings += (*session.plan.refusals, *without_tenant(session.entries, back))
    if back:
        in_the_way = obstacles(session.connection, back, journal=session.entries, keep=False, under_way=True)
        # Nothing of anybody else's is dropped, and a step that stayed behind would not be what the spec asks for.
        findings += tuple(
            replace(one.finding, forcible=one.finding.forcible and one.step is None) for one in in_the_way
        )
    return findings


def refuse_rows(evidence: Evidence) -> None:
    """Raises Refused where rows have no tenant that the spec accepts, or several."""
    refused = evidence.refused
    if not refused:
        return
    listed = "; ".join(f"{table.table} has {_troubles(table)}" for table in refused[:NAMED])
    more = f"; and {len(refused) - NAMED} more tables, {len(refused)} in all" if len(refused) > NAMED else ""
    conflicts = any(table.conflicts for table in refused)
    raise Refused(
        listed + more,
        remedy=f"Correct the rows named below{''.join(_remedies(refused))}. The first table is {refused[0].table}."
        + (" `tenantry conflicts` has all that disagree, by paths and tenants." if conflicts else ""),
        details=[
            f"{table.table}: {kind}, {sample}"
            for table in refused
            for kind, samples in (("orphan", table.orphan_samples), ("conflict", table.conflict_samples))
            for sample in samples
        ],
    )


def _troubles(table: TableEvidence) -> str:
    counts = (
        (table.unaccepted, "orphan{}"), (table.conflicts - table.crossing, "conflict{}"),
        (table.crossing, "reference{} across tenants"),
    )  # fmt: skip
    return " and ".join(f"{count} {words.format('s' if count > 1 else '')}" for count, words in counts if count)


def _remedies(refused: Sequence[TableEvidence]) -> Iterator[str]:
    """What helps beside correcting rows, by what there is of it."""
    if any(table.unaccepted for table in refused):
        yield '; or say in the spec what orphans are: orphans = "default", "quarantine" or "shared"'
    if any(table.unaccepted and any(way.kind is WayKind.ASSIGNED for way in table.ways) for table in refused):
        yield "; where assign names a tenant that is yet to come, add it: [[tenant.rows]] in the spec"
    if any(table.conflicts > table.crossing for table in refused):
        yield "; where paths disagree, name another one"
    if any(table.crossing for table in refused):
        yield (
            '; where a row may refer to another tenant\'s, let the spec say so: [[reference]] from = "TABLE.COLUMN"'
            " crosses = true; or let the table that it refers to be shared (shared = true)"
        )


def refuse(findings: tuple[Finding, ...], *, force: bool) -> None:
    """Raises Refused, or ConnectionFailed for missing privileges, where a finding stops the run."""
    stopping = [finding for finding in findings if finding.refuses and not (force and finding.forcible)]
    if not stopping:
        return
    stopping.sort(key=lambda finding: not finding.name.startswith("privilege-"))
    first = stopping[0]
    privileges = first.name.startswith("privilege-")
    error: Callable[..., TenantryError] = _TooFewPrivileges if privileges else Refused
    forcible = all(finding.forcible for finding in stopping)
    raise error(
        first.message + (f" (and {len(stopping) - 1} more)" if len(stopping) > 1 else ""),
        remedy=first.remedy + (" --force goes on all the same." if forcible else ""),
        details=[f"{finding.name}: {finding.message}. {finding.remedy}".strip() for finding in stopping[1:]],
    )


class _TooFewPrivileges(TenantryError):
    status = ExitStatus.CONNECTION


def _next(until: Phase) -> str:
    match until:
        case Phase.EXPAND:
            return "Run `tenantry migrate --until backfill`, which gives the rows that are there their tenant."
        case Phase.BACKFILL:
            return "Run `tenantry migrate --until enforce`, which adds the constraints that keep rows in their tenant."
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
