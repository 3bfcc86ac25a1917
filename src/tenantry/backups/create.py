"""Making backups: before a run changes a database, or on request."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tenantry.backups.content import source
from tenantry.backups.dump import remove, write_dump
from tenantry.backups.tables import copy_all
from tenantry.errors import Refused, TenantryError, UsageError, nearest
from tenantry.execution.events import Notice, Observer, Reading
from tenantry.execution.existing import read_entries
from tenantry.execution.preflight.server import free_bytes
from tenantry.execution.renames import current_names
from tenantry.model.backup import MAX_SIZE, Backup, BackupKind, Reason, TableCopy, copy_name
from tenantry.model.name import JOURNAL_SCHEMA, Name
from tenantry.model.schema import Kind, ManagedObjects
from tenantry.model.size import readable
from tenantry.model.spec import Spec
from tenantry.model.wording import counted
from tenantry.postgres.backups import Backups, table_bytes
from tenantry.postgres.catalog import EVERY_SCHEMA, read_schema
from tenantry.postgres.connect import Target, connect
from tenantry.postgres.journal import Entry, Journal
from tenantry.postgres.preflight import read_hidden, read_room
from tenantry.postgres.transient_errors import failed
from tenantry.steps import from_json

PARALLEL_FROM = 64 << 20
"""Size in bytes from which a second session is used."""
Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupOptions:
    """How a backup is made. Without a `kind` it is one of tables, up to `max_size` bytes. Dumps go into `folder`.
    `free_space` in bytes, if the server's disk cannot be measured; `force` goes on without a backup."""

    kind: BackupKind | None = None
    max_size: int = MAX_SIZE
    folder: Path = Path("backups")
    free_space: int | None = None
    workers: int = 2
    force: bool = False

    def of(self, spec: Spec, folder: Path | None) -> BackupOptions:
        """The options of the spec; a folder given here takes precedence."""
        return replace(self, max_size=spec.backup.max_size, folder=folder or Path(spec.backup.folder))


@dataclass(slots=True, kw_only=True)
class BackupRun:
    """A run that makes a backup with its connection, which holds the run lock and is in autocommit mode."""

    target: Target
    connection: Connection
    run: str
    options: BackupOptions
    observer: Observer

    @property
    def backups(self) -> Backups:
        return Backups(self.connection)


def ensure_backup(making: BackupRun, reason: Reason, names: Iterable[Name], *, changes: bool) -> Backup | None:
    """The automatic backup before a run starts its work; None if none is wanted or there is nothing to back up.

    The journal must be installed and the run recorded. `changes`: values of users will change, and a run without a
    backup requires `force`. A run that continues an earlier one uses the backup of that one.

    Raises Refused if a person must decide, Failed if the backup could not be made; an unfinished backup is removed
    then.
    """
    options = making.options
    if options.kind is BackupKind.NONE:
        if changes and not options.force:
            raise Refused(
                "This run changes values of users, and --backup none leaves them without a backup",
                remedy="Remove --backup none, or add --force.",
            )
        return None
    tables = sources(making.connection, names)
    if not tables:
        return None
    known = _earlier(making, reason, tables)
    if known is not None:
        making.observer(
            Notice(f"This run continues with the backup {known.id} of its first start", {"backup": known.id})
        )
        return known
    made = write_backup(making, reason, tables)
    size = f"{len(made.tables)} tables, {made.rows:,} rows, {readable(made.bytes)}"
    making.observer(Notice(f"Backup {made.id}: {size}", {"backup": made.id}))
    return made


def sources(connection: Connection, names: Iterable[Name] | None = None) -> tuple[TableCopy, ...]:
    """Those of the names that are tables now, partitions replaced by their partitioned table, with their inheritance
    children; without names, all tables of the user's."""
    entries = current_names(read_entries(Journal(connection))).entries.values()
    steps = [from_json(entry.value) for entry in entries]
    columns = {step.table: step.tenant_column for step in steps if step.tenant_column is not None}
    created = frozenset(step.makes for step in steps if step.makes is not None)
    schema = read_schema(connection, (EVERY_SCHEMA,), managed=ManagedObjects())
    found: set[Name] = set()
    for name in schema.tables if names is None else names:
        table = schema.tables.get(schema.topmost(name))
        if table is not None and table.kind is not Kind.FOREIGN:
            found |= {table.name, *(heir.name for heir in schema.heirs(table.name))}
    return tuple(source(schema, name, managed=columns, created=created) for name in sorted(found))


