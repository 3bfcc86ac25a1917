"""The commands as people and cron run them, and what the monitor finds."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backups.conftest import target
from conftest import Command
from servers import Database
from tenantry.backups.monitor import Limits, dumps_in, watch_folder, watch_own
from tenantry.model.backup import Backup, BackupKind, Reason
from tenantry.workflow import list_backups

NOW = datetime(2026, 5, 1, tzinfo=UTC)
SPEC = '[tenant]\ntable = "shops"\n[[table]]\nname = "keyless"\nassign = { tenant = "one" }\n'


@pytest.fixture
def shop(odd: Database, command: Callable[[str], Command]) -> Command:
    made = command(odd.dsn)
    (made.folder / "tenantry.toml").write_text(SPEC)
    return made


def test_a_day(shop: Command, odd: Database) -> None:
    """create, list, verify, restore, prune: what each says, and its exit status."""
    assert shop("backups", "list").stdout == "There are no backups.\n"
    created = shop("backups", "create", "--json").json["backup"]
    assert created["tables"] == {"public.keyless": 60, "public.shops": 2}
    dumped = shop("backups", "create", "--backup", "dump")
    assert dumped.status == 0
    assert str(shop.folder / "backups") in dumped.stdout
    listed = shop("backups", "list", environment={"COLUMNS": "60"})
    assert created["id"] in listed.stdout, "an id is never broken"
    assert shop("backups", "verify", created["id"]).stdout.endswith("all as it was written.\n")
    odd.execute("INSERT INTO keyless VALUES (77, 'since')")
    refused = shop("backups", "restore", created["id"])
    assert refused.status == 4
    assert "would be lost: 1 in public.keyless" in refused.stderr
    assert shop("backups", "restore", created["id"], "--dry-run", "--json").json["tables"][0]["deleted"] == 1
    assert shop("backups", "restore", created["id"], "--force", "--backup", "none").status == 0
    assert odd.rows("SELECT count(*) FROM keyless") == [(60,)]
    assert shop("backups", "prune", "--keep", "0", "--older-than", "0s").stdout.endswith(
        "2 backup(s) were taken away.\n"
    )
    assert list_backups(target(odd)) == ()


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["create", "--backup", "none"], 2, "is none"),
        (["create", "--table", "keyles"], 2, 'did you mean "public.keyless"'),
        (["restore", "nothing"], 2, "there is no backup 'nothing'"),
        (["restore", "nothing", "--backup", "dump"], 2, "one of tables"),
        (["prune", "--older-than", "30 weeks ago"], 2, "no length of time"),
        (["monitor", "--last-snapshot", "2999-01-01"], 2, "yet to come"),
        (["create", "--backup", "dump", "--dump-dir", "tenantry.toml/below"], 2, "cannot be written"),
    ],
)
def test_bad_input(arguments: list[str], status: int, said: str, shop: Command, odd: Database) -> None:
    """One sentence, the exit status, and nothing made."""
    outcome = shop("backups", *arguments)
    assert (outcome.status, said in outcome.stderr) == (status, True), outcome.stderr
    assert list_backups(target(odd)) == ()


def test_for_cron(shop: Command, odd: Database) -> None:
    """In order: exit 0 and a line. Not in order: exit 1, a line for each finding, and the document; dumps made elsewhere
    and the provider's snapshots too."""
    none = shop("backups", "monitor")
    assert (none.status, none.json["monitor"]["findings"][0]["name"]) == (1, "backup-none")
    assert shop("backups", "create").status == 0
    dumps = shop.folder / "nightly"
    dumps.mkdir()
    (dumps / "monday.dump").write_bytes(b"x" * 1000)
    old = datetime.now(UTC) - timedelta(days=3)
    os.utime(dumps / "monday.dump", (old.timestamp(), old.timestamp()))
    found = shop("backups", "monitor", "--dump-dir", "nightly", "--last-snapshot", "2026-01-01T04:00:00Z", "--json")
    names = [finding["message"] for finding in found.json["monitor"]["findings"]]
    assert found.status == 1
    assert ["monday.dump, is 3 days old" in names[0], "provider's snapshots" in names[1]] == [True, True]
    assert found.stderr.count("tenantry: ") == 2
    (dumps / "tuesday.dump").write_bytes(b"x" * 900)
    assert shop("backups", "monitor", "--dump-dir", "nightly").stdout.startswith("Backups are in order")


def a_backup(day: int, **more: object) -> Backup:
    at = NOW - timedelta(days=day)
    one = Backup(
        id=f"manual_{day}", kind=BackupKind.TABLES, reason=Reason.MANUAL, run="r", server_version=180000, started_at=at,
        finished_at=at, verified_at=at, bytes=1000,
    )  # fmt: skip
    return replace(one, **more)  # type: ignore[arg-type]


WEEK = [a_backup(day) for day in range(1, 8)]


@pytest.mark.parametrize(
    ("backups", "free", "found"),
    [
        (WEEK, None, []),
        (WEEK[1:], None, ["backup-old"]),
        ([a_backup(0, bytes=499), *WEEK], None, ["backup-small"]),
        ([a_backup(0, bytes=501), *WEEK], None, []),
        ([a_backup(0, bytes=0)], None, ["backup-small"]),
        ([replace(one, verified_at=None) for one in WEEK], None, []),
        ([replace(one, verified_at=None) for one in [*WEEK, a_backup(8)]], None, ["backup-unverified"]),
        ([a_backup(0, verified_at=NOW - timedelta(days=9))], None, ["backup-unverified"]),
        ([a_backup(0, problem="rotten"), *WEEK], None, ["backup-damaged"]),
        ([a_backup(0, finished_at=None), *WEEK], None, ["backup-torn"]),
        ([a_backup(0, reason=Reason.RESTORE), *WEEK[2:]], None, ["backup-old"]),
        ([a_backup(0, folder=Path("/nowhere/at/all"))], None, ["backup-missing"]),
        (WEEK, 1999, ["disk-full-soon"]),
        (WEEK, 2000, []),
        ([], None, ["backup-none"]),
    ],
)
def test_what_the_monitor_finds(backups: list[Backup], free: int | None, found: list[str]) -> None:
    """Too old, too small, unverified for too long, damaged, torn, gone, no room for two more; and nothing else."""
    limits = Limits(max_age=timedelta(days=1), max_unverified=timedelta(days=7))
    seen = [finding.name for finding in watch_own(backups, running=False, free=free, now=NOW, limits=limits)]
    assert seen == found


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
    found = watch_folder(tmp_path, free=59, now=NOW, limits=Limits(), seen=seen)
    assert [finding.name for finding in found] == ["backup-small", "disk-full-soon"]
    gone = watch_folder(tmp_path / "x", free=None, now=NOW, limits=Limits(), seen=dumps_in(tmp_path / "x", NOW))
    assert [finding.name for finding in gone] == ["dumps-unreadable"]
