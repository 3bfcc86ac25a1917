"""tenantry fixes."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer
from rich.text import Text

from tenantry.backups.create import BackupOptions
from tenantry.cli import options
from tenantry.cli.observed import watched
from tenantry.cli.progress import watching
from tenantry.cli.render_plan import show_backup
from tenantry.cli.runner import target
from tenantry.cli.terminal import Terminal
from tenantry.commands.undo import Undone, list_fixes, undo_fixes
from tenantry.errors import ExitStatus
from tenantry.model.wording import counted
from tenantry.reports.text import visible


def list_(terminal: Terminal) -> ExitStatus:
    """List what --fix-issues has corrected, and how much of it was undone."""
    with target(terminal) as database:
        found = list_fixes(database)
    terminal.answer(fixes=found)
    if not found:
        terminal.show("Nothing was fixed in this database.")
        return ExitStatus.DONE
    for one in found:
        rows = counted(one.rows, "row")
        back = f", {'all' if one.undone == one.rows else f'{one.undone:,}'} put back" if one.undone else ""
        terminal.show(Text.assemble((one.run, "bold"), f"  {one.table}: {one.name}, {rows}{back}"))
    terminal.say(
        Text.assemble(("Next: ", "cyan"), "`tenantry fixes undo RUN` restores the rows of a run."),
    )
    return ExitStatus.DONE


def undo(
    terminal: Terminal,
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run whose fixes are undone.")],
    dry_run: options.DryRun = False,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite changes that were made to these rows since.")
    ] = False,
    backup: options.Backup = None,
    dump_dir: options.DumpDir = None,
    free_space: options.FreeSpace = None,
    lock_timeout: options.LockTimeout = None,
    lock_budget: options.LockBudget = None,
) -> ExitStatus:
    """Restore every value that a run with --fix-issues has changed.

    If rows were changed since, they are listed, nothing is restored, and it exits 4.
    """
    saved = BackupOptions(kind=backup, free_space=free_space)
    saved = replace(saved, folder=dump_dir or saved.folder)
    with watched(terminal, watching(terminal, brief=True)) as observer, target(terminal) as database:
        found = undo_fixes(
            database, run, force=force, dry_run=dry_run, observer=observer, lock_timeout=lock_timeout or 2.0,
            patience=lock_budget or 600.0, backup=saved,
        )  # fmt: skip
    terminal.answer(dry_run=dry_run, run=found.run, undone=found)
    if dry_run:
        _preview(terminal, found)
    elif found.left == 0:
        terminal.show(f"The fixes of {found.undone} have been undone already.")
    else:
        terminal.show(f"{counted(found.rows, 'row')} restored to before {found.undone}.")
        for line in found.changed:
            terminal.say(Text(f"  overwritten: {visible(line)}", style="yellow"))
    return ExitStatus.DONE


def _preview(terminal: Terminal, found: Undone) -> None:
    show_backup(terminal, found.backup)
    for statement in found.statements:
        terminal.show(f"{statement};")
    terminal.show(f"{counted(found.left, 'row')} to restore, {found.conflicts:,} of them changed since.")
    for line in found.changed:
        terminal.say(Text(f"  {visible(line)}", style="yellow"))
    terminal.say("Nothing was changed.")
