"""The lists of a report: bounded, without secrets, and what is left out is counted."""

from __future__ import annotations

import pytest

from reports.reporting import finding
from tenantry.errors import Failed
from tenantry.model.distribution import Distribution
from tenantry.model.finding import Severity
from tenantry.reports import builder
from tenantry.reports.builder import CurrentAction, Gathering
from tenantry.reports.report import Action
from unit.schemas import name

SECRET = "s3cr3t!"


@pytest.fixture
def gathered() -> Gathering:
    return Gathering(secrets=[SECRET], samples=2)


def test_no_secret(gathered: Gathering) -> None:
    """Masked before it is cut, which could leave half of it."""
    assert gathered.text(f"password {SECRET}") == "password ****"
    cut = gathered.text("x" * 498 + SECRET)
    assert SECRET[:2] not in cut
    gathered.found(finding(message=SECRET, remedy=SECRET, samples=({"a": SECRET},), tenants={SECRET: 1}))
    (found,) = gathered.findings()["findings"]
    assert SECRET not in found.model_dump_json()
    error = gathered.error(Failed(SECRET, remedy=SECRET, details=[SECRET]))
    assert SECRET not in error.model_dump_json()


def test_what_has_no_room_is_counted(gathered: Gathering, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder, "ENTRIES", 2)
    monkeypatch.setattr(builder, "WAITS", 1)
    monkeypatch.setattr(builder, "FINDINGS", 3)
    for _ in range(5):
        gathered.add(CurrentAction(at=0, title="a"), Action.APPLIED, 10, {"waited": 200.0})
    assert (len(gathered.timeline), gathered.timeline_left_out) == (2, 3)
    assert (len(gathered.waits), gathered.waits_left_out) == (1, 4)
    assert gathered.measures.steps == 5
    for severity in (Severity.WARNING, Severity.ERROR):
        for _ in range(4):
            gathered.found(finding(severity=severity))
    listed = gathered.findings()
    assert [one.severity for one in listed["findings"]] == [Severity.ERROR] * 3 + [Severity.WARNING] * 3
    assert (listed["findings_counted"].error, listed["findings_counted"].warning) == (4, 4)
    assert listed["findings_left_out"] == 2


def test_samples_and_tenants(gathered: Gathering, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as are wanted; of tenants those with the most."""
    monkeypatch.setattr(builder, "TENANTS", 2)
    gathered.found(finding(samples=({"a": 1}, {"a": 2}, {"a": 3}), tenants={"x": 1, "y": 3, "z": 2}))
    (found,) = gathered.findings()["findings"]
    assert found.samples == [{"a": 1}, {"a": 2}]
    assert found.tenants == {"y": 3, "z": 2}


def test_rows_of_a_second(gathered: Gathering) -> None:
    gathered.add(CurrentAction(at=100, title="fill", key="k", rows=50), Action.APPLIED, 600, {})
    gathered.add(CurrentAction(at=600, title="fill", key="k", rows=50), Action.APPLIED, 600, {"rows": 0})
    first, second = gathered.timeline
    assert (first.milliseconds, first.rows, first.rows_per_second) == (500, 50, 100)
    assert (second.rows, second.rows_per_second) == (0, None)


def test_waits(gathered: Gathering) -> None:
    """Long ones, those that were tried again, and those in which somebody was seen to be in the way."""
    gathered.add(CurrentAction(at=0, title="short"), Action.APPLIED, 10, {"waited": builder.WORTH - 1})
    gathered.add(CurrentAction(at=0, title="long"), Action.APPLIED, 300, {"waited": builder.WORTH})
    gathered.add(CurrentAction(at=0, title="again"), Action.APPLIED, 300, {"tries": 2})
    seen = CurrentAction(at=100, title="seen", table="public.a")
    seen.blocked(400, 50, ["pid 1"], behind=2)
    seen.blocked(700, 650, ["pid 2", "pid 1"], behind=1, retried=True)
    gathered.add(seen, Action.APPLIED, 800, {})
    assert [wait.title for wait in gathered.waits] == ["long", "again", "seen"]
    wait = gathered.waits[-1]
    # Not before it began, whatever PostgreSQL says of the session.
    assert (wait.at, wait.milliseconds, wait.tries, wait.behind) == (100, 600, 2, 2)
    assert wait.blocked_by == ["pid 1", "pid 2"]
    assert str(seen) == "public.a: seen"


def test_the_last_count_of_a_table_counts(gathered: Gathering) -> None:
    for rows in (3, 5):
        gathered.distributed(Distribution(table=name("a"), rows=rows, largest=(("x", rows),)))
    assert [table.rows for table in gathered.tables.values()] == [5]
    assert gathered.tables["public.a"].largest[0].tenant == "x"


def test_details_of_an_error(gathered: Gathering, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder, "DETAILS", 2)
    error = gathered.error(Failed("x", details=["a", "", "b", "c"]))
    assert (error.details, error.details_left_out) == (["a"], 2)
