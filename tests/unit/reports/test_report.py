"""Each run leaves a report, however it ends; it says what was done, how long it took, and where it stopped."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from conftest import ROOT
from reports.reporting import read_report, reported
from tenantry.errors import ExitStatus
from tenantry.execution.events import CommandBegan, CommandEnded, Distributed, Reading
from tenantry.model.distribution import Distribution
from tenantry.model.name import Name
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
    report(Reading("the rows"))
    (tmp_path / "away").rename(tmp_path / "reports")
    report(Reading("more rows"))
    assert report.path is not None
    assert read_report(report.path)["stopped_at"] == "more rows"
    report.end(ExitStatus.DONE)
    assert read_report(report.path)["verdict"] == "done"


def counted(table: str, rows: int) -> Distributed:
    return Distributed(Distribution(table=Name("public", table), rows=rows))


def test_export_without_the_package_that_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CSV and page are written all the same; the page says what its charts need."""
    monkeypatch.setattr(charts, "PACKAGE", "no_such_package")
    report = reported(tmp_path, export=True)
    report(counted("orders", 3))
    report.end(ExitStatus.FAILED)
    rows, page = report.exports
    assert rows.read_bytes()
    text = page.read_text()
    assert "tenantry[reports]" in text
    assert "<svg" not in text
    assert "orders" in text


def test_what_matters_comes_first(tmp_path: Path) -> None:
    """Findings stand before the timeline; tables without rows are folded away."""
    report = reported(tmp_path, export=True)
    for table, rows in (("orders", 3), ("nothing_here", 0)):
        report(counted(table, rows))
    report.end(ExitStatus.DONE)
    text = report.exports[1].read_text()
    assert text.index("<h2>Findings</h2>") < text.index("<h2>Timeline</h2>") < text.index("<h2>Rows by tenant</h2>")
    folded = text[text.index("1 table without rows") :]
    assert "nothing_here" in folded
    assert "nothing_here" not in text.removesuffix(folded)


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
