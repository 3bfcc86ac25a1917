"""tenantry rollback."""

from __future__ import annotations

from typing import Annotated

import typer

from tenantry.cli import options
from tenantry.cli.observed import watched
from tenantry.cli.progress import watching
from tenantry.cli.render_plan import listed, refusal_document, show_steps
from tenantry.cli.runner import target
from tenantry.cli.summary import show_result
from tenantry.cli.terminal import Terminal
from tenantry.commands.plan import Preview, preview_rollback
from tenantry.commands.rollback import RollbackOptions
from tenantry.commands.rollback import rollback as run_rollback
from tenantry.errors import ExitStatus, Refused, UsageError

ASKING = "Run it with --confirm to undo all of this, or with --preserve-data to keep the tenant columns."


def rollback(
    terminal: Terminal,
    confirm: Annotated[
        bool,
        typer.Option("--confirm", help="Undo everything: the schema is as before the migration."),
    ] = False,
    preserve_data: Annotated[
        bool,
        typer.Option("--preserve-data", help="Keep the tenant columns with their values; undo the rest."),
    ] = False,
    table: Annotated[
        list[str],
        typer.Option(
            "--table",
            metavar="TABLE",
            show_default=False,
            help="Only this table and what depends on it, which is listed first; may be repeated.",
        ),
    ] = [],  # noqa: B006  (Typer's way to say that there may be none)
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Continue past refusals, and past steps that cannot be undone; exit 1 lists those."
        ),
    ] = False,
    backup: options.Backup = None,
    dump_dir: options.DumpDir = None,
    free_space: options.FreeSpace = None,
    dry_run: options.DryRun = False,
    lock_timeout: options.LockTimeout = None,
    lock_budget: options.LockBudget = None,
    detailed: options.Detailed = False,
) -> ExitStatus:
    """Undo what tenantry has applied, from whatever state the database is in.

    Without --confirm or --preserve-data it shows what it would do, and exits 4. It reads the journal, and needs no
    spec. What others have built on tenantry's objects, or changed in them, is listed and refused; no object of others
    is ever dropped.
    """
    if confirm and preserve_data:
        raise UsageError("--confirm and --preserve-data exclude each other", remedy="Omit one of them.")
    default = RollbackOptions()
    chosen = RollbackOptions(
        preserve_data=preserve_data, tables=tuple(table), force=force,
        backup=backup, dump_folder=dump_dir or default.dump_folder, free_space=free_space,
        lock_timeout=lock_timeout or default.lock_timeout, lock_budget=lock_budget or default.lock_budget,
    )  # fmt: skip
    if dry_run or not (confirm or preserve_data):
        with target(terminal) as database:
            return _preview(terminal, preview_rollback(database, chosen), dry_run=dry_run, detailed=detailed)
    with watched(terminal, watching(terminal, detailed=detailed)) as observer, target(terminal) as database:
        result = run_rollback(database, chosen, observer)
    show_result(terminal, result)
    return result.exit_status


def _preview(terminal: Terminal, preview: Preview, *, dry_run: bool, detailed: bool) -> ExitStatus:
    outline = preview.outline
    show_steps(
        terminal, "rollback", outline, detailed=detailed, backup=preview.backup, findings=preview.findings,
        refusal=preview.refusal, next_step=ASKING if outline.steps else "nothing: tenantry has applied no step here.",
    )  # fmt: skip
    terminal.answer(
        dry_run=True, tables=outline.tables, others=outline.others, findings=preview.findings,
        refusal=refusal_document(preview.refusal), backup=preview.backup,
    )  # fmt: skip
    if outline.tables:
        terminal.say(f"Tables that are rolled back: {listed(outline.tables)}.")
    if outline.others:
        terminal.say(f"Tables that lose their references to them: {listed(outline.others)}.")
    if not outline.steps or dry_run:
        terminal.say("Nothing was changed.")
        return preview.exit_status
    raise Refused(
        "Nothing was changed: a rollback needs --confirm or --preserve-data",
        remedy=ASKING,
    )
