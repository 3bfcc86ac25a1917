"""tenantry balances review list, accept, reject."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.text import Text

from tenantry.balances.reconcile_ledger import described
from tenantry.balances.reviews import Review
from tenantry.cli.balances import Ledger
from tenantry.cli.observed import watched
from tenantry.cli.progress import watching
from tenantry.cli.runner import target
from tenantry.cli.terminal import Terminal
from tenantry.commands.reviews import ReviewDecision, decide_reviews, list_reviews
from tenantry.errors import ExitStatus, UsageError
from tenantry.model.wording import counted

MOVEMENTS = 5
Ids = Annotated[list[int] | None, typer.Argument(metavar="ID…", help="Numbers of reviews.", show_default=False)]
All = Annotated[bool, typer.Option("--all", help="All open reviews.")]
By = Annotated[
    str | None,
    typer.Option("--by", metavar="NAME", show_default=False, help="Who decides; by default the account's name."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what it would do, and change nothing.")]


def list_(
    terminal: Terminal, ledger: Ledger = None,
    everything: Annotated[bool, typer.Option("--all", help="Also those that were decided.")] = False,
) -> ExitStatus:  # fmt: skip
    """List the differences that are too large to be corrected automatically; exits 1 while some are open.

    For each, the sums of ledger and balance, the movements since both were equal, and who decided.
    """
    with target(terminal) as database:
        found = list_reviews(database, terminal.spec(), ledger=ledger, everything=everything)
    opened = sum(review.state == "open" for review in found)
    terminal.answer(reviews=found, open=opened)
    for review in found:
        for head, line in _lines(review):
            terminal.item(head, line, always=True)
    if opened:
        terminal.say(
            Text.assemble(
                ("Next: ", "cyan"), "`tenantry balances review accept ID` sets the balance to the ledger;"
                " `reject ID --note WHY` keeps it.",
            )
        )  # fmt: skip
        return ExitStatus.FINDINGS
    terminal.show("No review is open.", style="green")
    return ExitStatus.DONE


def accept(
    terminal: Terminal, ids: Ids = None, everything: All = False, ledger: Ledger = None,
    note: Annotated[str | None, typer.Option("--note", metavar="TEXT", help="Why.", show_default=False)] = None,
    by: By = None, dry_run: DryRun = False,
) -> ExitStatus:  # fmt: skip
    """Accept the ledger's sum: set the balance to it, exactly, while the application goes on writing.

    Refused with exit status 4 if the difference has changed since it was found: it must be checked again.
    """
    _decide(terminal, ids or [], everything, ledger, ReviewDecision(accept=True, by=_name(by), note=note), dry_run)
    return ExitStatus.DONE


def reject(
    terminal: Terminal,
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="Why the balance is kept.", show_default=False)],
    ids: Ids = None, everything: All = False, ledger: Ledger = None, by: By = None, dry_run: DryRun = False,
) -> ExitStatus:  # fmt: skip
    """Reject the ledger's sum: keep the balance, and remember the difference as intended.

    Later reconciliations report the key again only if its difference changes. A backfill ends this: it sets every
    balance to the sum of its ledger.
    """
    if not note.strip():
        raise UsageError("--note is empty", remedy="Say why the balance is kept.")
    _decide(terminal, ids or [], everything, ledger, ReviewDecision(accept=False, by=_name(by), note=note), dry_run)
    return ExitStatus.DONE


def _decide(
    terminal: Terminal, ids: list[int], everything: bool, ledger: str | None, decision: ReviewDecision, dry_run: bool
) -> None:
    if bool(ids) == everything:
        raise UsageError(
            "No review was given", remedy="Give numbers that `tenantry balances review list` lists, or --all."
        )
    spec = terminal.spec()
    with watched(terminal, watching(terminal, brief=True)) as observer, target(terminal) as database:
        decided = decide_reviews(database, spec, ids, decision, ledger=ledger, dry_run=dry_run, observer=observer)
    terminal.answer(decided=decided, dry_run=dry_run)
    for one in decided:
        would = "would be " if dry_run else ""
        became = f"set from {one.before} to {one.after}" if decision.accept else f"kept at {one.after}"
        terminal.show(f"#{one.id} {would}{one.state}: the balance {would or 'is '}{became}")
    if not decided:
        terminal.show("No review is open.")
    if dry_run:
        terminal.say("Nothing was changed.")


def _lines(review: Review) -> Iterator[tuple[str, Text]]:
    """The lines of a review, each with its indentation."""
    style = "bold yellow" if review.state == "open" else "bold"
    yield "", Text.assemble((f"#{review.id} {review.state}", style), f" {review.ledger}: {described(review.key)}")
    yield (
        "  ",
        Text(
            f"ledger {review.ledger_quantity} in {counted(int(review.ledger_movements), 'movement')}, balance"
            f" {review.balance_quantity} in {review.balance_movements}; missing: {review.quantity:+} in"
            f" {review.movements:+} movements"
        ),
    )
    why = ", because its correction would exceed total_limit" if review.reason == "total" else ""
    yield "  ", Text(f"found {review.found_at:%Y-%m-%d %H:%M} by run {review.run}{why}")
    since = f"since {review.since:%Y-%m-%d %H:%M}, when both were equal" if review.since else "of all time for this key"
    yield "  ", Text(f"{counted(review.recent or 0, 'movement')} {since}")
    for one in review.evidence[:MOVEMENTS]:
        yield "    ", Text(described(one), style="dim")
    if (review.recent or 0) > MOVEMENTS and len(review.evidence) > MOVEMENTS:
        yield "    ", Text(f"… {len(review.evidence)} of them with --json", style="dim")
    if review.decided_by is not None:
        note = f": {review.note}" if review.note else ""
        yield "  ", Text(f"{review.state} by {review.decided_by} at {review.decided_at:%Y-%m-%d %H:%M}{note}")


def _name(by: str | None) -> str:
    if by is not None and by.strip():
        return by.strip()
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
