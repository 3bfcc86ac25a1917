"""Renders steps that have not been run: a summary, all of them as text, or as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from rich.text import Text

from tenantry.backups.estimate import BackupEstimate
from tenantry.cli.page import Page, worst_first
from tenantry.cli.progress import one_line
from tenantry.cli.terminal import STYLES, Terminal, severity_word
from tenantry.errors import TenantryError
from tenantry.execution.outline import Outline, PlannedStep
from tenantry.model.backup import BackupKind
from tenantry.model.finding import Finding, Severity
from tenantry.model.name import Name
from tenantry.model.plan import ExecutionMode, LockMode, Statement
from tenantry.model.size import readable
from tenantry.model.wording import counted, duration
from tenantry.planning.diff import State
from tenantry.reports.document import error_document
from tenantry.reports.text import visible

LINES = 54
"""Lines of a summary; with what the command prints below it, 60."""
REFUSAL_LINES, REFUSAL_DETAILS = 16, 2
"""Lines that are kept free for the refusal, and the number of its details that are shown."""
FINDINGS, UNDECIDED, TABLES, NAMES = 10, 5, 10, 10
"""The largest number of entries in a list."""
MANNERS = {
    ExecutionMode.TRANSACTION: "", ExecutionMode.VALIDATION: "reads every row, does not block writers",
    ExecutionMode.CONCURRENT: "by itself, outside a transaction", ExecutionMode.BATCHES: "in batches",
    ExecutionMode.ENGINE: "on all nodes", ExecutionMode.SNAPSHOT: "by itself, on all nodes, while writers go on",
}  # fmt: skip


def outline_document(outline: Outline) -> dict[str, Any]:
    """The outline as plain data."""
    return {
        "database": outline.database,
        "server": outline.server,
        "reverts": [_step_document(planned) | {"last": planned.last} for planned in outline.reverts],
        "steps": [_step_document(planned) for planned in outline.steps],
        "undecided": {str(name): reason for name, reason in outline.undecided.items()},
        "refusal": refusal_document(outline.refusal),
    }


def _step_document(planned: PlannedStep) -> dict[str, Any]:
    step = planned.step
    return {
        "key": step.key, "phase": str(step.phase), "table": str(step.table), "title": step.title, "note": step.note,
        "state": str(planned.state), "in_force": planned.in_force, "expected_rows": planned.rows,
        "expected_seconds": round(planned.seconds, 3),
        "statements": [statement_document(statement) for statement in planned.statements],
    }  # fmt: skip


def statement_document(statement: Statement) -> dict[str, Any]:
    """A statement as plain data."""
    return {
        "sql": statement.text, "manner": str(statement.manner),
        "locks": [{"table": str(lock.table), "mode": str(lock.mode)} for lock in statement.locks],
        "when": None if statement.when is None else one_line(statement.when.as_string(None)),
        "acting_as": statement.acting_as,
        "parameters": {f"${number}": name for number, name in enumerate(statement.parameters, start=1)},
    }  # fmt: skip


def show_steps(
    terminal: Terminal, command: str, outline: Outline, *, next_step: str, detailed: bool,
    backup: BackupEstimate | None = None, findings: Sequence[Finding] = (), refusal: TenantryError | None = None,
) -> None:  # fmt: skip
    """Show what `command` would do, and why it would be refused: a summary, or with `detailed` every statement."""
    if detailed:
        show_outline(terminal, outline)
        if backup is not None:
            terminal.say(_backup(backup))
        terminal.findings(findings)
        show_refusal(terminal, command, refusal)
        return
    if refusal is not None:
        next_step = f"correct what {command} would refuse (below); then run this again."
    show_summary(terminal, outline, next_step=next_step, backup=backup, findings=findings, refusal=refusal)
    show_refusal(terminal, command, refusal, details=REFUSAL_DETAILS)


def show_summary(
    terminal: Terminal, outline: Outline, *, next_step: str, backup: BackupEstimate | None = None,
    findings: Sequence[Finding] = (), refusal: TenantryError | None = None,
) -> None:  # fmt: skip
    """What to do next, then totals by phase and table: at most LINES lines, however large the schema is."""
    terminal.answer(**outline_document(outline))
    page = Page(terminal, LINES - (REFUSAL_LINES if refusal is not None else 0))
    page.item("Next: ", next_step, style="cyan")
    page.item("", Text.assemble((outline.database, "bold"), f" on {outline.server}: {_count(outline)}"))
    for when, last in (("first", False), ("last", True)):
        if reverts := [planned for planned in outline.reverts if planned.last is last]:
            page.item("", _totals(reverts, Text(f"no longer in the spec, removed {when}", style="bold"), back=True))
    for phase, steps in outline.by_phase():
        done = sum(planned.in_force for planned in steps)
        said = f" ({done:,} applied)" if done else ""
        page.item("", _totals(steps, Text.assemble((f"{phase}", "bold"), said), back=outline.back))
        if locks := _blocking(steps):
            page.item("  locks ", locks, body_style="dim")
    if backup is not None:
        page.item("", _backup(backup))
    page.list([
        (Text(severity_word(one), style=STYLES[one.severity]), Text(visible(one.message)))
        for one in worst_first(findings)
        if terminal.settings.verbose or one.severity is not Severity.INFO
    ], "findings", most=FINDINGS)  # fmt: skip
    page.list([
        (Text("undecided ", style="yellow"), Text(visible(f"{name}: {reason}")))
        for name, reason in sorted(outline.undecided.items())
    ], "undecided tables", most=UNDECIDED)  # fmt: skip
    page.list([
        (Text("  "), Text.assemble((visible(str(table)), "cyan"), f"  {facts}")) for table, facts in _by_table(outline)
    ], "tables", most=TABLES, heading="The tables that take longest:")  # fmt: skip
    page.show("--detailed shows every step with its statements and locks, --json all of it.")


def _totals(steps: Sequence[PlannedStep], name: Text, *, back: bool) -> Text:
    pending = [planned for planned in steps if not planned.in_force]
    facts = [counted(len(steps), "step")]
    facts.append(_tables({planned.step.table for planned in steps}))
    if rows := sum(_most_rows(pending).values()):
        facts.append(counted(rows, "row"))
    if pending:
        facts.append(f"about {duration(sum(planned.seconds for planned in pending))}")
    return Text.assemble(name, "  ", ", ".join(facts))


def _most_rows(steps: Iterable[PlannedStep]) -> dict[Name, int]:
    """Counted by table: several steps read or change the same rows."""
    found: dict[Name, int] = {}
    for planned in steps:
        found[planned.step.table] = max(found.get(planned.step.table, 0), planned.rows or 0)
    return found


def listed(names: Sequence[Name]) -> str:
    """The first ten, and how many there are in all."""
    more = f" and {len(names) - NAMES} more, {len(names)} in all" if len(names) > NAMES else ""
    return ", ".join(map(str, names[:NAMES])) + more


def _tables(tables: Collection[Name]) -> str:
    return counted(len(tables), "table")


def _blocking(steps: Iterable[PlannedStep]) -> str:
    """The locks that block writers, with the number of tables for which each is the strongest."""
    strongest: dict[Name, LockMode] = {}
    for planned in steps:
        for lock in (lock for statement in planned.statements for lock in statement.locks if not planned.in_force):
            known = strongest.get(lock.table, lock.mode)
            strongest[lock.table] = max(known, lock.mode, key=lambda mode: mode.strength)
    counts = Counter(mode for mode in strongest.values() if mode.blocks_writers)
    modes = sorted(counts, key=lambda mode: -mode.strength)
    return ", ".join(f"{mode} on {counted(counts[mode], 'table')}" for mode in modes)


def _by_table(outline: Outline) -> list[tuple[Name, str]]:
    """The tables with steps to run, those first that are expected to take longest."""
    steps: dict[Name, list[PlannedStep]] = {}
    for planned in (*outline.reverts, *outline.steps):
        if not planned.in_force:
            steps.setdefault(planned.step.table, []).append(planned)
    seconds = {name: sum(planned.seconds for planned in ours) for name, ours in steps.items()}
    rows = _most_rows(planned for ours in steps.values() for planned in ours)
    return [
        (name, f"{counted(len(steps[name]), 'step')}, " + (f"{rows[name]:,} rows, " if rows[name] else "")
         + f"about {duration(seconds[name])}")
        for name in sorted(steps, key=lambda name: (-seconds[name], name))
    ]  # fmt: skip


def show_outline(terminal: Terminal, outline: Outline) -> None:
    """Phase by phase, table by table; each statement once."""
    terminal.answer(**outline_document(outline))
    terminal.show(Text.assemble((outline.database, "bold"), f" on {outline.server}: {_count(outline)}"))
    _show_reverts(terminal, "goes first", [planned for planned in outline.reverts if not planned.last])
    for phase, steps in outline.by_phase():
        done = sum(planned.in_force for planned in steps)
        terminal.show("")
        terminal.show(
            Text.assemble(
                (str(phase), "bold"), f"  {counted(len(steps), 'step')}" + (f", {done} applied" if done else "")
            )
        )
        for planned in steps:
            _show_step(terminal, planned, back=outline.back)
    _show_reverts(terminal, "goes last", [planned for planned in outline.reverts if planned.last])
    for name, reason in sorted(outline.undecided.items()):
        terminal.show(Text.assemble(("undecided ", "yellow"), f"{name}: {reason}"))


def _show_reverts(terminal: Terminal, when: str, reverts: Sequence[PlannedStep]) -> None:
    if not reverts:
        return
    terminal.show("")
    terminal.show(Text.assemble(("no longer in the spec", "bold"), f"  {counted(len(reverts), 'step')}: this {when}"))
    for planned in reverts:
        _show_step(terminal, planned, back=True)


def refusal_document(refusal: TenantryError | None) -> dict[str, Any] | None:
    """The refusal of the run, as plain data."""
    return None if refusal is None else {**error_document(refusal), "exit_status": int(refusal.status)}


def show_refusal(
    terminal: Terminal, command: str, refusal: TenantryError | None, *, details: int | None = None
) -> None:
    """The refusal of the command, in its own words, with at most so many details; on standard error."""
    if refusal is not None:
        terminal.say(f"At present, {command} would refuse:", style="bold yellow")
        terminal.explain(refusal, details=details)


def show_backup(terminal: Terminal, backup: BackupEstimate | None, *, alone: bool = False) -> None:
    """The backup at the beginning of a run, if any; `alone` if the run is only that backup."""
    terminal.answer(backup=backup)
    if backup is not None:
        terminal.say(_backup(backup, alone=alone))


def _backup(backup: BackupEstimate, *, alone: bool = False) -> str:
    tables = f"{counted(len(backup.tables), 'table')}, {readable(backup.bytes)}"
    how = "copied into schema tenantry" if backup.kind is BackupKind.TABLES else "written by pg_dump"
    what = "A backup" if alone else "Before that a backup"
    return f"{what}: {tables}, {how} from one snapshot, without blocking writers."


def _count(outline: Outline) -> str:
    if not outline.steps:
        return "there is nothing to do" if not outline.reverts else f"{len(outline.reverts)} steps are reverted"
    done = sum(planned.in_force for planned in outline.steps)
    return counted(len(outline.steps), "step") + (f", {done} of them applied" if done else "")


def _show_step(terminal: Terminal, planned: PlannedStep, *, back: bool) -> None:
    """A note is about what a step adds, so it is not shown for one that is reverted (`back`)."""
    step = planned.step
    mark = "✓" if planned.in_force else "·"
    facts = f"  ({counted(planned.rows, 'row')} expected)" if planned.rows is not None else ""
    facts += "  (the spec now defines it differently)" if planned.state is State.CHANGED else ""
    terminal.show(Text.assemble((f"  {mark} ", "green"), (str(step.table), "cyan"), f"  {step.title}", (facts, "dim")))
    if step.note and not back:
        terminal.show(Text(f"      note: {step.note}", style="yellow"))
    if planned.in_force and not terminal.settings.verbose:
        return
    for statement in planned.statements:
        for line in statement_lines(statement):
            terminal.show(line)


def statement_lines(statement: Statement) -> Iterable[Text]:
    """The statement, and below it its locks, its condition, and its parameters."""
    yield from (Text(f"      {line}") for line in statement.text.strip().splitlines())
    facts = [f"locks {_locks(statement)}"] if statement.locks else []
    if MANNERS[statement.manner]:
        facts.append(MANNERS[statement.manner])
    if statement.parameters:
        named = (f"${number} {name}" for number, name in enumerate(statement.parameters, start=1))
        facts.append(f"parameters {', '.join(named)}")
    if statement.acting_as is not None:
        facts.append(f"as the role {statement.acting_as}")
    if facts:
        yield Text(f"        -- {'; '.join(facts)}", style="dim")
    if statement.when is not None:
        yield Text(f"        -- only if: {one_line(statement.when.as_string(None))}", style="dim")


def _locks(statement: Statement) -> str:
    modes: dict[str, list[str]] = {}
    for lock in statement.locks:
        modes.setdefault(str(lock.mode), []).append(str(lock.table))
    return ", ".join(f"{mode} on {', '.join(tables)}" for mode, tables in modes.items())
