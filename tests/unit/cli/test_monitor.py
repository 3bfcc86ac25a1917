"""What a cron job's limits become."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from unit.cli.calling import CommandLine


def test_limits(line: CommandLine) -> None:
    (chosen,) = line("monitor.run_monitor", "backups monitor").positional
    assert (chosen.limits.max_age, chosen.limits.max_unverified) == (timedelta(hours=26), timedelta(days=7))
    words = "backups monitor --max-age 2d --smallest 0.25 --full-within 1w --dump-dir a --dump-dir b"
    (chosen,) = line("monitor.run_monitor", f"{words} --last-snapshot 2026-01-31T04:00:00Z").positional
    assert (chosen.limits.max_age, chosen.limits.smallest, chosen.limits.full_within) == (
        timedelta(days=2), 0.25, timedelta(weeks=1),
    )  # fmt: skip
    assert chosen.dump_folders == (Path("a"), Path("b"))
    assert chosen.last_snapshot == datetime(2026, 1, 31, 4, tzinfo=UTC)
    assert "is not a time" in line.refused("backups monitor --last-snapshot tomorrow")
    assert "smallest" in line.refused("backups monitor --smallest 2")
