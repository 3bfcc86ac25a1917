"""An observer that keeps the report of a run on disk up to date from beginning to end."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tenantry import __version__
from tenantry.errors import ExitStatus, TenantryError
from tenantry.execution.events import (
    CommandBegan,
    CommandEnded,
    Connected,
    Distributed,
    Event,
    FillAdvanced,
    FindingReported,
    LocksRefused,
    Reading,
    SessionActivity,
    StatementRan,
    StepEvent,
)
from tenantry.model.plan import Statement
from tenantry.model.run import Activity, StepAction
from tenantry.postgres.connect import Server
from tenantry.reports import files, report
from tenantry.reports.builder import CurrentAction, Gathering
from tenantry.reports.report import Action, Report, Verdict
from tenantry.steps import Step

EVERY = 5.0
"""Seconds after which the report of an active run is written again: the maximum age of the file if the run is
killed."""
SAMPLES = 20


class ReportObserver:
    """Writes the report of a command into `folder`, named by the run that has begun; with `export` also CSV and HTML at
    the end."""

    def __init__(
        self, folder: Path, *, command: str, options: Mapping[str, Any] | None = None, secrets: Sequence[str] = (),
        export: bool = False,
    ) -> None:  # fmt: skip
        self.folder, self.command, self.export = folder, command, export
        self.options = {name: value for name, value in (options or {}).items() if value is not None}
        self.path: Path | None = None
        self._run = self._outcome = self._next = self._last = ""
        self._begun, self._started, self._written = time.monotonic(), datetime.now(UTC), 0.0
        self._server: report.Server | None = None
        self._commands: list[report.Command] = []
        self._doing: CurrentAction | None = None
        self._gathered = Gathering(secrets=secrets, samples=int(self.options.get("samples") or SAMPLES))

    # --- events of a run

    def __call__(self, event: Event) -> None:
        match event:
            case CommandBegan(command, run):
                self._command_began(command, run)
            case Connected(server):
                self._connected(server)
            case Reading(at):
                self._begin(CurrentAction(at=self._now(), title=self._text(at)))
            case StepEvent():
                self._step_changed(event)
            case StatementRan(statement, milliseconds):
                self._statement_ran(statement, milliseconds)
            case FillAdvanced(rows=rows) if self._doing is not None:
                self._doing.rows = (self._doing.rows or 0) + rows
            case SessionActivity(Activity() as activity) if self._doing is not None:
                self._active(self._doing, activity)
            case LocksRefused(_, blockers, pause) if self._doing is not None:
                self._doing.blocked(self._now() + pause * 1000, self._doing.at, blockers, retried=True)
            case FindingReported(finding):
                self._gathered.found(finding)
            case Distributed(distribution):
                self._gathered.distributed(distribution)
            case CommandEnded(outcome, next_step):
                self._command_ended(outcome, next_step)

    def _command_began(self, command: str, run: str) -> None:
        if self.path is not None:
            self._close(Action.LOOKED)
            self._commands.append(report.Command(command=command, run=run, at=self._now()))
            return
        self._run, self._begun, self._started = run, time.monotonic(), datetime.now(UTC)
        self._doing = CurrentAction(at=0.0, title="the connection to the server")
        path = files.report_path(self.folder, self.command, run)
        files.begin(path, self.report())
        self.path, self._written = path, time.monotonic()

    def _connected(self, server: Server) -> None:
        self._server = report.Server(
            database=self._text(server.database),
            user=self._text(server.user),
            server=self._text(server.version_name),
            version=server.version,
        )

    def _step_changed(self, event: StepEvent) -> None:
        step = event.step
        match event.action:
            case StepAction.FOUND:
                self._gathered.measures.found += 1
            case StepAction.STARTED:
                self._begin(self._step(step))
            case action:
                # An action that was skipped was not begun.
                if self._doing is None or self._doing.key != self._text(step.key):
                    self._begin(self._step(step))
                facts: dict[str, Any] = {"waited": round(event.waited, 1), "held": round(event.lock_held, 1),
                                         "tries": event.tries, "message": self._text(event.message)}  # fmt: skip
                self._close(Action(action), facts if event.rows is None else facts | {"rows": event.rows})

    def _statement_ran(self, statement: Statement, milliseconds: float) -> None:
        if self.options.get("detailed") and self._doing is not None:
            self._doing.statements.append(
                report.Statement(sql=self._gathered.text(statement.text, 5_000), milliseconds=round(milliseconds, 1))
            )

    def _active(self, current: CurrentAction, activity: Activity) -> None:
        if not (activity.blockers or activity.behind):
            return
        measures, now = self._gathered.measures, self._now()
        measures.peak = max(measures.peak, activity.behind)
        since = now - activity.seconds * 1000 if activity.blockers else now
        current.blocked(now, since, activity.blockers, behind=activity.behind)

    def _command_ended(self, outcome: str, next_step: str) -> None:
        self._close(Action.LOOKED)
        self._outcome, self._next = self._text(outcome), self._text(next_step)
        if self._commands and not self._commands[-1].outcome:
            told = {"outcome": self._outcome, "next_step": self._next}
            self._commands[-1] = self._commands[-1].model_copy(update=told)

    # --- the end of a run

    def end(self, status: ExitStatus, error: TenantryError | None = None) -> None:
        """Write the report of a run that has ended, if it began. Raises OSError."""
        if self.path is None:
            return
        self._close(Action.LOOKED if error is None else Action.STOPPED)
        files.write(self.path, self.report(status, error))
        if self.export:
            files.export(self.path)

    @property
    def exports(self) -> tuple[Path, ...]:
        """The files beside the JSON report."""
        return files.exports(self.path) if self.export and self.path is not None else ()

    def report(self, status: ExitStatus | None = None, error: TenantryError | None = None) -> Report:
        """The report at this moment; without `status` the run is active."""
        gathered = self._gathered
        return Report(
            tenantry=__version__, run=self._run, command=self.command, options=gathered.value(self.options),
            database=self._server, started_at=self._started, finished_at=None if status is None else datetime.now(UTC),
            verdict=Verdict.of(status), exit_status=None if status is None else int(status),
            outcome=self._outcome if error is None else self._text(error.message),
            next_step=self._next if error is None else gathered.text(error.remedy, 2_000),
            stopped_at=self._stopped_at(status, error), error=None if error is None else gathered.error(error),
            commands=list(self._commands), timeline=list(gathered.timeline),
            timeline_left_out=gathered.timeline_left_out, distribution=list(gathered.tables.values()),
            waits=list(gathered.waits), waits_left_out=gathered.waits_left_out,
            metrics=gathered.measures.metrics(self._now() / 1000), **gathered.findings(),
        )  # fmt: skip

    def _stopped_at(self, status: ExitStatus | None, error: TenantryError | None) -> str | None:
        """The action at which an active run is, or at which a run was stopped."""
        if status is None:
            return None if self._doing is None else str(self._doing)
        return None if error is None else self._last

    # --- the action in progress

    def _step(self, step: Step) -> CurrentAction:
        return CurrentAction(
            at=self._now(), title=self._text(step.title), key=self._text(step.key), phase=str(step.phase),
            table=self._text(step.table),
        )  # fmt: skip

    def _begin(self, doing: CurrentAction) -> None:
        self._close(Action.LOOKED)
        self._doing = doing
        if self.path is not None and time.monotonic() - self._written >= EVERY:
            # It is written again at the end, where a failure is reported; a run is not stopped for it.
            with suppress(OSError):
                files.write(self.path, self.report())
            self._written = time.monotonic()

    def _close(self, action: Action, facts: Mapping[str, Any] | None = None) -> None:
        doing, self._doing = self._doing, None
        if doing is not None:
            self._last = str(doing)
            self._gathered.add(doing, action, self._now(), facts or {})

    def _now(self) -> float:
        """Milliseconds since the run began."""
        return (time.monotonic() - self._begun) * 1000

    def _text(self, value: object) -> str:
        return self._gathered.text(value)
