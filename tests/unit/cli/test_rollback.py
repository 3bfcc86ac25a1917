"""Rollback undoes something only where that is asked for."""

from __future__ import annotations

import pytest

from unit.cli.calling import CommandLine


@pytest.mark.parametrize(
    "words", ["rollback", "rollback --dry-run", "rollback --confirm --dry-run", "rollback --table a"]
)
def test_what_only_looks(line: CommandLine, words: str) -> None:
    (chosen,) = line("rollback.preview_rollback", words).positional
    assert chosen.tables == (("a",) if "table" in words else ())


def test_options(line: CommandLine) -> None:
    chosen, _ = line("rollback.run_rollback", "rollback --confirm").positional
    assert (chosen.preserve_data, chosen.force, chosen.lock_timeout, chosen.lock_budget) == (False, False, 2.0, 600.0)
    chosen, _ = line(
        "rollback.run_rollback", "rollback --preserve-data --force --table a --table b --lock-timeout 1"
    ).positional
    assert (chosen.preserve_data, chosen.force, chosen.tables, chosen.lock_timeout) == (True, True, ("a", "b"), 1.0)
    assert "exclude each other" in line.refused("rollback --confirm --preserve-data")
