"""--fix-issues, and the way back: corrections that are safe, each with the image of every row that it touches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from tenantry.checks.check import Check, Ground
from tenantry.checks.fixing import ROWS, Fixer, Repaired
from tenantry.checks.readers import Stop
from tenantry.checks.repair import FROM_PATHS, Repair, rule_repair, tenant_repairs
from tenantry.checks.undoing import SHOWN, SIZE, Undoing
from tenantry.errors import ExitStatus, Refused, UsageError, nearest
from tenantry.model.finding import Family
from tenantry.model.name import Name
from tenantry.model.plan import Phase
from tenantry.model.run import new_run
from tenantry.model.spec import Spec
from tenantry.model.verdict import Verdict
from tenantry.postgres.connect import Target
from tenantry.postgres.fixes import FixJournal
from tenantry.postgres.journal import Journal
from tenantry.postgres.locks import hold_run_lock
from tenantry.steps import Fill
from tenantry.workflow.inspection import Families, InspectionOptions, grounded, verdict_of
from tenantry.workflow.session import end_noted, interruptible, opened
from tenantry.workflow.watcher import Nobody, Watcher

TENANT_CHECKS = ("rows-without-tenant", "tenant-differs")
"""What is found wrong with a row's tenant, and can be set right by its paths or by the spec's `orphans`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FixOptions:
    """`force` goes on where triggers of the user's would run; `lock_timeout` and `patience` in seconds: how long a lock
    is waited for, and how long rows that others hold are come back for. `rows` are corrected in one transaction."""

    force: bool = False
    rows: int = ROWS
    lock_timeout: float | None = None
    patience: float = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """What was corrected in one table, or would be: `statement` is what it comes to, `rows` how many broke the check,
    `fixed` and `left` how many of them were corrected and were not, and `refusals` why not."""

    name: str
    table: Name
    statement: str
    why: str
    rows: int
    fixed: int = 0
    left: int = 0
    refusals: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """The corrections, and what remains after them; after a dry run, what there is."""

    corrections: tuple[Correction, ...]
    verdict: Verdict


def preview_fixes(
    target: Target, spec: Spec, families: Families, options: InspectionOptions, fixing: FixOptions | None = None,
    watcher: Watcher | None = None, *, command: str,
) -> Fixed:  # fmt: skip
    """What `fix_issues` would do: each statement, and how many rows it would change. Changes nothing."""
    watcher, run, stop, fixing = watcher or Nobody(), new_run(), Stop(), fixing or FixOptions()
    watcher.began(command, run)
    with (
        interruptible(stop),
        grounded(target, spec, options, watcher, stop, run=run, purpose=command) as ground,
    ):
        verdict = verdict_of(ground, families, command, "", watcher, stop)
        fixer = Fixer(ground=ground, connection=ground.connection, run=run, force=fixing.force)
        found = tuple(
            _correction(repair, rows, _held(fixer, repair))
            for repair, rows in _wanted(fixer, families, verdict, ahead=True)
        )
        rows = sum(one.rows for one in found if not one.refusals)
        verdict = replace(
            verdict, next_step="The same without --dry-run makes the fixes." if rows else verdict.next_step
        )
    watcher.concluded(verdict.outcome, verdict.next_step)
    return Fixed(corrections=found, verdict=verdict)


def fix_issues(
    target: Target, spec: Spec, families: Families, options: InspectionOptions, fixing: FixOptions | None = None,
    watcher: Watcher | None = None, *, command: str, next_step: str,
) -> Fixed:  # fmt: skip
    """Correct what can be corrected safely, then ask all checks again: the verdict says what remains.

    Raises Refused while another run goes on, Interrupted after Ctrl-C; what is fixed by then stays, and can be undone.
    """
    watcher, run, stop, fixing = watcher or Nobody(), new_run(), Stop(), fixing or FixOptions()
    watcher.began(command, run)
    with (
        opened(target, run=run, purpose=f"{command} fixes", watcher=watcher) as connection,
        hold_run_lock(connection),
        grounded(target, spec, options, watcher, stop, run=run, purpose=command) as ground,
    ):
        journal = Journal(connection)
        journal.install()
        FixJournal(connection).install()
        journal.begin_run(run, " ".join((command, "--fix-issues", *(f"--table {table}" for table in options.tables))))
        fixer = Fixer(
            ground=ground, connection=connection, run=run, force=fixing.force, patience=fixing.patience,
            rows=fixing.rows,
            timeout=fixing.lock_timeout or spec.locks.timeout,
            tell=lambda table, rows: watcher.advanced(table, 0, rows),
        )  # fmt: skip

        def interrupt() -> None:
            fixer.stop.set()
            stop()

        with end_noted(journal, run), interruptible(interrupt):
            first = verdict_of(ground, families, command, next_step, Nobody(), stop)
            found = tuple(_corrected(fixer, repair, watcher) for repair, _ in _wanted(fixer, families, first))
            verdict = verdict_of(ground, families, command, next_step, watcher, stop)
        fixed = sum(one.fixed for one in found)
        verdict = replace(
            verdict, outcome=f"{fixed:,} rows fixed; {verdict.outcome}", next_step=_next(verdict, run, fixed)
        )
        journal.finish_run(run, exit_status=verdict.exit_status, outcome=verdict.outcome)
    watcher.concluded(verdict.outcome, verdict.next_step)
    return Fixed(corrections=found, verdict=verdict)


