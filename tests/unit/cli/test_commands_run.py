"""Each command is run by a test."""

from __future__ import annotations

from collections.abc import Iterator

from conftest import ROOT
from tenantry.cli.commands import COMMANDS, Command, Group


def paths(entries: dict[str, Command | Group], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, entry in entries.items():
        if isinstance(entry, Group):
            yield from paths(dict(entry.commands), (*above, name))
        else:
            yield (*above, name)


def test_each_command_is_run_by_a_test() -> None:
    """Some test calls it as a process, or the runbook has it, whose commands a test runs."""
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))
    runbook = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    called = {path: ", ".join(f'"{word}"' for word in path) for path in paths(dict(COMMANDS))}
    assert [
        path for path, words in called.items()
        if f"({words}" not in tests and f"$ tenantry {' '.join(path)}" not in runbook
    ] == []  # fmt: skip
