"""What the events of a run become in its report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from reports.reporting import reported
from tenantry.errors import ExitStatus, Failed
from tenantry.execution.events import (
    CommandEnded,
    Connected,
    FillAdvanced,
    LocksRefused,
    Reading,
    SessionActivity,
    StatementRan,
    StepEvent,
)
from tenantry.model.plan import Statement
from tenantry.model.run import Activity, StepAction
from tenantry.postgres.connect import Server
from tenantry.reports.report import Action, Report, Verdict
from tenantry.reports.report_observer import ReportObserver
from tenantry.steps.not_null import SetNotNull
from unit.steps.examples import ENFORCE, SALES

STEP = SetNotNull(phase=ENFORCE, table=SALES, column="tenant_id")


def step(action: StepAction, **facts: Any) -> StepEvent:
    return StepEvent(step=STEP, action=action, number=1, total=1, **facts)


@pytest.fixture
def watching(tmp_path: Path) -> ReportObserver:
    return reported(tmp_path, options={"detailed": True, "config": None})


def ended(watching: ReportObserver, status: ExitStatus = ExitStatus.DONE, error: Failed | None = None) -> Report:
    watching.end(status, error)
    assert watching.path is not None
    return Report.model_validate_json(watching.path.read_bytes())


def test_a_step(watching: ReportObserver) -> None:
    """With its statements, where they are asked for; options that were not given are none."""
    watching(step(StepAction.STARTED))
    watching(StatementRan(Statement(sql=sql.SQL("SELECT 1")), 1.25))
    watching(step(StepAction.APPLIED, waited=3.14, lock_held=2.0, tries=2, rows=7))
    report = ended(watching)
    entry = next(one for one in report.timeline if one.key is not None)
    assert (entry.action, entry.table, entry.phase) == (Action.APPLIED, "public.sales", "enforce")
    assert (entry.waited, entry.held, entry.tries, entry.rows) == (3.1, 2.0, 2, 7)
    assert [(one.sql, one.milliseconds) for one in entry.statements] == [("SELECT 1", 1.2)]
    assert report.options == {"detailed": True}
    assert report.verdict is Verdict.DONE


def test_steps_that_were_there(watching: ReportObserver) -> None:
    """They are counted, and no entries."""
    watching(step(StepAction.FOUND))
    report = ended(watching)
    assert (report.metrics.found, report.metrics.steps) == (1, 0)
    assert [entry for entry in report.timeline if entry.key is not None] == []


def test_a_step_that_was_passed_over(watching: ReportObserver) -> None:
    """It was never begun, and is an entry of its own; what was looked at before it was no more than that."""
    watching(Reading("the rows"))
    watching(step(StepAction.LEFT, message="somebody has changed it"))
    looked, left = ended(watching).timeline[-2:]
    assert (looked.title, looked.action, looked.message) == ("the rows", Action.LOOKED, "")
    assert (left.key, left.action, left.message) == (STEP.key, Action.LEFT, "somebody has changed it")


def test_a_fill(watching: ReportObserver) -> None:
    watching(step(StepAction.STARTED))
    for _ in range(2):
        watching(FillAdvanced(SALES, 1, 20))
    watching(step(StepAction.APPLIED))
    assert [entry.rows for entry in ended(watching).timeline if entry.key is not None] == [40]


def test_who_was_in_the_way(watching: ReportObserver) -> None:
    """As it was seen, and as it was said; sessions that wait behind the run as well."""
    watching(step(StepAction.STARTED))
    activity = Activity(pid=1, application="a", state="active", query="q", waiting="Lock", seconds=0.1)
    watching(SessionActivity(activity))
    watching(SessionActivity(Activity(pid=1, application="a", state="", query="", waiting="", seconds=0.0, behind=4)))
    watching(LocksRefused("no lock", ["pid 7"], 0.5))
    watching(step(StepAction.APPLIED, tries=2))
    report = ended(watching)
    (wait,) = report.waits
    assert (wait.blocked_by, wait.behind, wait.tries, wait.table) == (["pid 7"], 4, 2, "public.sales")
    assert report.metrics.peak_waiting == 4


def test_where_it_stopped(watching: ReportObserver) -> None:
    """What was under way, and the error in the place of an outcome."""
    watching(Reading("the rows of sales"))
    report = ended(watching, ExitStatus.FAILED, Failed("The disk is full", remedy="Make room"))
    assert (report.stopped_at, report.outcome, report.next_step) == (
        "the rows of sales",
        "The disk is full",
        "Make room",
    )
    assert (report.timeline[-1].action, report.verdict, report.exit_status) == (Action.STOPPED, Verdict.FAILED, 5)


def test_where_and_what(watching: ReportObserver) -> None:
    server = Server(
        version=180001, version_name="18.1", database="shop", user="maria", superuser=False, bypasses=False,
        can_create_role=False, can_create_schema=False, in_recovery=False,
    )  # fmt: skip
    watching(Connected(server))
    watching(CommandEnded("all is well", "migrate"))
    report = ended(watching)
    assert report.database is not None
    assert (report.database.database, report.database.version) == ("shop", 180001)
    assert (report.outcome, report.next_step, report.error, report.stopped_at) == ("all is well", "migrate", None, None)


def test_a_run_that_never_began(tmp_path: Path) -> None:
    """It leaves no report."""
    made = ReportObserver(tmp_path / "reports", command="plan", export=True)
    made(Reading("something"))
    made.end(ExitStatus.DONE)
    assert (made.path, made.exports) == (None, ())
    assert not (tmp_path / "reports").exists()
