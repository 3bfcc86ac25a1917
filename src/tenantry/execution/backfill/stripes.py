"""In how many stripes a page is filled, so that most updates are HOT and touch no index.

The first stripe's rows move to other pages. Once they have committed, the next look at the page prunes what
they left, and the rows of the following stripes find room there. The more stripes, the fewer rows move, and
the more often a page is visited (measured: of all updates 74 % are HOT with 8 stripes, 80 % with 12).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from tenantry.model.name import Name

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
