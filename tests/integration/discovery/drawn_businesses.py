"""Discovery on business schemas that are drawn by a seed, of which it is known whose every row is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from discovery import businesses, discovering

RIGHT = 0.95


def judged(database: Any, seed: int) -> tuple[list[str], list[str], int]:
    """The tables that are wrong in silence, those that were left open although one could know, and how many there are."""
    business = businesses.business(seed)
    database.execute(business.sql)
    proposal = discovering.discover(database)
    wrong, left = [], []
    found = {decision.part.name: decision for decision in proposal.decisions.values()}
    assert set(found) == set(business.truth)
    for name, truth in business.truth.items():
        decision = found[name]
        if decision.kind == truth:
            continue
        said = f"seed {seed}, {name}: {decision.kind}, and is {truth}: {decision.part.undecided or decision.reasons}"
        (left if decision.kind == "undecided" else wrong).append(said)
    return wrong, left, len(business.truth)


def tried(seeds: range, new_database: Callable[..., Any]) -> None:
    wrong, left, tables = [], [], 0
    for seed in seeds:
        database = new_database()
        more_wrong, more_left, count = judged(database, seed)
        wrong, left, tables = wrong + more_wrong, left + more_left, tables + count
    assert wrong == []
    assert len(left) <= (1 - RIGHT) * tables, left
