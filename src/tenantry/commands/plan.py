"""plan, and the dry runs of migrate and rollback: what would be done, without doing it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tenantry.backups.estimate import BackupEstimate, estimate_backup
from tenantry.commands.migrate import backup_wanted
from tenantry.commands.rollback import RollbackOptions, backup_wanted_back, prospect
from tenantry.errors import ExitStatus, TenantryError
from tenantry.execution.events import Event, FindingReported
from tenantry.execution.outline import Outline, PlannedStep, _server, outline_of
from tenantry.execution.prospect import MigrateOptions, examine, prospects, refuse, refuse_undecided, risks
from tenantry.execution.rollback.executor import backwards
from tenantry.execution.session import Session, open_session
from tenantry.model.evidence import Evidence
from tenantry.model.finding import Finding
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target
from tenantry.postgres.distribution import has_citus
from tenantry.postgres.journal import Journal
from tenantry.steps import from_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A dry run: the steps that would be applied or reverted, the backup before them, the findings, and the refusal."""

    outline: Outline
    backup: BackupEstimate | None = None
    findings: tuple[Finding, ...] = ()
    evidence: Evidence | None = None
    refusal: TenantryError | None = None

    @property
    def exit_status(self) -> ExitStatus:
        """The exit status of the run, if it would be refused."""
        return ExitStatus.DONE if self.refusal is None else self.refusal.status


def plan(target: Target, spec: Spec, *, until: Phase = Phase.CONTRACT) -> Outline:
    """All steps for this database and spec, each with whether it is applied, and what preflight finds, except for the
    census of the rows, which the dry run of migrate makes. Changes nothing.

    Raises UsageError if the spec does not fit the database, ConnectionFailed without a connection.
    """
    with open_session(target, purpose="plan") as connection:
        options = MigrateOptions(until=until, prepare=not has_citus(connection))
        session = Session.begin(target, connection, spec, distribute=options.distribute, engine=options.engine)
        prospect = prospects(session, options, exact=False)
        outline = outline_of(session, prospect, prospect.steps, command="plan")
        try:
            outline = replace(outline, findings=risks(session, prospect, options))
            refuse_undecided(session)
            refuse(outline.findings, force=False)
        except TenantryError as refusal:
            return replace(outline, refusal=refusal)
        return outline


def preview(target: Target, spec: Spec, options: MigrateOptions | None = None) -> Preview:
    """What migrate would do now with these options. Changes nothing.

    Its refusal is returned, not raised. Raises UsageError and ConnectionFailed as plan does.
    """
    options, found = options or MigrateOptions(), list[Finding]()

    def keep(event: Event) -> None:
        if isinstance(event, FindingReported):
            found.append(event.finding)

    with open_session(target, purpose="plan") as connection:
        session = Session.begin(target, connection, spec, distribute=options.distribute, engine=options.engine)
        prospect = prospects(session, options)
        outline = outline_of(session, prospect, prospect.pending, command="migrate")
        try:
            _, evidence = examine(session, prospect, options, keep)
            something = outline.steps or outline.reverts
            backup = estimate_backup(connection, *backup_wanted(session, prospect, options)) if something else None
        except TenantryError as refusal:
            return Preview(outline=outline, findings=tuple(found), refusal=refusal)
        return Preview(outline=outline, backup=backup, findings=tuple(found), evidence=evidence)


def preview_rollback(target: Target, options: RollbackOptions | None = None) -> Preview:
    """What rollback would do with these options, and its refusal. Changes nothing.

    Raises UsageError for a table without steps of tenantry.
    """
    options = options or RollbackOptions()
    with open_session(target, purpose="plan") as connection:
        selection, found = prospect(Journal(connection), options)
        planned = []
        for entry in sorted(selection.entries, key=backwards):
            step = from_json(entry.value)
            kept = options.preserve_data and step.preserved
            statements = step.keep(entry.before) if kept else step.revert(entry.before)
            planned.append(PlannedStep(step=step, in_force=False, statements=statements))
        outline = Outline(
            command="rollback", database=connection.info.dbname, server=_server(connection.info.server_version),
            steps=tuple(planned), undecided={}, tables=selection.tables, others=selection.others,
        )  # fmt: skip
        findings = tuple(obstacle.finding for obstacle in found)
        try:
            refuse(findings, force=options.force)
            backup = estimate_backup(connection, *backup_wanted_back(selection, options)) if planned else None
        except TenantryError as refusal:
            return Preview(outline=outline, findings=findings, refusal=refusal)
    return Preview(outline=outline, backup=backup, findings=findings)
