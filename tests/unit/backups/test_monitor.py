"""The commands as people and cron run them, and what the monitor finds."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tenantry.backups.monitor import (
    MOST,
    BackupSize,
    MonitorLimits,
    dumps_in,
    forecast,
    own_by_kind,
    watch_folder,
    watch_own,
    watch_room,
)
from tenantry.model.backup import Backup, BackupKind, Reason, TableCopy
from tenantry.model.name import Name

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def a_backup(day: int, **more: object) -> Backup:
    at = NOW - timedelta(days=day)
    one = Backup(
        id=f"manual_{day}", kind=BackupKind.TABLES, reason=Reason.MANUAL, run="r", server_version=180000, started_at=at,
        finished_at=at, verified_at=at, bytes=1000,
    )  # fmt: skip
    return replace(one, **more)  # type: ignore[arg-type]


WEEK = [a_backup(day) for day in range(1, 8)]


@pytest.mark.parametrize(
    ("backups", "found"),
    [
        (WEEK, []),
        (WEEK[1:], ["backup-old"]),
        ([a_backup(0, bytes=499), *WEEK], ["backup-small"]),
        ([a_backup(0, bytes=501), *WEEK], []),
        ([a_backup(0, bytes=0)], ["backup-small"]),
        ([replace(one, verified_at=None) for one in WEEK], []),
        ([replace(one, verified_at=None) for one in [*WEEK, a_backup(8)]], ["backup-unverified"]),
        ([a_backup(0, verified_at=NOW - timedelta(days=9))], ["backup-unverified"]),
        ([a_backup(0, problem="rotten"), *WEEK], ["backup-damaged"]),
        ([a_backup(0, finished_at=None), *WEEK], ["backup-incomplete"]),
        ([a_backup(0, reason=Reason.RESTORE), *WEEK[2:]], ["backup-old"]),
        ([a_backup(0, folder=Path("/nowhere/at/all"))], ["backup-missing"]),
        ([], ["backup-none"]),
    ],
)
def test_what_the_monitor_finds(backups: list[Backup], found: list[str]) -> None:
    """Too old, too small, unverified for too long, damaged, torn, gone; and nothing else."""
    limits = MonitorLimits(max_age=timedelta(days=1), max_unverified=timedelta(days=7))
    seen = [finding.name for finding in watch_own(backups, running=False, now=NOW, limits=limits)]
    assert seen == found


@pytest.mark.parametrize(
    ("sizes", "free", "more", "days"),
    [
        ([1000] * 7, 1999, 1, 2.0),
        ([1000] * 7, 2000, 2, 3.0),
        # 1100, 1200 and 1300 fit, and 1400 does not.
        ([1000, 900, 800, 700], 4900, 3, 4.0),
        ([1000, 900, 800, 100], 4900, 3, 4.0),
        ([800, 900, 1000], 2399, 2, 3.0),
        ([1000], 5999, 5, None),
        ([1], 1 << 40, MOST, None),
    ],
)
def test_when_the_disk_will_be_full(sizes: list[int], free: int, more: int, days: float | None) -> None:
    """As many more as there is room for, each larger than the one before it by what the last ones grew; a day each."""
    seen = [BackupSize(name=str(day), at=NOW - timedelta(days=day), bytes=size) for day, size in enumerate(sizes)]
    found = forecast("the server", free, seen)
    assert (found.backups, found.days) == (more, days)
    assert bool([*watch_room(found, MonitorLimits())]) == (more < 2)
    assert bool([*watch_room(found, MonitorLimits(spare=0, full_within=timedelta(days=3)))]) == (
        days is not None and days <= 3
    )


def test_dumps_and_copies_are_on_their_own_disks() -> None:
    """A forecast is made from backups of one kind and of the same tables, and not from those before a restore."""
    dump = [a_backup(day, kind=BackupKind.DUMP, bytes=50) for day in (2, 4)]
    small = [
        a_backup(1, reason=Reason.RESTORE, bytes=1),
        a_backup(8, tables=(TableCopy(table=Name("a", "b"), columns=()),)),
    ]
    found = own_by_kind([*small, *dump, *WEEK])
    assert {kind: [one.bytes for one in seen] for kind, seen in found.items()} == {
        BackupKind.TABLES: [1000], BackupKind.DUMP: [50, 50],
    }  # fmt: skip


def test_dumps_of_others(tmp_path: Path) -> None:
    """Files and folders are dumps, by their newest file; what is being written is none; a folder that is not there."""
    for name, size in (("one", 100), ("two", 100), ("three.partial", 1)):
        (tmp_path / name).write_bytes(b"x" * size)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "data").write_bytes(b"x" * 30)
    for name, hours in (("one", 30), ("two", 20), ("folder/data", 2)):
        at = (NOW - timedelta(hours=hours)).timestamp()
        os.utime(tmp_path / name, (at, at))
    seen = dumps_in(tmp_path, NOW)
    assert seen is not None
    assert [(one.name, one.bytes) for one in seen] == [("folder", 30), ("two", 100), ("one", 100)]
    found = watch_folder(tmp_path, now=NOW, limits=MonitorLimits(), backups=seen)
    assert [finding.name for finding in found] == ["backup-small"]
    gone = watch_folder(tmp_path / "x", now=NOW, limits=MonitorLimits(), backups=dumps_in(tmp_path / "x", NOW))
    assert [finding.name for finding in gone] == ["dumps-unreadable"]
