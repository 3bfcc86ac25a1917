"""The findings of a report as CSV, one in each row."""

from __future__ import annotations

import csv as writer
import io
import json

from tenantry.reports.report import Report, ReportedFinding
from tenantry.reports.text import bounded, cell

LONGEST_CELL = 30_000
"""In characters; a spreadsheet cell takes 32,767 at most."""
COLUMNS = ("run", "command", "severity", "family", "check", "table", "count", "message", "remedy", "samples")


def csv(report: Report) -> str:
    """A header line, then a line for each finding; values that a spreadsheet would take for a formula begin with a
    quote."""
    text = io.StringIO()
    out = writer.writer(text, quoting=writer.QUOTE_ALL, lineterminator="\r\n")
    out.writerow(COLUMNS)
    out.writerows(
        [cell(bounded(value, LONGEST_CELL)) for value in _values(report, finding)] for finding in report.findings
    )
    return text.getvalue()


def _values(report: Report, finding: ReportedFinding) -> tuple[object, ...]:
    samples = json.dumps(finding.samples, ensure_ascii=False) if finding.samples else ""
    return (
        report.run, report.command, str(finding.severity), finding.family, finding.name, finding.table, finding.count,
        finding.message, finding.remedy, samples,
    )  # fmt: skip
