"""The page of what discover proposes: as a file, and as a browser shows it."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import Command
from reports.chromium import CHROMIUM, asked
from servers import Database
from tenantry import discover
from tenantry.postgres.connect import Target
from tenantry.reports.proposal_page import proposal_html

EVIL = "</script><img src=x onerror=alert(1)>"
SHOP = f"""
CREATE TABLE tenants (id int PRIMARY KEY, slug text UNIQUE);
CREATE TABLE users (id int PRIMARY KEY, tenant_id int NOT NULL REFERENCES tenants);
CREATE TABLE orders (id int PRIMARY KEY, tenant_id int NOT NULL REFERENCES tenants, code text UNIQUE);
CREATE TABLE lines (id int PRIMARY KEY, order_id int NOT NULL REFERENCES orders);
CREATE TABLE visits (id text PRIMARY KEY, guest_id int NOT NULL REFERENCES users, host_id int NOT NULL REFERENCES users);
CREATE TABLE lots (id int PRIMARY KEY);
CREATE TABLE moves (id int PRIMARY KEY, tenant_id int NOT NULL REFERENCES tenants, lot_id int NOT NULL REFERENCES lots);
CREATE TABLE tree (id int PRIMARY KEY, tenant_id int NOT NULL REFERENCES tenants, parent_id int REFERENCES tree);
CREATE TABLE "{EVIL}" (id int PRIMARY KEY, said text);
INSERT INTO tenants VALUES (1, 'a'), (2, '<b>b</b>');
INSERT INTO users SELECT n, 1 + n % 2 FROM generate_series(1, 6) n;
INSERT INTO orders SELECT n, 1 + n % 2, n FROM generate_series(1, 6) n;
INSERT INTO lines SELECT n, n FROM generate_series(1, 6) n;
INSERT INTO visits SELECT n || '</td>', 1 + n % 6, 1 + (n + 1) % 6 FROM generate_series(1, 30) n;
INSERT INTO lots SELECT n FROM generate_series(1, 6) n;
INSERT INTO moves SELECT n, 1 + n % 2, n FROM generate_series(1, 6) n;
INSERT INTO tree SELECT n, 1 + n % 2 FROM generate_series(1, 6) n;
INSERT INTO "{EVIL}" VALUES (1, 'x');
"""


@pytest.fixture
def shop(template: Callable[..., Database]) -> Database:
    return template("proposal page", lambda made: made.load(SHOP))


@pytest.fixture
def page(shop: Database, tmp_path: Path) -> Path:
    path = tmp_path / "page.html"
    path.write_text(proposal_html(discover(Target(shop.dsn)).proposal))
    return path


def test_it_is_written(shop: Database, command: Callable[[str], Command]) -> None:
    """Beside the spec, for its owner alone; not over a file that is there; the same database gives the same page."""
    made = command(shop.dsn)
    assert made("discover", "--output", "spec.toml", "--export-report", "page.html").status == 0
    path = made.folder / "page.html"
    assert path.stat().st_mode & 0o777 == 0o600
    text = path.read_text()
    again = made("discover", "--output", "other.toml", "--export-report", "page.html")
    assert again.status == 4
    assert not (made.folder / "other.toml").exists()
    assert made("discover", "--output", "other.toml", "--export-report", "page.html", "--force").status == 0
    assert path.read_text() == text


def test_of_an_update(shop: Database, command: Callable[[str], Command]) -> None:
    """The page says what the file says of each table, and what discover would write instead; what is new stands in it."""
    made = command(shop.dsn)
    assert made("discover", "--output", "spec.toml").status == 0
    spec = made.folder / "spec.toml"
    part = '[[table]]\nname = "visits"\n'
    assert part in spec.read_text()
    before, after = spec.read_text().split(part)
    rest = after.split("[[table]]", 1)
    left = f"[[table]]{rest[1]}" if len(rest) == 2 else ""
    written = f'{before}{part}paths = [["host_id"]]\n\n{left}'.replace(
        'name = "orders"\npaths = [["tenant_id"]]', 'name = "orders"\nshared = true'
    )
    spec.write_text(written)
    shop.execute("CREATE TABLE parcels (id int PRIMARY KEY, order_id int NOT NULL REFERENCES orders); DROP TABLE tree")
    update = ("discover", "--update", "--output", "spec.toml", "--export-report", "page.html")
    assert made(*update).status == 0
    assert spec.read_text().startswith(written)
    text = html.unescape((made.folder / "page.html").read_text())
    for words in (
        'paths = [["host_id"]]', "discover would ask: ", "The spec says so; discover would write paths = [[\"tenant_id\"]]",
        ">parcels</b>", "the table public.tree does not exist",
    ):  # fmt: skip
        assert words in text, words
    assert len(re.findall('<path class="path" data-from="[0-9]+" data-to="[0-9]+" d="[^"]*"><title>host_id', text)) == 1
    again = made(*update)
    assert (again.status, "page.html exists already" in again.stderr) == (4, True)
    assert made(*update, "--force").status == 0
    assert made("discover", "--update", "--output", "spec.toml", "--force").status == 2


def test_what_stands_in_it(page: Path) -> None:
    """Every table with its line of the spec, the questions, rows that disagree with their tenants; nothing that a name or a
    value says is markup, and nothing is asked of a network."""
    text = page.read_text()
    for words in ("6 owned", "2 undecided", "no path reaches", "guest_id and host_id disagree", "Rows that lead to several tenants",
                  'paths = [[&#34;order_id&#34;]]', "… and 20 more", "&lt;b&gt;b&lt;/b&gt;", "1&lt;/td&gt;"):  # fmt: skip
        assert words in text, words
    assert "<img" not in text
    assert text.count("<script>") == 1
    assert text.count("</script>") == 1
    assert re.findall(r"(?:src|href)=\"(?!#|data:)[^\"]*\"|https?://", text) == []
    assert "default-src 'none'" in html.unescape(text)
    assert len(re.findall(r'<g class="\w+" data-table', text)) == 9
    # The owner of a lot shows in its movements.
    assert text.count('<path class="child"') == 1


# Where there is no Chromium (`make system` installs Debian's) there is nothing to look with.
if CHROMIUM:
    NODE = "[...inner.querySelectorAll('[data-table]')].find(node => node.dataset.name === '{}')"

    def test_the_script_runs(page: Path) -> None:
        """Its tools are there; a table that is found is alone, with its ways to the tenant, and shown as large as it is to
        be read; chosen once more, its reasons open; the keys zoom."""
        line = NODE.format("lines")
        said = asked(
            page, 1000,
            "(() => { const svg = inner.getElementById('graph'), find = inner.getElementById('find');"
            " const wide = () => Math.round(svg.viewBox.baseVal.width); const all = wide();"
            " find.value = 'INES'; find.dispatchEvent(new Event('input'));"
            f" const lit = [...inner.querySelectorAll('.nodes .lit')].map(node => node.dataset.name).sort();"
            " const ways = inner.querySelectorAll('.edges .lit').length;"
            f" const click = () => {line}.dispatchEvent(new MouseEvent('click', {{ bubbles: true }}));"
            f" const details = inner.getElementById('t' + {line}.dataset.table); const before = details.open; click();"
            " inner.getElementById('fit').click(); const fitted = wide() === all; inner.getElementById('in').click();"
            " const near = wide() < all; svg.parentElement.dispatchEvent(new KeyboardEvent('keydown', { key: '0' }));"
            " return [lit, ways, before, details.open, fitted, near, wide() === all,"
            " inner.querySelector('.tools').hidden].join(' ') })()",
        )  # fmt: skip
        assert said == "lines,orders,tenants 2 false true true true true false"

    @pytest.mark.parametrize("width", [320, 1000])
    def test_nothing_is_wider_than_the_window(page: Path, width: int) -> None:
        said = asked(
            page, width, "inner.documentElement.scrollWidth + ' ' + inner.getElementById('graph').clientHeight"
        )
        across, height = map(int, said.split())
        assert across <= width
        assert height > 200
