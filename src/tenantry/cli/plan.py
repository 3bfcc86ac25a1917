"""tenantry plan."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Any

import typer

from tenantry.cli import options
from tenantry.cli.render_plan import outline_document, show_steps
from tenantry.cli.runner import target
from tenantry.cli.terminal import Terminal
from tenantry.commands.plan import plan as run_plan
from tenantry.errors import ExitStatus
from tenantry.execution.outline import Outline, PlannedStep
from tenantry.model.plan import Phase, Statement
from tenantry.reports.document import to_json
from tenantry.reports.script import script
from tenantry.steps import Step


class Format(StrEnum):
    """The formats of a plan."""

    TEXT = "text"
    JSON = "json"
    SQL = "sql"


def plan(
    terminal: Terminal,
    format: Annotated[Format, typer.Option("--format", help="text, json, or sql: a script for psql.")] = Format.TEXT,
    until: Annotated[
        Phase,
        typer.Option("--until", metavar="PHASE", help="Show the phases up to this one; distribute only if given here."),
    ] = Phase.CONTRACT,
    detailed: options.DetailedSteps = False,
) -> ExitStatus:
    """Show what migrate would do: phases, slowest tables, steps, locks, expected rows and times.

    Also what preflight finds, except for what needs counting rows: `migrate --dry-run` shows that, too. Changes
    nothing.
    """
    spec = terminal.spec()
    with target(terminal) as database:
        outline = run_plan(database, spec, until=until)
    if terminal.settings.json:
        terminal.answer(**_document(outline))
        if format is Format.SQL:
            terminal.answer(script=_script(outline))
    elif format is Format.JSON:
        terminal.write(to_json(_document(outline), indent=2) + "\n")
    elif format is Format.SQL:
        terminal.write(_script(outline))
    else:
        _show(terminal, outline, detailed=detailed)
    # A refusal does not prevent the plan. A JSON document contains it, and a script must contain nothing else.
    if not terminal.settings.json and format is Format.SQL and outline.refusal is not None:
        terminal.explain(outline.refusal)
    return ExitStatus.DONE


def _show(terminal: Terminal, outline: Outline, *, detailed: bool) -> None:
    pending = outline.reverts or not all(planned.in_force for planned in outline.steps)
    todo = "`tenantry migrate --dry-run`, which also counts rows; then `tenantry migrate`."
    show_steps(
        terminal, "migrate", outline, next_step=todo if pending else "nothing: every step is applied.",
        detailed=detailed, findings=outline.findings, refusal=outline.refusal,
    )  # fmt: skip


def _document(outline: Outline) -> dict[str, Any]:
    return {**outline_document(outline), "findings": outline.findings}


def _script(outline: Outline) -> str:
    def parts(steps: Iterable[PlannedStep]) -> list[tuple[Step, tuple[Statement, ...]]]:
        return [(planned.step, planned.statements) for planned in steps if not planned.in_force]

    return script(
        outline.database, outline.server, parts(outline.steps),
        first=parts(planned for planned in outline.reverts if not planned.last),
        last=parts(planned for planned in outline.reverts if planned.last),
    )  # fmt: skip
