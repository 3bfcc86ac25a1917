"""What was measured, as a Markdown table, and its place in a README."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench.measure import Measurement

BEGIN, END = "<!-- benchmark -->", "<!-- /benchmark -->"
HEAD = (
    "| rows | way | seconds | table after | indexes after | HOT updates "
    "| a writer waits: p50 | p99 | p99.9 | longest |\n"
    "|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|"
)


def summary(measurements: Sequence[Measurement]) -> list[dict[str, Any]]:
    """The median of each figure over the repeats of a way at a size; of the longest waits, the longest."""
    groups: dict[tuple[int, str], list[Measurement]] = {}
    for one in measurements:
        groups.setdefault((one.rows, one.way), []).append(one)
    return [
        {
            "rows": rows,
            "way": way,
            "repeats": len(group),
            "seconds": median(one.seconds for one in group),
            "table": median(one.table_after / one.table_before for one in group),
            "indexes": median(one.indexes_after / one.indexes_before for one in group),
            "hot": median(shares) if (shares := [m.hot_share for m in group if m.hot_share is not None]) else None,
            "wal": median(one.wal for one in group),
            **{part: median(getattr(one, part) for one in group) for part in ("p50", "p99", "p999")},
            "longest_wait": max(one.longest_wait for one in group),
        }
        for (rows, way), group in groups.items()
    ]


def table(lines: Sequence[dict[str, Any]]) -> str:
    """One line a way and size."""
    rows = [
        f"| {line['rows']:,} | {line['way']} | {line['seconds']:.{3 if line['seconds'] < 0.1 else 1}f} s "
        f"| {line['table']:.2f} × | {line['indexes']:.2f} × "
        f"| {'' if line['hot'] is None else format(line['hot'], '.0%')} "
        f"| {' | '.join(wait(line[part]) for part in ('p50', 'p99', 'p999', 'longest_wait'))} |"
        for line in lines
    ]
    return "\n".join([HEAD, *rows])


def wait(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.{0 if seconds >= 0.01 else 1}f} ms"


def put_into(readme: Path, text: str) -> None:
    """Replace what stands between the markers. Raises ValueError where they are missing."""
    old = readme.read_text(encoding="utf-8")
    pattern = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
    if not pattern.search(old):
        raise ValueError(f"{readme} has no {BEGIN} … {END}")
    readme.write_text(pattern.sub(lambda _: f"{BEGIN}\n{text}\n{END}", old), encoding="utf-8")
