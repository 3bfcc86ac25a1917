"""The report of a run: what its JSON file holds, as docs/report.schema.json describes it.

Times are milliseconds, but for those that are called seconds; `at` is the time since the run began.
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
    """What a run has come to; `running` stays where it was killed."""

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
    """What everything here is made of: nothing beside what is described, and nothing changes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Server(Part):
    """Where the run took place."""

    database: str
    user: str
    server: str = Field(description="The version that the server reports.")
    version: int = Field(description="Its server_version_num, such as 180001.")


class Error(Part):
    """Why the run did not come to its end."""

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
    """A statement of a step, with --detailed."""

    sql: str
    milliseconds: float


class Action(StrEnum):
    """What was done in an entry of the timeline; `left` was passed over by force, `stopped` was under way when the run
    ended."""

    LOOKED = "looked"
    APPLIED = "applied"
    REVERTED = "reverted"
    KEPT = "kept"
    FAILED = "failed"
    LEFT = "left"
    STOPPED = "stopped"


class Entry(Part):
    """A step, or something that was looked at."""

    at: float
    milliseconds: float
    action: Action
    title: str
    key: str | None = Field(default=None, description="The key of the step; null for a check of something.")
    phase: str | None = None
    table: str | None = None
    waited: float = Field(default=0.0, description="Its longest wait for a lock.")
    held: float = Field(default=0.0, description="How long it held locks that block writers.")
    tries: int = 1
    rows: int | None = Field(default=None, description="Rows that were filled, or for a check, rows that were read.")
    rows_per_second: float | None = None
    statements: list[Statement] = []
    message: str = Field(default="", description="The error.")


class Wait(Part):
    """A time in which the run waited for others, or others for the run."""

    at: float
    milliseconds: float
    table: str | None
    title: str
    tries: int = 1
    blocked_by: list[str] = Field(description="What blocked it: process, role, transaction, statement.")
    behind: int = Field(default=0, description="The largest number of sessions that were seen waiting for the run.")


class Share(Part):
    """The rows of one tenant."""

    tenant: str
    rows: int


class TableRows(Part):
    """The rows of a table, by tenant; `largest` are the tenants with the most."""

    table: str
    rows: int
    without_tenant: int
    tenants: int = Field(description="Tenants that have rows here.")
    empty: int | None = Field(description="Tenants that have none; null where that was not checked.")
    typical: float = Field(description="The rows of a typical tenant that has some: the median.")
    largest: list[Share]


class ReportedFinding(Part):
    """A finding: one check, one table. `count` is exact, `samples` are some of them."""

    name: str
    severity: Severity
    family: str | None = Field(description="Null for findings from before anything was changed.")
    message: str
    remedy: str
    table: str | None
    count: int | None
    refuses: bool
    samples: list[dict[str, JsonValue]]
    tenants: dict[str, int] = Field(description="How many of the rows each tenant has, with --detailed.")


class Counted(Part):
    """How many findings there were, also those that are left out of the list."""

    error: int = 0
    warning: int = 0
    info: int = 0
    accepted: int = 0


class PhaseTotal(Part):
    """What the steps of a phase took together."""

    phase: str
    steps: int
    milliseconds: float
    rows: int


class Metrics(Part):
    """The run in numbers."""

    seconds: float
    steps: int = Field(description="Steps that were applied or reverted.")
    found: int = Field(description="Steps that were in place already.")
    rows: int = Field(description="Rows that fills have changed.")
    rows_per_second: float | None = Field(description="Over the time that the fills took.")
    longest_lock_wait: float
    longest_lock_held: float = Field(
        description="The longest time for which a transaction held locks that block writers."
    )
    peak_waiting: int = Field(description="The largest number of sessions that were seen waiting for the run at once.")
    retries: int
    phases: list[PhaseTotal]


class Report(Part):
    """A run of tenantry."""

    version: Literal[1] = VERSION
    tenantry: str = Field(description="The version of tenantry.")
    run: str
    command: str
    options: dict[str, JsonValue] = Field(description="The command's options as they were given, without secrets.")
    database: Server | None = Field(description="Null where there was no connection.")
    started_at: datetime
    finished_at: datetime | None = Field(description="Null while it runs, and where it was killed.")
    verdict: Verdict
    exit_status: int | None
    outcome: str = Field(description="The result, in a sentence.")
    next_step: str = Field(description="What to do next.")
    stopped_at: str | None = Field(description="Where it stopped, if it did not finish.")
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
