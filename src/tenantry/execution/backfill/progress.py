"""How far a fill has come, as rows of the journal, and in how many stripes a page is filled."""

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
        raise Failed(f"{relation} no longer exists", remedy="run the same command again")
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


MOST = 12
SAMPLE_PAGES = 64
# A table of fewer pages is over in a batch or two: to keep its small indexes would take a dozen transactions.
FEWEST_PAGES = 8
# Below this share of HOT updates after the first stripe nothing is pruned; they are 80 % or next to none.
WORKING = 0.3
FEWEST_UPDATES = 100
TRY_AGAIN_AFTER = 8


def stripes_for(cursor: psycopg.RawCursor[Any], relation: Name, column: str, *, first: int) -> int:
    """From the pages behind `first`: a stripe has at least one of the rows of a page that have no tenant. One for a
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
    """Shared by the workers. One stripe only while pruning does not work, as when a transaction that is older
    than our updates is open; tried again after some units."""

    count: int
    _units: int = 0
    _futile: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self) -> int:
        """For the next unit."""
        with self._lock:
            self._units += 1
            return 1 if self._futile and self._units % TRY_AGAIN_AFTER else self.count

    def learn(self, *, hot: int, updates: int) -> bool:
        """From a unit's updates after its first stripe; True where they turn out not to be HOT any more."""
        if updates < FEWEST_UPDATES:
            return False
        with self._lock:
            before, self._futile = self._futile, hot < WORKING * updates
            return self._futile and not before
