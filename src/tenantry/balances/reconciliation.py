"""Compare ledger and balances while both are written to; correct small differences, and make reviews of the others.

Why no difference is false: the difference of a key is the same in every snapshot (see differences), and each comparison
here is one statement. Keys are found first, without any lock. Then, some at a time, they are compared once more under
the lock that excludes other corrections, and the result is added, or becomes a review, in the same transaction. A run
that is killed has done so for some keys; the next one begins from the last run that finished, finds those keys in step,
or their reviews open, and goes on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from tenantry.balances.differences import differences, hold
from tenantry.balances.reconciliation_keys import (
    BATCH,
    CHOSEN,
    KEY,
    NUMBER,
    among,
    as_json,
    both_sums,
    from_json,
    numbered,
    ordered,
    same,
)
from tenantry.balances.reconciliation_scope import QUERIES, Connection, ReconciliationScope, choose, written_since
from tenantry.errors import END_HOLDERS, Failed, Refused
from tenantry.model.ledger import SUMS, Ledger
from tenantry.steps.introspection import identifiers, raw
from tenantry.steps.movement import correct, shown

RETRIED = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)
BATCHED = 500
"""The number of keys that are settled in one transaction at first."""
LOCK_WAIT = 0.25
"""Seconds for which it waits for a balance that a writer has locked: below deadlock_timeout, so that a deadlock never
ends the writer. With fewer keys there is less to wait for; single keys always succeed."""
EVIDENCE = 20
"""The number of movements that a review shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """A key that differed: `quantity` and `movements` were missing from its balance; `verdict` is the outcome: correct,
    review. `reason`: threshold, or total, the limit for the sum of all corrections of a key."""

    key: Mapping[str, Any]
    verdict: str
    reason: str
    size: Decimal
    quantity: Decimal
    movements: Decimal
    ledger_quantity: Decimal
    ledger_movements: Decimal
    balance_quantity: Decimal
    balance_movements: Decimal
    tenant: str | None
    new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """The result for one ledger. `reason` is why all keys were compared, None if only `compared` were."""

    reason: str | None
    compared: int
    corrected: int
    reviews: int
    open: int