def _wanted(fixer: Fixer, families: Families, verdict: Verdict, *, ahead: bool = False) -> Iterator[tuple[Repair, int]]:
    """The repairs of what was found, one by one, each with the rows that it is for as things stand by then.

    `ahead`: those as well of a table's tenants that will have rows only once what they derive from is repaired.
    """
    wrong = {finding.table for finding in verdict.findings if finding.name == "tenant-differs"}
    for repair in _repairs(fixer.ground, families, verdict):
        rows = fixer.count(repair)
        if rows or (ahead and repair.name == FROM_PATHS and repair.table in wrong):
            yield repair, rows


def _repairs(ground: Ground, families: Families, verdict: Verdict) -> Iterator[Repair]:
    broken = {(finding.name, finding.table) for finding in verdict.findings}
    if any(name in TENANT_CHECKS for name, _ in broken) and _filled(ground):
        yield from tenant_repairs(ground)
    rules = dict(families).get(Family.BUSINESS)
    for check in rules(ground) if rules is not None else ():
        if isinstance(check, Check) and check.fix is not None and (check.name, check.table) in broken:
            repair = rule_repair(ground, check)
            if repair is not None:
                yield repair


def _filled(ground: Ground) -> bool:
    """Whether the backfill has been done: until then rows without a tenant are its work, which keeps no images."""
    fills = [step for step in ground.plan.steps if isinstance(step, Fill) and step.phase is Phase.BACKFILL]
    return all(step.key in ground.entries and ground.entries[step.key].state == "done" for step in fills)


def _held(fixer: Fixer, repair: Repair) -> tuple[str, ...]:
    problem = fixer.problem(repair)
    return (problem,) if problem is not None else ()


def _corrected(fixer: Fixer, repair: Repair, watcher: Watcher) -> Correction:
    watcher.looking(f"{repair.table}: fixing {repair.name}")
    made = fixer.make(repair)
    watcher.said(f"{made.fixed:,} rows of {repair.table} fixed ({repair.name})", fixed=made.fixed, left=made.left)
    return _correction(repair, made.fixed + made.left, made=made)


def _correction(repair: Repair, rows: int, refusals: Sequence[str] = (), made: Repaired | None = None) -> Correction:
    told = refusals if made is None else tuple(made.refusals)
    if made is not None and made.left and not told:
        told = ("other sessions hold these rows, or keep changing them",)
    return Correction(
        name=repair.name, table=repair.table, statement=repair.statement.as_string(None), why=repair.why, rows=rows,
        fixed=made.fixed if made is not None else 0, left=made.left if made is not None else 0, refusals=tuple(told),
    )  # fmt: skip


def _next(verdict: Verdict, run: str, fixed: int) -> str:
    undo = f" `tenantry fixes undo {run}` puts the rows back as they were." if fixed else ""
    if verdict.exit_status is ExitStatus.DONE:
        return f"Nothing is left to be fixed.{undo}"
    return f"What remains has no safe fix: follow what stands below each finding.{undo}"


# --- the way back


@dataclass(frozen=True, slots=True, kw_only=True)
class FixSummary:
    """What a run has corrected in one table. `undone` of its `rows` were put back, last by the run `undone_by`."""

    run: str
    made_at: datetime
    name: str
    table: Name
    why: str
    rows: int
    undone: int
    undone_by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone:
    """What `undo` has done, or would do. `rows` are put back, `left` those for which there was something to be done
    before; `changed` are rows that somebody has changed since, a few of them, `conflicts` how many."""

    run: str
    undone: str
    rows: int
    left: int
    conflicts: int
    changed: tuple[str, ...]
    statements: tuple[str, ...] = ()


