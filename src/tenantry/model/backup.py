"""A backup: what was copied from one snapshot, and its expected contents."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from tenantry.model.name import Name, shortened

PREFIX = "backup_"
MAX_SIZE = 10 * (1 << 30)
"""Bytes up to which a backup is made without asking, unless the spec sets another limit."""


class BackupKind(StrEnum):
    """How rows are stored. `none` is only an option of commands; no backup is of that kind."""

    TABLES = "tables"
    DUMP = "dump"
    NONE = "none"


class Reason(StrEnum):
    """The operation before which a backup was made; `manual` ones were requested."""

    MIGRATION = "migration"
    ROLLBACK = "rollback"
    MANUAL = "manual"
    RESTORE = "restore"
    EMPTYING = "emptying"
    FIX = "fix"


@dataclass(frozen=True, slots=True, kw_only=True)
class CopiedColumn:
    """A column whose values are in the backup. `ours`: a tenant column that tenantry added; `type` has no domain."""

    name: str
    type: str
    ours: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceValue:
    """The position of a sequence, not earlier than the snapshot."""

    sequence: Name
    last_value: int
    is_called: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TableCopy:
    """One table in a backup. `copy` is its copy's name in schema tenantry, empty in a dump; `leaves` are the relations
    that hold its rows: itself, or the partitions; `bytes` without indexes. `checksum` is that of the source, in the
    snapshot. `ours`: a tenant table that tenantry created."""

    table: Name
    columns: tuple[CopiedColumn, ...]
    copy: str = ""
    leaves: tuple[Name, ...] = ()
    sequences: tuple[SequenceValue, ...] = ()
    rows: int = 0
    checksum: str = ""
    bytes: int = 0
    ours: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A backup as stored in the journal. `bytes` is the space that it occupies, `folder` the place of a dump. One
    without `finished_at` is being made, or is incomplete because its run died. `problem` is the result of the last
    verification."""

    id: str
    kind: BackupKind
    reason: Reason
    run: str
    server_version: int
    started_at: datetime
    tables: tuple[TableCopy, ...] = field(default=())
    bytes: int = 0
    folder: Path | None = None
    finished_at: datetime | None = None
    verified_at: datetime | None = None
    problem: str = ""

    @property
    def restorable(self) -> bool:
        """True if it can be restored, as far as is known."""
        return self.finished_at is not None and not self.problem

    @property
    def rows(self) -> int:
        return sum(copy.rows for copy in self.tables)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRestored:
    """Rows that were, or in a dry run would be, deleted, updated and inserted to restore the table."""

    table: Name
    deleted: int
    updated: int
    inserted: int

    @property
    def lost(self) -> int:
        """Rows written since the backup that are lost."""
        return self.deleted + self.updated


@dataclass(frozen=True, slots=True, kw_only=True)
class Restoration:
    """The result of a restore. `left_out`: what the backup contains and the database no longer has a place for, and
    why; `saved` is the backup of the state before, None in a dry run, if nothing differed, or if none was to be
    made."""

    backup: Backup
    tables: tuple[TableRestored, ...]
    left_out: tuple[str, ...] = ()
    saved: str | None = None
    run: str = ""
    seconds: float = 0.0


def copy_name(backup: str, table: Name, taken: frozenset[str]) -> str:
    """The name of a table's copy in schema tenantry: 63 bytes at most, and different from all of `taken`."""
    name = shortened(f"{PREFIX}{backup}_{table.name}")
    if name not in taken:
        return name
    return shortened(f"{PREFIX}{backup}_{table.name}_{'x' * 63}_{table.schema}")
