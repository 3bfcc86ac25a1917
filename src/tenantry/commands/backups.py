"""backups: create, list, verify, prune."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tenantry.backups.create import (
    BackupOptions,
    BackupRun,
    Connection,
    drop,
    explained,
    one_of,
    refuse_incomplete,
    sources,
    write_backup,
)
from tenantry.backups.estimate import BackupEstimate, estimate_backup
from tenantry.backups.verify import damage_of, verify_dump
from tenantry.commands.running import run
from tenantry.errors import Refused, UsageError, nearest
from tenantry.execution.events import Observer, Reading, ignore
from tenantry.execution.session import Session, open_session
from tenantry.model.backup import Backup, Reason, TableCopy
from tenantry.model.name import Name
from tenantry.model.spec import Spec
from tenantry.postgres.backups import Backups
from tenantry.postgres.connect import Target
from tenantry.postgres.journal import Journal
from tenantry.postgres.locks import hold_run_lock, run_lock_held


def create_backup(
    target: Target, spec: Spec, options: BackupOptions, *, tables: Sequence[str] = (), observer: Observer | None = None
) -> Backup:
    """Back up the spec's owned tables and tenant table, or `tables`, named as in SQL.

    Raises UsageError for a table that does not exist, Refused and Failed as `ensure_backup` does.
    """
    with run(target, "backups create", purpose="backup", observer=observer) as current:
        connection = current.connection
        chosen = _chosen(connection, Session.begin(target, connection, spec), tables)
        if not chosen:
            raise Refused("There is no table to back up", remedy="Choose tables with --table.")
        current.journal.install()
        current.begin()
        making = BackupRun(
            target=target, connection=connection, run=current.id, options=options, observer=current.observer
        )  # fmt: skip
        made = write_backup(making, Reason.MANUAL, chosen)
        current.finish(
            f"backup {made.id}", f"`tenantry backups verify {made.id}` compares it with what was read.",
            reported_outcome=f"backup {made.id} was made",
        )  # fmt: skip
    return made


def preview_backup(
    target: Target, spec: Spec, options: BackupOptions, *, tables: Sequence[str] = ()
) -> BackupEstimate | None:
    """The backup that `create_backup` would make; None if there is no table to back up. Raises as it does."""
    with open_session(target, purpose="plan") as connection:
        chosen = _chosen(connection, Session.begin(target, connection, spec), tables)
        return estimate_backup(connection, [copy.table for copy in chosen], options)


def _chosen(connection: Connection, session: Session, tables: Sequence[str]) -> tuple[TableCopy, ...]:
    if not tables:
        ownership = session.plan.ownership
        return sources(connection, [ownership.tenant.name, *(owned.table for owned in ownership.owned)])
    names = [Name.parse(table, schema=session.spec.schemas[0]) for table in tables]
    there = {found.table: found for found in sources(connection, names)}
    for name in names:
        if name not in there:
            known = [str(table) for table in session.schema.tables]
            raise UsageError(f"the table {name} does not exist, or is a partition{nearest(str(name), known)}")
    return tuple(there.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedBackup:
    """A backup and its state: complete, running, incomplete, damaged (as verified), or missing (a dump's folder)."""

    backup: Backup
    state: str


def list_backups(target: Target) -> tuple[ListedBackup, ...]:
    """All backups, the newest first. Changes nothing."""
    with open_session(target, purpose="backups") as connection:
        Journal(connection).installed  # noqa: B018 - refuses where the journal may not be read
        # Checked before the list is read: a backup that ends in between is complete in it.
        running = run_lock_held(connection)
        return tuple(ListedBackup(backup=backup, state=_state(backup, running)) for backup in Backups(connection).all())


def _state(backup: Backup, running: bool) -> str:
    if backup.finished_at is None:
        return "running" if running else "incomplete"
    if backup.problem:
        return "damaged"
    return "missing" if backup.folder is not None and not backup.folder.exists() else "complete"


def verify_backups(target: Target, ids: Sequence[str] = (), observer: Observer | None = None) -> tuple[Backup, ...]:
    """Compare backups with what was counted when they were made, and record the result; without `ids` the newest
    complete one. A dump is read, and nothing in it is executed. Raises Refused for an incomplete one, or if there is
    none."""
    with run(target, "backups verify", purpose="verify", observer=observer, locks=False) as current:
        connection, backups = current.connection, Backups(current.connection)
        there = backups.all()
        chosen = [one_of(there, id) for id in ids] or [one for one in there if one.finished_at is not None][:1]
        if not chosen:
            raise Refused("There is no backup to verify", remedy="Make one with `tenantry backups create`.")
        for backup in chosen:
            refuse_incomplete(backup)
            current.observer(Reading(f"the backup {backup.id}"))
            with explained():
                problem = verify_dump(target, connection, backup) if backup.folder else damage_of(connection, backup)
            backups.verified(backup.id, problem)
        found = tuple(one_of(backups.all(), backup.id) for backup in chosen)
        damaged = [f"{backup.id}: {backup.problem}" for backup in found if not backup.restorable]
        current.finish("; ".join(damaged) or f"{len(found)} verified", "Make a new backup." if damaged else "")
    return found


def prune_backups(
    target: Target, *, keep: int | None = None, older_than: timedelta | None = None, dry_run: bool = False,
    observer: Observer | None = None,
) -> tuple[Backup, ...]:  # fmt: skip
    """Remove incomplete backups, and those that are neither among the `keep` newest nor younger than `older_than`; with
    neither, incomplete ones only. Returns what was (in a dry run: would be) removed, the newest first."""
    observer = observer or ignore
    with open_session(target, purpose="prune") as connection, hold_run_lock(connection, target):
        there = Backups(connection).all()
        whole = [backup for backup in there if backup.finished_at is not None]
        chosen = {backup.id for backup in there if backup.finished_at is None}
        if keep is not None or older_than is not None:
            youngest = datetime.now(UTC) - (older_than or timedelta())
            chosen |= {backup.id for backup in whole[keep or 0 :] if backup.started_at <= youngest}
        gone = tuple(backup for backup in there if backup.id in chosen)
        for backup in () if dry_run else gone:
            observer(Reading(f"the backup {backup.id}"))
            drop(connection, backup)
        return gone