@dataclass(slots=True, kw_only=True)
class Reconciliation:
    """Reconciles one ledger. `budget`: the maximum number of seconds for which it waits for other sessions. With
    `dry_run` it changes nothing, and returns what it would do."""

    ledger: Ledger
    connection: Connection
    run: str
    threshold: Decimal
    limit: Decimal
    dry_run: bool = False
    budget: float = 600.0
    counts: dict[str, int] = field(default_factory=lambda: {"compared": 0, "correct": 0, "review": 0})

    def reconcile(self, scope: ReconciliationScope) -> Iterator[Settled]:
        """Compare the keys of the scope, settle those that differ, and record the run as complete."""
        self._forget_keys()
        compared = self._all() if scope.reason else choose(self.connection, self.ledger, scope)
        for first, past in self._work(scope):
            yield from self._settle(first, past, scope)
        self._note(scope, compared)

    def result(self, scope: ReconciliationScope) -> Reconciled:
        """The result of the last call of reconcile."""
        names = {"ledger": self.ledger.called}
        opened = self.connection.execute(QUERIES["open"], names).fetchone()
        assert opened is not None
        return Reconciled(
            reason=scope.reason, compared=self.counts["compared"], corrected=self.counts["correct"],
            reviews=self.counts["review"], open=opened[0],
        )  # fmt: skip

    # --- finding differences

    def _forget_keys(self) -> None:
        for name in ("chosen", "differing", "work"):
            self.connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(raw(f"pg_temp.tenantry_{name}")))

    def _all(self) -> int:
        query = sql.SQL("SELECT count(*) FROM {} WHERE slot = 0 OR movements <> 0")
        row = self.connection.execute(query.format(self.ledger.storage.identifier)).fetchone()
        return int(row[0]) if row is not None else 0

    def _work(self, scope: ReconciliationScope) -> Iterator[tuple[int, int]]:
        """Compare, and number the keys that have to be settled; ranges of these numbers."""
        condition = None if scope.reason else among(self.ledger, CHOSEN)
        self.connection.execute(
            sql.SQL("CREATE TEMPORARY TABLE tenantry_differing AS SELECT {}, {} FROM ({}) AS found").format(
                sql.SQL("{} AS key").format(as_json(self.ledger, "found")),
                raw(", ".join(f"found.{name}" for name in SUMS)), differences(self.ledger, condition),
            )
        )  # fmt: skip
        work = self.connection.execute(self._fixed("work")).rowcount
        for first in range(1, work + 1, BATCHED):
            yield first, first + BATCHED

    def _fixed(self, name: str) -> sql.Composed:
        return fixed(name, self.ledger, self.threshold, self.limit)

    # --- settling them

    def _settle(self, first: int, past: int, scope: ReconciliationScope) -> Iterator[Settled]:
        deadline, waiting = time.monotonic() + self.budget, [(first, past)]
        while waiting:
            first, past = waiting.pop()
            try:
                settled = self._batch(first, past, scope)
            except RETRIED as error:
                if time.monotonic() > deadline:
                    raise Failed(
                        f"A balance of {self.ledger.table} was locked by other sessions for {self.budget:g} s:"
                        f" {error.diag.message_primary}",
                        remedy=f"{END_HOLDERS}, then run the same command again.",
                    ) from error
                middle = (first + past) // 2
                waiting += [(first, past)] if past - first == 1 else [(middle, past), (first, middle)]
                continue
            deadline = time.monotonic() + self.budget
            for one in settled:
                self.counts[one.verdict] += one.verdict == "correct" or one.new
            yield from settled

    def _batch(self, first: int, past: int, scope: ReconciliationScope) -> list[Settled]:
        with self.connection.transaction(force_rollback=self.dry_run):
            take(self.connection, self.ledger, generation=scope.context.generation)
            choose_batch(
                self.connection, self.ledger,
                sql.SQL("SELECT number, key FROM pg_temp.tenantry_work WHERE number >= {} AND number < {}").format(
                    sql.Literal(first), sql.Literal(past)
                ),
            )  # fmt: skip
            self.connection.execute(self._fixed("settled"))
            with self.connection.cursor(row_factory=class_row(Settled)) as cursor:
                told = cursor.execute(QUERIES["told"], self._names(scope)).fetchall()
            settled = [replace(one, key=ordered(self.ledger, one.key)) for one in told]
            if not self.dry_run:
                self._write(settled, scope)
        return settled

    def _write(self, settled: list[Settled], scope: ReconciliationScope) -> None:
        names = self._names(scope)
        if any(one.verdict == "correct" for one in settled):
            add_settled(self.connection, self.ledger, "verdict = 'correct'")
            self.connection.execute(QUERIES["corrected"], names)
            self.connection.execute(QUERIES["drifted"], names)
        if any(one.verdict == "review" for one in settled):
            self.connection.execute(QUERIES["reviewed"], names)
            for statement in _evidence(self.ledger, scope, self.run):
                self.connection.execute(statement)
        self.connection.execute(QUERIES["gone"], names)
        self.connection.execute(QUERIES["unkept"], names)

    def _names(self, scope: ReconciliationScope) -> dict[str, Any]:
        tenant = self.ledger.tenant
        return {
            "ledger": self.ledger.called, "run": self.run, "tenant": None if tenant is None else tenant.name,
            "since": None if scope.good is None else scope.good.at,
        }  # fmt: skip

    def _note(self, scope: ReconciliationScope, compared: int) -> None:
        """The next run starts from here."""
        self.counts["compared"] = compared
        if self.dry_run:
            return
        last, context = scope.last, scope.context
        going_on = last is not None and not scope.began_anew
        self.connection.execute(
            QUERIES["done"],
            {"ledger": self.ledger.called, "run": self.run, "whole": scope.reason is not None,
             "snapshot": context.snapshot, "watched": context.watched,
             "began": last.scrub_began if going_on and last else context.at,
             "pages": Jsonb(last.scrub_pages if going_on and last else context.pages),
             "scrubbed": scope.scrub_to if going_on else 0.0, "compared": compared,
             "corrected": self.counts["correct"], "reviews": self.counts["review"]},
        )  # fmt: skip


def fixed(name: str, ledger: Ledger, threshold: Decimal, limit: Decimal) -> sql.Composed:
    """A query that creates a table, and so takes no parameters."""
    return raw(QUERIES[name].decode()).format(
        ledger=sql.Literal(ledger.called), threshold=sql.Literal(threshold), limit=sql.Literal(limit),
        ledger_shown=shown("quantity", "s.ledger_{}"), balance_shown=shown("quantity", "s.balance_{}"),
        quantity_shown=shown("quantity"), total_in_shown=shown("total_in"), total_out_shown=shown("total_out"),
    )  # fmt: skip


