"""Values that somebody has prepared come out inert: in JSON, CSV, HTML, and on the terminal."""

from __future__ import annotations

import json
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path

from conftest import Command
from reports.parsed_page import Page
from reports.reporting import HOSTILE, finding, only_report, read_report, reported
from servers import Database
from tenantry.errors import ExitStatus
from tenantry.execution.events import FindingReported
from tenantry.model.finding import Severity

SCHEMA = """
CREATE TABLE tenants (id integer PRIMARY KEY, slug text NOT NULL);
CREATE TABLE parts (code text, made timestamp, weight numeric, tenant_id integer REFERENCES tenants,
                    PRIMARY KEY (code, made, weight));
INSERT INTO tenants VALUES (1, E'<b>\\x1b[31m=1+1');
"""
SPEC = """
version = 1
[tenant]
table = "tenants"
[[table]]
name = "parts"
paths = [["tenant_id"]]
"""


def test_rows_of_a_database(tenantry: Command, database: Database) -> None:
    """Rows without a tenant whose keys are hostile: validate names them, on the terminal, too, and harms nobody."""
    database.execute(SCHEMA)
    with database.connect() as connection:
        rows = [(value[:1000], "infinity", "NaN") for value in HOSTILE.values()] + [("old", "0044-03-15 BC", "1")]
        for row in rows:
            connection.execute("INSERT INTO parts VALUES (%s, %s::timestamp, %s::numeric, NULL)", row)
        connection.execute("INSERT INTO parts SELECT 'ok' || n, now(), n, 1 FROM generate_series(1, 20) n")
    (tenantry.folder / "tenantry.toml").write_text(SPEC)
    outcome = tenantry("validate", "--export-report", "--detailed")
    assert outcome.status == 1, outcome.stderr
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", outcome.stdout + outcome.stderr)
    report = only_report(tenantry.folder, "validation")
    by_name = {one["name"]: one for one in report["findings"]}
    assert "rows-without-tenant" in by_name, outcome.stdout
    found = by_name["rows-without-tenant"]
    assert found["count"] == len(rows)
    assert {sample["code"] for sample in found["samples"]} == {row[0] for row in rows}
    assert {"infinity", "NaN"} <= {str(value) for sample in found["samples"] for value in sample.values()}
    document = tenantry("validate", "--json")
    assert json.loads(document.stdout)["exit_status"] == 1
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", document.stdout)
    (page,) = tenantry.folder.glob("reports/*.html")
    assert not Page(page.read_text()).elements & {"script", "img"}


def test_ten_thousand_findings(tmp_path: Path) -> None:
    """Counts are exact, lists and samples bounded, and the memory with them; the worst are the ones that are kept."""
    report = reported(tmp_path, export=True)
    sample = {"text": "x" * 10_000}
    tracemalloc.start()
    for number in range(10_000):
        severity = Severity.ERROR if number % 100 == 99 else Severity.WARNING
        report(
            FindingReported(
                finding(severity=severity, message=f"Finding {number}", samples=(sample,) * 25, count=10**12)
            )
        )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 60_000_000
    report.end(ExitStatus.FINDINGS)
    assert report.path is not None
    read = read_report(report.path)
    assert read["findings_counted"] == {"error": 100, "warning": 9_900, "info": 0, "accepted": 0}
    assert len(read["findings"]) + read["findings_left_out"] == 10_000
    assert [one["severity"] for one in read["findings"][:101]] == ["error"] * 100 + ["warning"]
    assert {len(one["samples"]) for one in read["findings"]} == {20}
    assert all(one["count"] == 10**12 for one in read["findings"])
    assert "9,700 more" in report.path.with_suffix(".html").read_text()


def test_terminals_of_other_commands(shop: Command, estoque: Database, command: Callable[[str], Command]) -> None:
    """A name in an error, from a database that is not ours."""
    estoque.execute('CREATE TABLE "a\x1b[2Jb" (id integer PRIMARY KEY)')
    outcome = shop("migrate")
    assert outcome.status == 4
    assert "\x1b" not in outcome.stdout + outcome.stderr
    assert "a␛[2Jb" in outcome.stderr
