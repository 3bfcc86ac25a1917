"""An export of one tenant: its rows as CSV files in a folder, and the manifest that describes them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tenantry.model.backup import CopiedColumn, SequenceValue
from tenantry.model.name import Name

FORMAT = 1
"""The version of the manifest's format."""
MANIFEST = "manifest.json"


class Holding(StrEnum):
    """Why rows of a table belong to a tenant."""

    TENANT = "tenant"
    """The tenant's own row in the tenant table."""
    OWNED = "owned"
    MIXED = "mixed"
    MEMBERSHIP = "membership"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFile:
    """A CSV file of an export, by its name in the folder; its size in bytes, and its SHA-256."""

    name: str
    bytes: int = 0
    sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedTable:
    """The tenant's rows of one table. `checksum` does not depend on their order (tenantry.backups.content), `sequences`
    are those that fill the table's columns, with their positions."""

    table: Name
    holding: Holding
    columns: tuple[CopiedColumn, ...]
    file: ExportFile
    rows: int = 0
    checksum: str = ""
    sequences: tuple[SequenceValue, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedReference:
    """Rows that are not in the export, and that rows of `child` refer to by `columns`.

    The file has the `parent_columns` of each such row, of these `types`, and a digest of the row if all tenants see it:
    an equal row must exist in the database into which the export is imported. `rows` counts them, `crossing` those of
    them that belong to other tenants, of which the file has only the key columns.
    """

    child: Name
    columns: tuple[str, ...]
    parent: Name
    parent_columns: tuple[str, ...]
    types: tuple[str, ...]
    file: ExportFile
    rows: int = 0
    crossing: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantExport:
    """The contents of the manifest. `key` is the tenant's, as text; `postgresql` and `tenantry` are versions, `spec` is
    a digest of the spec by which rows were chosen; `exported_at` the time of the snapshot; `left_out` names data of the
    tenant that is not in it."""

    tenant: str
    key: str
    run: str
    database: str
    postgresql: str
    tenantry: str
    spec: str
    exported_at: datetime
    tables: tuple[ExportedTable, ...]
    references: tuple[ExportedReference, ...] = ()
    left_out: tuple[str, ...] = ()
    format: int = FORMAT

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables)

    @property
    def files(self) -> tuple[ExportFile, ...]:
        return (*(one.file for one in self.tables), *(one.file for one in self.references))

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)


def file_name(number: int, kind: str, table: Name) -> str:
    """The name of a file about a table, valid for any table name."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", f"{table.schema}_{table.name}")
    return f"{kind}_{number:03}_{plain[:80]}.csv"


def is_file_name(name: str) -> bool:
    """Whether it can be the name of an export's file: not one that leads out of the folder."""
    return re.fullmatch(r"(?:table|reference)_\d{3,}_[A-Za-z0-9_]{1,80}\.csv", name) is not None
