"""The page as a browser shows it: Chromium, without a window and without a network."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import pytest
from pypdf import PdfReader

from reports.chromium import CHROMIUM, TABLES, TENANTS, asked, chromium
from reports.chromium import page as page

# Where there is no Chromium (`make system` installs Debian's) there is nothing to look with.
if CHROMIUM:

    def test_text_and_charts_are_there_in_print(page: Path) -> None:
        """Printed, each section has its words, and each chart its labels; the verdict comes first."""
        printed = page.with_name("page.pdf")
        chromium(page.parent, "--no-pdf-header-footer", f"--print-to-pdf={printed}", page.as_uri())
        sheets = " ".join(sheet.extract_text() for sheet in PdfReader(printed).pages)
        # A font may have one sign for f and i.
        text = " ".join(unicodedata.normalize("NFKC", sheets).split())
        order = ["Done, with findings", "1 error and 1 warning", "Findings ERROR", "Timeline",
                 "The steps that took longest", "Rows by tenant", "Locks and waits"]  # fmt: skip
        places = [text.find(words) for words in order]
        assert -1 not in places, text
        assert places == sorted(places)
        assert "What to do next" in text
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
