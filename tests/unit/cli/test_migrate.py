"""What migrate's options become."""

from __future__ import annotations

from pathlib import Path

from tenantry.execution.prospect import MigrateOptions
from tenantry.model.backup import BackupKind
from tenantry.model.plan import Phase
from unit.cli.calling import CommandLine


def test_options(line: CommandLine) -> None:
    spec, chosen, _ = line("migrate.run_migrate", "migrate").positional
    assert spec.path == Path("tenantry.toml")
    assert chosen == MigrateOptions(until=Phase.ISOLATE, workers=2)
    words = "--until contract --force --workers 9 --backup dump --dump-dir d --free-space 1GB --lock-timeout 0.5"
    _, chosen, _ = line("migrate.run_migrate", f"migrate {words} --lock-budget 60").positional
    assert chosen == MigrateOptions(
        until=Phase.CONTRACT, force=True, workers=9, backup=BackupKind.DUMP, dump_folder=Path("d"), free_space=1 << 30,
        lock_timeout=0.5, lock_budget=60,
    )  # fmt: skip


def test_a_dry_run_migrates_nothing(line: CommandLine) -> None:
    """With the options that the run would have."""
    _, chosen = line("migrate.run_preview", "migrate --dry-run --until expand").positional
    assert chosen.until is Phase.EXPAND


def test_concurrently(line: CommandLine) -> None:
    """The option goes with the phase that distributes tables, and with nothing else."""
    _, chosen, _ = line("migrate.run_migrate", "migrate --until distribute --concurrently").positional
    assert chosen.concurrently
    _, chosen, _ = line("full.run_full", "full --until distribute --concurrently").positional
    assert chosen.migrate.concurrently
    for words in ("migrate", "migrate --until contract", "full"):
        assert "--concurrently is about the phase distribute" in line.refused(f"{words} --concurrently")
    refusal = line.refused("migrate --until distribute --prepare --concurrently")
    assert "--prepare distributes no table" in refusal
