"""The page as a browser shows it: Chromium, without a window and without a network."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
import unicodedata
from pathlib import Path

import pytest
from pypdf import PdfReader

from reports.reporting import finding, reported
from tenantry import ReportObserver
from tenantry.errors import ExitStatus
from tenantry.execution.events import CommandEnded, Connected, Distributed, Found, LocksRefused, StepEvent
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
        Found(finding(message="3 rows of orders without a tenant", remedy="Give them one.", samples=samples, count=3))
    )
    report(Found(finding(severity=Severity.WARNING, message="An index is never used")))
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


# Where there is no Chromium (`make system` installs Debian's) there is nothing to look with.
if CHROMIUM:

    def test_text_and_charts_are_there_in_print(page: Path) -> None:
        """Printed, each section has its words, and each chart its labels; the verdict comes first."""
        printed = page.with_name("page.pdf")
        chromium(page.parent, "--no-pdf-header-footer", f"--print-to-pdf={printed}", page.as_uri())
        sheets = " ".join(sheet.extract_text() for sheet in PdfReader(printed).pages)
        # A font may have one sign for f and i.
        text = " ".join(unicodedata.normalize("NFKC", sheets).split())
        order = ["Done, and findings remain", "1 error and 1 warning", "Timeline", "The steps that took longest",
                 "Rows by tenant", "Locks and waits", "Findings ERROR", "What to do next"]  # fmt: skip
        places = [text.find(words) for words in order]
        assert -1 not in places, text
        assert places == sorted(places)
        for words in ("seconds since the run began", "share of the rows", "seconds of waiting", "pid 4711", "enforce",
                      *TENANTS, "3 rows of orders without a tenant", "An index is never used", "NULL"):  # fmt: skip
            assert words in text, words
        assert all(f"public.{table}" in text for table in TABLES[:3])

    def test_charts_are_drawn(page: Path) -> None:
        """As the browser has read it: three charts with bars, and nothing that was kept from being loaded."""
        shown = chromium(page.parent, "--dump-dom", page.as_uri())
        charts = re.findall(r"<svg .*?</svg>", shown, re.DOTALL)
        assert [shown.count(f'id="{name}"') for name in ("timeline", "distribution", "waits")] == [1, 1, 1]
        assert len(charts) == 3
        bars = [chart.count('aria-roledescription="bar"') for chart in charts]
        assert bars == [len(TABLES) + 1, len(TABLES) * (len(TENANTS) + 1), 1]

    def test_its_style_is_let_in(page: Path) -> None:
        """It passes the page's own policy, which would keep any other out; charts are as wide as the page."""
        style = "inner.defaultView.getComputedStyle(inner.querySelector('.verdict')).borderLeftStyle"
        assert asked(page, 1000, style) == "solid"
        width = asked(page, 1000, "Math.round(inner.querySelector('#timeline svg').getBoundingClientRect().width)")
        assert 800 < int(width) < 1000

    def test_names_are_whole(page: Path) -> None:
        """Where there is room, the name of a table is not broken; and no two numbers of an axis are on each other."""
        lines = "(() => { const range = inner.createRange(); range.selectNodeContents(cell.firstChild);"
        lines += " return new Set([...range.getClientRects()].map(one => Math.round(one.top))).size })()"
        broken = f"[...inner.querySelectorAll('td.name')].filter(cell => {lines} > 1).length"
        assert asked(page, 1280, broken) == "0"
        apart = "labels.every((one, at) => at == 0 || labels[at - 1].getBoundingClientRect().right"
        apart += " <= one.getBoundingClientRect().left)"
        of_axis = (
            "[...inner.querySelectorAll('#timeline .role-axis-label')]"
            ".map(one => [...one.querySelectorAll('text')].filter(text => text.getAttribute('opacity') != '0'))"
        )
        assert asked(page, 1280, f"{of_axis}.length + ' ' + {of_axis}.slice(0, 1).every(labels => {apart})") == "2 true"

    @pytest.mark.parametrize("width", [1000, 400])
    def test_no_page_is_wider_than_its_window(page: Path, width: int) -> None:
        """What is wide scrolls by itself."""
        assert int(asked(page, width, "inner.documentElement.scrollWidth")) <= width
