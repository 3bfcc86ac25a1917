"""What a migration will do, and the checks of the database and its rows before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tenantry.balances.ledgers import without_tenant
from tenantry.discovery.profile import census
from tenantry.errors import ExitStatus, Refused, TenantryError
from tenantry.execution.events import FindingReported, Observer, Reading
from tenantry.execution.existing import survey
from tenantry.execution.orphans import (
    Leaving,
    contradictions,
    given_earlier,
    kept_from_earlier,
    leaving,
)
from tenantry.execution.preflight import preflight
from tenantry.execution.preflight.citus import moving
from tenantry.execution.preflight.distribution import distribution_findings
from tenantry.execution.rollback.preflight import obstacles
from tenantry.execution.session import Session
from tenantry.model.backup import BackupKind
from tenantry.model.evidence import Evidence, PathKind, TableEvidence
from tenantry.model.finding import Finding
from tenantry.model.plan import Phase
from tenantry.model.verdict import accepted
from tenantry.model.wording import counted
from tenantry.planning.context import PlanContext
from tenantry.planning.diff import Comparison, State
from tenantry.postgres.census import run_census
from tenantry.postgres.citus import read_concurrent_obstacles, read_one_shard
from tenantry.steps import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrateOptions:
    """`workers` fill in parallel; `free_space` in bytes if the server's disk cannot be measured; lock times in seconds,
    None for the spec's. `backup` is the kind of the automatic backup, None for copies of tables up to the spec's size;
    dumps go into `dump_folder`, None for the spec's. `prepare`: the part of the phase distribute that plain PostgreSQL
    can do. `concurrently`: tables are distributed while their writers go on."""

    until: Phase = Phase.ISOLATE
    prepare: bool = False
    concurrently: bool = False
    force: bool = False
    workers: int = 2
    free_space: int | None = None
    backup: BackupKind | None = None
    dump_folder: Path | None = None
    lock_timeout: float | None = None
    lock_budget: float | None = None

    @property
    def distribute(self) -> bool:
        """The run goes as far as the phase distribute, which a plan has only on request."""
        return self.until is Phase.DISTRIBUTE

    @property
    def engine(self) -> bool:
        """The run distributes the tables."""
        return self.distribute and not self.prepare


NAMED = 10
"""The largest number of tables with orphans or conflicts that a refusal lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """What a migration will do: `steps` of the plan are processed, of which `pending` are not applied; `leaving` are
    reverted."""

    comparison: Comparison
    plan: tuple[Step, ...]
    steps: tuple[Step, ...]
    leaving: Leaving

    @property
    def takes_back(self) -> bool:
        """Whether steps of an earlier spec are removed or replaced."""
        return bool(self.leaving.all or self.comparison.of(self.steps, State.CHANGED))

    def complete(self, until: Phase) -> Phase:
        """The last phase of which all steps are applied, once those until this one are."""
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
    """Compares plan, journal and catalog, for a run until this phase; `exact` as in execution.existing.survey."""
    comparison = survey(session.connection, session.plan, session.entries, exact=exact)
    plan, entries = session.plan.steps, session.entries
    steps = tuple(step for step in session.plan.until(options.until) if options.engine or not step.engine)
    steps = _nonblocking(session, steps, options)
    return Prospect(
        comparison=comparison, plan=plan, steps=steps,
        leaving=leaving(comparison, plan, entries, options.until),
    )  # fmt: skip


def _nonblocking(session: Session, steps: tuple[Step, ...], options: MigrateOptions) -> tuple[Step, ...]:
    """The steps in the form in which writers go on, on request and for tables that allow it; and for those that an
    interrupted run has begun to distribute so."""
    columns = moving(steps)
    if not columns:
        return steps
    chosen = read_one_shard(session.connection, [*columns])
    if options.concurrently:
        barred = {one.table for one in read_concurrent_obstacles(session.connection, columns)}
        chosen |= columns.keys() - barred
    return tuple(step.nonblocking if step.table in chosen else step for step in steps)


def refuse_undecided(session: Session) -> None:
    """Raises Refused while the spec leaves a table undecided."""
    undecided = session.plan.ownership.undecided
    if not undecided:
        return
    source = session.spec.path or "the spec"
    lines = [f"{name}: {reason}" for name, reason in sorted(undecided.items())]
    first = min(undecided)
    raise Refused(
        f"{counted(len(undecided), 'table is', 'tables are')} undecided, the first is {first}",
        remedy=f"Edit {source}: give each of them paths, children, assign, or shared = true.",
        details=lines,
    )


