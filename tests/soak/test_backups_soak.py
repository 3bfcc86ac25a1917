"""Backups at sizes and at instants that take long: each statement a kill, random instants, a gigabyte of toast."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from backups.conftest import odd, spec_of, target
from backups.killed_backups import ROOT, TABLES, Driver, copies, driver, killed_making_one, killed_restoring
from servers import Database, wait_until
from tenantry import (
    BackupOptions,
    RestoreOptions,
    create_backup,
    list_backups,
    restore,
    verify_backups,
)
from tenantry.model.backup import BackupKind

__all__ = ["driver", "odd"]


@pytest.mark.parametrize("kind", ["tables", "dump"])
def test_killed_making_one(kind: str, odd: Database, driver: Driver, tmp_path: Path) -> None:
    """At each statement."""
    killed_making_one(odd, driver, tmp_path, kind, 1)


def test_killed_restoring(odd: Database, driver: Driver) -> None:
    """At each statement."""
    killed_restoring(odd, driver, 1)


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_instant(seed: int, odd: Database, tmp_path: Path) -> None:
    """The command itself, killed at random instants of what it takes; two sessions copy. What is listed as whole is
    whole."""
    chance = random.Random(seed)
    odd.execute("INSERT INTO keyless SELECT n, repeat(md5(n::text), 4) FROM generate_series(1, 700000) n")
    (tmp_path / "tenantry.toml").write_text(_spec())
    process = begun(odd, tmp_path)
    since = time.monotonic()
    assert process.wait() == 0
    undisturbed, killed = time.monotonic() - since, 0
    for _ in range(12):
        process = begun(odd, tmp_path)
        time.sleep(chance.uniform(0, undisturbed))
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
    made = create_backup(target(odd), spec_of(*TABLES), BackupOptions())
    there = [one.backup for one in list_backups(target(odd))]
    assert made.id in [one.id for one in there]
    assert copies(odd) == {copy.copy for one in there for copy in one.tables}
    assert all(one.problem == "" for one in verify_backups(target(odd), [one.id for one in there]))
    assert killed > 0


def begun(database: Database, folder: Path) -> subprocess.Popen[bytes]:
    """The command, which has reached the server."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tenantry", "backups", "create", "--dsn", database.dsn], cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    # Of the one before, a session may still be there.
    sessions = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name ~ '^tenantry'"
    before = database.rows(sessions)
    wait_until(lambda: bool(set(database.rows(sessions)) - set(before)) or process.poll() is not None)
    return process


def _spec() -> str:
    tables = "".join(f'[[table]]\nname = "{name}"\nassign = {{ tenant = "one" }}\n' for name in TABLES)
    return f'[tenant]\ntable = "shops"\n{tables}'


@pytest.mark.parametrize("kind", [BackupKind.TABLES, BackupKind.DUMP])
def test_a_gigabyte_of_toast(kind: BackupKind, database: Database, tmp_path: Path) -> None:
    """Rows of 100 MB each: backed up, verified, restored."""
    database.execute(
        "CREATE TABLE shops (id integer PRIMARY KEY, slug text NOT NULL); INSERT INTO shops VALUES (1, 'one');"
        "CREATE TABLE files (id integer PRIMARY KEY, name text, content bytea);"
        "ALTER TABLE files ALTER content SET STORAGE EXTERNAL;"
        "INSERT INTO files SELECT n, 'file ' || n, decode(repeat(md5(n::text), 3276800), 'hex') FROM generate_series(1, 20) n"
    )
    before = database.rows("SELECT id, name, md5(content) FROM files ORDER BY 1")
    made = create_backup(target(database), spec_of("files"), BackupOptions(kind=kind, folder=tmp_path))
    assert [one.problem for one in verify_backups(target(database), [made.id])] == [""]
    database.execute("DELETE FROM files WHERE id % 2 = 0; UPDATE files SET content = 'x' WHERE id = 1")
    restore(target(database), made.id, RestoreOptions(force=True))
    assert database.rows("SELECT id, name, md5(content) FROM files ORDER BY 1") == before
