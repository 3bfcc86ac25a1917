"""Chromium without a window and a network, which shows a page."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from reports.reporting import finding, reported
from tenantry import ReportObserver
from tenantry.errors import ExitStatus
from tenantry.execution.events import CommandEnded, Connected, Distributed, FindingReported, LocksRefused, StepEvent
from tenantry.model.distribution import Distribution
from tenantry.model.finding import Severity
from tenantry.model.name import Name
from tenantry.model.plan import Phase
from tenantry.model.run import StepAction
from tenantry.postgres.connect import Server
from tenantry.steps import SetNotNull

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


TABLES = ("orders", "order_lines", "customers", "a_table_with_quite_a_long_name_of_its_own")


TENANTS = ("north", "south", "east-of-everything-else")


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """The page of a run of everything: steps, waits, rows of tenants, findings with samples."""
    report = reported(tmp_path, export=True, options={"until": "isolate"})
    tell(report)
    report.end(ExitStatus.FINDINGS)
    assert report.path is not None
    return report.path.with_suffix(".html")


def tell(report: ReportObserver) -> None:
    """What a run tells, in little."""
    report(Connected(Server(version=180001, version_name="18.1", database="shop", user="owner", superuser=False,
               bypasses=False, can_create_role=True, can_create_schema=True, in_recovery=False)))  # fmt: skip
    for number, table in enumerate(TABLES, start=1):
        step = SetNotNull(phase=Phase.ENFORCE, table=Name("public", table), column="tenant_id")
        report(StepEvent(step=step, action=StepAction.STARTED, number=number, total=4))
        if number == 2:
            report(LocksRefused("no lock within 2 s", ["pid 4711 (clerk), idle in transaction"], 1.5))
        report(
            StepEvent(
                step=step,
                action=StepAction.APPLIED,
                number=number,
                total=4,
                milliseconds=5,
                tries=1,
                rows=number * 1000,
            )
        )
        shares = tuple(zip(TENANTS, (600, 300, 50), strict=True))
        report(
            Distributed(
                Distribution(table=step.table, rows=1000, without_tenant=50, tenants=3, largest=shares, typical=300)
            )
        )
    samples = ({"id": 7, "code": "x" * 400}, {"id": 8, "code": None})
    report(
        FindingReported(
            finding(message="3 rows of orders without a tenant", remedy="Give them one.", samples=samples, count=3)
        )
    )
    report(FindingReported(finding(severity=Severity.WARNING, message="An index is never used")))
    report(CommandEnded("1 error and 1 warning", "Look at the first finding first."))


def chromium(folder: Path, *arguments: str) -> str:
    """Run it, and return what it prints."""
    assert CHROMIUM is not None
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
         f"--user-data-dir={folder / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND", *arguments],
        capture_output=True, text=True, timeout=240, check=True, cwd=folder,
    )  # fmt: skip
    return done.stdout


def asked(page: Path, width: int, expression: str) -> str:
    """What a script says of the page (`inner`) where there are `width` pixels; it runs in a page around it."""
    around = page.with_name("around.html")
    source = html.escape(page.read_text(), quote=True)
    around.write_text(
        f'<iframe style="width:{width}px;height:600px;border:0" srcdoc="{source}"></iframe><script>'
        "document.querySelector('iframe').onload = event => { const inner = event.target.contentDocument;"
        f" document.title = 'said ' + ({expression}) }}</script>"
    )
    shown = chromium(page.parent, "--dump-dom", "--virtual-time-budget=5000", around.as_uri())
    found = re.search(r"<title>said (.*?)</title>", shown)
    assert found is not None, shown[:500]
    return found[1]
