"""The tables of a dump, loaded into temporary tables of a session, to be compared and restored in the same way as
copies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import IO, Any

import psycopg
from psycopg import sql

from tenantry import private_files
from tenantry.backups.content import checksum
from tenantry.errors import Failed, Refused
from tenantry.model.backup import Backup, TableCopy
from tenantry.model.name import Name
from tenantry.postgres.backups import set_stable_text_format
from tenantry.postgres.connect import Target
from tenantry.postgres.programs import Running, program

_COPY = re.compile(rb"^COPY .* \((.*)\) FROM stdin;$")
_COLUMN = re.compile(r'"((?:[^"]|"")+)"|([^\s,"]+)')


def as_loaded(table: TableCopy) -> TableCopy:
    """The table as it is loaded: values of types that users have created as text. Reading a value of such a type may
    run code of theirs, such as the checks of a domain; as text it has the same checksum."""
    columns = tuple(replace(column, type="text") if "." in column.type else column for column in table.columns)
    return replace(table, columns=columns)


def filled(
    target: Target, session: psycopg.Connection[Any], backup: Backup, table: TableCopy, number: int
) -> sql.Composable:
    """The name of a temporary table with the dump's rows of a table. Raises Failed if pg_restore fails."""
    assert backup.folder is not None
    private_files.require_trusted(backup.folder)
    temporary = sql.Identifier("pg_temp", f"restored_{number}")
    columns = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(column.name), sql.SQL(column.type))
        for column in as_loaded(table).columns
    )
    session.execute(sql.SQL("CREATE TEMPORARY TABLE {} ({})").format(temporary, columns))
    pg_restore = program("pg_restore", major=backup.server_version // 10000)
    for leaf in table.leaves:
        arguments = ("--data-only", "--schema", leaf.schema, "--table", leaf.name, "--file=-", backup.folder / "data")
        with Running(target, pg_restore, *arguments, piped=True) as reading:
            _copy(session, temporary, reading.output, leaf)
            reading.wait()
    return temporary


def counted(session: psycopg.Connection[Any], temporary: sql.Composable, table: TableCopy) -> tuple[int, str]:
    """The number of rows of a loaded table, and their checksum."""
    with session.transaction():
        set_stable_text_format(session)
        found = session.execute(checksum(temporary, as_loaded(table).columns)).fetchone()
    assert found is not None
    return found[0], found[1]


def load(
    target: Target, session: psycopg.Connection[Any], backup: Backup, table: TableCopy, number: int
) -> sql.Composable:
    """Load a table into a temporary one and return its name. Raises Refused if it is not as in the manifest, Failed if
    pg_restore fails."""
    temporary = filled(target, session, backup, table, number)
    rows, sum = counted(session, temporary, table)
    if (rows, sum) != (table.rows, table.checksum):
        raise Refused(
            f"{table.table} in the dump differs from what was written: {rows} rows, not {table.rows}",
            remedy="Restore another backup: `tenantry backups list`.",
        )
    return temporary


def _copy(session: psycopg.Connection[Any], temporary: sql.Composable, script: IO[bytes], leaf: Name) -> None:
    """Feed the data of the script's COPY, whose columns may be in another order than the table's."""
    for line in script:
        found = _COPY.match(line.rstrip(b"\n"))
        if found is None:
            continue
        names = [quoted.replace('""', '"') or bare for quoted, bare in _COLUMN.findall(found.group(1).decode())]
        columns = sql.SQL(", ").join(map(sql.Identifier, names))
        with session.cursor().copy(sql.SQL("COPY {} ({}) FROM STDIN").format(temporary, columns)) as copy:
            for data in _data(script):
                copy.write(data)
        for _ in script:
            pass
        return
    raise Failed(f"The dump has no rows of {leaf}", remedy="Restore another backup: `tenantry backups list`.")


def _data(script: IO[bytes]) -> Iterator[bytes]:
    block: list[bytes] = []
    size = 0
    for line in script:
        if line == b"\\.\n":
            break
        block.append(line)
        size += len(line)
        if size > 1 << 18:
            yield b"".join(block)
            block, size = [], 0
    if block:
        yield b"".join(block)
