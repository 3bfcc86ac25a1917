"""How far a fill has come, as rows of the journal: each commits together with the batch that it tells of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from tenantry.errors import Failed
from tenantry.model.name import Name
from tenantry.postgres.queries import read_queries

SMALLEST_UNIT = 1024
QUERIES = read_queries(Path(__file__).with_name("sql") / "fill.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRange:
    """Pages from `first` until before `past`, one worker's at a time; those before `next` are done."""

    first: int
    past: int
    next: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """A relation's pages now, and the file that they are in: VACUUM FULL, CLUSTER and TRUNCATE change it."""

    pages: int
    filenode: int


def regclass(relation: Name) -> str:
    """The text that to_regclass() reads."""
    return relation.identifier.as_string(None)


def extent(cursor: psycopg.RawCursor[Any], relation: Name) -> Extent:
    """Raises Failed where the relation is gone."""
    row = cursor.execute(QUERIES["extent"], [regclass(relation)]).fetchone()
    if row is None:
        raise Failed(f"{relation} is no longer there", remedy="run the same command again")
    return Extent(pages=row[0], filenode=row[1])


def divided(pages: int, size: int) -> list[PageRange]:
    """The whole relation in units of `size` pages, nothing done yet."""
    return [PageRange(first=first, past=min(first + size, pages), next=first) for first in range(0, pages, size)]


def unit_size(pages: int, *, workers: int, most: int) -> int:
    """Such that every worker has one, if they are not too small for the sake of the stripes."""
    return min(most, max(-(-pages // workers), SMALLEST_UNIT))


def open_units(
    cursor: psycopg.RawCursor[Any], step: str, relation: Name, *, workers: int, most: int
) -> list[PageRange]:
    """What an earlier run left to be done; the whole relation without one, or if rewritten since.

    Read after the assignment trigger exists: rows that are written to later pages have their tenant from it.
    """
    with cursor.connection.transaction():
        now = extent(cursor, relation)
        rows = cursor.execute(QUERIES["units"], [step, str(relation), now.filenode]).fetchall()
        if rows:
            return [PageRange(first=first, past=past, next=at) for first, past, at in rows if at < past]
        cursor.execute(QUERIES["forget"], [step, str(relation)])
        size = unit_size(now.pages, workers=workers, most=most)
        cursor.execute(QUERIES["divide"], [step, str(relation), now.filenode, now.pages, size])
    return divided(now.pages, size)
