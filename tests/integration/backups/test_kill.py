"""kill -9 before each statement of a backup, a restore and a pruning: nothing torn is offered, and going on works."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from backups.conftest import rows, spec_of, target
from backups.killed_backups import KILLED, TABLES, Driver, copies, killed_making_one, killed_restoring
from backups.killed_backups import driver as driver
from daily import daily
from servers import Database
from tenantry import (
    BackupOptions,
    RestoreOptions,
    create_backup,
    list_backups,
    restore,
)
from tenantry.errors import Refused
from tenantry.model.spec import Spec
from tenantry.presets import spec_path


@pytest.mark.parametrize(("kind", "stride"), daily([("tables", 3), ("dump", 11)]))
def test_killed_making_one(kind: str, stride: int, odd: Database, driver: Driver, tmp_path: Path) -> None:
    """Whatever it was at, the next one works, what was torn is not offered, and nothing of it is left."""
    killed_making_one(odd, driver, tmp_path, kind, stride)


def test_killed_in_the_backup_before(preset: Callable[[str], tuple[Database, Spec]], driver: Driver) -> None:
    """A migrate, or a rollback, that dies in the backup that it begins with has changed nothing; what is torn is not
    offered; and the same command again goes to its end, with one whole backup."""
    database, spec = preset("estoque")
    text = spec_path("estoque").read_text().replace("tenantry_app", spec.application.role)
    first, rows_before = database.dump(), rows(database)
    for command, reason in (("migrate", "migration"), ("rollback", "rollback")):
        before, killed, torn = database.dump(), 0, 0
        for number in range(2, 2000, 23):
            ended, said = driver(database, command, number, spec=text)
            if ended != KILLED:
                assert ended == 0, said
                break
            killed += 1
            assert database.dump() == before
            for one in list_backups(target(database)):
                if one.backup.finished_at is None:
                    torn += 1
                    with pytest.raises(Refused, match="incomplete"):
                        restore(target(database), one.backup.id, RestoreOptions())
        assert killed > 1
        assert torn > 0
        there = [one.backup for one in list_backups(target(database))]
        assert [one.finished_at is not None for one in there if one.reason == reason] == [True]
        assert copies(database) == {copy.copy for one in there for copy in one.tables}
    assert (database.dump(), rows(database)) == (first, rows_before)


def test_killed_restoring(odd: Database, driver: Driver) -> None:
    """All or nothing, the backup of the state before included; and the next restore works."""
    killed_restoring(odd, driver, stride=5)


def test_killed_pruning(odd: Database, driver: Driver) -> None:
    """What is listed is whole, whenever it dies."""
    for _ in range(3):
        create_backup(target(odd), spec_of(*TABLES), BackupOptions())
    killed = 0
    for number in range(1, 2000, 3):
        ended, said = driver(odd, "prune", number)
        there = [one.backup for one in list_backups(target(odd))]
        assert copies(odd) == {copy.copy for one in there for copy in one.tables}
        if ended != KILLED:
            assert (ended, len(there)) == (0, 1), said
            break
        killed += 1
    assert killed > 5
