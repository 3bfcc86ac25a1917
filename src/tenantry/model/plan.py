"""The parts of a plan: phases, locks, statements. The steps themselves are in tenantry.steps."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from psycopg.sql import Composable

from tenantry.model.name import Name


class Phase(StrEnum):
    """In the order in which migrate applies them. Contract and distribute run only on request."""

    EXPAND = "expand"
    BACKFILL = "backfill"
    ENFORCE = "enforce"
    ISOLATE = "isolate"
    CONTRACT = "contract"
    DISTRIBUTE = "distribute"

    @property
    def position(self) -> int:
        return list(Phase).index(self)

    @property
    def option(self) -> str:
        """The option of migrate that selects this phase as the last."""
        return f"--until {self}" + (" --prepare" if self is Phase.DISTRIBUTE else "")


class LockMode(StrEnum):
    """PostgreSQL's table locks, weakest first."""

    ACCESS_SHARE = "ACCESS SHARE"
    ROW_SHARE = "ROW SHARE"
    ROW_EXCLUSIVE = "ROW EXCLUSIVE"
    SHARE_UPDATE_EXCLUSIVE = "SHARE UPDATE EXCLUSIVE"
    SHARE = "SHARE"
    SHARE_ROW_EXCLUSIVE = "SHARE ROW EXCLUSIVE"
    EXCLUSIVE = "EXCLUSIVE"
    ACCESS_EXCLUSIVE = "ACCESS EXCLUSIVE"

    @property
    def strength(self) -> int:
        return list(LockMode).index(self)

    @property
    def blocks_writers(self) -> bool:
        """True if it conflicts with ROW EXCLUSIVE, the lock of INSERT, UPDATE and DELETE."""
        return self.strength >= LockMode.SHARE.strength


@dataclass(frozen=True, slots=True, order=True)
class Lock:
    """A table and the lock that a statement takes on it."""

    table: Name
    mode: LockMode


class ExecutionMode(StrEnum):
    """How a statement is run."""

    TRANSACTION = "transaction"
    """One transaction with the journal row; locks first, under lock_timeout, retried."""
    VALIDATION = "validation"
    """One transaction that reads much and blocks no writer; a long lock_timeout, no statement_timeout."""
    CONCURRENT = "concurrent"
    """Separately, outside a transaction, without timeouts."""
    BATCHES = "batches"
    """A template that the backfill runs once for each range of pages."""
    ENGINE = "engine"
    """One transaction in which Citus moves rows or changes shards: waits for locks are short, and retried, while the
    statements may take as long as they need."""
    SNAPSHOT = "snapshot"
    """Separately, outside a transaction, with short waits for locks; before it commits, a second session takes a
    snapshot of the rows that it moves."""

    @property
    def alone(self) -> bool:
        """Whether it cannot share a transaction."""
        return self in (ExecutionMode.CONCURRENT, ExecutionMode.SNAPSHOT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A statement, the locks it takes, how it is run, and the condition under which it is needed.

    `when` is a query of one boolean; None means always. `acting_as` is the role that must run it, None for the
    operator's own. `parameters` name $1, $2, … of a template. Consecutive statements of a step that are run in a
    transaction share one.
    """

    sql: Composable
    manner: ExecutionMode = ExecutionMode.TRANSACTION
    locks: tuple[Lock, ...] = ()
    when: Composable | None = None
    acting_as: str | None = None
    parameters: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return self.sql.as_string(None)
