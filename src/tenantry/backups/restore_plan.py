"""The plan of a restore, and its execution in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import psycopg
from psycopg import sql

from tenantry.backups.column_mapping import Fit, fit, parents_first, reached
from tenantry.backups.content import source
from tenantry.backups.create import (
    BackupOptions,
    BackupRun,
    chosen_kind,
    measured,
    refuse_full,
    refuse_hidden,
)
from tenantry.backups.loading import as_loaded, load
from tenantry.backups.restore import RestoredTable as Rows
from tenantry.backups.restore import advance, restore_statement
from tenantry.backups.tables import copy_one
from tenantry.backups.tenants import SavedTable, with_tenants
from tenantry.backups.triggers import disable_triggers, enable_triggers
from tenantry.backups.verify import damage_of
from tenantry.errors import Refused, UsageError, nearest
from tenantry.execution.events import Reading
from tenantry.execution.existing import read_entries
from tenantry.execution.renames import current_names
from tenantry.execution.transaction import LockPolicy, run_in_transaction
from tenantry.model.backup import Backup, BackupKind, Reason, TableCopy, TableRestored, copy_name
from tenantry.model.name import JOURNAL_SCHEMA, Name, quoted
from tenantry.model.plan import Lock, LockMode, Statement
from tenantry.model.schema import ManagedObjects, Schema
from tenantry.model.wording import counted
from tenantry.postgres.backups import Backups, firing, set_stable_text_format
from tenantry.postgres.catalog import EVERY_SCHEMA, read_schema
from tenantry.postgres.journal import Journal
from tenantry.steps import from_json
from tenantry.steps.introspection import with_search_path


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOptions:
    """`tables`, named as in SQL, or all of the backup; `force` accepts the loss of rows written since. The backup of
    the present state is one of tables, or none with `force`. Lock times in seconds."""

    tables: tuple[str, ...] = ()
    force: bool = False
    dry_run: bool = False
    backup: BackupOptions = field(default_factory=BackupOptions)
    lock_timeout: float = 2.0
    lock_budget: float = 600.0


def refuse_loss(tables: Sequence[TableRestored], others: Sequence[Name], *, force: bool) -> None:
    """Raises Refused if rows written since the backup would be lost and `force` was not given."""
    losing_rows = [table for table in tables if table.lost]
    if not losing_rows or force:
        return
    lost = sum(table.lost for table in losing_rows)
    deleted = any(table.deleted for table in losing_rows)
    places = str(losing_rows[0].table) if len(losing_rows) == 1 else f"{len(losing_rows)} tables"
    raise Refused(
        f"Rows were written since this backup and would be lost: {lost:,} in {places}",
        remedy="Restore single tables with --table, or delete these rows with --force; the current state is"
        " backed up first.",
        details=[
            *(f"{table.table}: {table.deleted:,} added, {table.updated:,} changed" for table in losing_rows),
            *(f"{other}: rows with a foreign key to deleted ones" for other in others if deleted),
        ],
    )


@dataclass(slots=True, kw_only=True)
class RestorePlan:
    """A restore that has been planned and has changed nothing yet. `others` are tables besides those restored whose
    rows foreign keys may delete or change."""

    making: BackupRun
    options: RestoreOptions
    schema: Schema
    fits: tuple[Fit, ...]
    others: tuple[Name, ...]
    left_out: tuple[str, ...]

    def preview(self) -> Iterator[TableRestored]:
        for one in self.fits:
            self.making.observer(Reading(f"what differs in {one.target.table}"))
            with self.making.connection.transaction():
                set_stable_text_format(self.making.connection)
                self._refuse_unsettable(one.target)
                row = self.making.connection.execute(one.target.counts()).fetchone()
            assert row is not None
            yield TableRestored(table=one.target.table, deleted=row[0], updated=row[1], inserted=row[2])

    def carry_out(self) -> tuple[tuple[TableRestored, ...], str | None]:
        """Run the restore in one transaction that includes the backup of the present state, so that nothing can change
        in between."""
        connection, found, saved = self.making.connection, list[TableRestored](), list[str]()
        trees = [part.name for one in self.fits for part in self.schema.tree(one.target.table)]
        silenced = [fires for name in trees for fires in firing(connection, name)]

        def prepare() -> None:
            # The locks are held: from here on no time limit applies.
            connection.execute("SET LOCAL statement_timeout = 0")
            set_stable_text_format(connection)
            saved[:] = self._saved()

        def finish() -> None:
            found[:] = self._put_right()
            for statement in enable_triggers(silenced):
                connection.execute(sql.Composed([statement.sql]))

        ahead = [_lock(name) for name in (*trees, *self.others)]
        patience = LockPolicy(timeout=self.options.lock_timeout, budget=self.options.lock_budget)
        self.making.observer(Reading("the tables, which are locked meanwhile"))
        try:
            run_in_transaction(
                connection, [*ahead, *disable_triggers(silenced)], patience=patience, prepare=prepare, finish=finish
            )
        except (psycopg.IntegrityError, psycopg.DataError) as error:
            raise Refused(
                f"The database refuses the rows: {error.diag.message_primary}",
                remedy="Restore tables that refer to each other together, with --table for each, or restore all."
                " Nothing was changed.",
                details=[error.diag.message_detail or ""],
            ) from error
        return tuple(found), next(iter(saved), None)

    def present(self) -> tuple[TableCopy, ...]:
        """The tables whose rows may change, with their present contents."""
        ours = {one.copy.table: column.name for one in self.fits for column in one.copy.columns if column.ours}
        names = (*(one.target.table for one in self.fits), *self.others)
        return tuple(source(self.schema, name, managed=ours, created=frozenset()) for name in names)

    def _saved(self) -> list[str]:
        if self.options.backup.kind is BackupKind.NONE:
            return []
        backups, taken, named = self.making.backups, frozenset[str](), list[TableCopy]()
        id = backups.name(Reason.RESTORE)
        for table in self.present():
            named.append(replace(table, copy=copy_name(id, table.table, taken)))
            taken |= {named[-1].copy}
        backups.begin(id, kind=BackupKind.TABLES, reason=Reason.RESTORE, run=self.making.run, tables=named, folder=None)
        made = [copy_one(self.making.connection, table) for table in named]
        backups.finish(id, made, sum(table.bytes for table in made))
        return [id]

    def _refuse_unsettable(self, target: Rows) -> None:
        """Raises Refused if rows have another identity now, which cannot be set."""
        row = self.making.connection.execute(target.unsettable()).fetchone() if target.generated else None
        if row is not None and row[0]:
            column = target.generated[0]
            raise Refused(
                f"{counted(row[0], 'row')} of {target.table} with another {column} now, which is GENERATED ALWAYS, and"
                " replacing rows would fire a foreign key's action",
                remedy=f"ALTER TABLE {target.table} ALTER {quoted(column)} SET GENERATED BY DEFAULT, restore, then SET"
                " GENERATED ALWAYS.",
            )

    def _put_right(self) -> list[TableRestored]:
        connection = self.making.connection
        # For checks, generated columns and index expressions.
        connection.execute(sql.SQL("SELECT {}").format(with_search_path(self.schema.search_path)))
        for one in self.fits:
            self._refuse_unsettable(one.target)
        row = connection.execute(restore_statement([one.target for one in self.fits])).fetchone()
        assert row is not None
        # Deferred constraints are checked now, and not at COMMIT, where a violation could not be explained.
        connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        found = [
            TableRestored(table=one.target.table, deleted=deleted, updated=updated, inserted=inserted)
            for one, (deleted, updated, inserted) in zip(self.fits, row, strict=True)
        ]
        refuse_loss(found, self.others, force=self.options.force)
        for query in advance([value for one in self.fits for value in one.copy.sequences]):
            connection.execute(query)
        return found


def _lock(name: Name) -> Statement:
    return Statement(
        sql=sql.SQL("LOCK TABLE ONLY {} IN SHARE ROW EXCLUSIVE MODE").format(name.identifier),
        locks=(Lock(name, LockMode.SHARE_ROW_EXCLUSIVE),),
    )


def plan_restore(making: BackupRun, backup: Backup, options: RestoreOptions) -> RestorePlan:
    """Plan a restore, after loading the backup's rows and checking that they are those that were written. Raises
    Refused."""
    connection = making.connection
    copies = _selected_copies(backup, options.tables)
    making.observer(Reading(f"the backup {backup.id}"))
    problem = backup.problem if backup.folder is not None else damage_of(connection, backup, copies)
    if problem:
        Backups(connection).verified(backup.id, problem)
        raise Refused(
            f"The backup {backup.id} is damaged: {problem}", remedy="Choose another one: `tenantry backups list`."
        )
    schema = read_schema(connection, (EVERY_SCHEMA,), managed=ManagedObjects())
    entries = current_names(read_entries(Journal(connection))).entries
    steps = [from_json(entry.value) for entry in entries.values()]
    fits: list[Fit] = []
    left_out: list[str] = []
    for saved in with_tenants(connection, schema, steps, tuple(_at_hand(making, backup, copies, schema))):
        found = fit(schema, saved.copy, saved.relation, force=options.force)
        if isinstance(found, Fit):
            fits.append(found)
            left_out += found.left_out
        else:
            left_out.append(found)
    names = [one.target.table for one in fits]
    work = RestorePlan(
        making=making, options=options, schema=schema, fits=parents_first(schema, fits, steps),
        left_out=tuple(left_out), others=reached(schema, names),
    )  # fmt: skip
    refuse_hidden(connection, names)
    _refuse_unsaved(work)
    return work


def _at_hand(making: BackupRun, backup: Backup, copies: Iterable[TableCopy], schema: Schema) -> Iterator[SavedTable]:
    """The tables with the relations that hold their rows; those of a dump are loaded."""
    for number, copy in enumerate(copies):
        relation: sql.Composable = Name(JOURNAL_SCHEMA, copy.copy).identifier
        if backup.folder is not None and copy.table in schema.tables:
            making.observer(Reading(f"{copy.table} in the dump"))
            relation, copy = load(making.target, making.connection, backup, copy, number), as_loaded(copy)
        if copy.table in schema.tables:
            # So that the planner knows how many rows there are.
            making.connection.execute(sql.SQL("ANALYZE {}").format(relation))
        yield SavedTable(copy=copy, relation=relation)


def _selected_copies(backup: Backup, tables: Sequence[str]) -> tuple[TableCopy, ...]:
    """The backup's tables with these names, or all. Raises UsageError."""
    if not tables:
        return backup.tables
    known = {copy.table: copy for copy in backup.tables}
    found = {}
    for name in (Name.parse(text, schema="public") for text in tables):
        if name not in known:
            raise UsageError(f"the backup {backup.id} has no table {name}{nearest(str(name), map(str, known))}")
        found[name] = known[name]
    return tuple(found.values())


def _refuse_unsaved(work: RestorePlan) -> None:
    """Raises Refused if the present state cannot be backed up, or is not to be."""
    making, options = work.making, work.options
    if options.dry_run:
        return
    if options.backup.kind is BackupKind.NONE:
        if not options.force:
            raise Refused(
                "This run changes values of users, and --backup none leaves them without a backup",
                remedy="Remove --backup none, or add --force.",
            )
        return
    size = sum(table.bytes for table in measured(making.connection, work.present()))
    refuse_full(making.connection, options.backup, chosen_kind(options.backup, size), size, making.observer)
