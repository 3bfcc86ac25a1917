"""--fix-issues: safe corrections, each with an image of every row that it changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from tenantry.backups.create import BackupOptions, Making
from tenantry.backups.create import ensure_backup as back_up
from tenantry.backups.estimate import BackupEstimate, estimate_backup
from tenantry.checks.base import Check, CheckContext
from tenantry.checks.fixes.apply import ROWS, Fixer, Repaired
from tenantry.checks.fixes.cascades import carried
from tenantry.checks.fixes.plan import FROM_PATHS, Repair, rule_repair, tenant_repairs
from tenantry.checks.session_pool import Stop
from tenantry.commands.inspection import Families, InspectionOptions, grounded, verdict_of
from tenantry.commands.running import announced, interruptible, run
from tenantry.errors import ExitStatus, Refused
from tenantry.execution.events import FillAdvanced, Looking, Observer, Said, ignore
from tenantry.model.backup import Reason
from tenantry.model.finding import Family
from tenantry.model.name import Name
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.model.verdict import Verdict
from tenantry.postgres.connect import Target
from tenantry.postgres.fixes import FixJournal

TENANT_CHECKS = ("rows-without-tenant", "tenant-differs")
"""The checks of a row's tenant that can be corrected by its paths or by the spec's `orphans`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FixOptions:
    """`force` goes on where triggers of the user's would fire; `lock_timeout` and `patience` in seconds: how long to
    wait for a lock, and how long to come back for rows that other sessions have locked. `rows` are corrected in one
    transaction. The `backup` is of the tables that change; it may be omitted without `force`, since the images of the
    rows are kept in any case."""

    force: bool = False
    rows: int = ROWS
    lock_timeout: float | None = None
    patience: float = 20.0
    backup: BackupOptions = field(default_factory=BackupOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """What was corrected in one table, or would be: `statement` is the correction, `rows` how many violated the check,
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
    """The corrections, and what remains after them; after a dry run, what was found, and the backup to be made."""

    corrections: tuple[Correction, ...]
    verdict: Verdict
    backup: BackupEstimate | None = None


def preview_fixes(
    target: Target, spec: Spec, families: Families, options: InspectionOptions, fixing: FixOptions | None = None,
    observer: Observer | None = None, *, command: str,
) -> Fixed:  # fmt: skip
    """What `fix_issues` would do: each statement, and how many rows it would change. Changes nothing."""
    stop, fixing = Stop(), fixing or FixOptions()
    with (
        announced(command, observer) as told,
        interruptible(stop),
        grounded(target, spec, options, told.observer, stop, run=told.id, purpose=command) as ground,
    ):
        verdict = verdict_of(ground, families, command, "", told.observer, stop)
        fixer = Fixer(ground=ground, connection=ground.connection, run=told.id, force=fixing.force)
        wanted = tuple(_wanted(fixer, families, verdict, ahead=True))
        found = tuple(_correction(repair, rows, _held(fixer, repair)) for repair, rows in wanted)
        rows = sum(one.rows for one in found if not one.refusals)
        backup = estimate_backup(ground.connection, _changing(fixer, wanted), fixing.backup)
        verdict = replace(verdict, next_step="Run the same command without --dry-run." if rows else verdict.next_step)
        told.come_to(verdict.outcome, verdict.next_step)
    return Fixed(corrections=found, verdict=verdict, backup=backup)


def fix_issues(
    target: Target, spec: Spec, families: Families, options: InspectionOptions, fixing: FixOptions | None = None,
    observer: Observer | None = None, *, command: str, next_step: str,
) -> Fixed:  # fmt: skip
    """Correct what can be corrected safely, then run all checks again: the verdict has what remains.

    Raises Refused while another run is active, on a standby, and where the backup needs a decision; Interrupted after
    Ctrl-C: what is fixed by then stays, and can be undone.
    """
    stop, fixing = Stop(), fixing or FixOptions()
    with (
        run(target, command, purpose=f"{command} fixes", observer=observer) as current,
        grounded(target, spec, options, current.observer, stop, run=current.id, purpose=command) as ground,
    ):
        connection, observer = current.connection, current.observer
        if ground.standby:
            raise Refused("This server is a standby, which is read-only", remedy="Run it on the primary server.")
        current.journal.install()
        FixJournal(connection).install()
        words = ("--fix-issues", *(f"--table {table}" for table in options.tables))
        current.begin(options=" ".join(words), partial=bool(options.tables))
        fixer = Fixer(
            ground=ground, connection=connection, run=current.id, force=fixing.force, patience=fixing.patience,
            rows=fixing.rows,
            timeout=fixing.lock_timeout or spec.locks.timeout,
            tell=lambda table, rows: current.observer(FillAdvanced(table, 0, rows)),
        )  # fmt: skip

        def interrupt() -> None:
            fixer.stop.set()
            stop()

        with interruptible(interrupt):
            first = verdict_of(ground, families, command, next_step, ignore, stop)
            making = Making(
                target=target, connection=connection, run=current.id, options=fixing.backup, observer=observer
            )
            back_up(making, Reason.FIX, _changing(fixer, _wanted(fixer, families, first, ahead=True)), changes=False)
            found = tuple(_corrected(fixer, repair, observer) for repair, _ in _wanted(fixer, families, first))
            verdict = verdict_of(ground, families, command, next_step, observer, stop)
        fixed = sum(one.fixed for one in found)
        verdict = replace(
            verdict, outcome=f"{fixed:,} rows fixed; {verdict.outcome}", next_step=_next(verdict, current.id, fixed)
        )
        current.finish(verdict.outcome, verdict.next_step, exit_status=verdict.exit_status)
    return Fixed(corrections=found, verdict=verdict)


def _wanted(fixer: Fixer, families: Families, verdict: Verdict, *, ahead: bool = False) -> Iterator[tuple[Repair, int]]:
    """The repairs of the findings, one by one, each with the number of its rows at that moment.

    `ahead`: also repairs of a table that will only have rows once the tables that it gets its tenants from are
    repaired.
    """
    wrong = {finding.table for finding in verdict.findings if finding.name == "tenant-differs"}
    for repair in _repairs(fixer.ground, families, verdict):
        rows = fixer.count(repair)
        if rows or (ahead and repair.name == FROM_PATHS and repair.table in wrong):
            yield repair, rows


def _repairs(ground: CheckContext, families: Families, verdict: Verdict) -> Iterator[Repair]:
    broken = {(finding.name, finding.table) for finding in verdict.findings}
    if any(name in TENANT_CHECKS for name, _ in broken) and _filled(ground):
        yield from tenant_repairs(ground)
    rules = dict(families).get(Family.BUSINESS)
    for check in rules(ground) if rules is not None else ():
        if isinstance(check, Check) and check.fix is not None and (check.name, check.table) in broken:
            repair = rule_repair(ground, check)
            if repair is not None:
                yield repair


def _changing(fixer: Fixer, wanted: Iterable[tuple[Repair, int]]) -> frozenset[Name]:
    """The tables in which the repairs may change rows, also by cascades."""
    tables: set[Name] = set()
    for repair, _ in wanted:
        if fixer.problem(repair) is None:
            along = carried(fixer.ground, FixJournal(fixer.connection), repair)
            tables |= {repair.table, *(one.table for one in along)}
    return frozenset(tables)


def _filled(ground: CheckContext) -> bool:
    """Whether the backfill has been done: until then rows without a tenant are left to it."""
    fills = [step for step in ground.plan.steps if step.filling is not None and step.phase is Phase.BACKFILL]
    return all(step.key in ground.entries and ground.entries[step.key].state == "done" for step in fills)


def _held(fixer: Fixer, repair: Repair) -> tuple[str, ...]:
    problem = fixer.problem(repair)
    return (problem,) if problem is not None else ()


def _corrected(fixer: Fixer, repair: Repair, observer: Observer) -> Correction:
    observer(Looking(f"{repair.table}: fixing {repair.name}"))
    made = fixer.make(repair)
    observer(
        Said(f"{made.fixed:,} rows of {repair.table} fixed ({repair.name})", {"fixed": made.fixed, "left": made.left})
    )
    return _correction(repair, made.fixed + made.left, made=made)


def _correction(repair: Repair, rows: int, refusals: Sequence[str] = (), made: Repaired | None = None) -> Correction:
    told = refusals if made is None else tuple(made.refusals)
    if made is not None and made.left and not told:
        told = ("other sessions have locks on these rows, or keep changing them",)
    return Correction(
        name=repair.name, table=repair.table, statement=repair.statement.as_string(None), why=repair.why, rows=rows,
        fixed=made.fixed if made is not None else 0, left=made.left if made is not None else 0, refusals=tuple(told),
    )  # fmt: skip


def _next(verdict: Verdict, run: str, fixed: int) -> str:
    undo = f" `tenantry fixes undo {run}` restores these rows." if fixed else ""
    if verdict.exit_status is ExitStatus.DONE:
        return f"Nothing is left to fix.{undo}"
    return f"The rest has no safe fix: follow the remedy of each finding.{undo}"
