"""full hands its options to the parts that they are about."""

from __future__ import annotations

from tenantry.model.plan import Phase
from unit.cli.calling import CommandLine


def test_options(line: CommandLine) -> None:
    words = "full --until contract --force --backup none --table a --samples 3 --workers 5"
    _, chosen, _ = line("full.run_full", words).positional
    assert (chosen.migrate.until, chosen.migrate.force, chosen.migrate.workers) == (Phase.CONTRACT, True, 5)
    assert (chosen.inspection.tables, chosen.inspection.samples, chosen.fix) == (("a",), 3, None)
    _, chosen, _ = line("full.run_full", "full --fix-issues --force --backup none").positional
    assert (chosen.fix.force, chosen.fix.backup.kind) == (True, "none")
    _, migrating = line("full.run_preview", "full --dry-run --until expand").positional
    assert migrating.until is Phase.EXPAND