def list_fixes(target: Target) -> tuple[FixSummary, ...]:
    """What was fixed in this database, oldest first. Changes nothing."""
    with opened(target, purpose="fixes") as connection:
        if not Journal(connection).installed:
            return ()
        return tuple(
            FixSummary(
                run=one.run, made_at=one.made_at, name=one.name, table=one.relation, why=one.why, rows=one.rows,
                undone=one.undone, undone_by=one.undone_by,
            )
            for one in FixJournal(connection).fixes()
            if one.rows
        )  # fmt: skip


def undo_fixes(
    target: Target, undone: str, *, force: bool = False, dry_run: bool = False, watcher: Watcher | None = None,
    lock_timeout: float = 2.0, patience: float = 600.0, rows: int = SIZE,
) -> Undone:  # fmt: skip
    """Put every value back that the run `undone` has fixed, `rows` in one transaction. Where it stopped half-way, the
    same call goes on.

    Raises UsageError for a run that has fixed nothing, and Refused where somebody has changed rows since: then nothing
    is changed, unless `force` overwrites them.
    """
    watcher, run = watcher or Nobody(), new_run()
    watcher.began("fixes undo", run)
    with opened(target, run=run, purpose="fixes undo", watcher=watcher) as connection:
        if dry_run:
            return _undo(
                _undoing(target_run=undone, journal=Journal(connection), run=run, force=force), watcher, dry=True
            )
        with hold_run_lock(connection):
            journal = Journal(connection)
            undoing = _undoing(
                target_run=undone,
                journal=journal,
                run=run,
                force=force,
                timeout=lock_timeout,
                patience=patience,
                size=rows,
            )
            return _undo(undoing, watcher, dry=False)


def _undoing(
    *,
    target_run: str,
    journal: Journal,
    run: str,
    force: bool,
    timeout: float = 2.0,
    patience: float = 600.0,
    size: int = SIZE,
) -> Undoing:
    fixes = FixJournal(journal.connection)
    known = [one.run for one in fixes.fixes()] if journal.installed else []
    if target_run not in known:
        raise UsageError(
            f"No run {target_run} has fixed anything in this database{nearest(target_run, known)}",
            remedy="`tenantry fixes list` shows those that have.",
        )
    return Undoing(
        connection=journal.connection,
        run=run,
        undone=target_run,
        force=force,
        timeout=timeout,
        patience=patience,
        size=size,
    )


def _undo(undoing: Undoing, watcher: Watcher, *, dry: bool) -> Undone:
    watcher.looking("the rows that were fixed")
    parts = undoing.parts()
    changed: list[str] = []
    conflicts = 0
    for one in undoing.changed(parts):
        conflicts += 1
        if len(changed) < SHOWN:
            changed.append(str(one))
    left = sum(len(part.ids) for _, part in parts)
    told = Undone(
        run=undoing.run, undone=undoing.undone, rows=0, left=left, conflicts=conflicts, changed=tuple(changed),
        statements=tuple(undoing.statements(parts)),
    )  # fmt: skip
    if dry:
        return told
    if conflicts and not undoing.force:
        raise Refused(
            f"{conflicts:,} of the rows have been changed since they were fixed; nothing was put back",
            remedy="Look at them; --force puts back what was there before the fix, over these changes.",
            details=changed,
        )
    return replace(told, rows=_put_back(undoing, watcher) if parts else 0)


def _put_back(undoing: Undoing, watcher: Watcher) -> int:
    journal, stop = Journal(undoing.connection), Stop()
    undoing.halt = stop.halt
    journal.begin_run(undoing.run, f"fixes undo {undoing.undone}")
    with end_noted(journal, undoing.run), interruptible(stop):
        rows = 0
        for way, part in undoing.parts():
            stop.halt()
            watcher.looking(f"{way.record.relation}: putting back {way.record.name}")
            rows += undoing.put_back(way, part)
        rest = sum(len(part.ids) for _, part in undoing.parts())
        if rest:
            raise Refused(
                f"{rest:,} rows were changed while the others were put back",
                remedy="Run the same command again: it names them.",
            )
    outcome = f"{rows:,} rows are as they were before the run {undoing.undone}"
    journal.finish_run(undoing.run, exit_status=ExitStatus.DONE, outcome=outcome)
    watcher.concluded(outcome, "")
    return rows
