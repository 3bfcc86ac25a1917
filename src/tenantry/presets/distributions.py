"""Uneven sizes, as real tenants have them: a few large, many small."""

from __future__ import annotations

from itertools import accumulate
from random import Random


def pick(random: Random, count: int) -> int:
    """A number from 0 to `count` - 1."""
    # Only Random.random() is promised to draw the same numbers in every version of Python.
    return int(random.random() * count)


def shares(total: int, parts: int) -> list[int]:
    """Split `total` by Zipf's law, the largest part first, none below 1; `total` must be at least `parts`."""
    weights = [1 / (rank + 1) for rank in range(parts)]
    spare = total - parts
    sizes = [1 + int(spare * weight / sum(weights)) for weight in weights]
    sizes[0] += total - sum(sizes)
    return sizes


def starts(sizes: list[int]) -> list[int]:
    """The start of each part when the parts are placed one after the other, and the end of the last."""
    return list(accumulate(sizes, initial=0))


def lengths(random: Random, total: int, mean: int) -> list[int]:
    """Numbers of at least 1 that add up to `total`: many small, a few up to three times the mean."""
    drawn: list[int] = []
    while total > 0:
        length = min(total, 1 + int(random.random() ** 2 * 3 * (mean - 1)))
        drawn.append(length)
        total -= length
    return drawn
