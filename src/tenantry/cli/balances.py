"""tenantry balances install, backfill, validate, compact, empty, remove."""

from __future__ import annotations

import re
from typing import Annotated

import typer
from rich.text import Text

from tenantry.backups.create import BackupOptions
from tenantry.balances.inspection import Line
from tenantry.cli import options
from tenantry.cli.observed import watched
from tenantry.cli.progress import watching
from tenantry.cli.render_plan import show_backup, show_outline
from tenantry.cli.runner import target
from tenantry.cli.summary import show_result
from tenantry.cli.terminal import Terminal
from tenantry.commands.balances import (
    BalancesOptions,
    backfill_balances,
    compact_balances,
    install_balances,
    preview_install,
    validate_balances,
)
from tenantry.commands.balances_removal import empty_ledger, preview_empty, preview_remove, remove_balances
from tenantry.errors import ExitStatus, Refused
from tenantry.model.wording import counted

SAMPLES = 5
Ledger = Annotated[
    str | None,
    typer.Option("--ledger", metavar="TABLE", show_default=False, help="One of the spec's ledgers; by default all."),
]


def _slots(text: str) -> int:
    match = re.fullmatch(r"(?:slots=)?(\d{1,4})", text.strip())
    if match is None or int(match.group(1)) > 1000:
        raise typer.BadParameter(f"{text!r} is not a number of slots from 0 to 1000; write slots=8")
    return int(match.group(1))


HotKeys = Annotated[
    int | None,
    typer.Option(
        "--hot-keys", metavar="slots=N", parser=_slots, show_default=False,
        help="Spread each key over N rows, which the view adds up, so that writers do not wait for each other; 0 for"
        " one row for each key. By default the spec's hot_keys.",
    ),
]  # fmt: skip
Workers = Annotated[int, typer.Option("--workers", min=1, max=64, metavar="N", help="Sessions that correct balances.")]
Force = Annotated[bool, typer.Option("--force", help="Go on without a backup, with --backup none.")]
Confirm = Annotated[bool, typer.Option("--confirm", help="Do it; without this option it is only shown.")]


def install(
    terminal: Terminal, ledger: Ledger = None, hot_keys: HotKeys = None, dry_run: options.DryRun = False,
    lock_timeout: options.LockTimeout = None, lock_budget: options.LockBudget = None,
    detailed: options.Detailed = False,
) -> ExitStatus:  # fmt: skip
    """Install balances for the spec's ledgers: tables, functions, triggers, and the views that readers query.

    What exists already is kept. The balances are stale until `balances backfill` has added the earlier movements.
    """
    chosen = BalancesOptions(ledger=ledger, slots=hot_keys, lock_timeout=lock_timeout, lock_budget=lock_budget)
    spec = terminal.spec()
    if dry_run:
        with target(terminal) as database:
            show_outline(terminal, preview_install(database, spec, chosen))
        terminal.answer(dry_run=True)
        terminal.say("Nothing was changed.")
        return ExitStatus.DONE
    with watched(terminal, watching(terminal, detailed=detailed)) as observer, target(terminal) as database:
        result = install_balances(database, spec, chosen, observer)
    show_result(terminal, result)
    return result.exit_status


def backfill(
    terminal: Terminal, ledger: Ledger = None, workers: Workers = 2, lock_budget: options.LockBudget = None
) -> ExitStatus:
    """Set the balances to the exact sums of their ledgers, while the application goes on writing.

    It can be interrupted, killed and run again at any time; balances that are right are not changed.
    """
    chosen = BalancesOptions(ledger=ledger, workers=workers, lock_budget=lock_budget)
    spec = terminal.spec()
    with watched(terminal, watching(terminal)) as observer, target(terminal) as database:
        result = backfill_balances(database, spec, chosen, observer)
    show_result(terminal, result)
    return result.exit_status


