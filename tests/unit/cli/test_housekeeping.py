"""The journal goes only where that is asked for."""

from __future__ import annotations

from unit.cli.calling import CommandLine


def test_options(line: CommandLine) -> None:
    named = line("housekeeping.run_purge", "housekeeping --purge --force --dry-run").named
    assert named == {"force": True, "dry_run": True}
    called = line("housekeeping.run_housekeeping", "housekeeping --log-dir l --report-dir r")
    (ages,) = called.positional
    assert (ages.logs, str(called.named["logs"]), str(called.named["reports"])) == (30, "l", "r")
    assert "--force needs --purge" in line.refused("housekeeping --force")
