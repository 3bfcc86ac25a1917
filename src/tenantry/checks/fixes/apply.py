"""Applies repairs: in batches, with row locks, and with an image of every row in the same transaction."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import psycopg
from psycopg import errors, sql
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_exponential_jitter
from tenacity.nap import sleep_using_event

from tenantry.checks.base import CheckContext
from tenantry.checks.business import search_path
from tenantry.checks.fixes.cascades import Carried, UntrackedChangeError, carried, completed, unchanged_images
from tenantry.checks.fixes.plan import Repair, noted
from tenantry.checks.fixes.touched import WrittenRows, unforeseen
from tenantry.errors import Interrupted
from tenantry.execution.backfill.workers import TRANSIENT_ERRORS
from tenantry.execution.preflight.sql_statements import acts
from tenantry.model.name import Name
from tenantry.postgres.fixes import FixJournal
from tenantry.postgres.owner_context import raw_cursor
from tenantry.steps.fill import FILLING_NOW

ROWS = 1000
"""The largest number of rows that one transaction corrects."""
PAGES = 1024
"""The number of pages in which one statement looks for them."""
REFUSALS = 20
"""The number of rows whose correction the database may refuse before a repair is given up."""
REFUSED_ROW = (psycopg.IntegrityError, psycopg.DataError, psycopg.ProgrammingError, psycopg.NotSupportedError,
               psycopg.InternalError, errors.RaiseException)  # fmt: skip

Result = TypeVar("Result")


class IneffectiveFixError(Exception):
    """A row violates its check after the correction, too."""


class UnforeseenError(Exception):
    """Rows without an image were changed: those of `tables`."""


@dataclass(slots=True, kw_only=True)
class Repaired:
    """The result of a repair: rows corrected, `left` still wrong, and why some were refused."""

    repair: Repair
    fixed: int = 0
    left: int = 0
    refusals: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True, kw_only=True)
class Fixer:
    """Applies repairs over one connection, which holds the run lock.

    `timeout` and `patience` in seconds: how long to wait for a lock, and how long to come back for rows that other
    sessions have locked. `force` allows triggers of the user's whose effects an undo could not revert.
    """

    context: CheckContext
    connection: psycopg.Connection[Any]
    run: str
    timeout: float = 2.0
    patience: float = 20.0
    force: bool = False
    rows: int = ROWS
    stop: threading.Event = field(default_factory=threading.Event)
    tell: Callable[[Name, int], None] = lambda table, rows: None

    def make(self, repair: Repair) -> Repaired:
        """Correct all rows that can be corrected. Raises Interrupted after a stop: corrected rows stay, with their
        images."""
        done = Repaired(repair=repair)
        problem = self.problem(repair)
        if problem is not None:
            done.refusals[problem] += 1
            done.left = self.count(repair)
            return done
        journal = FixJournal(self.connection)
        along = carried(self.context, journal, repair)
        noted = [(repair.name, repair.table, repair.image, repair.why)]
        noted += [(f"{repair.name}, cascaded", one.table, one.image, one.why) for one in along]
        fixes = [
            journal.add(run=self.run, name=name, table=table, keys=image.keys, filling=repair.filling, why=why)
            for name, table, image, why in noted
        ]
        try:
            _Batches(
                fixer=self, repair=repair, fix=fixes[0], carried=tuple(zip(fixes[1:], along, strict=True)), done=done
            ).all()
        finally:
            if not (self.connection.closed or self.connection.broken):
                for fix in fixes:
                    journal.forget_empty(fix)
        return done

    def problem(self, repair: Repair) -> str | None:
        """Why the repair is not safe: an undo could not revert it."""
        if not repair.image.keys:
            return "the table has no primary key, so an undo could not find the rows again"
        try:
            carried(self.context, FixJournal(self.connection), repair)
        except UntrackedChangeError as table:
            return f"rows of {table} would change too; it has no primary key, so an undo could not find them again"
        for name in () if self.force else dict.fromkeys((repair.table, *repair.relations)):
            known = self.context.schema.tables.get(name)
            for trigger in known.triggers if known is not None else ():
                if trigger.enabled == "D" or "UPDATE" not in trigger.events:
                    continue
                if not trigger.before or acts(trigger.source, row=trigger.row) is not None:
                    effects = "may change more than its own row"
                    return f"the trigger {trigger.name} on {name} would fire, and {effects} (allow it with --force)"
        return None

    def count(self, repair: Repair) -> int:
        """The number of rows that are still to be repaired."""
        with self.transaction(repair) as cursor:
            row = cursor.execute(repair.count()).fetchone()
        return int(row[0]) if row is not None else 0

    @contextmanager
    def transaction(self, repair: Repair) -> Iterator[psycopg.RawCursor[Any]]:
        """A transaction with the settings of a repair: the application's search path, for its triggers, and constraints
        deferred until all rows are corrected."""
        with self.connection.transaction():
            cursor = raw_cursor(self.connection)
            cursor.execute(search_path(self.context.spec.schemas))
            cursor.execute("SELECT pg_catalog.set_config('lock_timeout', $1, true)", [f"{self.timeout * 1000:.0f}ms"])
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")
            if repair.filling:
                cursor.execute(FILLING_NOW)
            yield cursor

    def patiently(self, action: Callable[[], Result]) -> Result:
        """Try again after a deadlock or a lock timeout, with growing pauses. Raises Interrupted."""

        def halt(_: RetryCallState) -> None:
            self.halt()

        retrying = Retrying(
            retry=retry_if_exception_type(TRANSIENT_ERRORS), stop=stop_after_delay(self.patience), reraise=True,
            wait=wait_exponential_jitter(multiplier=0.05, max=2.0, jitter=0.1), sleep=sleep_using_event(self.stop),
            before_sleep=halt,
        )  # fmt: skip
        return retrying(action)

    def halt(self) -> None:
        """Raises Interrupted if a stop was asked for."""
        if self.stop.is_set():
            raise Interrupted(
                "Stopped between two batches",
                remedy="Run the same command again: it corrects the remaining rows.",
            )


@dataclass(slots=True, kw_only=True)
class _Batches:
    """The batches of one repair."""

    fixer: Fixer
    repair: Repair
    fix: int
    carried: tuple[tuple[int, Carried], ...]
    done: Repaired

    def all(self) -> None:
        """Pass over the table until no row is left that can be corrected; come back for rows that others have
        locked."""
        deadline, pause = time.monotonic() + self.fixer.patience, 0.1
        while True:
            self.done.refusals.clear()
            before = self.done.fixed
            for relation in self.repair.relations:
                self._relation(relation)
            self.done.left = self.fixer.count(self.repair)
            if self.done.fixed > before:
                continue
            if self.done.left <= self.done.refusals.total() or self._given_up or time.monotonic() > deadline:
                return
            self.fixer.stop.wait(pause)
            self.fixer.halt()
            pause = min(pause * 2, 2.0)

    @property
    def _given_up(self) -> bool:
        return self.done.refusals.total() >= REFUSALS

    def _relation(self, relation: Name) -> None:
        query = sql.SQL("SELECT pg_catalog.pg_relation_size({}) / pg_catalog.current_setting('block_size')::int")
        row = self.fixer.connection.execute(query.format(relation.oid)).fetchone()
        pages = int(row[0]) if row is not None and row[0] is not None else 0
        for first in range(0, pages, PAGES):
            limits = [f"({first},0)", f"({first + PAGES},0)", self.fixer.rows]
            more = True
            while more and not self._given_up:
                self.fixer.halt()
                found, fixed = self._batch(relation, self.repair.lock(relation), limits)
                # Rows that are locked and not corrected would be found again and again; they wait for the next pass.
                more = found >= self.fixer.rows and fixed > 0

    def _batch(self, relation: Name, lock: sql.Composed, parameters: list[Any]) -> tuple[int, int]:
        """One transaction; returns how many rows it has found and how many it has corrected. If the database refuses
        it, each half is tried, so that one row does not prevent the others."""
        addresses: list[str] = []

        def once() -> int:
            addresses.clear()
            with self.fixer.transaction(self.repair) as cursor:
                addresses.extend(address for (address,) in cursor.execute(lock, parameters))
                return self._change(cursor, relation, addresses) if addresses else 0

        try:
            fixed = self.fixer.patiently(once)
        except (*REFUSED_ROW, IneffectiveFixError, UnforeseenError) as error:
            return len(addresses), self._halves(relation, addresses, _message(error))
        self.done.fixed += fixed
        self.fixer.tell(relation, fixed)
        return len(addresses), fixed

    def _change(self, cursor: psycopg.RawCursor[Any], relation: Name, addresses: Sequence[str]) -> int:
        named = relation.identifier.as_string(None)
        before = WrittenRows.by(cursor)
        for fix, one in self.carried:
            cursor.execute(one.before(), [list(addresses), named, fix])
        changed = cursor.execute(self.repair.change(), [list(addresses), named]).fetchall()
        # A trigger may have changed the search path.
        cursor.execute(search_path(self.fixer.context.spec.schemas))
        (wrong,) = cursor.execute(self.repair.wrong(), [[address for address, *_ in changed], named]).fetchone() or (
            True,
        )
        if wrong:
            # Otherwise it would be corrected again and again.
            raise IneffectiveFixError
        images = [image for _, *image in changed if image[0] is not None]
        cursor.execute(noted(), [self.fix, *_columns(images)])
        for fix, one in self.carried:
            cursor.execute(completed(), [fix, *_columns(cursor.execute(one.after(), [fix]).fetchall())])
        if not self.fixer.force:
            self._foreseen(cursor, before)
        for fix, _ in self.carried:
            cursor.execute(unchanged_images(), [fix])
        return len(images)

    def _foreseen(self, cursor: psycopg.RawCursor[Any], before: WrittenRows) -> None:
        """Raises UnforeseenError if rows without an image were written."""
        fixes = {self.repair.table: [self.fix]}
        for fix, one in self.carried:
            fixes.setdefault(one.table, []).append(fix)
        beside = unforeseen(cursor, self.fixer.context.live, before, fixes)
        if beside:
            raise UnforeseenError(", ".join(map(str, beside)))

    def _halves(self, relation: Name, addresses: list[str], why: str) -> int:
        if len(addresses) <= 1 or self._given_up:
            self.done.refusals[why] += 1
            return 0
        middle, fixed = len(addresses) // 2, 0
        for half in (addresses[:middle], addresses[middle:]):
            fixed += self._batch(relation, self.repair.lock_these(relation), [half])[1]
        return fixed


def _columns(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] or [[], [], []]


def _message(error: Exception) -> str:
    if isinstance(error, psycopg.Error):
        return f"PostgreSQL refuses the change: {(error.diag.message_primary or str(error)).splitlines()[0]}"
    if isinstance(error, UnforeseenError):
        return f"a trigger would change rows of {error} too, which an undo could not restore (allow it with --force)"
    return "the row violates the rule after the fix, too: the fix is wrong, or a trigger changes the value"
