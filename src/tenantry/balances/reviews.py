"""Differences that reconciliations have left for a person to decide: listed, accepted, rejected.

Accept: the balance is set to the sum of the ledger at that instant, exactly, while writers go on. Reject: the balance
stays as it is, and the difference is recorded as intended: later reconciliations treat the key as if there were none,
and report it again only if it differs by another amount. In both cases the total of corrections of this key starts
again from zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from psycopg import sql
from psycopg.rows import class_row, dict_row

from tenantry.balances.reconciliation import add_settled, choose_batch, fixed, take
from tenantry.balances.reconciliation_keys import ordered
from tenantry.balances.reconciliation_scope import Connection, require_readable
from tenantry.errors import Refused, UsageError
from tenantry.model.ledger import SUMS, Ledger
from tenantry.postgres.queries import read_queries
from tenantry.steps.introspection import raw

QUERIES = read_queries(Path(__file__).with_name("sql") / "reviews.sql")
LOOK = "Run `tenantry balances reconcile`, and look at it again."


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """A difference that a person is to decide, or has decided. `quantity` to `movements` are missing from the balance;
    `reason`: threshold, or total, the limit for the sum of corrections of a key without a decision. `recent` counts the
    movements since the last good point, `since`, and `evidence` has the newest of them. `state`: open, accepted,
    rejected, or gone, if the difference has disappeared by itself."""

    id: int
    ledger: str
    key: Mapping[str, Any]
    tenant: str | None
    run: str
    found_at: datetime
    seen_at: datetime
    state: str
    reason: str
    size: Decimal
    quantity: Decimal
    total_in: Decimal
    total_out: Decimal
    movements: Decimal
    ledger_quantity: Decimal
    ledger_movements: Decimal
    balance_quantity: Decimal
    balance_movements: Decimal
    since: datetime | None
    recent: int | None
    evidence: Sequence[Mapping[str, Any]]
    decided_at: datetime | None
    decided_by: str | None
    note: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """The result of a decision: the balance `before` and `after` it."""

    id: int
    state: str
    before: Decimal
    after: Decimal


def reviews(
    connection: Connection, ledgers: Sequence[Ledger], *, everything: bool = False, ids: Sequence[int] | None = None
) -> tuple[Review, ...]:
    """The open ones, newest first; with `everything` also those that were decided. Raises Refused if one of them cannot
    be read."""
    for ledger in ledgers:
        require_readable(connection, ledger)
    by_name = {ledger.called: ledger for ledger in ledgers}
    names = {"all": everything, "ledgers": list(by_name), "ids": None if ids is None else list(ids)}
    with connection.cursor(row_factory=class_row(Review)) as cursor:
        found = cursor.execute(QUERIES["list"], names).fetchall()
    return tuple(replace(review, key=ordered(by_name[review.ledger], review.key)) for review in found)


def decide(
    connection: Connection, ledger: Ledger, number: int, *, accept: bool, by: str, note: str | None,
    dry_run: bool = False,
) -> Decided:  # fmt: skip
    """Accept or reject an open review. Raises UsageError if there is none, Refused if it was decided already, its
    difference has changed, or the balances are stale."""
    with connection.transaction(force_rollback=dry_run), connection.cursor(row_factory=dict_row) as cursor:
        # In the same order as reconcile: first the lock that excludes other corrections, then the review.
        take(connection, ledger)
        require_readable(connection, ledger)
        review = cursor.execute(QUERIES["decide"], {"id": number}).fetchone()
        if review is None:
            raise UsageError(
                f"the review {number} does not exist", remedy="`tenantry balances review list` lists them."
            )
        if review["state"] != "open":
            by_whom = f" by {review['decided_by']}" if review["decided_by"] else ""
            raise Refused(f"Review {number} is {review['state']} already{by_whom}", remedy="There is nothing to do.")
        choose_batch(
            connection, ledger,
            sql.SQL("SELECT 1::bigint AS number, key FROM tenantry.discrepancies WHERE id = {}").format(
                sql.Literal(number)
            ),
        )  # fmt: skip
        connection.execute(fixed("settled", ledger, Decimal(0), Decimal(0)))
        found = cursor.execute(QUERIES["measured"], {"id": number}).fetchone()
        assert found is not None
        _refuse(number, review, found)
        if accept and not found["equal"]:
            _set_to_ledger(connection, ledger)
        state = "accepted" if accept else "rejected"
        names = {"id": number, "state": state, "by": by, "note": note, "keep": not accept}
        for query in ("decided", "superseded", "forgiven"):
            cursor.execute(QUERIES[query], names)
        before = found["balance_quantity"]
        return Decided(id=number, state=state, before=before, after=found["ledger_quantity"] if accept else before)


def _refuse(number: int, review: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    if not found["same"]:
        raise Refused(
            f"The difference of review {number} has changed: {found['quantity']} in {found['movements']}"
            f" movements are missing now, and {review['quantity']} in {review['movements']} were before",
            remedy=LOOK,
        )


def _set_to_ledger(connection: Connection, ledger: Ledger) -> None:
    """An earlier difference that was kept is given up: the full difference is added."""
    missing = ", ".join(f"{name} = ledger_{name} - balance_{name}" for name in SUMS)
    connection.execute(sql.SQL("UPDATE pg_temp.tenantry_settled SET {}").format(raw(missing)))
    add_settled(connection, ledger, "true")
