"""Chains of stock movements: each movement starts at the quantity where the previous one of its chain ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from random import Random
from typing import NamedTuple

RECEIVED, RETURNED, ISSUED, LOST, ADJUSTED = range(5)


class Movement(NamedTuple):
    """One movement; `quantity` is positive, except for an adjustment, which carries its sign."""

    chain: int
    kind: int
    before: float
    quantity: float
    after: float


class Chains:
    """Chains that run in parallel: a new one opens when an old one ends, as lots come and go in a store.

    `lengths` is the number of movements of each chain, `opening` the quantity with which it starts. `levels` (the
    quantity now) and `left` (movements still to come) change as movements are drawn.
    """

    def __init__(self, random: Random, lengths: Sequence[int], opening: Sequence[float]) -> None:
        self.left = list(lengths)
        self.levels = list(opening)
        self._random = random

    def movements(self) -> Iterator[Movement]:
        """All movements, in the order of their time; a quantity is never below zero."""
        draw, left, levels = self._random.random, self.left, self.levels
        waiting = iter(range(len(left)))
        running = list(islice(waiting, max(8, len(left) // 20)))
        while running:
            slot = int(draw() * len(running))
            chain = running[slot]
            before = levels[chain]
            kind, quantity = self._next(before)
            after = before - quantity if kind in (ISSUED, LOST) else before + quantity
            levels[chain] = after
            left[chain] -= 1
            yield Movement(chain, kind, before, quantity, after)
            if not left[chain]:
                following = next(waiting, None)
                if following is None:
                    running[slot] = running[-1]
                    running.pop()
                else:
                    running[slot] = following

    def _next(self, before: float) -> tuple[int, float]:
        choice = self._random.random()
        # Quarters: floats represent them exactly, so sums are exact.
        quantity = (1 + int(self._random.random() * 79)) / 4
        if before < quantity or choice < 0.12:
            return RECEIVED, quantity * 4
        if choice < 0.90:
            return ISSUED, quantity
        if choice < 0.94:
            return RETURNED, quantity
        if choice < 0.97:
            return LOST, quantity
        return ADJUSTED, quantity if choice < 0.985 else -quantity
