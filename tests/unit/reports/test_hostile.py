"""Values that somebody has prepared come out inert: in JSON, CSV, HTML, and on the terminal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reports.parsed_page import Page
from reports.reporting import HOSTILE, finding, read_report, read_table, reported
from tenantry.errors import ExitStatus, Failed
from tenantry.execution.events import Distributed, FindingReported, Reading
from tenantry.model.distribution import Distribution
from tenantry.model.name import Name

LONG = "=" + "é" * 1_000_000


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """The JSON report of a run that found each hostile value, in every place that a report has for one."""
    report = reported(tmp_path, export=True, options={"table": [*HOSTILE.values()]})
    for value in (*HOSTILE.values(), LONG):
        name = Name("public", value[:60])
        report(Reading(value))
        report(
            FindingReported(finding(message=value, remedy=value, table=name, samples=({value: value, "null": None},)))
        )
        report(Distributed(Distribution(table=name, rows=3, without_tenant=1, tenants=1, largest=((value, 2),))))
    report.end(ExitStatus.FAILED, Failed(HOSTILE["html"], remedy=HOSTILE["ansi"], details=[*HOSTILE.values(), LONG]))
    assert report.path is not None
    return report.path


def test_json(hostile: Path) -> None:
    """Values come back as they were, the long one shortened; no raw control character is in the file."""
    report = read_report(hostile)
    assert [one["message"] for one in report["findings"][:-1]] == list(HOSTILE.values())
    assert report["findings"][-1]["message"].endswith("(1,000,001 characters)")
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2028]", hostile.read_text())
    assert hostile.stat().st_size < 200_000


def test_csv(hostile: Path) -> None:
    """No cell is a formula or has a control character, and each finding is one row."""
    rows = read_table(hostile.with_suffix(".csv"))
    assert len(rows) == len(HOSTILE) + 1
    for value in (value for row in rows for value in row.values()):
        assert value[:1] not in tuple("=+-@\t\r"), value[:20]
        assert not re.search("[\x00-\x1f\x7f-\x9f]", value), value[:20]
    assert rows[0]["message"] == "'" + HOSTILE["formula"]


def test_html(hostile: Path) -> None:
    """Nothing of it is markup, and the page asks nobody for anything."""
    text = hostile.with_suffix(".html").read_text()
    page = Page(text)
    assert not page.elements & {"script", "img", "iframe", "object", "embed", "form", "base"}
    assert page.addresses == {"data:,"}
    assert not page.handlers
    assert HOSTILE["html"] in page.text
    assert HOSTILE["template"] in page.text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", text)
    assert page.policy.startswith("default-src 'none'; style-src 'sha256-")
    assert text.count("<svg ") == 2


def test_samples_that_were_asked_for(tmp_path: Path) -> None:
    """--samples says how many."""
    report = reported(tmp_path, options={"samples": 50})
    report(FindingReported(finding(samples=({"a": 1},) * 100)))
    report.end(ExitStatus.FINDINGS)
    assert report.path is not None
    assert len(read_report(report.path)["findings"][0]["samples"]) == 50
