"""validate --ci: what a build server is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenantry.cli.annotations import show_annotations
from tenantry.cli.settings import Settings
from tenantry.cli.terminal import Terminal
from tenantry.errors import ExitStatus
from tenantry.model.finding import Finding, Severity
from tenantry.model.verdict import Verdict
from tenantry.reports.log import Log

HOSTILE = 'public."a%\n::error::b"'


def printed_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str], environment: dict[str, str]) -> list[str]:
    findings = tuple(
        Finding(name="orphan-rows", severity=severity, message=f"rows of {HOSTILE} have no tenant", remedy="Give one.")
        for severity in Severity
    )
    verdict = Verdict(
        command="validate", run="1", exit_status=ExitStatus.FINDINGS, outcome="2 findings", next_step="", families=(),
        findings=findings,
    )  # fmt: skip
    log = Log(tmp_path, command="validate", run="20260101000000-00000000")
    show_annotations(Terminal(command="validate", settings=Settings(), log=log), verdict, environment=environment)
    return capsys.readouterr().out.splitlines()


def test_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each error and warning, none for information or what the spec accepts; a name breaks no line."""
    error, warning, outcome = printed_lines(tmp_path, capsys, {})
    assert error.startswith("error: orphan-rows: rows of ")
    assert error.endswith("have no tenant. Give one.")
    assert warning.startswith("warning: orphan-rows: ")
    assert outcome == "2 findings."


def test_annotations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In GitHub Actions each is a workflow command, and no name in a database can be one of its own."""
    error, warning, _ = printed_lines(tmp_path, capsys, {"GITHUB_ACTIONS": "true"})
    assert error.startswith("::error title=tenantry orphan-rows::rows of ")
    assert 'public."a%25 ::error::b"' in error
    assert warning.startswith("::warning title=")
