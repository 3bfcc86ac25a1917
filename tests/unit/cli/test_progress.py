"""A run as lines: a phase or a step each, and what lasts now and then."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tenantry.cli.progress import Lines, PhaseProgress, doing, step_line, watching
from tenantry.cli.settings import Settings
from tenantry.cli.terminal import Terminal
from tenantry.execution.events import Notice, Reading, StepEvent, ignore
from tenantry.model.plan import Phase
from tenantry.model.run import Activity, IndexBuild, StepAction
from tenantry.reports.log import Log
from tenantry.steps import SetNotNull
from unit.schemas import name

STEP = SetNotNull(phase=Phase.ENFORCE, table=name("sales"), column="tenant_id")


def event(action: StepAction = StepAction.APPLIED, **facts: Any) -> StepEvent:
    return StepEvent(step=STEP, action=action, number=1, total=2, **facts)


def test_a_phase() -> None:
    total = PhaseProgress(phase=Phase.ENFORCE)
    for one in (event(rows=1500, milliseconds=2000), event(StepAction.KEPT), event(milliseconds=1000)):
        total.add(one)
    assert total.line().plain == "✓ enforce  3 steps, 1 table, 1,500 rows, 1 step kept  (3.0 s)"


def test_a_step() -> None:
    """In a narrow terminal its title gives way, not what it took."""
    one = event(rows=1500, milliseconds=12, tries=3)
    assert step_line(one, width=100).plain == f"  ✓ public.sales  {STEP.title}  (12 ms, 1,500 rows, 3 tries)"
    short = step_line(one, width=45).plain
    assert short.endswith("…  (12 ms, 1,500 rows, 3 tries)")
    assert len(short) <= 45


def test_what_a_session_does() -> None:
    activity = Activity(pid=1, application="a", state="active", query="q", waiting="Lock", seconds=1.0)
    assert doing(activity) == "waiting (Lock)"
    assert doing(replace(activity, waiting="")) == "active"
    assert doing(replace(activity, copied=1234)) == "at least 1,234 rows copied to the nodes"
    assert doing(replace(activity, blockers=("pid 7", "pid 8"))) == "waiting for pid 7; pid 8"
    build = IndexBuild(table=name("sales"), phase="building index", done=1, total=4)
    assert doing(replace(activity, build=build)) == "index on public.sales: building index, 25 %"
    assert doing(replace(activity, build=replace(build, total=0))) == "index on public.sales: building index"


def test_who_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody with --quiet; without a terminal lines."""
    terminal = Terminal(command="migrate", settings=Settings(), log=Log(tmp_path, command="migrate", run="1"))
    watcher = watching(terminal)
    assert isinstance(watcher, Lines)
    for one in (
        event(StepAction.STARTED),
        event(StepAction.FAILED, message="no"),
        Notice("a word"),
        Reading("the rows"),
    ):
        watcher(one)
    watcher.close()
    said = capsys.readouterr().out
    assert "✗" in said
    assert "a word" in said
    for settings in (Settings(quiet=True), Settings(json=True)):
        terminal.settings = settings
        assert watching(terminal) is ignore
