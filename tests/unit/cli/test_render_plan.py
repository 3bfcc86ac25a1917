"""What a person reads of a schema of hundreds of tables: one screen or two, however narrow, with no name cut."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from tenantry import Outline, PlannedStep
from tenantry.cli.progress import Lines
from tenantry.cli.render_plan import show_steps
from tenantry.cli.settings import Settings
from tenantry.cli.status import shown
from tenantry.cli.terminal import Terminal
from tenantry.errors import Refused
from tenantry.execution.events import FindingReported, StepEvent
from tenantry.model.finding import Finding, Severity
from tenantry.model.name import Name
from tenantry.model.plan import Phase
from tenantry.model.run import MigrationState, Status, StepAction, TableStatus
from tenantry.model.spec import Spec, TablePart, TenantPart
from tenantry.planning import Plan, make_plan
from tenantry.reports.log import Log
from unit.schemas import TENANTS, schema, table

MOST = 60
TABLES = 100
ALIKE = "stock_warehouse_orderpoint_of_a_long_name"
"""With what the name of each table begins."""


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Of many tables whose names differ in their ends alone."""
    names = [f"{ALIKE}_{number:03}" for number in range(TABLES)]
    tables = (table(name, "owner > tenants") for name in names)
    parts = tuple(TablePart(name=name, paths=(("owner",),)) for name in names)
    return make_plan(Spec(tenant=TenantPart(table="tenants"), table=parts), schema(TENANTS, *tables))


@pytest.fixture(params=[80, 60])
def columns(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def screen(
    columns: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Terminal, Callable[[], str]]]:
    """A terminal of so many columns, and what it has been told."""
    monkeypatch.setenv("COLUMNS", str(columns))
    terminal = Terminal(
        command="plan", settings=Settings(), log=Log(tmp_path, command="plan", run="20260101000000-00000000")
    )
    text = io.StringIO()
    terminal.out = terminal.err = Console(file=text, width=columns, markup=False, highlight=False, no_color=True)
    yield terminal, text.getvalue
    terminal.log.close()


def assert_short(text: str, columns: int) -> None:
    lines = text.splitlines()
    assert 0 < len(lines) <= MOST
    assert max(map(len, lines)) <= columns
    assert ALIKE in text.replace("\n", "").replace(" ", "")
    # A name that is shown is shown to its end, maybe on the next line.
    assert len(re.findall(rf"(?<!\w){ALIKE}", text)) <= len(re.findall(r"(?:_|^)\d{1,3}\b", text, re.MULTILINE))


@pytest.mark.parametrize("refused", [False, True])
def test_a_plan(plan: Plan, screen: tuple[Terminal, Callable[[], str]], columns: int, *, refused: bool) -> None:
    """What to do next comes first; then each phase with its steps, rows, time and locks; findings, undecided tables and
    tables are ten and a total. --detailed has every statement."""
    terminal, told = screen
    outline = Outline(
        command="plan", database="shop", server="PostgreSQL 18.0", tables=(),
        steps=tuple(PlannedStep(step=step, in_force=False, statements=step.apply(), rows=1000) for step in plan.steps),
        undecided={Name("public", f"undecided_{number}"): "nobody has said" for number in range(40)},
    )  # fmt: skip
    findings = [
        Finding(name="x", severity=severity, message=f"public.{ALIKE}_{number} is slow, " + "very " * 50)
        for severity in (Severity.WARNING, Severity.ERROR)
        for number in range(40)
    ]
    refusal = Refused("40 tables are undecided", remedy="Edit it.", details=[f"table {n}" for n in range(40)])
    options = {"findings": findings, "refusal": refusal} if refused else {}
    show_steps(terminal, "migrate", outline, next_step="go.", detailed=False, **options)  # type: ignore[arg-type]
    text = told()
    assert_short(text, columns)
    assert text.startswith("Next: ")
    for phase in {step.phase for step in plan.steps}:
        assert f"\n{phase}  " in text
    assert "locks ACCESS EXCLUSIVE on 10" in text
    assert "40 undecided tables in all" in text
    assert ("80 findings in all" in text) == refused
    assert (f"{TABLES + 1} tables in all" in text) or refused
    if not refused and columns == 80:
        outline = replace(outline, steps=outline.steps[:TABLES])
        show_steps(terminal, "migrate", outline, next_step="go.", detailed=True)
        assert len(told().splitlines()) > 3 * TABLES


def test_a_run(plan: Plan, screen: tuple[Terminal, Callable[[], str]], columns: int) -> None:
    """A phase is one line, and a step that failed another; findings are ten and a total."""
    terminal, told = screen
    watcher = Lines(terminal=terminal)
    for number in range(40):
        watcher(
            FindingReported(Finding(name="x", severity=Severity.WARNING, message=f"public.{ALIKE}_{number} is slow"))
        )
    for number, step in enumerate(plan.steps, start=1):
        for action in (StepAction.STARTED, StepAction.APPLIED):
            watcher(StepEvent(step=step, action=action, number=number, total=len(plan.steps)))
    watcher(StepEvent(step=plan.steps[-1], action=StepAction.FAILED, number=1, total=1))
    watcher.close()
    text = told()
    assert_short(text, columns)
    for phase in Phase:
        steps = sum(step.phase is phase for step in plan.steps)
        assert not steps or f"✓ {phase}  {steps:,} steps, " in text
    assert "30 more, 40 findings in all" in text
    assert text.count("✗") == 1


@pytest.mark.parametrize("amiss", [0, 50])
def test_status(screen: tuple[Terminal, Callable[[], str]], columns: int, amiss: int) -> None:
    """Phases and kinds of table, and the tables that are behind the others: ten and a total."""
    terminal, told = screen
    tables = tuple(
        TableStatus(
            table=Name("public", f"{ALIKE}_{number:03}"), kind="owned", column="tenant_id", without_tenant=0, rows=9,
            phases={Phase.EXPAND: (2, 2), Phase.BACKFILL: (number % 5 > 0, 1), Phase.ENFORCE: (0, 5)},
        )
        for number in range(TABLES)
    )  # fmt: skip
    keys = tuple(f"column:public.{ALIKE}_{number:03}" for number in range(amiss))
    status = Status(
        database="shop", word=MigrationState.IN_PROGRESS, tables=tables, steps=(280, 800), altered=keys, orphaned=keys
    )
    terminal.show(shown(status, terminal))
    text = told()
    assert_short(text, columns)
    assert text.startswith("Next: ")
    assert "backfill  80 of 100 steps, 80 of 100 tables" in text
    assert "20 tables in all" in text
    assert ("50 altered steps in all" in text) == bool(amiss)
    terminal.show(shown(status, terminal, detailed=True))
    assert all(f"{number:03}" in told().replace("\n", "") for number in range(TABLES))
