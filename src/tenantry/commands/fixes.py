"""--fix-issues: safe corrections, each with an image of every row that it changes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tenantry.backups.create import BackupOptions, BackupRun
from tenantry.backups.create import ensure_backup as back_up
from tenantry.backups.estimate import BackupEstimate, estimate_backup
from tenantry.checks.fixes.apply import ROWS, Fixer
from tenantry.checks.fixes.corrections import TableCorrection, changed_tables, corrected, foreseen, repairs_for
from tenantry.checks.session_pool import Stop
from tenantry.checks.verdict import Families, verdict_of
from tenantry.commands.inspection import InspectionOptions, open_check_context
from tenantry.commands.running import interruptible, report_command, run
from tenantry.errors import ExitStatus, Refused
from tenantry.execution.events import FillAdvanced, Observer, ignore
from tenantry.model.backup import Reason
from tenantry.model.spec import Spec
from tenantry.model.verdict import Verdict
from tenantry.model.wording import counted
from tenantry.postgres.connect import Target
from tenantry.postgres.fixes import FixJournal


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
class Fixed:
    """The corrections, and what remains after them; after a dry run, what was found, and the backup to be made."""

    corrections: tuple[TableCorrection, ...]
    verdict: Verdict
    backup: BackupEstimate | None = None


def preview_fixes(
    target: Target, spec: Spec, families: Families, options: InspectionOptions, fixing: FixOptions | None = None,
    observer: Observer | None = None, *, command: str,
) -> Fixed:  # fmt: skip
    """What `fix_issues` would do: each statement, and how many rows it would change. Changes nothing."""
    stop, fixing = Stop(), fixing or FixOptions()
    with (
        report_command(command, observer) as report,
        interruptible(stop),
        open_check_context(target, spec, options, report.observer, stop, run=report.id, purpose=command) as context,
    ):
        verdict = verdict_of(context, families, command, "", report.observer, stop)
        fixer = Fixer(context=context, connection=context.connection, run=report.id, force=fixing.force)
        repairs = tuple(repairs_for(fixer, families, verdict, ahead=True))
        found = tuple(foreseen(fixer, repair, rows) for repair, rows in repairs)
        rows = sum(one.rows for one in found if not one.refusals)
        backup = estimate_backup(context.connection, changed_tables(fixer, repairs), fixing.backup)
        verdict = replace(verdict, next_step="Run the same command without --dry-run." if rows else verdict.next_step)
        report.end_with(verdict.outcome, verdict.next_step)
    return Fixed(corrections=found, verdict=verdict, backup=backup)


def fix_issues(
    target: Target, spec: Spec, families: Families, options: InspectionOptions, fixing: FixOptions | None = None,
    observer: Observer | None = None, *, command: str, next_step: str,
) -> Fixed:  # fmt: skip
    """Correct what can be corrected safely, then run all checks again: the verdict has what remains.

    Raises Refused while another run is active, on a standby, and if the backup needs a decision; Interrupted after
    Ctrl-C: what is fixed by then stays, and can be undone.
    """
    stop, fixing = Stop(), fixing or FixOptions()
    with (
        run(target, command, purpose=f"{command} fixes", observer=observer) as current,
        open_check_context(target, spec, options, current.observer, stop, run=current.id, purpose=command) as context,
    ):
        connection, observer = current.connection, current.observer
        if context.standby:
            raise Refused("This server is a standby, which is read-only", remedy="Run it on the primary server.")
        current.journal.install()
        FixJournal(connection).install()
        words = ("--fix-issues", *(f"--table {table}" for table in options.tables))
        current.begin(options=" ".join(words), partial=bool(options.tables))
        fixer = Fixer(
            context=context, connection=connection, run=current.id, force=fixing.force, patience=fixing.patience,
            rows=fixing.rows,
            timeout=fixing.lock_timeout or spec.locks.timeout,
            tell=lambda table, rows: current.observer(FillAdvanced(table, 0, rows)),
        )  # fmt: skip

        def interrupt() -> None:
            fixer.stop.set()
            stop()

        with interruptible(interrupt):
            first = verdict_of(context, families, command, next_step, ignore, stop)
            making = BackupRun(
                target=target, connection=connection, run=current.id, options=fixing.backup, observer=observer
            )
            back_up(
                making,
                Reason.FIX,
                changed_tables(fixer, repairs_for(fixer, families, first, ahead=True)),
                changes=False,
            )
            found = tuple(corrected(fixer, repair, observer) for repair, _ in repairs_for(fixer, families, first))
            verdict = verdict_of(context, families, command, next_step, observer, stop)
        fixed = sum(one.fixed for one in found)
        verdict = replace(
            verdict,
            outcome=f"{counted(fixed, 'row')} fixed; {verdict.outcome}",
            next_step=_next(verdict, current.id, fixed),
        )
        current.finish(verdict.outcome, verdict.next_step, exit_status=verdict.exit_status)
    return Fixed(corrections=found, verdict=verdict)


def _next(verdict: Verdict, run: str, fixed: int) -> str:
    undo = f" `tenantry fixes undo {run}` restores these rows." if fixed else ""
    if verdict.exit_status is ExitStatus.DONE:
        return f"Nothing is left to fix.{undo}"
    return f"The rest has no safe fix: follow the remedy of each finding.{undo}"
