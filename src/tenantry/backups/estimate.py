"""The backup that a run would make first, for its dry run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import psycopg

from tenantry.backups.create import BackupOptions, chosen_kind, measured, refuse_full, refuse_hidden, sources
from tenantry.execution.events import ignore
from tenantry.model.backup import BackupKind
from tenantry.model.name import Name


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupEstimate:
    """`bytes` is the size of the tables now; a dump contains all tables of the database."""

    kind: BackupKind
    tables: tuple[Name, ...]
    bytes: int


def estimate_backup(
    connection: psycopg.Connection[Any], names: Iterable[Name], options: BackupOptions
) -> BackupEstimate | None:
    """None if no backup is to be made. Raises Refused if a person must choose its kind, or if there is no room for
    it."""
    if options.kind is BackupKind.NONE:
        return None
    tables = measured(connection, sources(connection, names))
    if not tables:
        return None
    size = sum(table.bytes for table in tables)
    kind = chosen_kind(options, size)
    if kind is BackupKind.DUMP:
        tables = measured(connection, sources(connection))
        size = sum(table.bytes for table in tables)
    refuse_hidden(connection, [table.table for table in tables])
    refuse_full(connection, options, kind, size, ignore)
    return BackupEstimate(kind=kind, tables=tuple(table.table for table in tables), bytes=size)
