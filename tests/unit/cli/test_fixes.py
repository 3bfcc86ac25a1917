"""What undoing fixes is given."""

from __future__ import annotations

from pathlib import Path

from unit.cli.calling import CommandLine


def test_options(line: CommandLine) -> None:
    called = line("fixes.undo_fixes", "fixes undo 42")
    assert called.positional == ("42",)
    assert (called.named["force"], called.named["lock_timeout"], called.named["patience"]) == (False, 2.0, 600.0)
    named = line("fixes.undo_fixes", "fixes undo 42 --force --dry-run --backup dump --dump-dir d --lock-budget 5").named
    assert (named["force"], named["dry_run"], named["patience"]) == (True, True, 5.0)
    assert (named["backup"].kind, named["backup"].folder) == ("dump", Path("d"))
    line("fixes.list_fixes", "fixes list")
