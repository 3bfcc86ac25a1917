"""Writing a tenant's rows into a folder, all from one snapshot, while writers go on.

Each table's rows are first put into a temporary table of tenantry's, as for a backup, and then copied from there. So
code that the owners of the tables have attached to reading them runs as those owners, and the files are written by
COPY, piece by piece. Neither client nor server ever holds a table in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from psycopg import sql

from tenantry import __version__
from tenantry.backups.content import checksum, row_text, selected
from tenantry.backups.tables import snapshot
from tenantry.errors import Refused
from tenantry.execution.events import Reading
from tenantry.execution.tenant_table import Tenant
from tenantry.model.backup import CopiedColumn, TableCopy
from tenantry.model.schema import Table
from tenantry.model.tenant_export import (
    ExportedReference,
    ExportedTable,
    ExportFile,
    Holding,
    TenantExport,
    file_name,
)
from tenantry.model.wording import counted
from tenantry.planning.tenant_selection import Reference, SelectedTable
from tenantry.postgres.backups import read_sequences
from tenantry.tenants.folder import new_folder, write_file, write_manifest
from tenantry.tenants.scope import TenantScope

DIGEST = "~digest"
_ROWS = sql.Identifier("pg_temp", "tenant_export")
_PLACE = sql.Identifier("tenant_export")


@dataclass(slots=True, kw_only=True)
class TenantExporter:
    """Exports a tenant with the scope's connection, which must be in autocommit mode."""

    scope: TenantScope
    tenant: Tenant
    left_out: list[str] = field(default_factory=list)

    def write(self, folder: Path) -> TenantExport:
        """Write the tenant's rows into a new folder. Raises Refused and UsageError before anything is written, and
        Failed if a table stays locked or a file cannot be written; then the folder is removed again."""
        scope = self.scope
        references = list(scope.selection.leading_out())
        parents = {scope.selection.schema.topmost(one.parent) for one in references} - scope.selection.tables.keys()
        held = [scope.copy(name) for name in scope.selection.tables]
        held += [TableCopy(table=name, columns=()) for name in sorted(parents)]
        with new_folder(folder) as place, snapshot([scope.connection], held):
            row = scope.connection.execute("SELECT pg_catalog.transaction_timestamp()").fetchone()
            assert row is not None
            taken: datetime = row[0]
            tables = tuple(self._table(place, *one) for one in enumerate(scope.selection.tables.values()))
            found = [self._reference(place, *one) for one in enumerate(references)]
            info = scope.connection.info
            export = TenantExport(
                tenant=self.tenant.slug, key=self.tenant.key, run=scope.run, database=info.dbname,
                postgresql=info.parameter_status("server_version") or "", tenantry=__version__,
                spec=scope.fingerprint, exported_at=taken, tables=tables,
                references=tuple(one for one in found if one is not None),
                left_out=(*self.left_out, *_said(one for one in found if one is not None)),
            )  # fmt: skip
            write_manifest(place, export)
        return export

    def preview(self) -> TenantExport:
        """What `write` would write, with the number of rows; nothing is written, and no checksum is computed."""
        scope = self.scope
        tables = []
        for number, table in enumerate(scope.selection.tables.values()):
            scope.observer(Reading(f"the rows of {table.name}"))
            rows = scope.count(table, table.belongs(self.tenant.key))
            tables.append(
                ExportedTable(
                    table=table.name, holding=table.holding, columns=scope.copy(table.name).columns, rows=rows,
                    file=ExportFile(name=file_name(number, "table", table.name)),
                )
            )  # fmt: skip
        info = scope.connection.info
        return TenantExport(
            tenant=self.tenant.slug, key=self.tenant.key, run=scope.run, database=info.dbname,
            postgresql=info.parameter_status("server_version") or "", tenantry=__version__,
            spec=scope.fingerprint, exported_at=datetime.now().astimezone(), tables=tuple(tables),
        )  # fmt: skip

    def _table(self, folder: Path, number: int, table: SelectedTable) -> ExportedTable:
        scope, copy = self.scope, self.scope.copy(table.name)
        scope.observer(Reading(f"the rows of {table.name}"))
        order: sql.Composable = sql.SQL("")
        if table.primary_key:
            names = sql.SQL(", ").join(sql.Identifier("t", name) for name in table.primary_key)
            order = sql.SQL(" ORDER BY {}").format(names)
        query = sql.SQL("SELECT {} FROM {} AS t WHERE {}{}").format(
            selected(copy.columns), table.rows, table.belongs(self.tenant.key), order
        )
        scope.connection.execute(sql.SQL("CREATE TEMPORARY TABLE {} AS {}").format(_PLACE, query))
        row = scope.connection.execute(checksum(_ROWS, copy.columns)).fetchone()
        assert row is not None
        rows, total = row
        self._note_large_objects(table, copy.columns)
        file = write_file(folder, file_name(number, "table", table.name), self._rows(copy.columns))
        scope.connection.execute(sql.SQL("DROP TABLE {}").format(_ROWS))
        if table.holding is Holding.TENANT and rows != 1:
            raise Refused(f"The tenant {self.tenant.slug!r} no longer exists", remedy="See `tenantry tenants list`.")
        return ExportedTable(
            table=table.name, holding=table.holding, columns=copy.columns, file=file, rows=rows, checksum=total,
            sequences=read_sequences(scope.connection, table.name),
        )  # fmt: skip

    def _rows(self, columns: tuple[CopiedColumn, ...]) -> Iterator[bytes | bytearray | memoryview]:
        names = sql.SQL(", ").join(sql.Identifier(column.name) for column in columns)
        statement = sql.SQL("COPY {} ({}) TO STDOUT (FORMAT csv, HEADER true)").format(_ROWS, names)
        with self.scope.connection.cursor().copy(statement) as copy:
            yield from copy

    def _note_large_objects(self, table: SelectedTable, columns: tuple[CopiedColumn, ...]) -> None:
        for column in columns:
            if column.type.rpartition(".")[2] not in ("oid", "lo"):
                continue
            row = self.scope.connection.execute(
                sql.SQL(
                    "SELECT pg_catalog.count(*) FROM {} AS t WHERE t.{}::pg_catalog.oid IN"
                    " (SELECT oid FROM pg_catalog.pg_largeobject_metadata)"
                ).format(_ROWS, sql.Identifier(column.name))
            ).fetchone()
            if row is not None and row[0]:
                self.left_out.append(
                    f"{counted(row[0], 'large object')} in {table.name}.{column.name}: the export has the"
                    " OID of each, not its contents"
                )

    def _reference(self, folder: Path, number: int, reference: Reference) -> ExportedReference | None:
        """The rows to which the tenant's rows refer and which are not the tenant's; None if there are none."""
        scope, key = self.scope, reference.key
        assert reference.of_child is not None
        scope.observer(Reading(f"what {reference.columns} refers to"))
        parent = scope.selection.schema.tables[reference.parent]
        types = {column.name: column.base_type for column in parent.columns}
        belongs = None if reference.of_parent is None else reference.of_parent.belongs(self.tenant.key, "p")
        others = (
            sql.SQL("false")
            if reference.of_parent is None
            else reference.of_parent.belongs_to_others(self.tenant.key, "p")
        )
        condition = sql.SQL("") if belongs is None else sql.SQL(" AND ({}) IS NOT TRUE").format(belongs)
        query = sql.SQL(
            "SELECT DISTINCT {keys}, CASE WHEN NOT ({others}) THEN pg_catalog.hashtextextended({text}, 0) END"
            " AS {digest}"
            " FROM {child} AS t JOIN {parent} AS p ON {joined} WHERE {mine}{condition} ORDER BY {places}"
        ).format(
            keys=sql.SQL(", ").join(
                sql.SQL("{}::{} AS {}").format(
                    sql.Identifier("p", name), sql.SQL(types[name]), sql.Identifier(name)
                )
                for name in key.parent_columns
            ),
            others=others, text=row_text("p", compared(parent)), digest=sql.Identifier(DIGEST),
            child=reference.of_child.rows, parent=reference.parent.identifier, joined=reference.joined("t", "p"),
            mine=reference.of_child.belongs(self.tenant.key), condition=condition,
            places=sql.SQL(", ").join(sql.SQL(str(place)) for place in range(1, len(key.parent_columns) + 1)),
        )  # fmt: skip
        scope.connection.execute(sql.SQL("CREATE TEMPORARY TABLE {} AS {}").format(_PLACE, query))
        row = scope.connection.execute(
            sql.SQL("SELECT pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE t.{} IS NULL) FROM {} AS t").format(
                sql.Identifier(DIGEST), _ROWS
            )
        ).fetchone()
        assert row is not None
        found = None
        if row[0]:
            kept = (*(CopiedColumn(name=name, type=types[name]) for name in key.parent_columns),
                    CopiedColumn(name=DIGEST, type="bigint"))  # fmt: skip
            found = ExportedReference(
                child=reference.child, columns=key.columns, parent=reference.parent, parent_columns=key.parent_columns,
                types=tuple(types[name] for name in key.parent_columns), rows=row[0], crossing=row[1],
                file=write_file(folder, file_name(number, "reference", reference.parent), self._rows(kept)),
            )  # fmt: skip
        scope.connection.execute(sql.SQL("DROP TABLE {}").format(_ROWS))
        return found


def compared(table: Table) -> tuple[CopiedColumn, ...]:
    """The columns by which rows that all tenants see are compared: all except generated ones."""
    return tuple(CopiedColumn(name=one.name, type=one.base_type) for one in table.columns if not one.generated)


def _said(references: Iterator[ExportedReference]) -> Iterator[str]:
    for one in references:
        columns = f"{one.child} ({', '.join(one.columns)})"
        shared = one.rows - one.crossing
        if shared:
            yield f"{counted(shared, 'row')} of {one.parent} that all tenants see, to which {columns} refers"
        if one.crossing:
            yield f"{counted(one.crossing, 'row')} of {one.parent} of other tenants, to which {columns} refers"
