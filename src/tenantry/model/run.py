"""What a command has come to."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from tenantry.errors import ExitStatus
from tenantry.model.evidence import Evidence
from tenantry.model.finding import Finding
from tenantry.model.name import Name
from tenantry.model.plan import Phase


def new_run() -> str:
    """A run id: the time in UTC, and eight letters that keep two runs of one second apart."""
    return datetime.now(UTC).strftime("%Y%m%d%H%M%S") + "-" + secrets.token_hex(4)


class StepAction(StrEnum):
    """What became of a step in a run. The journal keeps APPLIED to FAILED; FOUND was in force already, STARTED is under
    way, LEFT was passed over by force."""

    APPLIED = "applied"
    REVERTED = "reverted"
    KEPT = "kept"
    FAILED = "failed"
    FOUND = "found"
    STARTED = "started"
    LEFT = "left"


class MigrationState(StrEnum):
    """How far a migration has come."""

    NOT_STARTED = "NOT_STARTED"
    IN_PROGRESS = "IN_PROGRESS"
    DATA_MIGRATED = "DATA_MIGRATED"
    SECURITY_ENABLED = "SECURITY_ENABLED"
    COMPLETED = "COMPLETED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The outcome of migrate or rollback. `applied` counts steps that were applied or reverted, `found` those that
    were in force already; `rows` those that a fill changed; times in seconds."""

    command: str
    run: str
    exit_status: ExitStatus
    outcome: str
    next_step: str = ""
    applied: int = 0
    found: int = 0
    rows: int = 0
    seconds: float = 0.0
    longest_lock: float = 0.0
    retries: int = 0
    findings: tuple[Finding, ...] = ()
    evidence: Evidence | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TableStatus:
    """How far one table has come, its partitions and heirs included.

    `kind` is owned, mixed, shared, tenant or undecided. Pairs are (steps in force, steps in all). `rows` is
    PostgreSQL's estimate, None where there is none; `without_tenant` None where counting would have taken too long.
    `missing` are the keys of the steps that are not in force.
    """

    table: Name
    kind: str
    phases: Mapping[Phase, tuple[int, int]] = field(default_factory=dict)
    column: str | None = None
    rows: int | None = None
    without_tenant: int | None = None
    filling: float | None = None
    """The share of its pages that a fill has gone through, while one is under way."""
    not_null: bool = False
    constraints: tuple[int, int] = (0, 0)
    indexes: tuple[int, int] = (0, 0)
    row_security: tuple[int, int] = (0, 0)
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexBuild:
    """An index build under way; `done` and `total` are pages or rows, as its `phase` counts."""

    table: Name
    phase: str
    done: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """A session of a run: what it does, for how many seconds, what it waits for, who keeps it waiting, and how many
    sessions wait behind it."""

    pid: int
    application: str
    state: str
    query: str
    waiting: str
    seconds: float
    blockers: tuple[str, ...] = ()
    behind: int = 0
    build: IndexBuild | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stuck:
    """A session that waits, keeps others waiting or lasts long; or a prepared transaction, whose pid is 0 and whose
    name is the `query`.

    `age` is that of its transaction and `lasts` that of its state, in seconds, None where we may not see it.
    `waits_for` are those who keep it waiting, `blocks` those who wait for it; `run`: it is a run of ours, and
    `blocks_run`: one of ours waits for it, by others maybe. `ending` is the statement that would end it.
    """

    pid: int
    user: str
    application: str
    state: str
    query: str
    age: float | None
    lasts: float | None
    run: bool = False
    waits_for: tuple[int, ...] = ()
    blocks: tuple[int, ...] = ()
    blocks_run: bool = False
    build: IndexBuild | None = None
    ending: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunBefore:
    """The run of the same command before another one, if both came to their end."""

    id: str
    seconds: float
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """A run as the journal has it. `exit_status` and `seconds` are None while it goes on, or where it was killed.

    `steps` were applied or reverted, `rows` filled; `longest_lock` is the longest wait for a lock, in seconds. `before`
    is the run of the same command that it can be compared with.
    """

    id: str
    command: str
    username: str
    started_at: datetime
    finished_at: datetime | None
    exit_status: int | None
    outcome: str | None
    seconds: float | None = None
    steps: int = 0
    rows: int = 0
    longest_lock: float = 0.0
    retries: int = 0
    before: RunBefore | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What `status` shows. `steps` is (applied, in all); without a plan nobody knows how many there are in all. Once a
    migration has begun there is no `word` without a spec that fits."""

    database: str
    word: MigrationState | None
    tables: tuple[TableStatus, ...]
    steps: tuple[int, int | None]
    runs: tuple[RunSummary, ...] = ()
    activity: tuple[Activity, ...] = ()
    altered: tuple[str, ...] = ()
    """Keys of steps of ours whose objects somebody has changed or dropped since."""
    orphaned: tuple[str, ...] = ()
    """Keys of steps of ours that the spec no longer asks for: the next migrate takes them back."""
    refusals: tuple[str, ...] = ()
    """Why the next migrate would not follow the spec: a sentence each."""
    misfits: tuple[str, ...] = ()
    """What of the spec does not fit the database: a sentence each."""
    found: bool = False
    """The last validate found something, and nothing was migrated since."""
    running: bool = False
    stuck: tuple[Stuck, ...] = ()
