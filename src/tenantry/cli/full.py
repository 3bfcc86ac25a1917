"""tenantry full."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

from tenantry.backups.create import BackupOptions
from tenantry.cli import options
from tenantry.cli.fixing import ApplicationDsn, FixIssues, show_corrections
from tenantry.cli.migrate import (
    Concurrently,
    Force,
    Prepare,
    Until,
    Workers,
    prepared,
    show_preview,
    while_writers_go_on,
)
from tenantry.cli.observed import watched
from tenantry.cli.progress import watching
from tenantry.cli.runner import target
from tenantry.cli.terminal import Terminal
from tenantry.cli.validate import Detailed, Samples, Tables
from tenantry.cli.verdict import show_findings
from tenantry.commands.fixes import FixOptions
from tenantry.commands.full import Full, FullOptions, preview_full
from tenantry.commands.full import full as run_full
from tenantry.commands.inspection import SAMPLES, InspectionOptions
from tenantry.commands.plan import preview as run_preview
from tenantry.errors import ExitStatus
from tenantry.execution.prospect import MigrateOptions
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.model.wording import duration
from tenantry.postgres.connect import Target, resolve_target


def full(
    terminal: Terminal, until: Until = Phase.ISOLATE, prepare: Prepare = False,
    concurrently: Concurrently = False, dry_run: options.DryRun = False,
    force: Force = False, workers: Workers = 2, backup: options.Backup = None, dump_dir: options.DumpDir = None,
    free_space: options.FreeSpace = None, lock_timeout: options.LockTimeout = None,
    lock_budget: options.LockBudget = None, tables: Tables = None, samples: Samples = SAMPLES,
    detailed: Detailed = False, fix_issues: FixIssues = False, application_dsn: ApplicationDsn = None,
) -> ExitStatus:  # fmt: skip
    """Migrate, validate and verify: one run, one report, one verdict.

    After an interruption or a failure, run it again. --table and --samples apply to the checks. Steps that are applied
    are skipped.
    """
    migrating = MigrateOptions(
        until=until, prepare=prepared(until, prepare),
        concurrently=while_writers_go_on(until, concurrently, prepare=prepare), force=force, workers=workers,
        free_space=free_space,
        lock_timeout=lock_timeout, lock_budget=lock_budget, backup=backup, dump_folder=dump_dir,
    )  # fmt: skip
    spec = terminal.spec()
    saved = BackupOptions(kind=backup, free_space=free_space, workers=workers).of(spec, dump_dir)
    fixing = FixOptions(force=force, lock_timeout=lock_timeout, backup=saved) if fix_issues else None
    looking = InspectionOptions(tables=tuple(tables or ()), samples=samples, detailed=detailed)
    chosen = FullOptions(migrate=migrating, inspection=looking, fix=fixing)
    if dry_run:
        with target(terminal) as database:
            return _show_dry(terminal, database, spec, chosen, detailed=detailed)
    with (
        watched(terminal, watching(terminal, detailed=detailed)) as observer,
        target(terminal) as database,
        resolve_target(application_dsn) if application_dsn else nullcontext() as application,
    ):
        chosen = replace(chosen, inspection=replace(looking, application=application))
        done = run_full(database, spec, chosen, observer)
    _show(terminal, done, detailed=detailed, fixed=fix_issues)
    return done.exit_status


def _show_dry(terminal: Terminal, database: Target, spec: Spec, chosen: FullOptions, *, detailed: bool) -> ExitStatus:
    status = show_preview(terminal, run_preview(database, spec, chosen.migrate), detailed=detailed)
    if chosen.fix is not None:
        terminal.say("Of the findings at present:", style="bold")
        show_corrections(terminal, preview_full(database, spec, chosen).corrections, dry_run=True)
    return status


def _show(terminal: Terminal, done: Full, *, detailed: bool, fixed: bool) -> None:
    terminal.say()
    if fixed:
        show_corrections(terminal, done.corrections, dry_run=False)
    for verdict in (done.validation, done.verification):
        show_findings(terminal, verdict, detailed=detailed)
    terminal.answer(
        run=done.run, outcome=done.outcome, next_step=done.next_step, migrate=done.migration,
        validate=done.validation, verify=done.verification,
    )  # fmt: skip
    clean = done.exit_status is ExitStatus.DONE
    parts = (("migrate ", done.migration), ("validate", done.validation), ("verify  ", done.verification))
    for name, part in parts:
        mark, style = ("✓", "green") if part.exit_status is ExitStatus.DONE else ("✗", "red")
        terminal.item(f"{mark} {name}  ", f"{part.outcome} ({duration(part.seconds)}).", style=style, always=True)
    word, style = ("Done: ", "bold green") if clean else ("Found: ", "bold red")
    summary = "migrated, and nothing was found wrong" if clean else "migrated, with findings"
    terminal.item(word, summary + ".", style=style, always=True)
    terminal.item("Next: ", done.next_step, style="cyan")
    if terminal.log.written:
        terminal.log.write("done", full=done)
    terminal.files()
