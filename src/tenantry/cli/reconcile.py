"""tenantry balances reconcile."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from tenantry.balances.reconcile_ledger import SCRUB_DAYS, LedgerReconciled, ReconcileOptions
from tenantry.cli.balances import Ledger
from tenantry.cli.observed import watched
from tenantry.cli.progress import watching
from tenantry.cli.runner import target
from tenantry.cli.terminal import Terminal
from tenantry.commands.reconcile import reconcile_balances
from tenantry.errors import ExitStatus
from tenantry.model.wording import counted


def reconcile(
    terminal: Terminal, ledger: Ledger = None,
    full: Annotated[bool, typer.Option("--full", help="Compare all keys, not only those touched since.")] = False,
    scrub_days: Annotated[
        float,
        typer.Option(
            "--scrub-days", metavar="DAYS", min=0.01,
            help="Also compare a part of the other keys in each run, so that all are compared within this many days.",
        ),
    ] = SCRUB_DAYS,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Compare, show differences, and change nothing.")] = False,
) -> ExitStatus:  # fmt: skip
    """Compare ledgers and balances exactly, in one snapshot, while the application goes on writing; for cron.

    Differences below the spec's threshold are corrected, up to total_limit for each key; others are put under review.
    Exits 1 while reviews are open, and if balances could not be compared because they are stale.
    """
    chosen = ReconcileOptions(ledger=ledger, full=full, scrub_days=scrub_days, dry_run=dry_run)
    spec = terminal.spec()
    with watched(terminal, watching(terminal, brief=True)) as observer, target(terminal) as database:
        result = reconcile_balances(database, spec, chosen, observer)
    terminal.answer(
        run=result.run, outcome=result.outcome, next_step=result.next_step, dry_run=dry_run, ledgers=result.ledgers,
        open=sum(one.result.open for one in result.ledgers if one.result is not None),
    )  # fmt: skip
    for one in result.ledgers:
        _show(terminal, one, dry_run=dry_run)
    if dry_run:
        terminal.say("Nothing was changed.")
    if result.next_step:
        terminal.say(Text.assemble(("Next: ", "cyan"), result.next_step))
    return result.exit_status


def _show(terminal: Terminal, one: LedgerReconciled, *, dry_run: bool) -> None:
    if one.result is None:
        terminal.show(Text.assemble((f"{one.table}: ", "bold"), (f"not compared: {one.refused}", "yellow")))
        return
    found = one.result
    what = f"all ({found.reason})" if found.reason else "those touched since, and the scrub's part"
    style, would = "red" if found.open else "green", "to be " if dry_run else ""
    terminal.show(
        Text.assemble(
            (f"{one.table}: ", "bold"),
            f"{counted(found.compared, 'key')} compared: {what}; {found.corrected} {would}corrected, {found.reviews}"
            f" {would}put under review, ",
            (f"{counted(found.open, 'review')} open", style), f", in {one.seconds:.2f} s",
        )
    )  # fmt: skip
