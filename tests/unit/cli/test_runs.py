"""The last runs, each beside the one before it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tenantry.cli.runs import run_lines
from tenantry.model.run import RunBefore, RunSummary

RUN = RunSummary(
    id="2", command="migrate", username="maria", started_at=datetime(2026, 1, 1, tzinfo=UTC), finished_at=None,
    exit_status=0, outcome="migrated", seconds=100.0, steps=3, rows=5000,
)  # fmt: skip


def printed_lines(run: RunSummary) -> list[str]:
    return [line.plain.strip() for line in run_lines(run)]


@pytest.mark.parametrize(
    ("seconds", "steps", "words"),
    [(100.0, 3, "as long as 1"), (96.0, 3, "as long as 1"), (200.0, 3, "50% faster than 1"), (50.0, 3, "100% slower than 1"),
     (50.0, 2, "1 took 50.0 s for 2 steps"), (0.0, 3, "as long as 1")],
)  # fmt: skip
def test_beside_the_one_before(seconds: float, steps: int, words: str) -> None:
    """A time says something only where as many steps were done."""
    assert words in printed_lines(replace(RUN, before=RunBefore(id="1", seconds=seconds, steps=steps)))[-1]


def test_how_it_ended() -> None:
    assert printed_lines(RUN)[0].endswith("2  migrate  exit 0")
    killed = replace(RUN, exit_status=None, outcome=None, seconds=None)
    assert printed_lines(killed) == ["2026-01-01 00:00:00  2  migrate  not finished"]
    assert "5,000 rows" in printed_lines(RUN)[-1]
