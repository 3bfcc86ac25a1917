"""Whether a transaction has written rows that have no image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tenantry.checks.fixes.plan import FIXED_ROWS, image_of
from tenantry.checks.scan import leaves
from tenantry.model.name import Name
from tenantry.model.schema import Schema
from tenantry.postgres.queries import read_queries

_QUERIES = read_queries(Path(__file__).with_name("sql") / "fixing.sql")


@dataclass(frozen=True, slots=True)
class WrittenRows:
    """The number of rows that a session has written, by table, as the server counts them; empty if it does not
    count."""

    rows: Mapping[Name, int]

    @classmethod
    def by(cls, cursor: psycopg.RawCursor[Any]) -> WrittenRows:
        return cls({Name(schema, table): rows for schema, table, rows in cursor.execute(_QUERIES["written"]) if rows})


def unforeseen(
    cursor: psycopg.RawCursor[Any], schema: Schema, before: WrittenRows, fixes: Mapping[Name, Sequence[int]]
) -> list[Name]:
    """The user's tables with rows that this transaction has written since `before`, and that have no image.

    Usually the counts suffice. Where more was written than images have changed (one row twice, or a row that moved to
    another partition), the table is scanned.
    """
    written = {
        name: rows - before.rows.get(name, 0)
        for name, rows in WrittenRows.by(cursor).rows.items()
        if rows > before.rows.get(name, 0) and name in schema.tables
    }
    tables = {leaf.name: table for table in fixes for leaf in leaves(schema, table)}
    found = [name for name in written if name not in tables]
    for table, numbers in fixes.items():
        rows = sum(written.get(leaf.name, 0) for leaf in leaves(schema, table))
        if rows and _more(cursor, schema, table, numbers, rows):
            found.append(table)
    return found


def _more(cursor: psycopg.RawCursor[Any], schema: Schema, table: Name, fixes: Sequence[int], rows: int) -> bool:
    image = image_of(schema, table)
    mine = sql.SQL("i.fix = ANY ($1::bigint[]) AND i.xmin = pg_catalog.pg_current_xact_id()::pg_catalog.xid")
    count = sql.SQL("SELECT pg_catalog.count(DISTINCT i.key) FROM {} AS i WHERE {} AND i.after IS NOT NULL").format(
        FIXED_ROWS.identifier, mine
    )
    (known,) = cursor.execute(count, [list(fixes)]).fetchone() or (0,)
    if rows <= known:
        return False
    query = sql.SQL(
        "SELECT EXISTS (SELECT FROM {} AS t WHERE t.xmin = pg_catalog.pg_current_xact_id()::pg_catalog.xid"
        " AND NOT EXISTS (SELECT FROM {} AS i WHERE {} AND {}))"
    ).format(image.target, FIXED_ROWS.identifier, mine, image.match)
    row = cursor.execute(query, [list(fixes)]).fetchone()
    return bool(row is not None and row[0])
