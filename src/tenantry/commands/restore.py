"""restore: restores tables from a backup."""

from __future__ import annotations

import time

from tenantry.backups.create import (
    BackupRun,
    explained,
    one_of,
    refuse_incomplete,
)
from tenantry.backups.restore_plan import RestoreOptions, plan_restore, refuse_loss
from tenantry.commands.running import refuse_during_move, run
from tenantry.execution.events import Observer
from tenantry.model.backup import Restoration
from tenantry.model.wording import counted
from tenantry.postgres.backups import Backups
from tenantry.postgres.connect import Target


def restore(target: Target, id: str, options: RestoreOptions, observer: Observer | None = None) -> Restoration:
    """Restore the tables of backup `id`, in one transaction; rows that have not changed are not written.

    Raises UsageError if the backup or the table does not exist, Refused if the backup is incomplete, a table
    cannot take its rows, or, without `force`, rows written since would be lost; Failed if it got no locks. Then
    nothing has been changed.
    """
    started = time.monotonic()
    with run(target, "backups restore", purpose="restore", observer=observer) as current, explained():
        connection = current.connection
        backup = one_of(Backups(connection).all(), id)
        refuse_incomplete(backup)
        refuse_during_move(connection)
        making = BackupRun(
            target=target, connection=connection, run=current.id, options=options.backup, observer=current.observer
        )
        work = plan_restore(making, backup, options)
        tables = tuple(work.preview())
        if not options.dry_run:
            refuse_loss(tables, work.others, force=options.force)
        saved = None
        if not options.dry_run and any(table.lost or table.inserted for table in tables):
            current.begin(options=str(id))
            tables, saved = work.carry_out()
        would = "would be" if options.dry_run else "are"
        current.finish(
            f"{counted(len(tables), 'table')} restored",
            reported_outcome=f"{counted(len(tables), 'table')} {would} as in {backup.id}",
        )
        # Not left to the end of the session, which others see for a moment longer.
        connection.execute("DISCARD TEMP")
    return Restoration(
        backup=backup, tables=tables, left_out=work.left_out, saved=saved, run=current.id,
        seconds=time.monotonic() - started,
    )  # fmt: skip
