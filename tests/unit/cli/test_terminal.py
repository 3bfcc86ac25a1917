"""What a person or a program is shown: nothing that a database says moves a cursor, and no secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tenantry.cli.settings import Settings
from tenantry.cli.terminal import SHOWN, Terminal
from tenantry.errors import ExitStatus, UsageError
from tenantry.model.finding import Finding, Severity
from tenantry.reports.log import Log

SECRET = "s3cr3t!"


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type:
    monkeypatch.setenv("COLUMNS", "60")

    class Made(Terminal):
        def __init__(self, **settings: object) -> None:
            log = Log(tmp_path, command="plan", run="1")
            super().__init__(command="plan", settings=Settings(**settings), log=log, secrets=[SECRET])  # type: ignore[arg-type]

    return Made


def test_who_is_told_what(make: type, capsys: pytest.CaptureFixture[str]) -> None:
    """With --quiet what the command is for; with --json the one document."""
    for settings, told in (({}, ["said", "shown"]), ({"quiet": True}, ["shown"]), ({"json": True}, [])):
        terminal = make(**settings)
        terminal.say("said")
        terminal.show("shown")
        assert capsys.readouterr().out.split() == told
    terminal.answer(rows=3, name=SECRET)
    terminal.finish(ExitStatus.DONE)
    assert json.loads(capsys.readouterr().out) == {"command": "plan", "exit_status": 0, "rows": 3, "name": "****"}


def test_an_error(make: type, capsys: pytest.CaptureFixture[str]) -> None:
    """What is wrong, some details, what to do; wrapped below its own beginning; no markup, no secret, no cursor."""
    error = UsageError(
        f"[b]{SECRET} \x1b[2J", remedy="do this", details=["", *(f"detail {n}" for n in range(SHOWN + 2))]
    )
    make().finish(ExitStatus.USAGE, error)
    said = capsys.readouterr().err
    assert said.startswith("tenantry: [b]**** ␛[2J\n  detail 0\n")
    assert "… and 2 more (--verbose shows them)" in said
    assert "What to do: Do this." in said
    make(verbose=True).finish(ExitStatus.USAGE, error)
    assert f"detail {SHOWN + 1}" in capsys.readouterr().err
    make().finish(ExitStatus.USAGE, UsageError("word " * 30))
    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith("          word") for line in lines[1:])
    assert max(map(len, lines)) <= 60


def test_findings(make: type, capsys: pytest.CaptureFixture[str]) -> None:
    """Ten and a total; mere information only where it is asked for, or says itself that it is worth it."""
    findings = [Finding(name="x", severity=Severity.INFO, message="information")]
    findings += [
        Finding(name="x", severity=Severity.WARNING, message=f"finding {n}", remedy="do it") for n in range(SHOWN + 5)
    ]
    make().findings(findings)
    said = capsys.readouterr().out
    assert "information" not in said
    assert said.count("Do it.") == SHOWN
    assert f"… 5 more, {SHOWN + 5} findings in all" in said
    make(verbose=True).findings(findings)
    assert "information" in capsys.readouterr().out
    make().findings([Finding(name="x", severity=Severity.INFO, message="look", always=True, refuses=True)])
    assert capsys.readouterr().out.startswith("refuses  look")


def test_texts_for_programs_are_not_wrapped(make: type, capsys: pytest.CaptureFixture[str]) -> None:
    make().write("x" * 200)
    make().warn("a [warning]")
    out, err = capsys.readouterr()
    assert (out, err) == ("x" * 200, "tenantry: a [warning]\n")
