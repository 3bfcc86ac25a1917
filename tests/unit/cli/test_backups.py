"""What the options of backups become."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from unit.cli.calling import CommandLine


def test_create(line: CommandLine) -> None:
    called = line(
        "backups.create_backup", "backups create --backup dump --dump-dir d --table a --table b --free-space 5MB"
    )
    _, chosen = called.positional
    assert (chosen.kind, chosen.folder, chosen.free_space) == ("dump", Path("d"), 5 << 20)
    assert called.named["tables"] == ["a", "b"]
    assert "makes no backup" in line.refused("backups create --backup none")


def test_restore(line: CommandLine) -> None:
    id, chosen, _ = line(
        "backups.run_restore", "backups restore 42 --table a --force --backup none --lock-timeout 1"
    ).positional
    assert (id, chosen.tables, chosen.force, chosen.dry_run, chosen.lock_timeout) == ("42", ("a",), True, False, 1.0)
    assert chosen.backup.kind == "none"
    assert "needs a backup of tables" in line.refused("backups restore 42 --backup dump")


def test_verify_and_prune(line: CommandLine) -> None:
    assert line("backups.verify_backups", "backups verify").positional[0] == []
    assert line("backups.verify_backups", "backups verify a b").positional[0] == ["a", "b"]
    named = line("backups.prune_backups", "backups prune --keep 2 --older-than 30d --dry-run").named
    assert (named["keep"], named["older_than"], named["dry_run"]) == (2, timedelta(days=30), True)
    named = line("backups.prune_backups", "backups prune").named
    assert (named["keep"], named["older_than"]) == (None, None)
    assert "is not a duration" in line.refused("backups prune --older-than 30")
