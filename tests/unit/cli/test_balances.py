"""What the options of balances become; what takes something away is asked for."""

from __future__ import annotations

import pytest

from unit.cli.calling import CommandLine


@pytest.mark.parametrize(("words", "slots"), [("slots=8", 8), ("8", 8), ("0", 0), ("1000", 1000)])
def test_slots(line: CommandLine, words: str, slots: int) -> None:
    _, chosen, _ = line("balances.install_balances", f"balances install --hot-keys {words} --ledger t").positional
    assert (chosen.slots, chosen.ledger) == (slots, "t")


@pytest.mark.parametrize("words", ["slots=", "-1", "1001", "8.5", "many"])
def test_no_slots(line: CommandLine, words: str) -> None:
    assert "is not a number of slots from 0 to 1000" in line.refused(f"balances install --hot-keys {words}")


def test_what_only_looks(line: CommandLine) -> None:
    line("balances.preview_install", "balances install --dry-run")
    for words in ("", "--dry-run", "--confirm --dry-run"):
        line("balances.preview_empty", f"balances empty {words}")
        line("balances.preview_remove", f"balances remove {words}")


def test_what_is_asked_for(line: CommandLine) -> None:
    _, chosen, _ = line("balances.empty_ledger", "balances empty --confirm --force --backup none").positional
    assert (chosen.backup.kind, chosen.backup.force) == ("none", True)
    line("balances.remove_balances", "balances remove --confirm")
    _, chosen, _ = line("balances.backfill_balances", "balances backfill --workers 7 --lock-budget 5").positional
    assert (chosen.workers, chosen.lock_budget) == (7, 5.0)
    line("balances.compact_balances", "balances compact")
    line("balances.validate_balances", "balances validate --ledger t")
