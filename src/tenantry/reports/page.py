"""A report as one HTML page without scripts, fonts or pictures from elsewhere: it makes no request."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tenantry.errors import ExitStatus
from tenantry.model.wording import duration
from tenantry.reports import charts
from tenantry.reports.report import Action, Report, ReportedFinding, Verdict
from tenantry.reports.text import visible

FOLDER = Path(__file__).with_name("templates")
SLOWEST, STEPS, FINDINGS, COLUMNS = 15, 1_000, 300, 12
"""The maximum number of entries that the page shows of each list; the JSON report has all of them."""
WORDS = {
    Verdict.RUNNING: "Still running, or killed",
    **{Verdict.of(status): status.meaning[0].upper() + status.meaning[1:] for status in ExitStatus},
}
DONE = (Action.APPLIED, Action.REVERTED, Action.KEPT)


def html(report: Report) -> str:
    """The page of a report."""
    style = (FOLDER / "report.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    steps = [entry for entry in report.timeline if entry.key is not None]
    draws, counted = charts.can_draw(), [table for table in report.distribution if table.rows]
    return environment().get_template("report.html").render(
        report=report,
        style=Markup(style),  # a file of the package
        policy=f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'",
        word=WORDS[report.verdict],
        tone=_tone(report.verdict),
        draws=draws,
        timeline=_chart(charts.timeline(report.timeline)) if draws and report.timeline else None,
        distribution=_chart(charts.distribution(counted)) if draws and counted else None,
        waits=_chart(charts.waits(report.waits)) if draws and report.waits else None,
        counted=counted,
        empty=[table for table in report.distribution if not table.rows],
        steps=steps[:STEPS],
        more_steps=max(0, len(steps) - STEPS) + report.timeline_left_out,
        slowest=sorted(steps, key=lambda entry: -entry.milliseconds)[:SLOWEST],
        findings=report.findings[:FINDINGS],
        more_findings=max(0, len(report.findings) - FINDINGS) + report.findings_left_out,
    )  # fmt: skip


def environment() -> Environment:
    """The environment of the templates: what they write is escaped, and control characters are made visible."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, finalize=_finalized,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"time": time, "number": number, "columns": columns, "shown": shown}
    return environment


def _finalized(value: Any) -> Any:
    """Applied to every text that the template writes, except for what is markup already."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return visible(value)


def _tone(verdict: Verdict) -> str:
    if verdict is Verdict.DONE:
        return "good"
    return "fair" if verdict in (Verdict.FINDINGS, Verdict.INTERRUPTED, Verdict.RUNNING) else "bad"


def _chart(svg: str) -> Markup:
    # Made from data alone, and escaped by the code that drew it.
    return Markup(svg)


def time(milliseconds: float) -> str:
    """A time, in the format used for people everywhere."""
    return duration(milliseconds / 1000)


def number(value: float | None) -> str:
    """With thousands separators; empty if there is none."""
    return "" if value is None else f"{value:,.0f}"


def columns(finding: ReportedFinding) -> list[str]:
    """The names of the fields in a finding's samples, in their order."""
    names = dict.fromkeys(name for sample in finding.samples for name in sample)
    return list(names)[:COLUMNS]


def shown(value: Any) -> str:
    """A value of a sample, or of an option."""
    if value is None or isinstance(value, bool):
        return {None: "NULL", True: "true", False: "false"}[value]
    return str(value)