def owned_names(entries: Iterable[Entry]) -> frozenset[Name]:
    """Tables that have tenants, according to the journal."""
    return frozenset(step.table for step in (from_json(entry.value) for entry in entries) if step.of_owned)


def _earlier(making: BackupRun, reason: Reason, tables: Sequence[TableCopy]) -> Backup | None:
    newest = next((one for one in making.backups.all() if one.reason is reason and one.restorable), None)
    if newest is None or newest.run == making.run or not making.backups.unbroken(newest.run):
        return None
    kept = {copy.table for copy in newest.tables}
    wanted = making.options.kind or BackupKind.TABLES
    return newest if newest.kind is wanted and kept >= {table.table for table in tables if not table.ours} else None


def write_backup(making: BackupRun, reason: Reason, tables: Sequence[TableCopy]) -> Backup:
    """Make a backup of tables; the journal must be installed. Raises as `ensure_backup` does."""
    backups, options = making.backups, making.options
    backups.install()
    remove_incomplete(making)
    tables = measured(making.connection, tables)
    kind = chosen_kind(options, sum(table.bytes for table in tables))
    if kind is BackupKind.DUMP:
        tables = measured(making.connection, sources(making.connection))
    refuse_hidden(making.connection, [table.table for table in tables])
    refuse_full(making.connection, options, kind, sum(table.bytes for table in tables), making.observer)
    id = backups.name(reason)
    folder = (options.folder / id).absolute() if kind is BackupKind.DUMP else None
    taken: frozenset[str] = frozenset()
    if kind is BackupKind.TABLES:
        for number, table in enumerate(tables):
            tables[number] = replace(table, copy=copy_name(id, table.table, taken))
            taken |= {tables[number].copy}
    backups.begin(id, kind=kind, reason=reason, run=making.run, tables=tables, folder=folder)
    with explained(), _cleared(making, id):
        if folder is None:
            _copy(making, id, tables)
        else:
            _dump(making, id, folder, tables)
    return one_of(backups.all(), id)


def measured(connection: Connection, tables: Sequence[TableCopy]) -> list[TableCopy]:
    return [replace(table, bytes=table_bytes(connection, table.leaves)) for table in tables]


def _copy(making: BackupRun, id: str, tables: Sequence[TableCopy]) -> None:
    large = sum(table.bytes for table in tables) >= PARALLEL_FROM
    with ExitStack() as stack:
        sessions = [making.connection]
        for _ in range(min(making.options.workers, len(tables)) - 1 if large else 0):
            session = connect(making.target, run=making.run, purpose="backup")
            stack.callback(session.close)
            sessions.append(session)
        copy_all(
            sessions, tables, copied=_telling(making.observer),
            finish=lambda found: making.backups.finish(id, found, sum(table.bytes for table in found)),
        )  # fmt: skip


def _dump(making: BackupRun, id: str, folder: Path, tables: Sequence[TableCopy]) -> None:
    names = [table.table for table in tables]
    row = making.connection.execute(
        "SELECT coalesce(bool_or(pg_catalog.row_security_active(c.oid)), false) FROM pg_catalog.pg_class c"
        " WHERE c.oid = ANY (SELECT pg_catalog.to_regclass(n)::oid FROM pg_catalog.unnest(%s::text[]) n)",
        [[name.identifier.as_string(None) for name in names]],
    ).fetchone()
    write_dump(
        making.target, making.connection, id, folder, tables, workers=making.options.workers,
        filtered=row is not None and bool(row[0]), copied=_telling(making.observer),
        finish=lambda found, size: making.backups.finish(id, found, size),
    )  # fmt: skip


