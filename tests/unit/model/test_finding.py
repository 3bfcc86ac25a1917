"""Findings: what should be done about, and what is only told."""

from __future__ import annotations

from tenantry.model.finding import Severity


def test_what_is_serious() -> None:
    """Errors and warnings; not what a person has accepted."""
    assert [severity for severity in Severity if severity.serious] == [Severity.ERROR, Severity.WARNING]
