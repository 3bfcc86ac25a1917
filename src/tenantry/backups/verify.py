"""Verifying a dump: its files are compared with the manifest, it is read from end to end, and its rows are counted.

Nothing in it is executed. Restoring it would run code of its owner: checks and index expressions, functions of
materialised views, and CHECK constraints when a partition is attached; even in a scratch database that would be with
the rights of the role that verifies, which may be a superuser.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import psycopg

from tenantry.backups.content import checksum
from tenantry.backups.create import (
    Connection,
)
from tenantry.backups.dump import damage
from tenantry.backups.loading import counted, filled
from tenantry.errors import Failed
from tenantry.model.backup import Backup, TableCopy
from tenantry.model.name import JOURNAL_SCHEMA, Name
from tenantry.postgres.backups import set_stable_text_format
from tenantry.postgres.connect import Target
from tenantry.postgres.programs import Running, program


def verify_dump(target: Target, session: psycopg.Connection[Any], backup: Backup) -> str:
    """What is wrong with a dump, in one sentence; empty if its files and its rows are as recorded."""
    problem = damage(backup)
    if problem:
        return problem
    assert backup.folder is not None
    try:
        arguments = ("--file", os.devnull, backup.folder / "data")
        with Running(target, program("pg_restore", major=backup.server_version // 10000), *arguments) as reading:
            reading.wait()
        for number, table in enumerate(backup.tables):
            with session.transaction(force_rollback=True):
                rows, checksum = counted(session, filled(target, session, backup, table, number), table)
            if rows != table.rows:
                return f"{table.table} has {rows} rows, not {table.rows}"
            if checksum != table.checksum:
                return f"{table.table} has other values than when it was dumped"
    except (Failed, psycopg.DataError) as error:
        said = error.message if isinstance(error, Failed) else error.diag.message_primary
        return f"it cannot be read: {said}"
    return ""


def damage_of(connection: Connection, backup: Backup, tables: Iterable[TableCopy] | None = None) -> str:
    """What is wrong with the copies of a backup, in one sentence; empty if the rows of each are as recorded."""
    for copy in backup.tables if tables is None else tables:
        name = Name(JOURNAL_SCHEMA, copy.copy)
        try:
            with connection.transaction():
                set_stable_text_format(connection)
                found = connection.execute(checksum(name.identifier, copy.columns)).fetchone()
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
            return f"the copy of {copy.table} differs from what was made: {error.diag.message_primary}"
        if found is None or found[0] != copy.rows:
            return f"the copy of {copy.table} has {found[0] if found else 0} rows, not {copy.rows}"
        if found[1] != copy.checksum:
            return f"the copy of {copy.table} has other values than when it was copied"
    return ""
