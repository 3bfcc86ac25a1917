"""The results of commands."""

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
from tenantry.model.tenant_move import Move


def new_run() -> str:
    """A run id: the time in UTC, and eight letters that distinguish two runs of the same second."""
    return datetime.now(UTC).strftime("%Y%m%d%H%M%S") + "-" + secrets.token_hex(4)


class StepAction(StrEnum):
    """The outcome of a step in a run. The journal stores APPLIED to FAILED; FOUND was applied already, STARTED is in
    progress, LEFT was skipped because of --force."""

    APPLIED = "applied"
    REVERTED = "reverted"
    KEPT = "kept"
    FAILED = "failed"
    FOUND = "found"
    STARTED = "started"
    LEFT = "left"


class MigrationState(StrEnum):
    """How far a migration has progressed."""

    NOT_STARTED = "NOT_STARTED"
    IN_PROGRESS = "IN_PROGRESS"
    DATA_MIGRATED = "DATA_MIGRATED"
    SECURITY_ENABLED = "SECURITY_ENABLED"
    COMPLETED = "COMPLETED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The outcome of migrate or rollback. `applied` counts steps that were applied or reverted, `found` those that were
    applied already; `rows` those that a fill changed; times in seconds."""

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
    """How far one table has progressed, including its partitions and inheritance children.

    `kind` is owned, mixed, shared, tenant or undecided. Pairs are (steps applied, steps in total). `rows` is
    PostgreSQL's estimate, None if there is none; `without_tenant` is None if counting would have taken too long.
    `missing` are the keys of the steps that are not applied.
    """

    table: Name
    kind: str
    phases: Mapping[Phase, tuple[int, int]] = field(default_factory=dict)
    column: str | None = None
    rows: int | None = None
    without_tenant: int | None = None
    filling: float | None = None
    """The share of its pages that a fill has processed, while one is in progress."""
    not_null: bool = False
    constraints: tuple[int, int] = (0, 0)
    indexes: tuple[int, int] = (0, 0)
    row_security: tuple[int, int] = (0, 0)
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexBuild:
    """An index build in progress; `done` and `total` are pages or rows, depending on its `phase`."""

    table: Name
    phase: str
    done: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """A session of a run: what it does, for how many seconds, what it waits for, which sessions block it, and how many
    sessions it blocks. Citus has copied at least `copied` rows to its nodes."""

    pid: int
    application: str
    state: str
    query: str
    waiting: str
    seconds: float
    blockers: tuple[str, ...] = ()
    behind: int = 0
    build: IndexBuild | None = None
    copied: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stuck:
    """A session that waits, blocks others or lasts long; or a prepared transaction, whose pid is 0 and whose name is
    the `query`.

    `age` is that of its transaction and `lasts` that of its state, in seconds, None if the operator may not see it.
    `waits_for` are the sessions that block it, `blocks` those that wait for it; `run`: it belongs to a run of tenantry,
    and `blocks_run`: a run of tenantry waits for it, directly or through others. `ending` is the statement that would
    end it.
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
    """The previous run of the same command, if both finished."""

    id: str
    seconds: float
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """A run as stored in the journal. `exit_status` and `seconds` are None while it is active, or if it was killed.

    `steps` were applied or reverted, `rows` filled; `longest_lock` is the longest wait for a lock, in seconds. `before`
    is the run of the same command with which it can be compared.
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
    """The data that `status` shows. `steps` is (applied, total); without a plan the total is not known. After a
    migration has begun, `word` is None without a spec that fits."""

    database: str
    word: MigrationState | None
    tables: tuple[TableStatus, ...]
    steps: tuple[int, int | None]
    runs: tuple[RunSummary, ...] = ()
    activity: tuple[Activity, ...] = ()
    altered: tuple[str, ...] = ()
    """Keys of applied steps whose objects were changed or dropped since."""
    orphaned: tuple[str, ...] = ()
    """Keys of applied steps that the spec no longer asks for: the next migrate reverts them."""
    refusals: tuple[str, ...] = ()
    """Why the next migrate could not follow the spec: a sentence each."""
    misfits: tuple[str, ...] = ()
    """Entries of the spec that do not fit the database: a sentence each."""
    found: bool = False
    """The last validate reported findings, and nothing was migrated since."""
    running: bool = False
    stuck: tuple[Stuck, ...] = ()
    moves: tuple[Move, ...] = ()
    """The moves of tenants from here or to here that are not complete."""
