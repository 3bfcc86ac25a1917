"""Numbers, times and lists in messages."""

from __future__ import annotations

from collections.abc import Sequence


def counted(count: int, noun: str, plural: str = "") -> str:
    """A number with its noun: `1 row`, `2,000 rows`; `plural` if the noun does not end in s."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def without_tenant(count: int, table: object) -> str:
    """The rows of a table that a fill or a constraint still waits for: `3 rows of public.lots still have no tenant`."""
    return f"{counted(count, 'row')} of {table} still {'has' if count == 1 else 'have'} no tenant"


def listed(names: Sequence[object], most: int = 3) -> str:
    """The first names, and how many more there are: `a, b, c and 4 more`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more


def duration(seconds: float | None) -> str:
    """Such as 12 ms, 3.4 s, 5 min 20 s, 2 h 05 min; empty if it is not known."""
    if seconds is None:
        return ""
    if round(seconds * 1000) < 1000:
        return f"{seconds * 1000:.0f} ms"
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
