"""Steps that have not been run: as text, as JSON, as a script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.text import Text

from tenantry.cli.progress import one_line
from tenantry.cli.terminal import Terminal
from tenantry.errors import TenantryError
from tenantry.model.backup import BackupKind
from tenantry.model.plan import Manner, Statement
from tenantry.model.size import readable
from tenantry.planning.diff import State
from tenantry.reports.document import error_document
from tenantry.workflow import ForeseenBackup, Outline, Planned

MANNERS = {
    Manner.TRANSACTION: "", Manner.VALIDATION: "reads every row, stops nobody",
    Manner.CONCURRENT: "by itself, outside a transaction", Manner.BATCHES: "in batches",
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


def _step_document(planned: Planned) -> dict[str, Any]:
    step = planned.step
    return {
        "key": step.key, "phase": str(step.phase), "table": str(step.table), "title": step.title, "note": step.note,
        "state": str(planned.state), "in_force": planned.in_force, "expected_rows": planned.rows,
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


def show_outline(terminal: Terminal, outline: Outline) -> None:
    """Phase by phase, table by table; each statement once."""
    terminal.answer(**outline_document(outline))
    terminal.show(Text.assemble((outline.database, "bold"), f" on {outline.server}: {_count(outline)}"))
    _show_reverts(terminal, "goes first", [planned for planned in outline.reverts if not planned.last])
    for phase, steps in outline.by_phase():
        done = sum(planned.in_force for planned in steps)
        terminal.show("")
        terminal.show(
            Text.assemble((str(phase), "bold"), f"  {len(steps)} steps" + (f", {done} in force" if done else ""))
        )
        for planned in steps:
            _show_step(terminal, planned, back=outline.back)
    _show_reverts(terminal, "goes last", [planned for planned in outline.reverts if planned.last])
    for name, reason in sorted(outline.undecided.items()):
        terminal.show(Text.assemble(("undecided ", "yellow"), f"{name}: {reason}"))


def _show_reverts(terminal: Terminal, when: str, reverts: Sequence[Planned]) -> None:
    if not reverts:
        return
    terminal.show("")
    terminal.show(Text.assemble(("no longer in the spec", "bold"), f"  {len(reverts)} steps: this {when}"))
    for planned in reverts:
        _show_step(terminal, planned, back=True)


def refusal_document(refusal: TenantryError | None) -> dict[str, Any] | None:
    """Why the run would be refused, as plain data."""
    return None if refusal is None else {**error_document(refusal), "exit_status": int(refusal.status)}


def show_refusal(terminal: Terminal, command: str, refusal: TenantryError | None) -> None:
    """Why the command would be refused, in the sentence in which it would say so; on standard error."""
    if refusal is not None:
        terminal.say(f"As things stand, {command} would refuse:", style="bold yellow")
        terminal.explain(refusal)


def show_backup(terminal: Terminal, backup: ForeseenBackup | None, *, alone: bool = False) -> None:
    """The backup that a run begins with, if any; `alone`, if the run is that backup."""
    terminal.answer(backup=backup)
    if backup is None:
        return
    tables = f"{len(backup.tables)} table{'s' if len(backup.tables) > 1 else ''}, {readable(backup.bytes)}"
    how = "copied into schema tenantry" if backup.kind is BackupKind.TABLES else "written by pg_dump"
    what = "A backup" if alone else "Before that a backup"
    terminal.say(f"{what}: {tables}, {how} from one snapshot, while writers go on.")


def _count(outline: Outline) -> str:
    if not outline.steps:
        return "there is nothing to do" if not outline.reverts else f"{len(outline.reverts)} steps go back"
    done = sum(planned.in_force for planned in outline.steps)
    return f"{len(outline.steps)} steps" + (f", {done} of them in force" if done else "")


def _show_step(terminal: Terminal, planned: Planned, *, back: bool) -> None:
    """A note is about what a step brings, and so not shown of one that goes `back`."""
    step = planned.step
    mark = "✓" if planned.in_force else "·"
    facts = f"  ({planned.rows:,} rows expected)" if planned.rows is not None else ""
    facts += "  (the spec wants it otherwise than before)" if planned.state is State.CHANGED else ""
    terminal.show(Text.assemble((f"  {mark} ", "green"), (str(step.table), "cyan"), f"  {step.title}", (facts, "dim")))
    if step.note and not back:
        terminal.show(Text(f"      note: {step.note}", style="yellow"))
    if planned.in_force and not terminal.settings.verbose:
        return
    for statement in planned.statements:
        for line in statement_lines(statement):
            terminal.show(line)


def statement_lines(statement: Statement) -> Iterable[Text]:
    """The statement, and under it what it locks, when it is needed, and what its parameters are."""
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
        yield Text(f"        -- only where: {one_line(statement.when.as_string(None))}", style="dim")


def _locks(statement: Statement) -> str:
    modes: dict[str, list[str]] = {}
    for lock in statement.locks:
        modes.setdefault(str(lock.mode), []).append(str(lock.table))
    return ", ".join(f"{mode} on {', '.join(tables)}" for mode, tables in modes.items())