def take(connection: Connection, ledger: Ledger, *, generation: int | None = None) -> None:
    """Exclude all other corrections until the transaction ends, and limit its waits. Raises Refused if the balances
    have been marked stale, or installed again since `generation`."""
    connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(f"{LOCK_WAIT * 1000:.0f}ms")))
    found, _ = hold(connection, ledger)
    row = connection.execute(
        "SELECT stale FROM tenantry.ledgers WHERE ledger = %(ledger)s", {"ledger": ledger.called}
    ).fetchone()
    if row == (True,) or generation not in (None, found):
        raise Refused(
            f"The balances of {ledger.table} were marked stale meanwhile",
            remedy="Run `tenantry balances backfill`, then the same command again.",
        )


def choose_batch(connection: Connection, ledger: Ledger, keys: sql.Composable) -> None:
    """Compare the keys of a query of (number, key as JSON): afterwards each has the sums of both sides beside it."""
    connection.execute(
        sql.SQL(
            "CREATE TEMPORARY TABLE tenantry_batch ON COMMIT DROP AS"
            " SELECT one.number AS {}, one.key AS {}, {} FROM ({}) AS one, {}"
        ).format(NUMBER, KEY, numbered(ledger, "known"), keys, from_json(ledger, "one"))
    )
    connection.execute(sql.SQL("ANALYZE {}").format(BATCH))
    connection.execute(sql.SQL("CREATE TEMPORARY TABLE tenantry_sums ON COMMIT DROP AS {}").format(both_sums(ledger)))


def add_settled(connection: Connection, ledger: Ledger, condition: str) -> None:
    """Add the differences to the balances of those keys for which the condition, a text of tenantry's, holds."""
    missing = sql.SQL("SELECT {}, {} FROM pg_temp.tenantry_settled AS settled, {} WHERE {}").format(
        identifiers(ledger.columns, raw("known")), raw(", ".join(f"settled.{name}" for name in SUMS)),
        from_json(ledger, "settled"), raw(condition),
    )  # fmt: skip
    connection.execute(correct(ledger, missing))


def _evidence(ledger: Ledger, scope: ReconciliationScope, run: str) -> tuple[sql.Composed, sql.Composed]:
    """Store the movements since the last good point with this run's reviews; values shortened, newest first. The part
    that runs code of the ledger's owner is a statement of its own, without access to reviews."""
    since = raw("true") if scope.good is None else written_since("entry", scope.good)
    told = sql.SQL(
        "CREATE TEMPORARY TABLE tenantry_told ON COMMIT DROP AS"
        " WITH moved AS (SELECT batch.{key} AS key, pg_catalog.to_jsonb(entry) AS entry,"
        " row_number() OVER (PARTITION BY batch.{number} ORDER BY pg_catalog.age(entry.xmin), entry.ctid DESC) AS place"
        " FROM {batch} AS batch JOIN {table} AS entry ON {same} WHERE {since})"
        " SELECT batch.{key} AS key, count(moved.place) AS recent, coalesce(jsonb_agg(("
        "SELECT jsonb_object_agg(field.key, pg_catalog.left(field.value, 200)) FROM jsonb_each_text(moved.entry) AS"
        " field) ORDER BY moved.place) FILTER (WHERE moved.place <= {evidence}), '[]') AS evidence"
        " FROM {batch} AS batch LEFT JOIN moved ON moved.key = batch.{key} GROUP BY batch.{key}"
    ).format(
        number=NUMBER, key=KEY, batch=BATCH, table=ledger.table.identifier,
        same=same(ledger, "batch", "entry", moved=True), since=since, evidence=sql.Literal(EVIDENCE),
    )  # fmt: skip
    beside = sql.SQL(
        "UPDATE tenantry.discrepancies AS review SET recent = told.recent, evidence = told.evidence"
        " FROM pg_temp.tenantry_told AS told"
        " WHERE review.ledger = {} AND review.state = 'open' AND review.run = {} AND review.key = told.key"
    )
    return told, beside.format(sql.Literal(ledger.called), sql.Literal(run))
