"""Reviews are decided by somebody, one by one or all."""

from __future__ import annotations

import pytest

from unit.cli.calling import CommandLine

REVIEW = "balances review"


def test_decisions(line: CommandLine) -> None:
    """By the name that is given, or the account's."""
    _, ids, decision = line("review.decide_reviews", f"{REVIEW} accept 1 2 --by maria --note fine").positional
    assert (ids, decision.accept, decision.by, decision.note) == ([1, 2], True, "maria", "fine")
    called = line("review.decide_reviews", f"{REVIEW} reject --all --note counted --dry-run --ledger t")
    _, ids, decision = called.positional
    assert (ids, decision.accept, bool(decision.by)) == ([], False, True)
    assert (called.named["ledger"], called.named["dry_run"]) == ("t", True)


@pytest.mark.parametrize("words", ["accept", "accept 1 --all", "reject --note x"])
def test_which(line: CommandLine, words: str) -> None:
    assert "No review was given" in line.refused(f"{REVIEW} {words}")


def test_why(line: CommandLine) -> None:
    """A rejection has a reason."""
    assert "--note" in line.refused(f"{REVIEW} reject 1")
    assert "--note is empty" in line.refused(f"{REVIEW} reject 1 --note=")
    called = line("review.list_reviews", f"{REVIEW} list --all")
    assert called.named["everything"] is True
