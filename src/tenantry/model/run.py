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
    """A run id: the time in UTC, and four letters that keep two runs of one second apart."""
    return datetime.now(UTC).strftime("%Y%m%d%H%M%S") + "-" + secrets.token_hex(2)


class Word(StrEnum):
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
    """How far one table has come: (steps in force, steps in all) of each phase, and the keys of those that are not."""

    table: Name
    kind: str
    """owned, mixed, shared, tenant or undecided."""
    phases: Mapping[Phase, tuple[int, int]] = field(default_factory=dict)
    column: bool = False
    rows: float = 0.0
    without_tenant: int | None = None
    not_null: bool = False
    constraints: tuple[int, int] = (0, 0)
    indexes: tuple[int, int] = (0, 0)
    row_security: bool = False
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """The run that is going on, by its session: what it does and who keeps it waiting."""

    pid: int
    application: str
    query: str
    waiting: str
    blockers: tuple[str, ...] = ()
    progress: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What `status` shows."""

    word: Word
    tables: tuple[TableStatus, ...]
    steps: tuple[int, int]
    runs: tuple[Mapping[str, object], ...] = ()
    activity: tuple[Activity, ...] = ()
    altered: tuple[str, ...] = ()
    """Keys of steps of ours whose objects somebody has changed or dropped since."""
