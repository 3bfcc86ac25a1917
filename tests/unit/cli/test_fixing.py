"""validate and verify look; what goes with a correction is refused without one."""

from __future__ import annotations

import pytest

from unit.cli.calling import CommandLine


@pytest.mark.parametrize("command", ["validate", "verify"])
@pytest.mark.parametrize("option", ["--dry-run", "--force", "--backup none", "--dump-dir d", "--free-space 1GB"])
def test_options_of_a_correction(line: CommandLine, command: str, option: str) -> None:
    assert f"{option.split()[0]} needs --fix-issues" in line.refused(f"{command} {option}")


@pytest.mark.parametrize("command", ["validate", "verify"])
def test_correcting(line: CommandLine, command: str) -> None:
    words = f"{command} --fix-issues --force --backup none --table a --samples 3"
    called = line("fixing.fix_issues", words)
    _, _, looking, fixing, _ = called.positional
    assert (looking.tables, looking.samples, fixing.force, fixing.backup.kind) == (("a",), 3, True, "none")
    assert called.named["command"] == command
    assert line("fixing.preview_fixes", f"{command} --fix-issues --dry-run").named["command"] == command
