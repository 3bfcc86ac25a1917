"""Putting an export's rows into a database: all of it in one transaction, or nothing.

The files are loaded into temporary tables first, which locks nothing, and everything that can be refused is checked
there. The transaction then inserts table by table, parents first, compares the result with what was exported, and
advances the sequences. For its locks see TenantImport.insert.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import psycopg
from psycopg import sql

from tenantry.backups.column_mapping import fit
from tenantry.backups.content import checksum, row_text, selected
from tenantry.backups.loading import as_loaded
from tenantry.backups.restore import RestoredTable as Rows
from tenantry.backups.restore import advance
from tenantry.backups.triggers import disable_triggers, enable_triggers
from tenantry.errors import Failed, Refused
from tenantry.execution.events import LocksRefused, Reading
from tenantry.execution.transaction import LockPolicy, run_in_transaction
from tenantry.model.backup import CopiedColumn, TableCopy
from tenantry.model.name import quoted
from tenantry.model.schema import Kind
from tenantry.model.tenant_export import ExportedReference, ExportedTable, Holding, TenantExport
from tenantry.model.wording import counted
from tenantry.planning.tenant_selection import SelectedTable
from tenantry.postgres.backups import Fires, firing, read_sequences, set_stable_text_format
from tenantry.postgres.moves import Moves
from tenantry.postgres.removals import Removals
from tenantry.steps.introspection import with_search_path
from tenantry.tenants.export import DIGEST, compared
from tenantry.tenants.folder import read_file
from tenantry.tenants.scope import TenantScope, key_text, write_lock

SHOWN = 3
"""The number of rows of each kind that a refusal names."""
ALSO_OF_OTHERS = (Holding.TENANT, Holding.MEMBERSHIP)
"""Tables of which a row may exist already: then it has to be the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A table of the export, its rows in a temporary table, and how they are to be inserted. `checksum` is that of the
    temporary table, in which the tenant may have got another slug."""

    exported: ExportedTable
    table: SelectedTable
    copy: TableCopy
    rows: Rows
    checksum: str

    @property
    def relation(self) -> sql.Composable:
        return self.rows.source

    @property
    def new(self) -> sql.Composable:
        """A query of the rows that are to be inserted."""
        if self.exported.holding in ALSO_OF_OTHERS and self.rows.key:
            return self.rows.missing
        return sql.SQL("SELECT * FROM {} AS b").format(self.rows.saved)


@dataclass(slots=True, kw_only=True)
class TenantImport:
    """An import with the scope's connection, which must be in autocommit mode."""

    scope: TenantScope
    folder: Path
    export: TenantExport
    slug: str
    policy: LockPolicy
    loaded: list[Loaded] = field(default_factory=list)

    def prepare(self) -> None:
        """Load the files, and check everything. Raises Refused, with the list of obstacles."""
        problems = list(self._misfits())
        if problems:
            raise Refused(
                "The export does not fit this database",
                remedy="Migrate both databases to the same version of the application, by the same spec.",
                details=problems,
            )
        for number, table in enumerate(self.export.tables):
            self.scope.observer(Reading(f"the file of {table.table}"))
            self.loaded.append(self._load(number, table))
        problems = [*self._tenant_problems(), *self._differing()]
        there = list(self._there())
        # The tenant's own rows would conflict with each other.
        problems += there or self._collisions()
        for number, reference in enumerate(self.export.references):
            self.scope.observer(Reading(f"what {reference.child} refers to"))
            problems += self._unmet(number, reference)
        if problems:
            raise Refused(
                f"The tenant {self.slug!r} cannot be imported here: {problems[0]}",
                remedy="Correct what is named, then run the same command again. Nothing was changed.",
                details=problems[1:],
            )

    def insert(self) -> int:
        """Insert the rows; returns the number of those that did not exist before.

        Writers wait only if a table has a trigger or rule of the user's on INSERT, which is disabled meanwhile: until
        the end of the transaction (SHARE ROW EXCLUSIVE; with a rule readers, too). The rows referred to are locked FOR
        KEY SHARE: nobody may delete them or change their keys. Raises Refused if the database rejects the rows.
        """
        connection = self.scope.connection
        silenced = self.silenced()
        inserted: list[int] = []

        def work() -> None:
            inserted.clear()
            # The locks are held: from here on no time limit applies.
            connection.execute("SET LOCAL statement_timeout = 0")
            set_stable_text_format(connection)
            # For checks, generated columns and index expressions.
            path = with_search_path(self.scope.selection.schema.search_path)
            connection.execute(sql.SQL("SELECT {}").format(path))
            by_name = {one.table.name: one for one in self.loaded}
            for component in self.scope.selection.components:
                together = [by_name[table.name] for table in component]
                self.scope.observer(Reading(f"inserting into {', '.join(str(table.name) for table in component)}"))
                row = connection.execute(_insert(together)).fetchone()
                inserted.extend(row or ())
            # Deferred constraints are checked now, and not at COMMIT, where a violation could not be explained.
            connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
            for one in self.loaded:
                self._compare(one)
            for query in advance([value for one in self.loaded for value in one.exported.sequences]):
                connection.execute(query)
            for statement in enable_triggers(silenced):
                connection.execute(sql.Composed([statement.sql]))
            # A removal that was not finished: the next one must make an export of its own.
            Removals(connection).forget(self.export.key)
            # It is no longer elsewhere.
            Moves(connection).forget_departed(self.export.key)

        tables = [
            write_lock(name) for one in self.loaded for name in dict.fromkeys((one.table.name, *one.table.leaves))
        ]
        try:
            run_in_transaction(
                connection, [*tables, *disable_triggers(silenced)], patience=self.policy, finish=work,
                retrying=lambda reason, blockers, pause: self.scope.observer(LocksRefused(reason, blockers, pause)),
            )  # fmt: skip
        except (psycopg.IntegrityError, psycopg.DataError) as error:
            raise Refused(
                f"The database rejects the rows: {error.diag.message_primary}",
                remedy="Correct what the message names, then run the same command again. Nothing was changed.",
                details=[error.diag.message_detail or ""],
            ) from error
        return sum(inserted)

    def new_rows(self) -> int:
        """The number of rows to insert: all except those that exist already because other tenants have them, too."""
        found = 0
        for one in self.loaded:
            if one.exported.holding in ALSO_OF_OTHERS:
                query = sql.SQL("SELECT pg_catalog.count(*) FROM ({}) AS n").format(one.new)
                row = self.scope.connection.execute(query).fetchone()
                found += 0 if row is None else row[0]
            else:
                found += one.exported.rows
        return found

    def silenced(self) -> list[Fires]:
        """The user's triggers and rules that will not fire."""
        leaves = {leaf for one in self.loaded for leaf in (*one.table.leaves, one.table.name)}
        return [fires for name in sorted(leaves) for fires in firing(self.scope.connection, name, "INSERT")]

    # --- what does not fit the database

    def _misfits(self) -> Iterator[str]:
        """How the manifest differs from this database, so that all names and types in it are known to be the
        database's own: statements contain them."""
        here, there = self.scope.selection.tables, [one.table for one in self.export.tables]
        for name in sorted(here.keys() - set(there)):
            yield f"{name} has rows of tenants here, and is not in the export"
        for name in sorted({name for name in there if there.count(name) > 1}):
            yield f"{name} is in the export several times"
        for table in sorted(self.export.tables, key=lambda one: one.table):
            if table.table in here:
                yield from self._differences(here[table.table], table)
            else:
                yield f"{table.table} has no rows of tenants here"
        for reference in self.export.references:
            yield from self._other_key(reference)

    def _differences(self, here: SelectedTable, there: ExportedTable) -> Iterator[str]:
        if here.holding is not there.holding:
            yield f"{here.name} is {here.holding} here, and {there.holding} in the export"
        columns = {column.name: column.type for column in self.scope.copy(here.name).columns}
        exported = [column.name for column in there.columns]
        for name in sorted({name for name in exported if exported.count(name) > 1}):
            yield f"{here.name} has several columns {quoted(name)} in the export"
        for name in columns.keys() - set(exported):
            yield f"{here.name} has a column {quoted(name)} here that is not in the export"
        for column in there.columns:
            type = columns.get(column.name)
            if type is None:
                yield f"{here.name} has no column {quoted(column.name)} here that could be written"
            elif type != column.type:
                yield f"{here.name}.{quoted(column.name)} is {type} here, and {column.type} in the export"
        known = {value.sequence for value in read_sequences(self.scope.connection, here.name)}
        for value in there.sequences:
            if value.sequence not in known:
                yield f"{here.name} takes nothing from the sequence {value.sequence} here"

    def _other_key(self, reference: ExportedReference) -> Iterator[str]:
        parent = self.scope.selection.schema.tables.get(reference.parent)
        if parent is None:
            yield f"{reference.parent}, to which {reference.child} refers, is not here"
            return
        types = {column.name: column.base_type for column in parent.columns}
        if tuple(types.get(name) for name in reference.parent_columns) != reference.types:
            yield (
                f"{reference.parent} ({', '.join(map(quoted, reference.parent_columns))}), to which {reference.child}"
                " refers, has other types here, or does not exist"
            )

    # --- loading

    def _load(self, number: int, exported: ExportedTable) -> Loaded:
        """Raises Refused if the file does not contain what the manifest lists."""
        connection, table = self.scope.connection, self.scope.selection.tables[exported.table]
        copy = TableCopy(table=table.name, columns=exported.columns, leaves=table.leaves)
        as_held = as_loaded(copy)
        relation = sql.Identifier("pg_temp", f"import_{number}")
        self._fill(relation, as_held.columns, exported.file.name, exported)
        rows, total = self._sum(relation, as_held.columns)
        if (rows, total) != (exported.rows, exported.checksum):
            raise Refused(
                f"The file of {table.name} differs from the export: {counted(rows, 'row')}, not"
                f" {exported.rows:,}, or other values",
                remedy="Export the tenant again, from a server that writes values as text in the same way.",
            )
        if exported.holding is Holding.TENANT and self.slug != self.export.tenant:
            slug = self.scope.selection.ownership.tenant.slug
            connection.execute(
                sql.SQL("UPDATE {} SET {} = {}").format(relation, sql.Identifier(slug), sql.Literal(self.slug))
            )
            _, total = self._sum(relation, as_held.columns)
        # So that the planner knows the number of rows for what follows.
        connection.execute(sql.SQL("ANALYZE {}").format(relation))
        fitted = fit(self.scope.selection.schema, as_held, relation, force=False)
        assert not isinstance(fitted, str)
        return Loaded(
            exported=exported, table=table, copy=copy, rows=replace(fitted.target, replaced=()), checksum=total
        )

    def _fill(
        self, relation: sql.Composable, columns: tuple[CopiedColumn, ...], file: str,
        exported: ExportedTable | ExportedReference,
    ) -> None:  # fmt: skip
        connection = self.scope.connection
        made = sql.SQL(", ").join(
            sql.SQL("{} {}").format(sql.Identifier(column.name), sql.SQL(column.type)) for column in columns
        )
        connection.execute(sql.SQL("CREATE TEMPORARY TABLE {} ({})").format(relation, made))
        names = sql.SQL(", ").join(sql.Identifier(column.name) for column in columns)
        statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv, HEADER true)").format(relation, names)
        try:
            # With the settings with which it was written: the text of some types depends on them.
            with connection.transaction():
                set_stable_text_format(connection)
                with connection.cursor().copy(statement) as copy:
                    for piece in read_file(self.folder, exported.file):
                        copy.write(piece)
        except (psycopg.DataError, OSError) as error:
            said = error.diag.message_primary if isinstance(error, psycopg.DataError) else error.strerror
            raise Refused(f"The file {file} cannot be loaded: {said}", remedy="Export the tenant again.") from error

    def _sum(self, relation: sql.Composable, columns: tuple[CopiedColumn, ...]) -> tuple[int, str]:
        with self.scope.connection.transaction():
            set_stable_text_format(self.scope.connection)
            row = self.scope.connection.execute(checksum(relation, columns)).fetchone()
        assert row is not None
        return row[0], row[1]

    # --- obstacles

    def _tenant_problems(self) -> Iterator[str]:
        known = self.scope.tenant_rows.read()
        by_slug = next((one for one in known if one.slug == self.slug), None)
        by_key = next((one for one in known if one.key == self.export.key), None)
        if by_slug is not None and by_slug.key != self.export.key:
            yield f"there is a tenant {self.slug!r} with another key, {by_slug.key}: take another slug by --as"
        if by_key is not None and by_key.slug != self.slug:
            yield f"the tenant's key, {self.export.key}, is that of the tenant {by_key.slug!r} here"

    def _there(self) -> Iterator[str]:
        for one in self.loaded:
            known = one.exported.holding in ALSO_OF_OTHERS
            rows = 0 if known else self.scope.count(one.table, one.table.belongs(self.export.key))
            if rows:
                yield f"{one.table.name} has {counted(rows, 'row')} of this tenant already"

    def _differing(self) -> Iterator[str]:
        """Rows that other tenants have, too, that exist already and are not the same."""
        for one in self.loaded:
            if one.exported.holding in ALSO_OF_OTHERS and one.rows.key:
                yield from self._otherwise(one)

    def _otherwise(self, one: Loaded) -> Iterator[str]:
        rows = one.rows
        query = sql.SQL("SELECT {}, pg_catalog.count(*) OVER () FROM {} JOIN {} AS b ON {} WHERE {} LIMIT {}").format(
            key_text(rows.key, "b"), rows.rows, rows.saved, rows.same, rows.changed, sql.Literal(SHOWN)
        )
        yield from self._named(query, f"{one.table.name}: {{}} here with other values than in the export")

    def _collisions(self) -> Iterator[str]:
        """Rows of others that have a unique value of the tenant's rows."""
        for one in self.loaded:
            table = self.scope.selection.schema.tables[one.table.name]
            written = {column.name for column in one.rows.columns}
            for unique in table.uniques if one.exported.holding not in ALSO_OF_OTHERS else ():
                names = unique.columns
                if not names or unique.partial or unique.exclusion or not unique.valid or not written >= set(names):
                    continue
                if one.table.column in names:
                    continue
                rows = replace(one.rows, key=names)
                query = sql.SQL("SELECT {}, pg_catalog.count(*) OVER () FROM {} JOIN {} AS b ON {} LIMIT {}").format(
                    key_text(names, "b"), rows.rows, rows.saved, rows.same, sql.Literal(SHOWN)
                )
                called = ", ".join(map(quoted, names))
                yield from self._named(
                    query, f"{one.table.name}: {{}} with a value of {called} that another row here has"
                )

    def _named(self, query: sql.Composed, sentence: str) -> Iterator[str]:
        with self.scope.connection.transaction():
            set_stable_text_format(self.scope.connection)
            found = self.scope.connection.execute(query).fetchall()
        if found:
            shown = "; ".join(text for text, _ in found) + (" …" if found[0][1] > len(found) else "")
            yield f"{sentence.format(counted(found[0][1], 'row'))} ({shown})"

    def _unmet(self, number: int, reference: ExportedReference) -> Iterator[str]:
        """Rows to which the tenant's rows refer, and that do not exist or are not the same."""
        parent = self.scope.selection.schema.tables[reference.parent]
        columns = tuple(
            CopiedColumn(name=name, type=type)
            for name, type in zip(reference.parent_columns, reference.types, strict=True)
        )
        relation = sql.Identifier("pg_temp", f"import_reference_{number}")
        kept = as_loaded(TableCopy(table=reference.parent, columns=columns)).columns
        self._fill(relation, (*kept, CopiedColumn(name=DIGEST, type="bigint")), reference.file.name, reference)
        key = Rows(
            table=reference.parent, source=relation, only=parent.kind is Kind.TABLE, columns=columns,
            key=reference.parent_columns,
        )  # fmt: skip
        join = sql.SQL("{} AS b LEFT JOIN {} ON {}").format(relation, key.rows, key.same)
        first = sql.Identifier("t", reference.parent_columns[0])
        missing = sql.SQL("SELECT {}, pg_catalog.count(*) OVER () FROM {} WHERE {} IS NULL LIMIT {}").format(
            key_text(reference.parent_columns, "b"), join, first, sql.Literal(SHOWN)
        )
        yield from self._named(
            missing, f"{reference.child} refers to {{}} of {reference.parent} missing here"
        )  # fmt: skip
        names = compared(parent)
        differing = sql.SQL(
            "SELECT {}, pg_catalog.count(*) OVER () FROM {} WHERE {} IS NOT NULL AND b.{} IS NOT NULL"
            " AND pg_catalog.hashtextextended({}, 0) <> b.{} LIMIT {}"
        ).format(
            key_text(reference.parent_columns, "b"), join, first, sql.Identifier(DIGEST), row_text("t", names),
            sql.Identifier(DIGEST), sql.Literal(SHOWN),
        )  # fmt: skip
        yield from self._named(
            differing, f"{reference.child} refers to {{}} of {reference.parent} with other values here"
        )

    # --- after the insertion

    def _compare(self, one: Loaded) -> None:
        """Raises Failed if the result differs from what was exported: then nothing of it is kept."""
        self.scope.observer(Reading(f"comparing {one.table.name} with the export"))
        there = sql.SQL("(SELECT {} FROM {} AS t WHERE {})").format(
            selected(one.copy.columns), one.table.rows, one.table.belongs(self.export.key)
        )
        row = self.scope.connection.execute(checksum(there, one.copy.columns)).fetchone()
        if row != (one.exported.rows, one.checksum):
            found = 0 if row is None else row[0]
            raise Failed(
                f"{one.table.name} would not have what was exported: {counted(found, 'row')} of {one.exported.rows:,},"
                " or others",
                remedy="Find out what changes the tenant's rows when they are inserted, or writes to them. Nothing was"
                " changed.",
            )


def _insert(together: list[Loaded]) -> sql.Composed:
    """One statement that inserts into tables that refer to each other, so that foreign keys between them are checked
    after all have their rows. Its row has the number for each."""
    parts, counts = [], []
    for number, one in enumerate(together):
        parts.append(
            # OVERRIDING SYSTEM VALUE for identity columns that are GENERATED ALWAYS.
            sql.SQL(
                "{} AS (INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT * FROM ({}) AS m RETURNING true)"
            ).format(
                sql.Identifier(f"inserted {number}"), one.table.name.identifier, one.rows.names, one.new,
            )
        )  # fmt: skip
        counts.append(sql.SQL("(SELECT pg_catalog.count(*) FROM {})").format(sql.Identifier(f"inserted {number}")))
    return sql.SQL("WITH {} SELECT {}").format(sql.SQL(", ").join(parts), sql.SQL(", ").join(counts))
