"""tenantry backups create, list, verify, restore, prune, monitor."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from tenantry.backups.monitor import Limits
from tenantry.cli import options
from tenantry.cli.frame import target
from tenantry.cli.progress import duration, watching
from tenantry.cli.terminal import Terminal
from tenantry.cli.watched import watched
from tenantry.errors import ExitStatus, UsageError
from tenantry.execution.preflight.space import readable
from tenantry.model.backup import Backup, BackupKind
from tenantry.workflow import (
    BackupOptions,
    MonitorOptions,
    Restoration,
    RestoreOptions,
    create_backup,
    list_backups,
    prune_backups,
    verify_backups,
)
from tenantry.workflow import monitor as run_monitor
from tenantry.workflow import restore as run_restore

SPANS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}


def span(text: str) -> timedelta:
    """A time from `90s`, `45m`, `26h`, `30d` or `2w`. Raises typer.BadParameter."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|m|min|h|d|w)\s*", text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is no length of time; write 90s, 45m, 26h, 30d or 2w")
    try:
        return timedelta(seconds=float(match.group(1)) * SPANS[match.group(2)])
    except OverflowError as error:
        raise typer.BadParameter(f"{text!r} is too long") from error


def moment(text: str) -> datetime:
    """A time from ISO 8601, UTC unless it says otherwise. Raises typer.BadParameter."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no time; write 2026-01-31T04:00:00Z") from error
    found = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    if found > datetime.now(UTC) + timedelta(minutes=5):
        raise typer.BadParameter(f"{text!r} has yet to come")
    return found


Tables = Annotated[
    list[str],
    typer.Option("--table", metavar="TABLE", show_default=False, help="This table only; may be repeated."),
]
Id = Annotated[str, typer.Argument(metavar="BACKUP", help="As `backups list` names it.", show_default=False)]
Ids = Annotated[
    list[str],
    typer.Argument(
        metavar="[BACKUP]...", help="As `backups list` names them; the newest unless given.", show_default=False
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Give up rows that were written since the backup.")]
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
) -> ExitStatus:
    """Make a backup of the owned tables and the tenant table, from one snapshot, while writers go on."""
    if backup is BackupKind.NONE:
        raise UsageError("A backup of the kind none is none", remedy="Choose --backup tables or dump.")
    spec = terminal.settings.spec()
    chosen = BackupOptions(kind=backup, free_space=free_space).of(spec, dump_dir)
    with watched(terminal, watching(terminal, brief=True)) as watcher, target(terminal) as database:
        made = create_backup(database, spec, chosen, tables=table, watcher=watcher)
    terminal.answer(backup=_brief(made))
    terminal.log.write("done", backup=_brief(made))
    terminal.show(f"{made.id}: {_holds(made)}.")
    if made.folder is not None:
        terminal.say(f"The dump is in {made.folder}.")
    return ExitStatus.DONE


def list_(terminal: Terminal) -> ExitStatus:
    """List the backups, the newest first: kind, when, run, tables, rows, size, and when each was verified."""
    with target(terminal) as database:
        found = list_backups(database)
    terminal.answer(backups=[{**_brief(one.backup), "state": one.state} for one in found])
    if not found:
        terminal.show("There are no backups.")
        return ExitStatus.DONE
    table = Table("backup", "kind", "state", "when (UTC)", "tables", "rows", "size", "verified", "run", box=None)
    for column in table.columns:
        column.overflow = "fold"
    table.columns[0].no_wrap = True
    for one in found:
        backup = one.backup
        table.add_row(
            backup.id, backup.kind, one.state, _when(backup.started_at), str(len(backup.tables)), f"{backup.rows:,}",
            readable(backup.bytes), _when(backup.verified_at), backup.run,
        )  # fmt: skip
    terminal.show(table)
    return ExitStatus.DONE


def verify(terminal: Terminal, backup: Ids = NONE) -> ExitStatus:
    """Compare backups with what was counted when they were made: rows, and a checksum of all values.

    A dump's files are compared with its manifest, and it is restored into a scratch database, which is dropped.
    """
    with watched(terminal, watching(terminal, brief=True)) as watcher, target(terminal) as database:
        found = verify_backups(database, backup, watcher)
    terminal.answer(backups=[_brief(one) for one in found])
    for one in found:
        line = f"{one.id}: {_holds(one)}; all as it was written." if one.whole else f"{one.id}: {one.problem}."
        terminal.show(line, style="" if one.whole else "red")
    return ExitStatus.DONE if all(one.whole for one in found) else ExitStatus.FINDINGS


def restore(
    terminal: Terminal,
    backup: Id,
    table: Tables = NONE,
    kind: Annotated[
        BackupKind, typer.Option("--backup", help="The backup of the present state that is made first: tables or none.")
    ] = BackupKind.TABLES,
    force: Force = False,
    dry_run: DryRun = False,
    lock_timeout: options.LockTimeout = None,
    lock_budget: options.LockBudget = None,
    free_space: options.FreeSpace = None,
) -> ExitStatus:
    """Make tables what they were in a backup, in one transaction: rows that differ, and no others, are changed.

    Rows that were written since would be lost: then it says how many, and exits 4 unless --force is given. The present
    state is backed up first. Writers of the tables wait meanwhile; readers do not.
    """
    if kind is BackupKind.DUMP:
        raise UsageError("The backup before a restore is one of tables", remedy="Choose --backup tables or none.")
    default = RestoreOptions()
    chosen = RestoreOptions(
        tables=tuple(table), force=force, dry_run=dry_run, lock_timeout=lock_timeout or default.lock_timeout,
        lock_budget=lock_budget or default.lock_budget,
        backup=BackupOptions(kind=kind, force=force, free_space=free_space),
    )  # fmt: skip
    with watched(terminal, watching(terminal, brief=True)) as watcher, target(terminal) as database:
        done = run_restore(database, backup, chosen, watcher)
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
        terminal.say(f"Left out: {line}.", style="yellow")
    if dry_run:
        terminal.show("Nothing was changed." if changed else "Nothing differs from the backup.")
        return
    tables = f"{len(done.tables)} table{'' if len(done.tables) == 1 else 's'}"
    terminal.show(
        Text.assemble(("Done: ", "bold green"), f"{tables} as in {done.backup.id}, {duration(done.seconds)}.")
    )
    if done.saved is not None:
        terminal.say(f"What was there before is in the backup {done.saved}.")


def prune(
    terminal: Terminal,
    keep: Annotated[
        int | None, typer.Option("--keep", min=0, metavar="N", show_default=False, help="Keep the N newest.")
    ] = None,
    older_than: Annotated[
        timedelta | None,
        typer.Option(
            "--older-than", metavar="TIME", parser=span, show_default=False, help="Only older ones, such as 30d."
        ),
    ] = None,
    dry_run: DryRun = False,
) -> ExitStatus:
    """Take away backups that are neither among the newest nor young enough; torn ones always."""
    with watched(terminal, watching(terminal, brief=True)) as watcher, target(terminal) as database:
        gone = prune_backups(database, keep=keep, older_than=older_than, dry_run=dry_run, watcher=watcher)
    terminal.answer(backups=[_brief(backup) for backup in gone], dry_run=dry_run)
    terminal.log.write("done", backups=[backup.id for backup in gone], dry_run=dry_run)
    for backup in gone:
        terminal.say(f"{backup.id}: {_holds(backup)}")
    terminal.show(f"{len(gone)} backup(s) {'would be' if dry_run else 'were'} taken away.")
    return ExitStatus.DONE


def monitor(
    terminal: Terminal,
    max_age: Annotated[
        timedelta, typer.Option("--max-age", metavar="TIME", parser=span, help="The newest may be this old.")
    ] = "26h",  # type: ignore[assignment]  # Typer parses it
    max_unverified: Annotated[
        timedelta,
        typer.Option("--max-unverified", metavar="TIME", parser=span, help="How long none may have been verified."),
    ] = "7d",  # type: ignore[assignment]
    smallest: Annotated[
        float, typer.Option("--smallest", min=0, max=1, help="Of the size of its forerunners, the newest must have.")
    ] = Limits().smallest,
    dump_dir: Annotated[
        list[Path],
        typer.Option(
            "--dump-dir", metavar="FOLDER", show_default=False,
            help="Watch the dumps in this folder, made elsewhere; may be repeated.",
        ),
    ] = [],  # noqa: B006  (Typer's way to say that there may be none)
    last_snapshot: Annotated[
        datetime | None,
        typer.Option(
            "--last-snapshot", metavar="TIME", parser=moment, show_default=False,
            help="When the provider made its last snapshot, such as 2026-01-31T04:00:00Z.",
        ),
    ] = None,
    free_space: options.FreeSpace = None,
) -> ExitStatus:  # fmt: skip
    """For cron: exit 1, a line for each finding on standard error, and a JSON document, where backups are too old, too
    small, unverified for too long, or about to fill the disk."""
    chosen = MonitorOptions(
        limits=Limits(max_age=max_age, max_unverified=max_unverified, smallest=smallest),
        dump_folders=tuple(dump_dir), last_snapshot=last_snapshot, free_space=free_space,
    )  # fmt: skip
    with target(terminal) as database:
        seen = run_monitor(database, chosen)
    terminal.answer(monitor=seen)
    if not seen.findings:
        terminal.show(f"Backups are in order; the newest is {seen.newest}.")
        return ExitStatus.DONE
    for finding in seen.findings:
        terminal.warn(f"{finding.message}. {finding.remedy}")
    # Whoever reads cron's mail gets both.
    terminal.settings = replace(terminal.settings, json=True)
    return ExitStatus.FINDINGS


def _brief(backup: Backup) -> dict[str, object]:
    """A backup for --json, without the tables' columns."""
    return {
        "id": backup.id, "kind": backup.kind, "reason": backup.reason, "run": backup.run, "rows": backup.rows,
        "bytes": backup.bytes, "started_at": backup.started_at, "finished_at": backup.finished_at,
        "verified_at": backup.verified_at, "problem": backup.problem, "folder": backup.folder,
        "tables": {str(copy.table): copy.rows for copy in backup.tables},
    }  # fmt: skip


def _holds(backup: Backup) -> str:
    tables = f"{len(backup.tables)} table{'' if len(backup.tables) == 1 else 's'}"
    return f"{backup.kind}, {tables}, {backup.rows:,} rows, {readable(backup.bytes)}"


def _when(time: datetime | None) -> str:
    return "" if time is None else time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
