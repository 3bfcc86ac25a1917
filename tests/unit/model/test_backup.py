"""What a backup is: whole or not, and what its copies are called."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from tenantry.model.backup import Backup, BackupKind, Reason, TableCopy, TableRestored, copy_name
from tenantry.model.name import Name
from unit.schemas import name

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BACKUP = Backup(
    id="1", kind=BackupKind.TABLES, reason=Reason.MANUAL, run="1", server_version=180000, started_at=NOW,
    tables=(TableCopy(table=name("a"), columns=(), rows=2), TableCopy(table=name("b"), columns=(), rows=3)),
)  # fmt: skip


def test_whether_it_can_be_restored() -> None:
    """Not one that was torn, nor one in which a verification found something."""
    assert not BACKUP.restorable
    done = replace(BACKUP, finished_at=NOW)
    assert done.restorable
    assert not replace(done, problem="rows are missing").restorable
    assert done.rows == 5


def test_what_a_restore_gives_up() -> None:
    assert TableRestored(table=name("a"), deleted=2, updated=3, inserted=4).lost == 5


def test_names_of_copies() -> None:
    """63 bytes at most, and none twice: neither of two schemas' tables, nor of two names that are alike at first."""
    assert copy_name("20260101", name("sales"), frozenset()) == "backup_20260101_sales"
    taken = frozenset({"backup_1_sales"})
    second = copy_name("1", Name("old", "sales"), taken)
    assert second not in taken
    assert second != copy_name("1", Name("older", "sales"), taken)
    assert second != copy_name("1", Name("old", "purchases"), taken)
    long = [copy_name("1", name("é" * 60 + end), frozenset()) for end in ("a", "b")]
    assert long[0] != long[1]
    assert all(len(one.encode()) <= 63 for one in (*long, second))
