"""Findings as CSV, one a row."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from reports.reporting import finding, reported
from tenantry.errors import ExitStatus
from tenantry.execution.events import FindingReported
from tenantry.reports.table import COLUMNS
from tenantry.reports.table import csv as written


def test_rows(tmp_path: Path) -> None:
    """Each finding whole, whatever signs are in it; nothing where there is nothing."""
    report = reported(tmp_path)
    report(FindingReported(finding(message='two\nlines, "quoted"', count=3, samples=({"a": "é"},))))
    report(FindingReported(finding(table=None, count=None)))
    rows = list(csv.reader(io.StringIO(written(report.report(ExitStatus.FINDINGS)), newline="")))
    assert tuple(rows[0]) == COLUMNS
    first, second = (dict(zip(COLUMNS, row, strict=True)) for row in rows[1:])
    assert (first["command"], first["check"], first["table"], first["count"]) == (
        "validate",
        "a-check",
        "public.t",
        "3",
    )
    assert first["message"] == 'two␊lines, "quoted"'
    assert first["samples"] == '[{"a": "é"}]'
    assert (second["table"], second["count"], second["samples"]) == ("", "", "")
