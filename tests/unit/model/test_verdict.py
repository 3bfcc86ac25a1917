"""What a verdict comes to: the worst first, and what a person has accepted apart."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tenantry.model.finding import Family, Finding, Severity
from tenantry.model.plan import Phase
from tenantry.model.verdict import FamilyVerdict, accepted, by_severity, serious
from unit.planning.shop import STORES_PART
from unit.schemas import name, spec

FOUND = Finding(name="orphan-rows", severity=Severity.ERROR, message="3 rows", remedy="Give them one.", table=name("a"))


def test_the_worst_first() -> None:
    """Of one severity in the order of families."""
    findings = tuple(
        replace(FOUND, severity=severity, family=family)
        for severity in (Severity.INFO, Severity.ERROR, Severity.WARNING)
        for family in (Family.BUSINESS, Family.STRUCTURE)
    )
    assert [(one.severity, one.family) for one in by_severity(findings)] == [
        (severity, family)
        for severity in (Severity.ERROR, Severity.WARNING, Severity.INFO)
        for family in (Family.STRUCTURE, Family.BUSINESS)
    ]
    assert len(serious(findings)) == 4


@pytest.mark.parametrize(
    ("table", "finding", "stays"),
    [
        ('table = "a"', FOUND, True),
        ("", FOUND, True),
        ('table = "b"', FOUND, False),
        ('table = "a"', replace(FOUND, refuses=True), False),
        ('table = "a"', replace(FOUND, name="other"), False),
        ('table = "a"', replace(FOUND, severity=Severity.INFO), False),
        ('table = "a"', replace(FOUND, table=None), False),
    ],
)
def test_what_is_accepted(table: str, finding: Finding, *, stays: bool) -> None:
    """With its reason, and without a remedy; what stops a run never is."""
    said = spec(STORES_PART, more=f'[[accept]]\ncheck = "orphan-rows"\n{table}\nreason = "known"')
    (found,) = accepted([finding], said)
    if stays:
        assert (found.severity, found.message, found.remedy) == (Severity.ACCEPTED, "3 rows (accepted: known)", "")
    else:
        assert found == finding


def test_a_family_passes() -> None:
    """With nothing found, nothing left unasked, and nothing to wait for."""
    family = FamilyVerdict(family=Family.STRUCTURE, checks=3, findings=0)
    assert family.passed
    for fact in ({"findings": 1}, {"skipped": 1}, {"waits_for": Phase.ENFORCE}):
        assert not replace(family, **fact).passed  # type: ignore[arg-type]
