"""What a fill asks and tries on a session of its own, between its passes: what is left, and why it is."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg
from psycopg import sql

from tenantry.errors import Failed
from tenantry.execution.backfill.batch import AGAIN, TRANSIENT_ERRORS, Worker, failure, interrupted
from tenantry.execution.backfill.obstacle import locked, names_of_holders, refuse_guarded
from tenantry.model.name import Name
from tenantry.steps.fill import RelationFill


@dataclass(slots=True, kw_only=True)
class Probe:
    """`step` is the fill's key. All methods raise Failed where the server fails, and Interrupted once `stop` is set."""

    control: Worker
    step: str
    stop: threading.Event
    filled: Counter[Name]
    """The fill's rows by relation, those included that are filled here."""

    def ask(self, relation: Name, query: sql.Composed | bytes) -> Any:
        """The first value of a query; `relation` is what it is about."""

        def once() -> Any:
            with self.control.connection.transaction():
                self.control.begin()
                row = self.control.cursor.execute(query, prepare=False).fetchone()
                return None if row is None else row[0]

        return self.guarded(once, relation)

    def guarded(self, action: Callable[[], Any], relation: Name) -> Any:
        """`action`, tried again after what passes."""
        if self.stop.is_set():
            raise interrupted()
        try:
            return self.control.patiently(action)
        except TRANSIENT_ERRORS as error:
            raise locked(self.control, relation, error) from error
        except psycopg.Error as error:
            raise failure(relation, error, self.control.connection) from error

    def advances(self, relation_fill: RelationFill, since: str | None) -> bool:
        """Fill a page that has a row which nobody holds, if there is one. Raises Failed if no row changes."""

        def once() -> bool:
            with self.control.connection.transaction():
                rows = self._page(relation_fill, since)
                if rows == 0:
                    refuse_guarded(self.control, relation_fill)
            self.filled[relation_fill.relation] += rows or 0
            return rows is not None

        return bool(self.guarded(once, relation_fill.relation))

    def refuse_taken_back(self, left: Sequence[RelationFill], since: str | None) -> None:
        """Raises Failed where a trigger takes back what we change in rows that nobody holds. It is tried three times: a
        row may have moved between its change and the look at it."""

        def taken_back(relation_fill: RelationFill) -> bool:
            with self.control.connection.transaction():
                changed = self._page(relation_fill, since)
                row = self.control.cursor.execute(relation_fill.undone()).fetchone() if changed else None
            self.filled[relation_fill.relation] += changed or 0
            return changed == 0 or (row is not None and bool(row[0]))

        for one in left:
            if all(self.guarded(partial(taken_back, one), one.relation) for _ in range(3)):
                self.guarded(partial(refuse_guarded, self.control, one), one.relation)

    def held(self, left: Sequence[RelationFill], since: str, waited: float, worker: Worker) -> Failed:
        """Rows that others have held for `waited` seconds; `worker` waits for one of them, to learn whose it is."""
        names = [name for one in left for name in names_of_holders(self.control, worker, one)]
        count = sum(int(self.ask(one.relation, one.count(since))) for one in left)
        return Failed(
            f"{count} rows of {', '.join(str(one.relation) for one in left)} were held by others"
            f" for {waited:.0f} s" + (f": {'; '.join(names)}" if names else ""),
            remedy=f"wait until those transactions end, or end them, then {AGAIN}",
            details=names,
        )

    def _page(self, relation_fill: RelationFill, since: str | None) -> int | None:
        """Fill the page of a row that nobody holds; how many rows that changed, None where there is no such row."""
        cursor = self.control.cursor
        self.control.begin()
        row = cursor.execute(relation_fill.free(since)).fetchone()
        if row is None:
            return None
        page = int(row[0].strip("()").split(",")[0])
        statement = sql.Composed([relation_fill.batch(self.step).sql])
        cursor.execute(statement, [f"({page},0)", f"({page + 1},0)", 1, 0])
        return cursor.rowcount
