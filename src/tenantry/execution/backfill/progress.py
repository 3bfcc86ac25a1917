"""The progress of a fill, as rows of the journal, and the number of stripes in which a page is filled."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tenantry.errors import Failed
from tenantry.model.name import Name
from tenantry.postgres.queries import read_queries

SMALLEST_UNIT = 1024
QUERIES = read_queries(Path(__file__).with_name("sql") / "fill.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRange:
    """Pages from `first` until before `past`, used by one worker at a time; those before `next` are done."""

    first: int
    past: int
    next: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """A relation's pages now, and its file: VACUUM FULL, CLUSTER and TRUNCATE change the file."""

    pages: int
    filenode: int


def regclass(relation: Name) -> str:
    """The text for to_regclass()."""
    return relation.identifier.as_string(None)


def extent(cursor: psycopg.RawCursor[Any], relation: Name) -> Extent:
    """Raises Failed if the relation is gone."""
    row = cursor.execute(QUERIES["extent"], [regclass(relation)]).fetchone()
    if row is None:
        raise Failed(f"{relation} no longer exists", remedy="run the same command again")
    return Extent(pages=row[0], filenode=row[1])


def divided(pages: int, size: int) -> list[PageRange]:
    """The entire relation in units of `size` pages, with nothing done yet."""
    return [PageRange(first=first, past=min(first + size, pages), next=first) for first in range(0, pages, size)]


def unit_size(pages: int, *, workers: int, most: int) -> int:
    """A size with which every worker has a unit, unless units would be too small for stripes."""
    return min(most, max(-(-pages // workers), SMALLEST_UNIT))


def open_units(
    cursor: psycopg.RawCursor[Any], step: str, relation: Name, *, workers: int, most: int
) -> list[PageRange]:
    """The rest of an earlier run; the entire relation if there was none, or if it was rewritten since.

    To be read after the assignment trigger exists: rows that are written to later pages get their tenant from it.
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


MOST = 12
SAMPLE_PAGES = 64
# A table of fewer pages is done in a batch or two: avoiding updates of its small indexes would take a dozen
# transactions.
FEWEST_PAGES = 8
# Below this share of HOT updates after the first stripe pruning does not work; the share is either above 80 % or near
# zero.
WORKING = 0.3
FEWEST_UPDATES = 100
TRY_AGAIN_AFTER = 8


def stripes_for(cursor: psycopg.RawCursor[Any], relation: Name, column: str, *, first: int) -> int:
    """From the pages from `first` on: a stripe has at least one of the rows of a page that have no tenant. One for a
    table of few pages."""
    query = sql.SQL(
        "SELECT count(*) FILTER (WHERE {} IS NULL), (max(ctid)::text::point)[0]::bigint + 1 - {}"
        " FROM ONLY {} WHERE ctid >= {}::tid AND ctid < {}::tid"
    ).format(
        sql.Identifier(column),
        sql.Literal(first),
        relation.identifier,
        sql.Literal(f"({first},0)"),
        sql.Literal(f"({first + SAMPLE_PAGES},0)"),
    )
    row = cursor.execute(query).fetchone()
    if row is None or row[1] is None:
        return MOST
    if first + int(row[1]) < FEWEST_PAGES:
        return 1
    return max(1, min(MOST, round(int(row[0]) / int(row[1]))))


@dataclass(slots=True, kw_only=True)
class Stripes:
    """Shared by the workers. One stripe only while pruning does not work, as when a transaction that is older than the
    updates is open; several are tried again after some units."""

    count: int
    _units: int = 0
    _futile: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self) -> int:
        """The number of stripes for the next unit."""
        with self._lock:
            self._units += 1
            return 1 if self._futile and self._units % TRY_AGAIN_AFTER else self.count

    def learn(self, *, hot: int, updates: int) -> bool:
        """Evaluates a unit's updates after its first stripe; True if they are no longer HOT."""
        if updates < FEWEST_UPDATES:
            return False
        with self._lock:
            before, self._futile = self._futile, hot < WORKING * updates
            return self._futile and not before
