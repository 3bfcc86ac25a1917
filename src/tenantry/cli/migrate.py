"""tenantry migrate."""

from __future__ import annotations

from typing import Annotated

import typer

from tenantry.cli import options
from tenantry.cli.observed import watched
from tenantry.cli.progress import watching
from tenantry.cli.render_plan import refusal_document, show_steps
from tenantry.cli.runner import target
from tenantry.cli.summary import show_result
from tenantry.cli.terminal import Terminal
from tenantry.commands.migrate import migrate as run_migrate
from tenantry.commands.plan import Preview
from tenantry.commands.plan import preview as run_preview
from tenantry.errors import ExitStatus, UsageError
from tenantry.execution.prospect import MigrateOptions
from tenantry.model.plan import Phase

Until = Annotated[
    Phase,
    typer.Option(
        "--until", metavar="PHASE", help="Stop after this phase; contract and distribute only run if given here."
    ),
]
Prepare = Annotated[
    bool,
    typer.Option(
        "--prepare", help="With --until distribute: only the steps that plain PostgreSQL can do, none of the engine."
    ),
]
Concurrently = Annotated[
    bool,
    typer.Option("--concurrently", help="With --until distribute: writers of a table go on while it is distributed."),
]
Force = Annotated[
    bool,
    typer.Option(
        "--force", help="Continue past refusals that offer --force; never past undecided tables, orphans or conflicts."
    ),
]
Workers = Annotated[int, typer.Option("--workers", min=1, max=64, metavar="N", help="Sessions that fill a table.")]


def migrate(
    terminal: Terminal,
    until: Until = Phase.ISOLATE,
    prepare: Prepare = False,
    concurrently: Concurrently = False,
    dry_run: options.DryRun = False,
    force: Force = False,
    workers: Workers = 2,
    backup: options.Backup = None,
    dump_dir: options.DumpDir = None,
    free_space: options.FreeSpace = None,
    lock_timeout: options.LockTimeout = None,
    lock_budget: options.LockBudget = None,
    detailed: options.Detailed = False,
) -> ExitStatus:
    """Migrate the database up to a phase, from whatever state it is in.

    Steps that are applied are skipped, so an interrupted run is continued by the same command. Phases: expand,
    backfill, enforce, isolate, contract, distribute. A dry run exits as the run would, with 4 if that would be refused.
    """
    chosen = MigrateOptions(
        until=until, prepare=prepared(until, prepare),
        concurrently=while_writers_go_on(until, concurrently, prepare=prepare), force=force, workers=workers,
        free_space=free_space,
        lock_timeout=lock_timeout, lock_budget=lock_budget, backup=backup, dump_folder=dump_dir,
    )  # fmt: skip
    spec = terminal.spec()
    if dry_run:
        with target(terminal) as database:
            return show_preview(terminal, run_preview(database, spec, chosen), detailed=detailed)
    with watched(terminal, watching(terminal, detailed=detailed)) as observer, target(terminal) as database:
        result = run_migrate(database, spec, chosen, observer)
    show_result(terminal, result)
    return result.exit_status


def prepared(until: Phase, prepare: bool) -> bool:
    """Raises UsageError for --prepare if there is nothing to prepare."""
    if prepare and until is not Phase.DISTRIBUTE:
        raise UsageError(f"--prepare is about the phase distribute, and the run ends after {until}",
                         remedy="Say --until distribute --prepare, or leave --prepare out.")  # fmt: skip
    return prepare


def while_writers_go_on(until: Phase, concurrently: bool, *, prepare: bool) -> bool:
    """Raises UsageError for --concurrently if the run distributes nothing."""
    if concurrently and until is not Phase.DISTRIBUTE:
        raise UsageError(f"--concurrently is about the phase distribute, and the run ends after {until}",
                         remedy="Say --until distribute --concurrently, or leave --concurrently out.")  # fmt: skip
    if concurrently and prepare:
        raise UsageError("--prepare distributes no table, so --concurrently has no effect with it",
                         remedy="Leave out one of the two.")  # fmt: skip
    return concurrently


def show_preview(terminal: Terminal, preview: Preview, *, detailed: bool) -> ExitStatus:
    """Show what migrate would do, and why it would be refused; returns the exit status of the run."""
    pending = preview.outline.steps or preview.outline.reverts
    show_steps(
        terminal, "migrate", preview.outline, detailed=detailed, backup=preview.backup, findings=preview.findings,
        refusal=preview.refusal,
        next_step="run it without --dry-run." if pending else "nothing: every step is applied.",
    )  # fmt: skip
    terminal.answer(
        dry_run=True, findings=preview.findings, refusal=refusal_document(preview.refusal), backup=preview.backup,
    )  # fmt: skip
    terminal.say("Nothing was changed.")
    return preview.exit_status
