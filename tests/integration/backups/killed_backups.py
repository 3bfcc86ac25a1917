"""Backups and restores that are killed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from backups.conftest import rows, spec_of, target
from killed import KILLED, Order, served
from servers import Database
from tenantry import (
    BackupOptions,
    RestoreOptions,
    create_backup,
    list_backups,
    restore,
    verify_backups,
)
from tenantry.errors import Refused

ROOT = Path(__file__).parents[3]


TABLES = ("keyless", "typed", "watched")


SPEC = '[tenant]\ntable = "shops"\n' + "".join(
    f'[[table]]\nname = "{name}"\nassign = {{ tenant = "one" }}\n' for name in TABLES
)


@dataclass(frozen=True)
class Driver:
    """Gives orders to tests/integration/backups/killed_process.py."""

    perform: Order

    def __call__(self, database: Database, command: str, number: int, **more: Any) -> tuple[int, str]:
        return self.perform({"dsn": database.dsn, "command": command, "number": number, "spec": SPEC, **more})


@pytest.fixture
def driver() -> Iterator[Driver]:
    with served(Path(__file__).with_name("killed_process.py")) as perform:
        yield Driver(perform)


def copies(database: Database) -> set[str]:
    return {
        name
        for (name,) in database.rows(
            "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace('tenantry') AND relname ~ '^backup_'"
        )
    }


def killed_making_one(odd: Database, driver: Driver, tmp_path: Path, kind: str, stride: int) -> None:
    """Killed at each `stride`-th statement, until one comes to its end."""
    killed = torn = 0
    for number in range(1, 2000, stride):
        ended, said = driver(odd, "create", number, kind=kind, folder=str(tmp_path))
        for one in list_backups(target(odd)):
            if one.backup.finished_at is None:
                torn += 1
                with pytest.raises(Refused, match="incomplete"):
                    restore(target(odd), one.backup.id, RestoreOptions())
        if ended != KILLED:
            assert ended == 0, said
            break
        killed += 1
    there = [one.backup for one in list_backups(target(odd))]
    assert said in [one.id for one in there], "the last one came to its end"
    assert all(one.finished_at for one in there), "what was incomplete is removed by the next"
    # A kill behind the last commit is a backup that is whole.
    assert all(backup.problem == "" for backup in verify_backups(target(odd), [one.id for one in there]))
    assert copies(odd) == {copy.copy for one in there for copy in one.tables if copy.copy}
    assert {path.name for path in tmp_path.iterdir()} == {one.id for one in there if one.folder}
    assert killed > 20 // stride
    assert torn > 0


def killed_restoring(odd: Database, driver: Driver, stride: int) -> None:
    """Killed at each `stride`-th statement, until one comes to its end."""
    made = create_backup(target(odd), spec_of(*TABLES), BackupOptions())
    before = rows(odd)
    odd.execute("DELETE FROM typed WHERE id % 2 = 0; UPDATE watched SET value = 'x'; DELETE FROM keyless WHERE a = 1")
    harmed, killed, whole = rows(odd), 0, 0
    noise = {"noise"}
    for number in range(1, 2000, stride):
        ended, said = driver(odd, "restore", number, backup=made.id)
        now = rows(odd)
        assert ended in (KILLED, 0), said
        if ended == KILLED:
            killed += 1
        saved = [one.backup for one in list_backups(target(odd)) if one.backup.reason == "restore"]
        assert all(one.finished_at for one in saved)
        if {name: now[name] for name in now.keys() - noise} == {name: before[name] for name in now.keys() - noise}:
            whole += 1
            assert len(saved) == 1, "restored, with what was there before"
            break
        assert now == harmed
        assert saved == []
        assert copies(odd) == {copy.copy for copy in made.tables}
    assert killed > 30 // stride
    assert whole == 1
    assert restore(target(odd), made.id, RestoreOptions()).saved is None
