"""What the options of a reconciliation become."""

from __future__ import annotations

from tenantry.balances.reconcile_ledger import SCRUB_DAYS, ReconcileOptions
from unit.cli.calling import CommandLine


def test_options(line: CommandLine) -> None:
    _, chosen, _ = line("reconcile.reconcile_balances", "balances reconcile").positional
    assert chosen == ReconcileOptions(scrub_days=SCRUB_DAYS)
    _, chosen, _ = line(
        "reconcile.reconcile_balances", "balances reconcile --full --dry-run --scrub-days 3 --ledger t"
    ).positional
    assert chosen == ReconcileOptions(ledger="t", full=True, scrub_days=3, dry_run=True)
    assert "scrub-days" in line.refused("balances reconcile --scrub-days 0")
