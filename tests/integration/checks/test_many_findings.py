"""Ten thousand rows that are wrong, by the command itself: it says how many, and keeps to a page and to its memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from checks.haulage import SPEC, isolated_haulage
from conftest import ROOT
from servers import Database

__all__ = ["isolated_haulage"]

MEASURED = """
import resource, runpy, sys
try:
    runpy.run_module("tenantry", run_name="__main__", alter_sys=True)
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""
KILOBYTES = 40_000
"""What a run may need more than one that finds little: a tenth of what the rows come to."""


def run(database: Database, folder: Path, *arguments: str) -> tuple[int, list[str], int]:
    """The exit status, the lines on the terminal, and the peak of its memory in kilobytes."""
    environment = {"PATH": os.environ["PATH"], "DATABASE_URL": database.dsn, "PYTHONPATH": str(ROOT / "src"),
                   "COLUMNS": "100", "NO_COLOR": "1"}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *arguments], cwd=folder, env=environment, capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip
    *_, peak = done.stderr.split()
    return done.returncode, done.stdout.splitlines(), int(peak)


def test_ten_thousand_rows(isolated_haulage: Database, tmp_path: Path) -> None:
    """Of one check, forty kilobytes each."""
    (tmp_path / "tenantry.toml").write_text(SPEC, encoding="utf-8")
    isolated_haulage.execute("UPDATE notes SET truck_code = 'nowhere' WHERE id = 1")
    status, little, before = run(isolated_haulage, tmp_path, "validate")
    assert status == 1
    isolated_haulage.execute(
        "SET session_replication_role = replica; INSERT INTO notes SELECT n, repeat('x', 40000), '',"
        " '00000000-0000-0000-0000-00000000000a' FROM generate_series(1001, 10999) n"
    )
    status, lines, peak = run(isolated_haulage, tmp_path, "validate")
    assert status == 1
    assert any("10,000 rows of public.notes" in line for line in lines)
    assert len(lines) <= len(little) + 12
    assert peak < before + KILOBYTES


def test_hundreds_of_findings(isolated_haulage: Database, tmp_path: Path) -> None:
    """Of five hundred rules, twenty rows each: the first are shown, the others are counted, and the report has all."""
    rules = "".join(
        f'[[rule]]\nname = "rule-{number}"\ntable = "crates"\nviolates = "t.id > -{number}"\n'
        for number in range(1, 501)
    )
    (tmp_path / "tenantry.toml").write_text(SPEC + rules, encoding="utf-8")
    status, lines, _ = run(isolated_haulage, tmp_path, "verify")
    assert status == 1
    assert any("and 470 more" in line for line in lines)
    assert len(lines) < 300
    (report,) = (tmp_path / "reports").glob("*.json")
    findings = json.loads(report.read_text(encoding="utf-8"))["findings"]
    broken = [one for one in findings if one["name"].startswith("rule-")]
    assert len(broken) == 500
    assert {(one["count"], len(one["samples"])) for one in broken} == {(20, 20)}