def examine(
    session: Session, prospect: Prospect, options: MigrateOptions, observer: Observer
) -> tuple[tuple[Finding, ...], Evidence | None]:
    """All checks before anything is changed, for a run and its dry run: undecided tables and contradictions of the
    spec, objects that prevent a removal, the preflight of the steps to be applied, and the census of orphans and
    conflicts while rows are still to get their tenant, or references still to be validated. Raises Refused."""
    refuse_undecided(session)
    pending = prospect.pending
    findings = risks(session, prospect, options)
    for finding in findings:
        observer(FindingReported(finding))
    refuse(findings, force=options.force)
    filling = [step for step in pending if step.allotted]
    if not filling and not any(step.proves for step in pending):
        return findings, None
    filled = all(step.phase is Phase.CONTRACT for step in filling)
    observer(Reading("the rows, and whether each finds its tenant"))
    earlier = given_earlier(session.connection, session.plan, session.entries)
    evidence = run_census(
        session.connection,
        census(session.plan.ownership, session.schema, filled=filled, earlier=earlier),
        watch=lambda table: observer(Reading(f"the rows of {table}")),
    )
    refuse_rows(evidence)
    kept = tuple(kept_from_earlier(evidence))
    for finding in kept:
        observer(FindingReported(finding))
    refuse(kept, force=options.force)
    return (*findings, *kept), evidence


def risks(session: Session, prospect: Prospect, options: MigrateOptions) -> tuple[Finding, ...]:
    """The findings that need no count of all tables' rows: contradictions, and the preflight of pending steps."""
    findings = contradicted(session, prospect, options.until)
    findings += preflight(
        session.connection, schema=session.schema, plan=replace(session.plan, steps=prospect.pending),
        until=options.until, free_space=options.free_space, workers=options.workers,
    )  # fmt: skip
    if options.distribute:
        context = PlanContext(spec=session.spec, schema=session.schema, ownership=session.plan.ownership)
        findings += distribution_findings(
            session.connection, context=context, plan=session.plan, pending=prospect.pending,
            journaled=session.entries, prepare=options.prepare, concurrently=options.concurrently,
        )  # fmt: skip
    return tuple(accepted(findings, session.spec))


def contradicted(session: Session, prospect: Prospect, until: Phase) -> tuple[Finding, ...]:
    """Contradictions between the spec and what an earlier one has made, and objects that prevent a removal."""
    findings = tuple(contradictions(session.connection, session.plan, session.entries, prospect.comparison, until))
    back = prospect.leaving.all
    findings += (*session.plan.refusals, *without_tenant(session.entries, back))
    if back:
        in_the_way = obstacles(session.connection, back, journal=session.entries, keep=False, under_way=True)
        # No object of others is dropped, and a step that stayed would not be what the spec asks for.
        findings += tuple(
            replace(one.finding, forcible=one.finding.forcible and one.step is None) for one in in_the_way
        )
    return findings


def refuse_rows(evidence: Evidence) -> None:
    """Raises Refused if rows have several tenants, or none and the spec does not accept that."""
    refused = evidence.refused
    if not refused:
        return
    listed = "; ".join(f"{table.table} has {_troubles(table)}" for table in refused[:NAMED])
    more = f"; and {len(refused) - NAMED} more tables, {len(refused)} in all" if len(refused) > NAMED else ""
    conflicts = any(table.conflicts for table in refused)
    raise Refused(
        listed + more,
        remedy=f"Correct the rows listed below{''.join(_remedies(refused))}. The first table is {refused[0].table}."
        + (" `tenantry conflicts` lists all conflicts, by paths and tenants." if conflicts else ""),
        details=[
            f"{table.table}: {kind}, {sample}"
            for table in refused
            for kind, samples in (("orphan", table.orphan_samples), ("conflict", table.conflict_samples))
            for sample in samples
        ],
    )


def _troubles(table: TableEvidence) -> str:
    counts = (
        (table.unaccepted, "orphan", ""), (table.conflicts - table.crossing, "conflict", ""),
        (table.crossing, "reference across tenants", "references across tenants"),
    )  # fmt: skip
    return " and ".join(counted(count, noun, plural) for count, noun, plural in counts if count)


def _remedies(refused: Sequence[TableEvidence]) -> Iterator[str]:
    """Remedies other than correcting rows, for the kinds of trouble found."""
    if any(table.unaccepted for table in refused):
        yield '; or set orphans = "default", "quarantine" or "shared" in the spec'
    if any(table.unaccepted and any(way.kind is PathKind.ASSIGNED for way in table.paths) for table in refused):
        yield "; if assign refers to a tenant that does not exist yet, add it to [[tenant.rows]] in the spec"
    if any(table.conflicts > table.crossing for table in refused):
        yield "; if paths disagree, choose another path"
    if any(table.crossing for table in refused):
        yield (
            '; if rows may refer to rows of other tenants, declare it in the spec: [[reference]] from = "TABLE.COLUMN"'
            " crosses = true; or make the table that they refer to shared (shared = true)"
        )


def refuse(findings: tuple[Finding, ...], *, force: bool) -> None:
    """Raises Refused, or ConnectionFailed for missing privileges, if a finding stops the run."""
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
        remedy=first.remedy + (" To go on nevertheless, use --force." if forcible else ""),
        details=[f"{finding.name}: {finding.message}. {finding.remedy}".strip() for finding in stopping[1:]],
    )


class _TooFewPrivileges(TenantryError):
    status = ExitStatus.CONNECTION