def validate(terminal: Terminal, ledger: Ledger = None) -> ExitStatus:
    """Check that all objects exist and that every balance equals its ledger, in one snapshot; exit 1 if not."""
    spec = terminal.spec()
    with watched(terminal, watching(terminal, brief=True)) as observer, target(terminal) as database:
        lines = validate_balances(database, spec, BalancesOptions(ledger=ledger), observer)
    failed = [line for line in lines if not line.holds]
    terminal.answer(lines=lines, failed=len(failed))
    tables = dict.fromkeys(line.table for line in lines)
    for table in tables:
        terminal.show(Text(str(table), style="bold"))
        for line in lines:
            if line.table == table:
                _show(terminal, line)
    if failed:
        terminal.show(f"{len(failed)} of {len(lines)} checks failed.", style="red")
        return ExitStatus.FINDINGS
    terminal.show(f"All {len(lines)} checks passed.", style="green")
    return ExitStatus.DONE


def _show(terminal: Terminal, line: Line) -> None:
    mark, style = ("✓", "green") if line.holds else ("✗", "red")
    terminal.show(Text.assemble((f"  {mark} ", style), line.message))
    for difference in line.differences[:SAMPLES]:
        key = ", ".join(f"{name} {'NULL' if value is None else value}" for name, value in difference.key.items())
        terminal.show(Text(f"      {key}: {difference.quantity:+} in {difference.movements:+} movements", style="dim"))
    if line.remedy:
        terminal.show(Text(f"      {line.remedy}", style="dim"))


def compact(terminal: Terminal, ledger: Ledger = None) -> ExitStatus:
    """Merge the slots of hot keys without movements in the last minute into one row for each key; for cron."""
    with target(terminal) as database:
        folded = compact_balances(database, terminal.spec(), BalancesOptions(ledger=ledger))
    terminal.answer(folded=folded)
    for table, rows in folded.items():
        terminal.show(f"{table}: {counted(rows, 'row')} folded.")
    return ExitStatus.DONE


def empty(
    terminal: Terminal, ledger: Ledger = None, confirm: Confirm = False, dry_run: options.DryRun = False,
    backup: options.Backup = None, dump_dir: options.DumpDir = None, free_space: options.FreeSpace = None,
    force: Force = False, lock_timeout: options.LockTimeout = None, lock_budget: options.LockBudget = None,
) -> ExitStatus:  # fmt: skip
    """TRUNCATE a ledger together with its balances, which the triggers otherwise refuse.

    All movements are deleted; a backup is made first. Without --confirm it shows the statement, and exits 4.
    """
    spec = terminal.spec()
    saved = BackupOptions(kind=backup, free_space=free_space, force=force).of(spec, dump_dir)
    chosen = BalancesOptions(ledger=ledger, lock_timeout=lock_timeout, lock_budget=lock_budget, backup=saved)
    with target(terminal) as database:
        if confirm and not dry_run:
            with watched(terminal, watching(terminal)) as observer:
                statement = empty_ledger(database, spec, chosen, observer)
        else:
            statement, foreseen = preview_empty(database, spec, chosen)
            show_backup(terminal, foreseen, alone=True)
    terminal.answer(statement=statement.text, dry_run=dry_run or not confirm)
    terminal.show(statement.text)
    if dry_run:
        terminal.say("Nothing was changed.")
    elif not confirm:
        raise Refused("Nothing was changed: emptying a ledger needs --confirm", remedy="Run it with --confirm.")
    return ExitStatus.DONE


def remove(
    terminal: Terminal, ledger: Ledger = None, confirm: Confirm = False, dry_run: options.DryRun = False,
    lock_timeout: options.LockTimeout = None, lock_budget: options.LockBudget = None,
    detailed: options.Detailed = False,
) -> ExitStatus:  # fmt: skip
    """Remove the balances: triggers, functions, views and tables; the ledgers are not changed.

    Without --confirm it shows what it would do, and exits 4.
    """
    chosen = BalancesOptions(ledger=ledger, lock_timeout=lock_timeout, lock_budget=lock_budget)
    spec = terminal.spec()
    if dry_run or not confirm:
        with target(terminal) as database:
            outline = preview_remove(database, spec, chosen)
        show_outline(terminal, outline)
        terminal.answer(dry_run=True)
        if dry_run or not outline.steps:
            terminal.say("Nothing was changed.")
            return ExitStatus.DONE
        raise Refused("Nothing was changed: removing balances needs --confirm", remedy="Run it with --confirm.")
    with watched(terminal, watching(terminal, detailed=detailed)) as observer, target(terminal) as database:
        result = remove_balances(database, spec, chosen, observer)
    show_result(terminal, result)
    return result.exit_status
