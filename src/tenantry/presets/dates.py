"""Dates and times of sample rows: two years that end on a fixed day, so that all loads are equal."""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache

REFERENCE = date(2025, 6, 30)
"""The day after the last movement: "today" for everything that is expired or expires soon."""

_DAYS = 730
_SECONDS = 10 * 3600
_FIRST = REFERENCE - timedelta(days=_DAYS)
BEGINNING = f"{_FIRST.isoformat()} 07:00:00-03"
"""The result of moment() for the first event."""
_DATES = [(_FIRST + timedelta(days=day)).isoformat() for day in range(_DAYS)]


def day(number: int, total: int) -> date:
    """The day of event `number` (from 0) out of `total`."""
    return _FIRST + timedelta(days=number * _DAYS // total)


def moment(number: int, total: int) -> str:
    """The moment of event `number` (from 0) out of `total`, in PostgreSQL's format; moments never decrease."""
    second = number * _DAYS * _SECONDS // total
    return f"{_DATES[second // _SECONDS]} {_times()[second % _SECONDS]}"


@cache
def _times() -> list[str]:
    """Cached, because formatting a time costs more than the rest of a row; with a time zone, because the session's
    TimeZone must not matter."""
    return [f"{7 + second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}-03" for second in range(_SECONDS)]
