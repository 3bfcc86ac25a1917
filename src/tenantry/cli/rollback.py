"""tenantry rollback."""

from __future__ import annotations

from typing import Annotated

import typer

from tenantry.cli import options
from tenantry.cli.frame import target
from tenantry.cli.outline import show_outline
from tenantry.cli.progress import watching
from tenantry.cli.summary import show_result
from tenantry.cli.terminal import Terminal
from tenantry.cli.watched import watched
from tenantry.errors import ExitStatus, Refused, TenantryError, UsageError
from tenantry.reports.document import error_document
from tenantry.workflow import Outline, RollbackOptions, preview_rollback
from tenantry.workflow import rollback as run_rollback


def rollback(
    terminal: Terminal,
    confirm: Annotated[
        bool,
        typer.Option("--confirm", help="Take everything away that tenantry made: the schema is what it was."),
    ] = False,
    preserve_data: Annotated[
        bool,
        typer.Option("--preserve-data", help="Keep the tenant columns with their values; take the rest away."),
    ] = False,
    dry_run: options.DryRun = False,
    lock_timeout: options.LockTimeout = None,
    lock_budget: options.LockBudget = None,
    detailed: options.Detailed = False,
) -> ExitStatus:
    """Take away what tenantry made, from wherever the database is; it needs no spec, the journal knows.

    Without --confirm or --preserve-data it shows what it would do, and exits 4.
    """
    if confirm and preserve_data:
        raise UsageError("--confirm and --preserve-data are two ways back", remedy="Give one of them.")
    if dry_run or not (confirm or preserve_data):
        with target(terminal) as database:
            _preview(terminal, *preview_rollback(database, preserve_data=preserve_data), dry_run=dry_run)
        return ExitStatus.DONE
    chosen = RollbackOptions(preserve_data=preserve_data)
    chosen = RollbackOptions(
        preserve_data=preserve_data, lock_timeout=lock_timeout or chosen.lock_timeout,
        lock_budget=lock_budget or chosen.lock_budget,
    )  # fmt: skip
    with watched(terminal, watching(terminal, detailed=detailed)) as watcher, target(terminal) as database:
        result = run_rollback(database, chosen, watcher)
    show_result(terminal, result)
    return result.exit_status


def _preview(terminal: Terminal, outline: Outline, refusal: TenantryError | None, *, dry_run: bool) -> None:
    show_outline(terminal, outline)
    terminal.answer(dry_run=True, refusal=None if refusal is None else error_document(refusal))
    if refusal is not None:
        terminal.say("As things stand, rollback would refuse:", style="bold yellow")
        terminal.say(refusal.message)
    if not outline.steps or dry_run:
        terminal.say("Nothing was changed.")
        return
    raise Refused(
        "Nothing was changed: a rollback has to be asked for",
        remedy="Run it with --confirm to take all of this away, or with --preserve-data to keep the tenant columns.",
    )
