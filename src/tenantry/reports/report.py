"""The report of a run: the pydantic models of its JSON file, from which docs/report.schema.json is generated.

Times are in milliseconds unless the name says seconds; `at` is the time since the run began.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from tenantry.errors import ExitStatus
from tenantry.model.finding import Severity

VERSION: Literal[1] = 1


class Verdict(StrEnum):
    """The result of a run; a run that was killed keeps `running`."""

    RUNNING = "running"
    DONE = "done"
    FINDINGS = "findings"
    USAGE = "usage"
    CONNECTION = "connection"
    REFUSED = "refused"
    FAILED = "failed"
    INTERRUPTED = "interrupted"

    @classmethod
    def of(cls, status: ExitStatus | None) -> Verdict:
        return cls.RUNNING if status is None else cls[status.name]


class Part(BaseModel):
    """Base class of the models: immutable, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Server(Part):
    """The database and the server of the run."""

    database: str
    user: str
    server: str = Field(description="The version that the server reports.")
    version: int = Field(description="The server's server_version_num, such as 180001.")


class Error(Part):
    """The error that ended the run."""

    message: str
    remedy: str
    details: list[str]
    details_left_out: int = 0


class Command(Part):
    """A command that ran as a part of this run, under a run id of its own."""

    command: str
    run: str
    at: float
    outcome: str = ""
    next_step: str = ""


class Statement(Part):
    """A statement of a step; only with --detailed."""

    sql: str
    milliseconds: float


class Action(StrEnum):
    """What was done in an entry of the timeline. `looked`: something was read. `kept`: --preserve-data kept the step.
    `left`: the step could not be reverted, and --force skipped it. `stopped`: the entry was in progress when the run
    ended."""

    LOOKED = "looked"
    APPLIED = "applied"
    REVERTED = "reverted"
    KEPT = "kept"
    FAILED = "failed"
    LEFT = "left"
    STOPPED = "stopped"


class Entry(Part):
    """A step, or something that was read, such as the rows of a table."""

    at: float
    milliseconds: float
    action: Action
    title: str
    key: str | None = Field(default=None, description="The key of the step; null if it is not a step.")
    phase: str | None = None
    table: str | None = None
    waited: float = Field(default=0.0, description="The longest wait for a lock.")
    held: float = Field(
        default=0.0, description="The longest time for which a transaction held locks that block writers."
    )
    tries: int = 1
    rows: int | None = Field(
        default=None, description="The number of rows that were filled or, if it is not a step, read."
    )
    rows_per_second: float | None = None
    statements: list[Statement] = []
    message: str = Field(default="", description="The error message.")


class Wait(Part):
    """A period in which the run waited for other sessions, or other sessions waited for the run."""

    at: float
    milliseconds: float
    table: str | None
    title: str
    tries: int = 1
    blocked_by: list[str] = Field(description="The blocking sessions: process id, role, transaction and statement.")
    behind: int = Field(default=0, description="The largest number of sessions that waited for the run at once.")


class Share(Part):
    """The number of rows of one tenant."""

    tenant: str
    rows: int


class TableRows(Part):
    """The number of rows of a table by tenant; `largest` are the tenants with the most rows."""

    table: str
    rows: int
    without_tenant: int
    tenants: int = Field(description="The number of tenants that have rows in the table.")
    empty: int | None = Field(
        description="The number of tenants without rows in the table; null if it was not counted."
    )
    typical: float = Field(description="The median number of rows of the tenants that have rows.")
    largest: list[Share]


class ReportedFinding(Part):
    """A finding of one check on one table. `count` is the number of rows, `samples` are some of them."""

    name: str
    severity: Severity
    family: str | None = Field(description="The family of the check; null for findings of the preflight.")
    message: str
    remedy: str
    table: str | None
    count: int | None
    refuses: bool
    samples: list[dict[str, JsonValue]]
    tenants: dict[str, int] = Field(description="The number of these rows by tenant; only with --detailed.")


class Counted(Part):
    """The number of findings by severity, including those left out of the list."""

    error: int = 0
    warning: int = 0
    info: int = 0
    accepted: int = 0


class PhaseTotal(Part):
    """Totals of the steps of one phase."""

    phase: str
    steps: int
    milliseconds: float
    rows: int


class Metrics(Part):
    """Figures of the run."""

    seconds: float
    steps: int = Field(description="Steps that were applied or reverted.")
    found: int = Field(description="Steps that were already applied.")
    rows: int = Field(description="Rows that were filled.")
    rows_per_second: float | None = Field(description="Filled rows per second of the fills' own time.")
    longest_lock_wait: float
    longest_lock_held: float = Field(
        description="The longest time for which a transaction held locks that block writers."
    )
    peak_waiting: int = Field(description="The largest number of sessions that waited for the run at once.")
    retries: int
    phases: list[PhaseTotal]


class Report(Part):
    """A run of tenantry."""

    version: Literal[1] = VERSION
    tenantry: str = Field(description="The version of tenantry.")
    run: str
    command: str
    options: dict[str, JsonValue] = Field(description="The options of the command as given, without secrets.")
    database: Server | None = Field(description="Null if there was no connection.")
    started_at: datetime
    finished_at: datetime | None = Field(description="Null while the run is active, and if it was killed.")
    verdict: Verdict
    exit_status: int | None
    outcome: str = Field(description="The result as a sentence.")
    next_step: str = Field(description="The next thing to do, as a sentence.")
    stopped_at: str | None = Field(description="The step or read at which the run stopped; null if it finished.")
    error: Error | None
    commands: list[Command]
    timeline: list[Entry]
    timeline_left_out: int = 0
    distribution: list[TableRows]
    waits: list[Wait]
    waits_left_out: int = 0
    findings: list[ReportedFinding]
    findings_counted: Counted
    findings_left_out: int = 0
    metrics: Metrics
