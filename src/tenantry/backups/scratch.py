"""Verifying a dump: it is restored into a scratch database, which is compared with the manifest and dropped."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tenantry.backups.content import checksum, rows_of
from tenantry.backups.dump import damage
from tenantry.errors import Failed, Refused
from tenantry.model.backup import Backup
from tenantry.postgres.backups import steady
from tenantry.postgres.connect import Target, connect, read_server
from tenantry.postgres.programs import Running, database_of, program

WORKERS = 2
NEWER = ('parameter "transaction_timeout"',)
"""What pg_restore sets since 17 whatever the server, and an older one does not know; nothing depends on it."""


def verify_dump(target: Target, session: psycopg.Connection[Any], backup: Backup) -> str:
    """What is wrong with a dump, in one sentence; empty where its files and its rows are what they were.

    Raises Refused where our role may make no database.
    """
    problem = damage(backup)
    if problem:
        return problem
    name = "tenantry_verify_" + hashlib.sha256(f"{session.info.dbname} {backup.id}".encode()).hexdigest()[:16]
    pg_restore = program("pg_restore", major=backup.server_version // 10000)
    _drop(session, name)
    _create(session, name)
    try:
        # Several workers go by dependencies alone, and enforce row security while keys are yet to be proved, which
        # a role that does not bypass it cannot do then.
        workers = WORKERS if read_server(session).bypasses else 1
        return _compare(database_of(target, name), pg_restore, backup, workers)
    finally:
        _drop(session, name)


def _create(session: psycopg.Connection[Any], name: str) -> None:
    row = session.execute(
        "SELECT pg_catalog.pg_encoding_to_char(encoding), datcollate::text, datctype::text"
        " FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()"
    ).fetchone()
    assert row is not None
    try:
        session.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING {} LC_COLLATE {} LC_CTYPE {}").format(
                sql.Identifier(name), *map(sql.Literal, row)
            )
        )
    except psycopg.errors.InsufficientPrivilege as error:
        raise Refused(
            "Verifying a dump takes a scratch database, and this role may not create one",
            remedy="ALTER ROLE … CREATEDB, or verify as a role that may.",
        ) from error


def _drop(session: psycopg.Connection[Any], name: str) -> None:
    session.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _compare(scratch: Target, pg_restore: Path, backup: Backup, workers: int) -> str:
    assert backup.folder is not None
    arguments = (
        f"--jobs={workers}", "--no-owner", "--no-privileges", "--no-publications",
        "--no-subscriptions", "--dbname", "{database}", backup.folder / "data",
    )  # fmt: skip
    try:
        with Running(scratch, pg_restore, *arguments) as restoring:
            restoring.wait()
    except Failed as error:
        said = [line.partition("error: ")[2] for line in error.details if "error: " in line]
        problems = [line for line in said if not any(unknown in line for unknown in NEWER)]
        if problems or not said:
            return f"it cannot be restored: {next(iter(problems), error.message)}"
    with connect(scratch, purpose="verify") as connection:
        for table in backup.tables:
            with connection.transaction():
                steady(connection)
                found = connection.execute(checksum(rows_of(table), table.columns)).fetchone()
            if found is None or found[0] != table.rows:
                return f"{table.table} has {found[0] if found else 0} rows, not {table.rows}"
            if found[1] != table.checksum:
                return f"{table.table} has other values than were dumped"
    return ""
