"""What a page shows of values, and in which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports.parsed_page import Page
from reports.reporting import finding, reported
from tenantry.errors import ExitStatus, Refused
from tenantry.execution.events import FindingReported
from tenantry.reports import page
from tenantry.reports.builder import Gathering
from tenantry.reports.report import Verdict


def test_times() -> None:
    """The report has milliseconds."""
    assert [page.time(milliseconds) for milliseconds in (0.4, 1000, 320_000)] == ["0 ms", "1.0 s", "5 min 20 s"]


def test_values() -> None:
    assert [page.shown(value) for value in (None, True, False, 0, "x")] == ["NULL", "true", "false", "0", "x"]
    assert [page.number(value) for value in (None, 0, 1234.5)] == ["", "0", "1,234"]


def test_columns_of_samples() -> None:
    """In the order in which they come, each once, and no more than a page is wide."""
    samples = ({"b": 1, "a": 2}, {"c": 3, "a": 4}, {f"d{number}": 1 for number in range(20)})
    gathered = Gathering(secrets=(), samples=9)
    gathered.found(finding(samples=samples))
    (found,) = gathered.findings()["findings"]
    assert page.columns(found)[:3] == ["b", "a", "c"]
    assert len(page.columns(found)) == page.COLUMNS


@pytest.mark.parametrize("verdict", Verdict)
def test_every_verdict_has_its_words(verdict: Verdict) -> None:
    assert page.WORDS[verdict]


def test_a_refusal(tmp_path: Path) -> None:
    """What is wrong, and what to do; as many findings as there is room for, and how many more there are."""
    report = reported(tmp_path)
    for number in range(page.FINDINGS + 3):
        report(FindingReported(finding(message=f"finding {number}.")))
    whole = Page(page.html(report.report(ExitStatus.REFUSED, Refused("It is unsafe", remedy="Do that"))))
    for words in ("Refused, a person must decide", "It is unsafe", "Do that", "finding 299."):
        assert words in whole.text
    assert "finding 300." not in whole.text
