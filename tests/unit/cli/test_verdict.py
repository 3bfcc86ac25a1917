"""What validate and verify have found, family by family, finding by finding."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenantry.cli.settings import Settings
from tenantry.cli.terminal import Terminal
from tenantry.cli.verdict import EXAMPLES, show_verdict
from tenantry.errors import ExitStatus
from tenantry.model.distribution import Distribution
from tenantry.model.finding import Family, Finding, Severity
from tenantry.model.plan import Phase
from tenantry.model.verdict import FamilyVerdict, Verdict
from tenantry.reports.log import Log
from unit.schemas import name

FOUND = Finding(
    name="x", severity=Severity.ERROR, message="rows \x1b are wrong", remedy="put them right", count=9, table=name("a"),
    samples=tuple({"id": number, "n": None} for number in range(EXAMPLES + 2)), tenants={"north": 9},
)  # fmt: skip
VERDICT = Verdict(
    command="validate", run="1", exit_status=ExitStatus.FINDINGS, outcome="1 error", next_step="put it right",
    families=(
        FamilyVerdict(family=Family.STRUCTURE, checks=0, findings=0), FamilyVerdict(family=Family.REFERENCES, checks=3, findings=1),
        FamilyVerdict(family=Family.ISOLATION, checks=1, findings=0, waits_for=Phase.ISOLATE),
    ),
    findings=(FOUND, Finding(name="y", severity=Severity.INFO, message="mere information")), rows=1000, tables=2,
    distributions=(Distribution(table=name("a"), rows=10, tenants=2, largest=(("north", 9),)),),
)  # fmt: skip


def printed(tmp_path: Path, capsys: pytest.CaptureFixture[str], *, detailed: bool = False, **settings: bool) -> str:
    log = Log(tmp_path, command="validate", run="1")
    show_verdict(Terminal(command="validate", settings=Settings(**settings), log=log), VERDICT, detailed=detailed)  # type: ignore[arg-type]
    return capsys.readouterr().out


def test_in_short(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Some samples and how many there are, a sign for what a terminal would obey; the outcome, and what to do."""
    text = printed(tmp_path, capsys)
    assert "✓ structure" in text
    assert "✗ references" in text
    assert "not checked before the phase isolate is applied" in text
    assert "error    rows ␛ are wrong" in text
    assert text.count("n NULL") == EXAMPLES
    assert f"… and {9 - EXAMPLES} more" in text
    assert "→ put them right" in text
    assert "mere information" not in text
    assert "1,000 rows of 2 tables" in text
    assert text.index("Found: 1 error.") < text.index("Next:  put it right")


def test_in_detail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(tmp_path, capsys, detailed=True)
    assert text.count("n NULL") == EXAMPLES + 2
    assert "by tenant: north 9" in text
    assert "public.a  10 rows of 2 tenants, 90% of them north" in text
    assert "mere information" in text


def test_only_the_outcome(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(tmp_path, capsys, quiet=True) == "Found: 1 error.\n"
