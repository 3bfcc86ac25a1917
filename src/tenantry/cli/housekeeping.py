"""tenantry housekeeping."""

from __future__ import annotations

from typing import Annotated

import typer

from tenantry.cli import options
from tenantry.cli.frame import target
from tenantry.cli.terminal import Terminal
from tenantry.errors import ExitStatus
from tenantry.workflow import Household, household
from tenantry.workflow import purge as run_purge


def housekeeping(
    terminal: Terminal,
    purge: Annotated[bool, typer.Option("--purge", help="Drop the schema tenantry with the journal.")] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="With --purge: even where the migration is in force, which then can never be rolled back.",
        ),
    ] = False,
    dry_run: options.DryRun = False,
) -> ExitStatus:
    """Show what tenantry keeps in the schema tenantry of this database, or take it away."""
    with target(terminal) as database:
        if not purge:
            held, statements = household(database), tuple[str, ...]()
        else:
            held, statements = run_purge(database, force=force, dry_run=dry_run)
    terminal.answer(held=held, purged=purge and not dry_run, statements=statements)
    if purge and not dry_run:
        terminal.show("The schema tenantry is gone." if not held.steps else "The journal is gone; the migration stays.")
        for folder in held.dumps:
            terminal.show(f"A dump stays in {folder}.")
        return ExitStatus.DONE
    terminal.show(_holdings(held))
    for statement in statements:
        terminal.show(f"  {statement}")
    return ExitStatus.DONE


def _holdings(held: Household) -> str:
    if not held.installed:
        return "tenantry keeps nothing in this database."
    size = f"{held.bytes / (1 << 20):.1f} MB"
    used = f"{len(held.used)} functions in use"
    return (
        f"The schema tenantry: {held.steps} steps in force, {held.runs} runs, {held.backups} backups, {size}, {used}."
    )
