"""housekeeping: what is past its age is packed or goes; what rollback and undo need stays, whatever its age."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from conftest import Command
from servers import Database
from tenantry.presets import load, spec_path

DAY = 86_400


def _load(database: Database) -> None:
    with database.connect() as connection:
        load(connection, preset="estoque", rows=100, seed=1)


@pytest.fixture
def estoque(template: Callable[..., Database]) -> Database:
    return template("housekeeping estoque", _load)


@pytest.fixture
def shop(estoque: Database, role: Callable[..., str], command: Callable[[str], Command]) -> Command:
    """The command on a small estoque, with ages of its own."""
    made = command(estoque.dsn)
    text = spec_path("estoque").read_text().replace("tenantry_app", role(create=False, name="app"))
    ages = "[housekeeping]\nlogs = 7\nreports = 14\narchives = 90\nbackups = 0\nbackups_kept = 1\njournal = 30\n"
    (made.folder / "tenantry.toml").write_text(text + ages)
    return made


def aged(path: Path, days: float) -> None:
    then = time.time() - days * DAY
    os.utime(path, (then, then))


def chores(document: dict[str, list[dict[str, object]]]) -> dict[object, tuple[object, object]]:
    return {chore["what"]: (chore["done"], chore["kept"]) for chore in document["chores"]}


def test_everything(shop: Command, tmp_path: Path) -> None:
    """A dry run changes nothing and says what would be; the run does exactly that; packed files hold what they held."""
    assert shop("migrate", "--quiet").status == 0
    assert shop("rollback", "--preserve-data", "--quiet").status == 0
    assert shop("migrate", "--quiet").status == 0
    logs, reports = sorted((tmp_path / "logs").glob("*.log")), sorted((tmp_path / "reports").glob("*.json"))
    assert len(logs) == 3
    assert len(reports) == 3
    text, other = logs[0].read_text(), reports[0].read_text()
    aged(logs[0], 8)
    aged(logs[1], 6)
    aged(reports[0], 15)
    aged(reports[1], 13)
    (tmp_path / "logs" / "archive").mkdir()
    ancient = tmp_path / "logs" / "archive" / "migration-20200101000000-00000000.log.zst"
    ancient.write_bytes(b"long ago")
    aged(ancient, 91)
    (tmp_path / "logs" / "mine.txt").write_text("not ours")
    aged(tmp_path / "logs" / "mine.txt", 500)
    backups = len(shop("backups", "list", "--json").json["backups"])
    assert backups >= 2
    dry = shop("housekeeping", "--dry-run", "--json").json
    expected = {"logs": 1, "packed logs": 1, "reports": 1, "packed reports": 0, "backups": backups - 1}
    assert {what: done for what, (done, _) in chores(dry).items() if what in expected} == expected
    assert logs[0].exists()
    assert ancient.exists()
    assert len(shop("backups", "list", "--json").json["backups"]) == backups
    done = shop("housekeeping")
    assert done.status == 0, done.stderr
    assert "logs: 1 packed" in done.stdout
    assert "written in the last 7 days" in done.stdout
    assert not logs[0].exists()
    assert logs[1].exists()
    assert not ancient.exists()
    assert (tmp_path / "logs" / "mine.txt").exists()
    packed = tmp_path / "logs" / "archive" / (logs[0].name + ".zst")
    with zstandard.open(packed, "rt", encoding="utf-8") as file:
        assert file.read() == text
    with zstandard.open(tmp_path / "reports" / "archive" / (reports[0].name + ".zst"), "rt", encoding="utf-8") as file:
        assert file.read() == other
    assert abs(packed.stat().st_mtime - (time.time() - 8 * DAY)) < 300
    assert len(shop("backups", "list", "--json").json["backups"]) == 1
    again = chores(shop("housekeeping", "--json").json)
    assert [done for done, _ in again.values()] == [0] * len(again)


def test_journal(shop: Command, estoque: Database) -> None:
    """Old runs go with their events; those that steps in force belong to stay, and so do the last ones: the way back is
    open afterwards."""
    dump = estoque.dump()
    assert shop("migrate", "--until", "expand", "--backup", "none", "--quiet").status == 0
    assert shop("migrate", "--backup", "none", "--quiet").status == 0
    estoque.execute(
        "UPDATE tenantry.runs SET started_at = started_at - interval '600 days';"
        "INSERT INTO tenantry.runs (id, command, started_at) SELECT 'old-' || n, 'rollback --confirm',"
        " now() - interval '500 days' - n * interval '1 hour' FROM generate_series(1, 150) n;"
        "INSERT INTO tenantry.events (run, key, action, milliseconds) SELECT 'old-' || n, 'k', 'reverted', 1"
        " FROM generate_series(1, 150) n"
    )
    shown = chores(shop("housekeeping", "--json").json)["runs in the journal"]
    assert shown == (50, 102), "the last hundred, and the two that steps belong to"
    for table in ("steps", "events"):
        assert not estoque.rows(
            f"SELECT 1 FROM tenantry.{table} s WHERE NOT EXISTS (SELECT FROM tenantry.runs r WHERE r.id = s.run)"
        )
    assert shop("rollback", "--confirm", "--backup", "none", "--quiet").status == 0
    assert estoque.dump() == dump


def test_without_anything(shop: Command) -> None:
    """No log, no report, no journal: nothing to do, and nothing is made."""
    done = shop("housekeeping")
    assert done.status == 0, done.stderr
    assert done.stdout.startswith("tenantry keeps nothing")
    assert shop("housekeeping", "--force").status == 2


def test_folder_that_cannot_be_written(shop: Command, tmp_path: Path) -> None:
    """One sentence, exit 5, and the log is still there."""
    (tmp_path / "logs").mkdir()
    old = tmp_path / "logs" / "migration-20200101000000-00000000.log"
    old.write_text("{}")
    aged(old, 30)
    (tmp_path / "logs" / "archive").write_text("in the way")
    failed = shop("housekeeping")
    assert failed.status == 5, failed.stderr
    assert "cannot be archived" in failed.stderr
    assert old.read_text() == "{}"
