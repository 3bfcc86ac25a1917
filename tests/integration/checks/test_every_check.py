"""Each check of validate and verify finds the fault that is planted for it, as often as it is there, and no other does."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from checks import faults_of_isolation, faults_of_rows, faults_of_rules
from checks.faults import ALWAYS, OF_ROWS, SCENES, Fault, Found, examined, names_of_checks, names_of_rules, reported
from checks.presets import spec_of
from conftest import ROOT
from servers import Database
from tenantry.errors import ExitStatus
from tenantry.model.finding import Severity

FAULTS = {**faults_of_rows.FAULTS, **faults_of_isolation.FAULTS, **faults_of_rules.FAULTS}
NO_FAULT = {
    "tenants-tried": "how much was tried: said of every isolated database",
    "writes-not-tried": "said of a standby: test_standby",
    "not-checked-on-citus": "said where Citus has distributed the tables: tests/citus",
}

UNDER_WAY = {"phase-pending", "rows-without-tenant"}
"""What is said of a scene that is not migrated yet, or half-way."""


def cases() -> Iterator[object]:
    for name, fault in FAULTS.items():
        versions = [pytest.mark.pg(fault.pg)] if fault.pg else []
        server = [pytest.mark.server] if name in faults_of_isolation.FAULTS else []
        yield pytest.param(fault, id=name, marks=[*versions, *server])


def test_every_check_has_its_fault() -> None:
    """A check that nobody has seen fail does not come in, nor a rule of a preset; and a check has its line in docs."""
    seen = {name for fault in FAULTS.values() for name in fault.names}
    assert names_of_checks() - seen == set(NO_FAULT)
    documents = (ROOT / "docs" / f"{name}.md" for name in ("validation", "isolation", "verify"))
    text = "".join(document.read_text(encoding="utf-8") for document in documents)
    assert [name for name in names_of_checks() - names_of_rules() if f"`{name}`" not in text] == []
    for preset in ("estoque", "enterprise"):
        ours = {name for fault in FAULTS.values() if fault.on.startswith(f"rules {preset}") for name in fault.names}
        assert {rule.name for rule in spec_of(preset).rule} <= ours


@pytest.fixture(scope="session")
def sound() -> dict[tuple[int, str], set[Found]]:
    """What is said of each scene of a version before anything is planted."""
    return {}


@pytest.mark.parametrize("fault", list(cases()))
def test_fault(
    template: Callable[..., Database],
    sound: dict[tuple[int, str], set[Found]],
    role: Callable[..., str],
    fault: Fault,
) -> None:
    """What was planted is found, as often as it was planted, with its rows; besides, only what must come with it."""
    build, spec = SCENES[fault.on]
    database = template(f"faults {fault.on}", build)
    known = (database.server.major, fault.on)
    if known not in sound:
        findings = examined(database, spec).findings
        assert {one.name for one in findings if one.severity is not Severity.INFO} <= UNDER_WAY
        sound[known] = reported(findings)
    user = role(fault.role, name="planted") if fault.role is not None else "postgres"
    try:
        database.load(fault.statements.replace("{role}", user))
        verdict = examined(database, fault.spec(spec), database.dsn.replace("user=postgres", f"user={user}"))
    finally:
        if fault.after:
            database.execute(fault.after)
    assert reported(verdict.findings) - sound[known] == fault.finds | fault.inherent.keys()
    for finding in verdict.findings:
        assert finding.name in ALWAYS or finding.remedy.endswith(".")
        if finding.name in fault.names and finding.family in OF_ROWS and finding.count is not None:
            assert len(finding.samples) == min(finding.count, 20)
    serious = any(one.severity is not Severity.INFO for one in verdict.findings)
    assert verdict.exit_status is (ExitStatus.FINDINGS if serious else ExitStatus.DONE)
