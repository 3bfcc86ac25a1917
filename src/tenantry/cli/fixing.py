"""The options and the output that validate and verify share: to check, and to correct with --fix-issues."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from tenantry.backups.create import BackupOptions
from tenantry.checks.fixes.corrections import TableCorrection
from tenantry.checks.verdict import Families
from tenantry.cli.annotations import show_annotations
from tenantry.cli.observed import watched
from tenantry.cli.progress import watching
from tenantry.cli.render_plan import show_backup
from tenantry.cli.runner import target
from tenantry.cli.terminal import Terminal
from tenantry.cli.verdict import show_verdict
from tenantry.commands.fixes import Fixed, FixOptions, fix_issues, preview_fixes
from tenantry.commands.inspection import InspectionOptions
from tenantry.errors import ExitStatus, UsageError
from tenantry.execution.events import Observer, ignore
from tenantry.model.backup import BackupKind
from tenantry.model.spec import Spec
from tenantry.model.verdict import Verdict
from tenantry.model.wording import counted
from tenantry.postgres.connect import Target, resolve_target
from tenantry.reports.text import visible

FixIssues = Annotated[
    bool,
    typer.Option("--fix-issues", help="Correct what can be corrected safely; `tenantry fixes undo` restores it."),
]
Force = Annotated[
    bool,
    typer.Option("--force", help="With --fix-issues: also where your own triggers fire, which may write elsewhere."),
]
ApplicationDsn = Annotated[
    str | None,
    typer.Option(
        "--application-dsn", metavar="DSN", show_default=False,
        help="Connect as this user to test what a tenant can do to others; by default SET ROLE is used.",
    ),
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectionRequest:
    """What to check, and whether to correct what is found."""

    command: str
    families: Families
    run: Callable[[Target, Spec, InspectionOptions, Observer], Verdict]
    next_step: str
    fix: bool
    dry_run: bool
    force: bool
    backup: BackupKind | None = None
    dump_folder: Path | None = None
    free_space: int | None = None
    application: str | None = None
    """Parses a DSN. Raises typer.BadParameter."""


def inspected(
    terminal: Terminal,
    request: InspectionRequest,
    tables: tuple[str, ...],
    samples: int,
    *,
    detailed: bool,
    ci: bool = False,
) -> ExitStatus:
    """Check, and correct; show what was found, what was corrected, and what remains; with `ci` one line each."""
    for name, given in (
        ("--dry-run", request.dry_run), ("--force", request.force), ("--backup", request.backup),
        ("--dump-dir", request.dump_folder), ("--free-space", request.free_space),
    ):  # fmt: skip
        if given and not request.fix:
            raise UsageError(f"{name} needs --fix-issues", remedy="Add --fix-issues.")
    spec = terminal.spec()
    with (
        watched(terminal, ignore if ci else watching(terminal, brief=True)) as observer,
        target(terminal) as database,
        resolve_target(request.application) if request.application else nullcontext() as application,
    ):
        options = InspectionOptions(tables=tables, samples=samples, detailed=detailed, application=application)
        if not request.fix:
            verdict, fixed = request.run(database, spec, options, observer), None
        else:
            fixed = _fix(database, spec, request, options, observer)
            verdict = fixed.verdict
    if fixed is not None:
        if request.dry_run:
            show_backup(terminal, fixed.backup)
        show_corrections(terminal, fixed.corrections, dry_run=request.dry_run)
    if ci:
        show_annotations(terminal, verdict)
    else:
        show_verdict(terminal, verdict, detailed=detailed)
    if request.dry_run:
        terminal.say("Nothing was changed.")
        return ExitStatus.DONE
    return verdict.exit_status


def _fix(
    database: Target, spec: Spec, request: InspectionRequest, options: InspectionOptions, observer: Observer
) -> Fixed:
    backup = BackupOptions(kind=request.backup, free_space=request.free_space).of(spec, request.dump_folder)
    fixing = FixOptions(force=request.force, backup=backup)
    if request.dry_run:
        return preview_fixes(database, spec, request.families, options, fixing, observer, command=request.command)
    return fix_issues(
        database,
        spec,
        request.families,
        options,
        fixing,
        observer,
        command=request.command,
        next_step=request.next_step,
    )


def show_corrections(terminal: Terminal, corrections: Sequence[TableCorrection], *, dry_run: bool) -> None:
    """What was corrected, or would be in a dry run, and by which statement."""
    terminal.answer(dry_run=dry_run, fixes=corrections)
    if not corrections:
        terminal.say("Nothing can be fixed safely.")
    for one in corrections:
        _headline(terminal, one, dry_run=dry_run)
        if dry_run:
            terminal.item(" " * 9, visible(" ".join(one.statement.split())), body_style="dim")
        for refusal in one.refusals:
            terminal.item(" " * 9, f"not fixed: {visible(refusal)}", body_style="yellow")
    terminal.say()


def _headline(terminal: Terminal, one: TableCorrection, *, dry_run: bool) -> None:
    rows = counted(one.rows, "row")
    done = f"{rows} to fix" if dry_run else f"{one.fixed:,} of {rows} fixed"
    if not one.rows:
        done = "rows that are wrong once the rows that they get their tenant from are fixed"
    style = "cyan" if dry_run or one.fixed else "yellow"
    what = Text.assemble(f"{one.table}: {one.name}, {done}", (f" ({visible(one.why)})", "dim"))
    terminal.item("fix      ", what, style=style)
