"""tenantry backups create, list, verify, restore, prune."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from tenantry.backups.create import BackupOptions
from tenantry.backups.restore_plan import RestoreOptions
from tenantry.cli import options
from tenantry.cli.observed import watched
from tenantry.cli.progress import watching
from tenantry.cli.render_plan import show_backup
from tenantry.cli.runner import target
from tenantry.cli.terminal import Terminal
from tenantry.commands.backups import create_backup, list_backups, preview_backup, prune_backups, verify_backups
from tenantry.commands.restore import restore as run_restore
from tenantry.errors import ExitStatus, Refused, UsageError
from tenantry.model.backup import Backup, BackupKind, Restoration
from tenantry.model.size import readable
from tenantry.model.spec import Spec
from tenantry.model.wording import counted, duration
from tenantry.reports.document import error_document

Tables = Annotated[
    list[str],
    typer.Option("--table", metavar="TABLE", show_default=False, help="This table only; may be repeated."),
]
Id = Annotated[str, typer.Argument(metavar="BACKUP", help="The id that `backups list` shows.", show_default=False)]
Ids = Annotated[
    list[str],
    typer.Argument(
        metavar="[BACKUP]...", help="The ids that `backups list` shows; by default the newest.", show_default=False
    ),
]
Force = Annotated[
    bool, typer.Option("--force", help="Restore although rows that were written since the backup are lost.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be changed, and change nothing.")]
NONE: list[str] = []


def create(
    terminal: Terminal,
    backup: Annotated[
        BackupKind,
        typer.Option("--backup", help="Copies in the schema tenantry, or a dump of the whole database by pg_dump."),
    ] = BackupKind.TABLES,
    table: Tables = NONE,
    dump_dir: options.DumpDir = None,
    free_space: options.FreeSpace = None,
    dry_run: DryRun = False,
) -> ExitStatus:
    """Back up the owned tables and the tenant table, from one snapshot, without blocking writers."""
    if backup is BackupKind.NONE:
        raise UsageError("--backup none makes no backup", remedy="Choose --backup tables or dump.")
    spec = terminal.spec()
    chosen = BackupOptions(kind=backup, free_space=free_space).of(spec, dump_dir)
    if dry_run:
        return _foresee(terminal, spec, chosen, table)
    with watched(terminal, watching(terminal, brief=True)) as observer, target(terminal) as database:
        made = create_backup(database, spec, chosen, tables=table, observer=observer)
    terminal.answer(backup=_brief(made))
    terminal.log.write("done", backup=_brief(made))
    terminal.show(f"{made.id}: {_holds(made)}.")
    if made.folder is not None:
        terminal.say(f"The dump is in {made.folder}.")
    return ExitStatus.DONE


def _foresee(terminal: Terminal, spec: Spec, chosen: BackupOptions, tables: list[str]) -> ExitStatus:
    try:
        with target(terminal) as database:
            show_backup(terminal, preview_backup(database, spec, chosen, tables=tables), alone=True)
    except Refused as refusal:
        terminal.answer(refusal=error_document(refusal))
        terminal.say("At present, it would refuse:", style="bold yellow")
        terminal.explain(refusal)
    terminal.answer(dry_run=True)
    terminal.say("Nothing was changed.")
    return ExitStatus.DONE


def list_(terminal: Terminal) -> ExitStatus:
    """List the backups, the newest first: kind, when, run, tables, rows, size, and when each was verified."""
    with target(terminal) as database:
        found = list_backups(database)
    terminal.answer(backups=[{**_brief(one.backup), "state": one.state} for one in found])
    if not found:
        terminal.show("There are no backups.")
        return ExitStatus.DONE
    for one in found:
        backup = one.backup
        verified = f"verified {_when(backup.verified_at)}" if backup.verified_at else "not verified"
        terminal.show(f"{backup.id}  {backup.kind}  {one.state}  {readable(backup.bytes)}, {_rows(backup)}")
        terminal.show(Text(f"    {_when(backup.started_at)} UTC, run {backup.run}, {verified}", style="dim"))
    return ExitStatus.DONE


def verify(terminal: Terminal, backup: Ids = NONE) -> ExitStatus:
    """Compare backups with what was counted when they were made: rows, and a checksum of all values.

    The files of a dump are compared with its manifest, and its rows are read, counted and summed; nothing in it is
    executed.
    """
    with watched(terminal, watching(terminal, brief=True)) as observer, target(terminal) as database:
        found = verify_backups(database, backup, observer)
    terminal.answer(backups=[_brief(one) for one in found])
    for one in found:
        line = (
            f"{one.id}: {_holds(one)}; unchanged since it was made." if one.restorable else f"{one.id}: {one.problem}."
        )
        terminal.show(line, style="" if one.restorable else "red")
    return ExitStatus.DONE if all(one.restorable for one in found) else ExitStatus.FINDINGS


def restore(
    terminal: Terminal,
    backup: Id,
    table: Tables = NONE,
    kind: Annotated[
        BackupKind, typer.Option("--backup", help="The backup of the current state that is made first: tables or none.")
    ] = BackupKind.TABLES,
    force: Force = False,
    dry_run: DryRun = False,
    lock_timeout: options.LockTimeout = None,
    lock_budget: options.LockBudget = None,
    free_space: options.FreeSpace = None,
) -> ExitStatus:
    """Restore tables from a backup, in one transaction: only rows that differ are changed.

    If rows that were written since would be lost, it reports how many, and exits 4 unless --force is given. The current
    state is backed up first. The tables are locked meanwhile: writers wait, readers do not.
    """
    if kind is BackupKind.DUMP:
        raise UsageError("A restore needs a backup of tables before it", remedy="Choose --backup tables or none.")
    default = RestoreOptions()
    chosen = RestoreOptions(
        tables=tuple(table), force=force, dry_run=dry_run, lock_timeout=lock_timeout or default.lock_timeout,
        lock_budget=lock_budget or default.lock_budget,
        backup=BackupOptions(kind=kind, force=force, free_space=free_space),
    )  # fmt: skip
    with watched(terminal, watching(terminal, brief=True)) as observer, target(terminal) as database:
        done = run_restore(database, backup, chosen, observer)
    terminal.answer(
        backup=done.backup.id, tables=done.tables, left_out=done.left_out, saved=done.saved, dry_run=dry_run,
        seconds=round(done.seconds, 3), run=done.run,
    )  # fmt: skip
    terminal.log.write("done", backup=done.backup.id, tables=done.tables, left_out=done.left_out, saved=done.saved)
    _show_restoration(terminal, done, dry_run=dry_run)
    return ExitStatus.DONE


def _show_restoration(terminal: Terminal, done: Restoration, *, dry_run: bool) -> None:
    changed = [one for one in done.tables if one.lost or one.inserted]
    if changed:
        table = Table("table", "deleted", "updated", "inserted", box=None)
        for one in changed:
            table.add_row(str(one.table), f"{one.deleted:,}", f"{one.updated:,}", f"{one.inserted:,}")
        terminal.say(table)
    for line in done.left_out:
        terminal.say(f"Not restored: {line}.", style="yellow")
    if dry_run:
        terminal.show("Nothing was changed." if changed else "Nothing differs from the backup.")
        return
    tables = counted(len(done.tables), "table")
    terminal.show(
        Text.assemble(("Done: ", "bold green"), f"{tables} as in {done.backup.id}, {duration(done.seconds)}.")
    )
    if done.saved is not None:
        terminal.say(f"The state before the restore is in the backup {done.saved}.")


def prune(
    terminal: Terminal,
    keep: Annotated[
        int | None, typer.Option("--keep", min=0, metavar="N", show_default=False, help="Keep the N newest.")
    ] = None,
    older_than: Annotated[
        timedelta | None,
        typer.Option(
            "--older-than",
            metavar="TIME",
            parser=options.span,
            show_default=False,
            help="Remove only older ones, such as 30d.",
        ),
    ] = None,
    dry_run: DryRun = False,
) -> ExitStatus:
    """Remove backups that are neither among the newest nor young enough; incomplete ones always."""
    with watched(terminal, watching(terminal, brief=True)) as observer, target(terminal) as database:
        gone = prune_backups(database, keep=keep, older_than=older_than, dry_run=dry_run, observer=observer)
    terminal.answer(backups=[_brief(backup) for backup in gone], dry_run=dry_run)
    terminal.log.write("done", backups=[backup.id for backup in gone], dry_run=dry_run)
    for backup in gone:
        terminal.say(f"{backup.id}: {_holds(backup)}")
    one = len(gone) == 1
    verb = "would be" if dry_run else ("was" if one else "were")
    terminal.show(f"{counted(len(gone), 'backup')} {verb} removed.")
    return ExitStatus.DONE


def _brief(backup: Backup) -> dict[str, object]:
    """A backup for --json, without the tables' columns."""
    return {
        "id": backup.id, "kind": backup.kind, "reason": backup.reason, "run": backup.run, "rows": backup.rows,
        "bytes": backup.bytes, "started_at": backup.started_at, "finished_at": backup.finished_at,
        "verified_at": backup.verified_at, "problem": backup.problem, "folder": backup.folder,
        "tables": {str(copy.table): copy.rows for copy in backup.tables},
    }  # fmt: skip


def _holds(backup: Backup) -> str:
    return f"{backup.kind}, {_rows(backup)}, {readable(backup.bytes)}"


def _rows(backup: Backup) -> str:
    return f"{counted(len(backup.tables), 'table')}, {counted(backup.rows, 'row')}"


def _when(time: datetime | None) -> str:
    return "" if time is None else time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
