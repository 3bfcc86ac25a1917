"""Reconciles one ledger for the command: whether it can be compared, and the outcome for each key, in words."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from psycopg import sql

from tenantry.balances.differences import states
from tenantry.balances.ledgers import Subject
from tenantry.balances.reconciliation import Reconciled, Reconciliation, Settled
from tenantry.balances.reconciliation_scope import Connection, ReconciliationScope
from tenantry.errors import Refused
from tenantry.execution.events import FindingReported, Notice, Observer, Reading
from tenantry.execution.existing import definitions
from tenantry.model.finding import Family, Finding, Severity
from tenantry.model.ledger import Ledger
from tenantry.model.name import Name
from tenantry.model.spec import LedgerPart, Spec
from tenantry.model.wording import counted
from tenantry.postgres.journal import Journal
from tenantry.steps.balance_view import sees_all

KEPT = 20
"""The number of keys of each ledger that are printed and that a finding shows."""


SCRUB_DAYS = 30.0


REVIEW = "Run `tenantry balances review list`, and accept or reject each."


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileOptions:
    """`full` compares all keys; otherwise the scrub checks all of them in the course of `scrub_days` days."""

    ledger: str | None = None
    full: bool = False
    scrub_days: float = SCRUB_DAYS
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerReconciled:
    """The outcome for one ledger: `result`, or why it was not compared. `samples` are some of the keys that
    differed."""

    table: Name
    seconds: float
    result: Reconciled | None = None
    refused: str = ""
    remedy: str = ""
    samples: tuple[Settled, ...] = ()


def reconcile_ledger(
    journal: Journal, spec: Spec, subject: Subject, run: str, options: ReconcileOptions, observer: Observer
) -> LedgerReconciled:
    ledger, connection, started = subject.ledger, journal.connection, time.monotonic()
    observer(Reading(f"the balances of {ledger.table}"))
    part = ledger_part(spec, ledger)
    scope = ReconciliationScope.decide(connection, ledger, full=options.full, days=options.scrub_days)
    if problem := _unfit(connection, subject):
        message, remedy = problem
        observer(FindingReported(Finding(
                name="balances-not-compared", severity=Severity.ERROR, family=Family.BUSINESS, table=ledger.table,
                message=f"The balances of {ledger.table} were not compared: {message}", remedy=remedy,
            )))  # fmt: skip
        return LedgerReconciled(table=ledger.table, seconds=time.monotonic() - started, refused=message, remedy=remedy)
    work = Reconciliation(
        ledger=ledger, connection=connection, run=run, threshold=Decimal(str(part.threshold)),
        limit=Decimal(str(part.total_limit)), dry_run=options.dry_run, budget=spec.locks.budget,
    )  # fmt: skip
    samples: list[Settled] = []
    count = 0
    for count, settled in enumerate(work.reconcile(scope), start=1):
        if count <= KEPT:
            samples.append(settled)
            observer(Notice(_line(settled, dry_run=options.dry_run), {"table": ledger.table, "difference": settled}))
    if count > KEPT:
        observer(Notice(f"… and {count - KEPT:,} more, all of them in tenantry.discrepancies", {"table": ledger.table}))
    result = work.result(scope)
    _tell(observer, ledger, result, samples)
    return LedgerReconciled(
        table=ledger.table, seconds=time.monotonic() - started, result=result, samples=tuple(samples)
    )


def _line(settled: Settled, *, dry_run: bool) -> str:
    return (
        f"{described(settled.key)}: ledger {settled.ledger_quantity}, balance {settled.balance_quantity}:"
        f" {settled.quantity:+} in {settled.movements:+} movements {_became(settled, dry_run=dry_run)}"
    )


def _became(settled: Settled, *, dry_run: bool) -> str:
    if settled.verdict == "correct":
        return "would be corrected" if dry_run else "corrected"
    if not settled.new:
        return "still under review"
    why = " (correcting it would exceed total_limit)" if settled.reason == "total" else ""
    return ("would be put" if dry_run else "put") + f" under review{why}"


def _unfit(connection: Connection, subject: Subject) -> tuple[str, str] | None:
    """Why balances cannot be compared with their ledger, and what to do."""
    ledger = subject.ledger
    row = connection.execute(sql.SQL("SELECT {}").format(sees_all(ledger))).fetchone()
    if row != (True,):
        raise Refused(
            f"Row-level security of {ledger.table} may hide rows from this role, so its sums could be wrong",
            remedy="Connect as the operator, or as a role with BYPASSRLS.",
        )
    state = states(connection)[ledger.called]
    if state.stale:
        return f"they are stale ({state.reason})", "Run `tenantry balances backfill`."
    if definitions(connection, [subject.triggers])[subject.triggers.key] is None:
        return (
            "some triggers are missing or disabled, so movements are not counted",
            "Run `tenantry balances install`, then `tenantry balances backfill`.",
        )
    return None


def _tell(observer: Observer, ledger: Ledger, result: Reconciled, samples: Sequence[Settled]) -> None:
    shown = tuple(
        {**one.key, "ledger": one.ledger_quantity, "balance": one.balance_quantity, "difference": one.quantity,
         "movements": one.movements}
        for one in samples if one.verdict == "review"
    )  # fmt: skip
    if result.open:
        observer(FindingReported(Finding(
                name="balances-to-review", severity=Severity.ERROR, family=Family.BUSINESS, table=ledger.table,
                message=f"{counted(result.open, 'balance')} of {ledger.table} to be reviewed", remedy=REVIEW,
                count=result.open, samples=shown,
            )))  # fmt: skip


def ledger_part(spec: Spec, ledger: Ledger) -> LedgerPart:
    """The part of the spec for a ledger."""
    return next(part for part in spec.ledger if Name.parse(part.table, schema=spec.schemas[0]) == ledger.table)


def described(key: Mapping[str, Any]) -> str:
    """A key in words."""
    return ", ".join(f"{name} {'NULL' if value is None else value}" for name, value in key.items())
