"""fixes list and fixes undo: what was corrected, and how to restore every value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from tenantry.backups.create import BackupOptions, BackupRun
from tenantry.backups.create import ensure_backup as back_up
from tenantry.backups.estimate import BackupEstimate, estimate_backup
from tenantry.checks.fixes.undo import SHOWN, SIZE, Undoing, UndoMethod
from tenantry.checks.session_pool import Stop
from tenantry.commands.running import Run, interruptible, run
from tenantry.errors import Refused, UsageError, nearest
from tenantry.execution.events import Observer, Reading
from tenantry.execution.session import open_session
from tenantry.model.backup import Reason
from tenantry.model.name import Name
from tenantry.model.wording import counted
from tenantry.postgres.connect import Target
from tenantry.postgres.fixes import FixJournal, FixPart
from tenantry.postgres.journal import Journal


@dataclass(frozen=True, slots=True, kw_only=True)
class FixSummary:
    """What a run has corrected in one table. `undone` of its `rows` were restored, last by the run `undone_by`."""

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
    """What `undo` has done, or would do. `rows` were restored, `left` counts those to restore before it; `changed` are
    rows that were changed since, a few of them, `conflicts` how many. A dry run has the `backup` that would be made
    first."""

    run: str
    undone: str
    rows: int
    left: int
    conflicts: int
    changed: tuple[str, ...]
    statements: tuple[str, ...] = ()
    backup: BackupEstimate | None = None


def list_fixes(target: Target) -> tuple[FixSummary, ...]:
    """What was fixed in this database, oldest first. Changes nothing."""
    with open_session(target, purpose="fixes") as connection:
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
    target: Target, undone: str, *, force: bool = False, dry_run: bool = False, observer: Observer | None = None,
    lock_timeout: float = 2.0, patience: float = 600.0, rows: int = SIZE, backup: BackupOptions | None = None,
) -> Undone:  # fmt: skip
    """Restore every value that the run `undone` has fixed, `rows` in one transaction, after a `backup` of the tables.
    If it stopped half-way, the same call continues.

    Raises UsageError for a run that has fixed nothing, and Refused if rows were changed since: then nothing is
    changed, unless `force` overwrites them.
    """
    wanted = backup or BackupOptions()
    with run(target, "fixes undo", purpose="fixes undo", observer=observer, locks=not dry_run) as current:
        undoing = _undoing(
            target_run=undone,
            journal=current.journal,
            run=current.id,
            force=force,
            timeout=lock_timeout,
            patience=patience,
            size=rows,
        )
        found = _looked_at(undoing, current.observer)
        if dry_run:
            return replace(found, backup=estimate_backup(current.connection, _tables(undoing.parts()), wanted))
        if found.conflicts and not force:
            raise Refused(
                f"{found.conflicts:,} of the rows were changed since they were fixed; nothing was restored",
                remedy="Check them; --force overwrites these changes with the values from before the fix.",
                details=found.changed,
            )
        return replace(found, rows=_put_back(undoing, current, wanted)) if found.left else found


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
            f"The run {target_run} has fixed nothing in this database{nearest(target_run, known)}",
            remedy="`tenantry fixes list` lists the runs that have.",
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


def _looked_at(undoing: Undoing, observer: Observer) -> Undone:
    observer(Reading("the rows that were fixed"))
    parts = undoing.parts()
    changed: list[str] = []
    conflicts = 0
    for one in undoing.changed(parts):
        conflicts += 1
        if len(changed) < SHOWN:
            changed.append(str(one))
    left = sum(len(part.ids) for _, part in parts)
    return Undone(
        run=undoing.run, undone=undoing.undone, rows=0, left=left, conflicts=conflicts, changed=tuple(changed),
        statements=tuple(undoing.statements(parts)),
    )  # fmt: skip


def _tables(parts: Sequence[tuple[UndoMethod, FixPart]]) -> frozenset[Name]:
    return frozenset(way.record.relation for way, _ in parts)


def _put_back(undoing: Undoing, current: Run, options: BackupOptions) -> int:
    observer, stop = current.observer, Stop()
    undoing.halt = stop.halt
    making = BackupRun(
        target=current.target, connection=current.connection, run=current.id, options=options, observer=observer
    )
    current.begin(options=undoing.undone)
    with interruptible(stop):
        rows, parts = 0, undoing.parts()
        # The images of the fix are kept in any case: so this backup may be omitted without --force.
        back_up(making, Reason.FIX, _tables(parts), changes=False)
        for way, part in parts:
            stop.halt()
            observer(Reading(f"{way.record.relation}: restoring {way.record.name}"))
            rows += undoing.put_back(way, part)
        rest = sum(len(part.ids) for _, part in undoing.parts())
        if rest:
            raise Refused(
                f"{rest:,} rows were changed while the others were restored",
                remedy="Run the same command again: it lists them.",
            )
    current.finish(f"{counted(rows, 'row')} restored to before the run {undoing.undone}")
    return rows
