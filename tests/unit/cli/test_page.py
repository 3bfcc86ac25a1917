"""A text of so many lines, whatever there is to tell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from rich.text import Text

from tenantry.cli.page import LONGEST, Page, worst_first
from tenantry.cli.settings import Settings
from tenantry.cli.terminal import Terminal
from tenantry.model.finding import Finding, Severity
from tenantry.reports.log import Log


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")


def page(folder: Path) -> Page:
    terminal = Terminal(command="plan", settings=Settings(), log=Log(folder, command="plan", run="1"))
    return Page(terminal=terminal, lines=10)


def test_a_list_ends_where_the_room_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And says how many there are in all; some lines stay free."""
    shown = page(tmp_path)
    shown.list([(Text("- "), Text(f"entry {n}")) for n in range(50)], "entries", most=40, heading="All:", spare_lines=3)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "All:"
    assert lines[-1].endswith("more, 50 entries in all")
    assert len(lines) <= 10 - 3 + 1
    assert shown.lines >= 2


def test_a_long_entry_is_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = page(tmp_path)
    shown.list([(Text("- "), Text("word " * 100))], "entries", most=5)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == LONGEST
    assert lines[-1].endswith("…")
    shown.list([], "entries", most=5, heading="Nothing:")
    assert capsys.readouterr().out == ""


def test_the_worst_first() -> None:
    finding = Finding(name="x", severity=Severity.WARNING, message="m")
    found = [replace(finding, severity=one) for one in (Severity.INFO, Severity.WARNING, Severity.ERROR)]
    refusing = replace(finding, refuses=True)
    assert worst_first([*found, refusing]) == [refusing, *reversed(found)]
