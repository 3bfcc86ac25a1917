"""tenantry housekeeping."""

from __future__ import annotations

from typing import Annotated

import typer

from tenantry.cli import options
from tenantry.cli.observed import watched
from tenantry.cli.runner import target
from tenantry.cli.terminal import Terminal
from tenantry.commands.cleanup import JournalUsage, journal_usage
from tenantry.commands.cleanup import purge as run_purge
from tenantry.commands.housekeeping import CleanupResult, run_housekeeping
from tenantry.errors import ExitStatus, UsageError
from tenantry.execution.events import CommandBegan, CommandEnded, ignore
from tenantry.model.size import readable
from tenantry.model.spec import HousekeepingPart


def housekeeping(
    terminal: Terminal,
    purge: Annotated[bool, typer.Option("--purge", help="Drop the schema tenantry with the journal.")] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="With --purge: also while steps are applied, which can then never be rolled back.",
        ),
    ] = False,
    dry_run: options.DryRun = False,
) -> ExitStatus:
    """Archive old logs and reports, remove old backups and old rows of the journal, and list what is kept.

    The ages are set in [housekeeping] of the spec. What a rollback or `fixes undo` needs is only removed by --purge.
    """
    if not purge:
        if force:
            raise UsageError("--force needs --purge", remedy="Omit it, or add --purge.")
        return _keep(terminal, dry_run=dry_run)
    with target(terminal) as database:
        held, statements = run_purge(database, force=force, dry_run=dry_run)
    terminal.answer(held=held, purged=not dry_run, statements=statements)
    if not dry_run:
        terminal.show(
            "The schema tenantry was dropped." if not held.steps else "The journal was dropped; the migration stays."
        )
        for folder in held.dumps:
            terminal.show(f"A dump remains in {folder}.")
        return ExitStatus.DONE
    terminal.show(_holdings(held))
    for statement in statements:
        terminal.show(f"  {statement}")
    return ExitStatus.DONE


def _keep(terminal: Terminal, *, dry_run: bool) -> ExitStatus:
    settings = terminal.settings
    ages = terminal.spec().housekeeping if settings.has_spec else HousekeepingPart()
    with watched(terminal, ignore) as observer, target(terminal) as database:
        observer(CommandBegan("housekeeping", terminal.log.run))
        chores = run_housekeeping(
            database, ages, logs=settings.log_dir, reports=settings.report_dir, dry_run=dry_run, observer=observer
        )
        held = journal_usage(database)
        observer(CommandEnded("; ".join(_chore(chore, dry_run=dry_run) for chore in chores), ""))
    terminal.answer(chores=chores, held=held, dry_run=dry_run)
    terminal.show(_holdings(held))
    for chore in chores:
        terminal.show(_chore(chore, dry_run=dry_run))
        if chore.kept:
            terminal.say(f"    kept: {chore.why}")
        if settings.verbose:
            for name in chore.names:
                terminal.say(f"    {chore.deed}: {name}")
    if dry_run:
        terminal.say("Nothing was changed.")
    return ExitStatus.DONE


def _chore(chore: CleanupResult, *, dry_run: bool) -> str:
    size = f" ({readable(chore.bytes)})" if chore.bytes else ""
    would = "would be " if dry_run and chore.done else ""
    return f"{chore.what}: {chore.done} {would}{chore.deed}{size}, {chore.kept} kept"


def _holdings(held: JournalUsage) -> str:
    if not held.installed:
        return "tenantry keeps nothing in this database."
    size = f"{held.bytes / (1 << 20):.1f} MB"
    used = f"{len(held.used)} functions in use"
    return f"The schema tenantry: {held.steps} steps applied, {held.runs} runs, {held.backups} backups, {size}, {used}."
