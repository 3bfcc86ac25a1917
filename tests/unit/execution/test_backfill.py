"""A fill makes way: for replicas that fall behind, and for sessions that wait for its locks."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from tenantry.execution.backfill.progress import TRY_AGAIN_AFTER, Stripes
from tenantry.execution.backfill.throttle import Lag, Throttle, ThrottleLimits
from tenantry.execution.backfill.workers import BatchSizer


def test_stop_ends_the_wait() -> None:
    """Ctrl-C does not wait for the replica."""
    throttle = Throttle()
    throttle._see_lag(Lag(replica="far", bytes=1e12, seconds=0))
    stop = threading.Event()
    stop.set()
    assert not throttle.admit(0, stop, lambda reason: None)


@pytest.mark.parametrize(
    ("size", "seconds", "exceeds"), [(0, 0, False), (65e6, 0, False), (68e6, 0, True), (0, 10.5, True)]
)
def test_limits(size: float, seconds: float, exceeds: bool) -> None:
    """Unless told otherwise, 64 MB or 10 seconds are too far behind."""
    lag = Lag(replica="one", bytes=size, seconds=seconds)
    assert lag.exceeds(ThrottleLimits()) is exceeds
    assert not lag.exceeds(ThrottleLimits(lag_bytes=None, lag_seconds=None))


def paced(pace: BatchSizer, seconds_a_page: Callable[[int], float], batches: int, *, crowded: bool = False) -> int:
    for _ in range(batches):
        pages = pace.ask(crowded=crowded)
        pace.record(pages, pages * seconds_a_page(pages))
    return pace.ask(crowded=crowded)


def test_pace_finds_the_target() -> None:
    """From a few pages a batch grows to the target time, and shrinks at once where pages are slow."""
    pace = BatchSizer(target=0.25, pages=64, most=8192)
    assert paced(pace, lambda pages: 0.0005, 6) == 500
    assert paced(pace, lambda pages: 0.005, 6) == 50
    assert paced(pace, lambda pages: 0.0, 20) == 8192


def test_pace_gives_way() -> None:
    """While others wait for our locks batches become short; afterwards they recover slowly."""
    pace = BatchSizer(target=0.25, pages=500, most=8192)
    assert paced(pace, lambda pages: 0.0005, 10, crowded=True) <= 40
    assert paced(pace, lambda pages: 0.0005, 3) < 100
    assert paced(pace, lambda pages: 0.0005, 40) == 500


def test_last_batch_of_a_unit_says_little() -> None:
    """A batch that was cut short by its unit's end does not make the next one smaller."""
    pace = BatchSizer(target=0.25, pages=500, most=8192)
    pace.record(3, 0.002)
    assert pace.ask(crowded=False) == 500


def test_stripes_are_given_up_and_tried_again() -> None:
    """One stripe while nothing is HOT; told once; every so often all of them again."""
    stripes = Stripes(count=12)
    assert stripes.next() == 12
    assert not stripes.learn(hot=900, updates=1000)
    assert stripes.learn(hot=10, updates=1000)
    assert not stripes.learn(hot=10, updates=1000)
    assert sorted(stripes.next() for _ in range(TRY_AGAIN_AFTER)) == [1] * (TRY_AGAIN_AFTER - 1) + [12]
    assert not stripes.learn(hot=900, updates=1000)
    assert stripes.next() == 12
