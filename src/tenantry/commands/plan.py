"""plan, and the dry runs of migrate and rollback: what would be done, and nothing of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tenantry.commands.backup_estimate import ForeseenBackup, foreseen
from tenantry.commands.migrate import (
    MigrateOptions,
    Prospect,
    backup_wanted,
    examine,
    prospects,
    refuse,
    refuse_undecided,
    risks,
)
from tenantry.commands.rollback import RollbackOptions, backup_wanted_back, prospect
from tenantry.commands.session import Session, open_session
from tenantry.errors import ExitStatus, TenantryError
from tenantry.execution.events import Event, Found
from tenantry.execution.rollback.executor import backwards
from tenantry.model.evidence import Evidence
from tenantry.model.finding import Finding
from tenantry.model.name import Name
from tenantry.model.plan import ExecutionMode, Phase, Statement
from tenantry.model.schema import Schema
from tenantry.model.spec import Spec
from tenantry.planning.diff import State
from tenantry.planning.expected import expected_seconds
from tenantry.postgres.connect import Target
from tenantry.postgres.journal import Entry, Journal
from tenantry.steps import Step, from_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A step and the statements that put it in force or take it back; of a changed one, both. `rows` is PostgreSQL's
    estimate of the rows that it reads or changes, None where it touches none, or nothing is known."""

    step: Step
    in_force: bool
    statements: tuple[Statement, ...]
    rows: int | None = None
    state: State = State.PENDING
    last: bool = False
    """Of what goes back: after all that is applied, and not before it."""

    @property
    def seconds(self) -> float:
        """What it may be expected to take, roughly; nothing where it is in force."""
        return 0.0 if self.in_force else expected_seconds(self.statements, self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """What a command would do to a database, step by step; `undecided` are tables that the spec leaves open."""

    command: str
    database: str
    server: str
    steps: tuple[Planned, ...]
    undecided: Mapping[Name, str]
    reverts: tuple[Planned, ...] = ()
    """What the spec no longer asks for and goes, in the order in which it goes."""
    tables: tuple[Name, ...] = ()
    """Of a rollback of some tables: those that go back whole, and those that lose a part of what is theirs."""
    others: tuple[Name, ...] = ()
    refusal: TenantryError | None = None
    """Of a plan: why migrate would refuse it, as far as can be told without the census of the rows."""
    findings: tuple[Finding, ...] = ()
    """Of a plan: what a preflight of it finds, whether it refuses or not."""

    @property
    def back(self) -> bool:
        """The steps would be undone."""
        return self.command in ("rollback", "balances remove")

    def by_phase(self) -> Iterator[tuple[Phase, tuple[Planned, ...]]]:
        """The phases that have steps, with them, in the order in which the command goes through them."""
        for phase in reversed(Phase) if self.back else Phase:
            steps = tuple(planned for planned in self.steps if planned.step.phase is phase)
            if steps:
                yield phase, steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A dry run: the steps that would be applied or reverted, the backup before them, what was found, and what would
    stop it."""

    outline: Outline
    backup: ForeseenBackup | None = None
    findings: tuple[Finding, ...] = ()
    evidence: Evidence | None = None
    refusal: TenantryError | None = None

    @property
    def exit_status(self) -> ExitStatus:
        """That of the run, were it refused."""
        return ExitStatus.DONE if self.refusal is None else self.refusal.status


def plan(target: Target, spec: Spec, *, until: Phase = Phase.CONTRACT) -> Outline:
    """All steps for this database and spec, each with whether it is in force, and what migrate would find in their way
    but for the census of the rows, which its dry run takes as well. Changes nothing.

    Raises UsageError where the spec does not fit the database, ConnectionFailed without a connection.
    """
    with open_session(target, purpose="plan") as connection:
        session = Session.begin(target, connection, spec)
        options = MigrateOptions(until=until)
        prospect = prospects(session, options, exact=False)
        outline = _outline(session, prospect, prospect.steps, command="plan")
        try:
            outline = replace(outline, findings=risks(session, prospect, options))
            refuse_undecided(session)
            refuse(outline.findings, force=False)
        except TenantryError as refusal:
            return replace(outline, refusal=refusal)
        return outline


def preview(target: Target, spec: Spec, options: MigrateOptions | None = None) -> Preview:
    """What migrate would do with these options, were it run now. Changes nothing.

    The refusal that it would meet is returned, and not raised. Raises UsageError and ConnectionFailed as plan does.
    """
    options, found = options or MigrateOptions(), list[Finding]()

    def keep(event: Event) -> None:
        if isinstance(event, Found):
            found.append(event.finding)

    with open_session(target, purpose="plan") as connection:
        session = Session.begin(target, connection, spec)
        prospect = prospects(session, options)
        outline = _outline(session, prospect, prospect.pending, command="migrate")
        try:
            _, evidence = examine(session, prospect, options, keep)
            something = outline.steps or outline.reverts
            backup = foreseen(connection, *backup_wanted(session, prospect, options)) if something else None
        except TenantryError as refusal:
            return Preview(outline=outline, findings=tuple(found), refusal=refusal)
        return Preview(outline=outline, backup=backup, findings=tuple(found), evidence=evidence)


def preview_rollback(target: Target, options: RollbackOptions | None = None) -> Preview:
    """What rollback would do with these options, and the refusal that it would meet. Changes nothing.

    Raises UsageError for a table without steps of ours.
    """
    options = options or RollbackOptions()
    with open_session(target, purpose="plan") as connection:
        selection, found = prospect(Journal(connection), options)
        planned = []
        for entry in sorted(selection.entries, key=backwards):
            step = from_json(entry.value)
            kept = options.preserve_data and step.kept
            statements = step.keep(entry.before) if kept else step.revert(entry.before)
            planned.append(Planned(step=step, in_force=False, statements=statements))
        outline = Outline(
            command="rollback", database=connection.info.dbname, server=_server(connection.info.server_version),
            steps=tuple(planned), undecided={}, tables=selection.tables, others=selection.others,
        )  # fmt: skip
        findings = tuple(obstacle.finding for obstacle in found)
        try:
            refuse(findings, force=options.force)
            backup = foreseen(connection, *backup_wanted_back(selection, options)) if planned else None
        except TenantryError as refusal:
            return Preview(outline=outline, findings=findings, refusal=refusal)
    return Preview(outline=outline, backup=backup, findings=findings)


def _outline(session: Session, prospect: Prospect, steps: Sequence[Step], *, command: str) -> Outline:
    """These steps; and, of a prospect, what goes back."""
    going = {entry.key for entry in prospect.leaving.all}
    return Outline(
        command=command, database=session.schema.database, server=_server(session.schema.version),
        undecided=session.plan.ownership.undecided,
        steps=tuple(_planned(session, prospect, step, going) for step in steps),
        reverts=(*takes_back(prospect.leaving.first), *takes_back(prospect.leaving.last, last=True)),
    )  # fmt: skip


def takes_back(entries: Iterable[Entry], *, last: bool = False) -> tuple[Planned, ...]:
    """What the spec no longer asks for, as it goes."""
    planned = []
    for entry in entries:
        step = from_json(entry.value)
        statements = step.revert(entry.before)
        if statements:
            planned.append(Planned(step=step, in_force=False, statements=statements, state=State.ORPHANED, last=last))
    return tuple(planned)


def _planned(session: Session, prospect: Prospect, step: Step, going: Collection[str]) -> Planned:
    state, statements = prospect.comparison.states[step.key], step.apply()
    rows = _rows(step, statements, session.schema)
    if state is State.CHANGED and not step.in_place and step.key not in going:
        entry = session.entries[step.key]
        statements = (*from_json(entry.value).revert(entry.before), *statements)
    return Planned(step=step, in_force=state.in_force, statements=statements, rows=rows, state=state)


def _server(version: int) -> str:
    return f"PostgreSQL {version // 10000}.{version % 10000}"


def _rows(step: Step, statements: Iterable[Statement], schema: Schema) -> int | None:
    if step.filling is not None:
        estimates = [estimate(schema, relation) for relation in step.filled]
    elif any(statement.manner is not ExecutionMode.TRANSACTION for statement in statements):
        estimates = [estimate(schema, step.table)]
    else:
        return None
    known = [rows for rows in estimates if rows is not None]
    return sum(known) if known else None


def estimate(schema: Schema, name: Name) -> int | None:
    """The rows of a table and its partitions, as PostgreSQL estimates them; None where it never looked."""
    if name not in schema.tables:
        return None
    leaves = [table for table in schema.tree(name) if not schema.partitions(table.name)]
    known = [round(table.rows) for table in leaves if table.rows >= 0]
    return sum(known) if known else None