def _telling(observer: Observer) -> Callable[[TableCopy], None]:
    return lambda table: observer(Reading(f"the backup: {table.table}, {counted(table.rows, 'row')}"))


@contextmanager
def _cleared(making: BackupRun, id: str) -> Iterator[None]:
    """Removes an unfinished backup if the block fails."""
    try:
        yield
    except BaseException:
        with suppress(psycopg.Error, TenantryError):
            remove_incomplete(making)
        raise


@contextmanager
def explained() -> Iterator[None]:
    """Turns an error of the server about lack of space or time into one sentence. The unfinished backup is removed."""
    try:
        yield
    except (psycopg.errors.DiskFull, psycopg.errors.QueryCanceled) as error:
        raise failed(error, "Nothing was changed. PostgreSQL reports") from error


def chosen_kind(options: BackupOptions, size: int) -> BackupKind:
    if options.kind is None and size > options.max_size:
        raise Refused(
            f"The tables have {readable(size)}, more than the {readable(options.max_size)} that are copied by default",
            remedy="Choose --backup tables, dump or none, or raise max_size in [backup] of the spec.",
        )
    return options.kind or BackupKind.TABLES


def refuse_full(
    connection: Connection, options: BackupOptions, kind: BackupKind, size: int, observer: Observer
) -> None:
    """Raises Refused if there is no room for a backup of `size` bytes. WAL is recycled beyond max_wal_size."""
    if kind is BackupKind.DUMP:
        there = options.folder.absolute()
        while not there.exists():
            there = there.parent
        needed, free, place = size, shutil.disk_usage(there).free, str(there)
    else:
        room, known = read_room(connection), options.free_space
        found = known if known is not None else free_bytes(room, connection.info.host)
        if found is None:
            observer(Notice(f"The backup needs {readable(size)}; the server's free space is not known"))
            return
        needed, free, place = int(1.1 * size) + min(2 * size, room.wal_bytes), found, "the server"
    if free < needed:
        raise Refused(
            f"The backup needs up to {readable(needed)}, and {readable(free)} is free on {place}",
            remedy="Free space, choose another --backup, or delete old backups with `tenantry backups prune`.",
        )


def refuse_hidden(connection: Connection, names: Sequence[Name]) -> None:
    hidden = sorted(set(read_hidden(connection)) & set(names))
    if hidden:
        raise Refused(
            f"Row-level security of {hidden[0]} may hide rows from this role, and a backup would lack them",
            remedy="Connect as a role with BYPASSRLS, or as the operator of the spec.",
            details=[f"rows of {name} may be hidden" for name in hidden[1:]],
        )


def remove_incomplete(making: BackupRun) -> None:
    """Remove unfinished backups of runs that died; the caller holds the run lock."""
    for backup in making.backups.all():
        if backup.finished_at is None:
            drop(making.connection, backup)
            making.observer(Notice(f"The incomplete backup {backup.id} was removed", {"backup": backup.id}))


def drop(connection: Connection, backup: Backup) -> None:
    """Remove a backup: copies and list entry in one transaction, a dump's folder before."""
    remove(backup)
    with connection.transaction():
        for copy in backup.tables:
            if copy.copy:
                name = Name(JOURNAL_SCHEMA, copy.copy)
                connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(name.identifier))
        Backups(connection).forget(backup.id)


def one_of(backups: Iterable[Backup], id: str) -> Backup:
    """The backup with that id. Raises UsageError if there is none."""
    known = {backup.id: backup for backup in backups}
    if id not in known:
        raise UsageError(f"the backup {id!r} does not exist{nearest(id, known)}", remedy="See `tenantry backups list`.")
    return known[id]


def refuse_incomplete(backup: Backup) -> None:
    """Raises Refused for a backup that is incomplete because its run did not finish."""
    if backup.finished_at is None:
        raise Refused(
            f"The backup {backup.id} is incomplete: the run that made it did not finish",
            remedy="Choose another one: `tenantry backups list`. `tenantry backups prune` removes it.",
        )
