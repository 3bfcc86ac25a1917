"""Each run leaves a report, however it ends; it says what was done, how long it took, and where it stopped."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from conftest import ROOT
from reports.reporting import read_report, reported
from tenantry.errors import ExitStatus, UsageError
from tenantry.execution.events import CommandBegan, CommandEnded, Looking
from tenantry.reports import charts
from tenantry.reports.log import Log, LogObserver


def test_the_published_schema_is_what_reports_are_written_with() -> None:
    """In the documentation and in the package alike."""
    made = runpy.run_path(str(ROOT / "docs" / "schema.py"))
    assert (ROOT / "docs" / "report.schema.json").read_text() == made["schema"]()
    assert made["PACKAGED"].read_text() == made["schema"]()


def test_a_report_that_cannot_be_written_meanwhile_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full for a while: the run goes on, and the report is whole at its end."""
    monkeypatch.setattr("tenantry.reports.report_observer.EVERY", 0.0)
    report = reported(tmp_path / "reports")
    (tmp_path / "reports").rename(tmp_path / "away")
    report(Looking("the rows"))
    (tmp_path / "away").rename(tmp_path / "reports")
    report(Looking("more rows"))
    assert report.path is not None
    assert read_report(report.path)["stopped_at"] == "more rows"
    report.end(ExitStatus.DONE)
    assert read_report(report.path)["verdict"] == "done"


def test_export_without_the_package_that_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so before anything is done; the JSON report needs nothing."""
    monkeypatch.setattr(charts, "PACKAGE", "no_such_package")
    with pytest.raises(UsageError, match="not installed"):
        reported(tmp_path, export=True)
    reported(tmp_path).end(ExitStatus.DONE)


def test_parts_of_a_run(tmp_path: Path) -> None:
    """What begins within a run is a part of it, in report and log, with its own outcome."""
    report, log = reported(tmp_path), Log(tmp_path, command="full", run="1")
    for observer in (LogObserver(log), report):
        observer(CommandBegan("migrate", "2"))
        observer(CommandEnded("migrated", "validate"))
        observer(CommandBegan("validate", "3"))
    log.close()
    report.end(ExitStatus.FAILED)
    assert report.path is not None
    parts = read_report(report.path)["commands"]
    assert [(part["command"], part["run"], part["outcome"]) for part in parts] == [
        ("migrate", "2", "migrated"),
        ("validate", "3", ""),
    ]
    assert len(list(tmp_path.glob("*.log"))) == 1
