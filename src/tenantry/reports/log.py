"""The log of a run: one JSON object for each line, flushed at once, without secrets."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from tenantry import private_files
from tenantry.errors import UsageError
from tenantry.execution.events import (
    CommandBegan,
    CommandEnded,
    Connected,
    Distributed,
    Event,
    FillAdvanced,
    FillFinished,
    FillPaused,
    FillStarted,
    FindingReported,
    LocksRefused,
    Notice,
    Reading,
    SessionActivity,
    StatementRan,
    StepEvent,
)
from tenantry.model.name import Name
from tenantry.model.run import Activity, StepAction
from tenantry.postgres.dsn import masked_value
from tenantry.reports.document import plain, to_json
from tenantry.reports.text import bounded

TITLES = {"migrate": "migration", "validate": "validation", "verify": "verification", "backups": "backup"}
"""The names of the files of a command, if they differ from the command."""
OURS = ("time", "level", "event", "run", "command")
"""Fields that contain no text from outside. Masking a password that is a common word would only make them
unreadable."""
LONGEST = 10_000
"""The maximum number of characters of one value in a line of the log."""


def title(command: str) -> str:
    """The name of the log and the reports of a command: `migration` for `migrate`."""
    first = command.split()[0]
    return TITLES.get(first, first)


class Log:
    """A log file that is created with its first line: `FOLDER/migration-RUN.log`."""

    def __init__(self, folder: Path, *, command: str, run: str, secrets: Sequence[str] = ()) -> None:
        self.folder = folder
        self.command = command
        self.run = run
        self.secrets = tuple(secrets)
        self._file: TextIO | None = None

    @property
    def path(self) -> Path:
        return self.folder / f"{title(self.command)}-{self.run}.log"

    def name(self, run: str) -> None:
        """Name the file by the id of a run; a file that has a line already keeps its name."""
        if not self.written:
            self.run = run

    @property
    def written(self) -> bool:
        """Whether the file has a line."""
        return self._file is not None

    def write(self, event: str, *, level: str = "info", **facts: Any) -> None:
        """Add a line. Raises UsageError if the file cannot be created."""
        file = self._file or self._open()
        line = {"run": self.run, "command": self.command} | {name: plain(value) for name, value in facts.items()}
        # Masked before it is cut: the cut could leave half of a secret.
        line = {
            name: value if name in OURS else bounded(masked_value(value, self.secrets), LONGEST)
            for name, value in line.items()
        }
        # One call for each line: several threads write.
        file.write(to_json(line | {"event": event, "level": level, "time": datetime.now(UTC).isoformat()}) + "\n")

    def failure(self, error: BaseException, **facts: Any) -> None:
        """Add a line with the traceback of an unexpected error."""
        self.write("unexpected", level="error", **facts, exception="".join(traceback.format_exception(error)).rstrip())

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _open(self) -> TextIO:
        try:
            private_files.make_folder(self.folder)
            # Line by line, so that `tail -f` follows it and a kill loses nothing.
            self._file = private_files.create(self.path)
        except OSError as error:
            raise UsageError(
                f"The log {self.path} cannot be written: {error.strerror or error}",
                remedy="Choose a folder that you can write to: --log-dir PATH.",
            ) from error
        return self._file


class LogObserver:
    """Writes all events into `log`, which is named by the first run that begins."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self._filled: dict[Name, list[int]] = {}

    def __call__(self, event: Event) -> None:
        write = self.log.write
        match event:
            case CommandBegan(command, run) if self.log.written:
                write("part began", part=command, part_run=run)
            case CommandBegan(_, run):
                self.log.name(run)
                write("began")
            case Connected(server):
                write("connected", server=server.version_name, database=server.database, user=server.user)
            case Reading(at):
                write("looking", level="debug", at=at)
            case StepEvent():
                self._step(event)
            case FindingReported(finding):
                write("finding", level="warning" if finding.refuses else "info", finding=finding)
            case Distributed(distribution):
                write("distributed", level="debug", distribution=distribution)
            case StatementRan(statement, milliseconds):
                write("statement", level="debug", sql=statement.text, milliseconds=round(milliseconds, 1))
            case SessionActivity(Activity() as activity):
                write("activity", activity=activity)
            case LocksRefused(reason, blockers, pause):
                write("blocked", level="warning", message=reason, blocked_by=list(blockers), pause=round(pause, 3))
            case Notice(message, facts):
                write("said", message=message, **dict[str, Any](facts))
            case CommandEnded(outcome, next_step):
                write("concluded", outcome=outcome, next_step=next_step)
            case FillStarted(relation, pages):
                self._filled[relation] = [0, 0]
                write("fill started", table=relation, pages=pages)
            case FillAdvanced(relation, pages, rows):
                done = self._filled.setdefault(relation, [0, 0])
                done[0] += pages
                done[1] += rows
                write("fill advanced", level="debug", table=relation, pages=done[0], rows=done[1])
            case FillPaused(reason):
                write("fill paused", reason=reason)
            case FillFinished(relation, rows):
                write("fill finished", table=relation, rows=rows)

    def _step(self, event: StepEvent) -> None:
        step = event.step
        facts: dict[str, Any] = {
            "number": event.number, "total": event.total, "table": step.table, "key": step.key, "title": step.title,
            "phase": step.phase,
        }  # fmt: skip
        level = "debug"
        if event.action not in (StepAction.FOUND, StepAction.STARTED):
            level = "info"
            facts |= {"milliseconds": round(event.milliseconds, 1), "waited": round(event.waited, 1),
                      "tries": event.tries, "rows": event.rows}  # fmt: skip
        if event.action is StepAction.FAILED:
            level, facts["message"] = "error", event.message
        self.log.write(f"step {event.action}", level=level, **facts)
