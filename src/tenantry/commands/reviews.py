"""balances review: list, accept, reject."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random

from tenantry.balances.ledgers import Subject
from tenantry.balances.reconciliation import RETRIED
from tenantry.balances.reconciliation_scope import Connection
from tenantry.balances.reviews import Decided, Review, decide, reviews
from tenantry.balances.selection import installed_subjects
from tenantry.commands.running import run
from tenantry.errors import END_HOLDERS, Failed, Refused, UsageError
from tenantry.execution.events import Notice, Observer
from tenantry.execution.existing import definitions
from tenantry.execution.session import open_session
from tenantry.model.spec import Spec
from tenantry.model.wording import counted
from tenantry.postgres.connect import Target
from tenantry.postgres.journal import Journal


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewDecision:
    """What a person, `by`, has decided on reviews: to set the balance to the ledger, or to keep it, and why."""

    accept: bool
    by: str
    note: str | None = None

    @property
    def verb(self) -> str:
        return "accept" if self.accept else "reject"


def list_reviews(
    target: Target, spec: Spec, *, ledger: str | None = None, everything: bool = False
) -> tuple[Review, ...]:
    """The open reviews; with `everything` also those that were decided."""
    with open_session(target, purpose="reviews") as connection:
        subjects_by_name = _ledgers_by_name(Journal(connection), spec, ledger)
        ledgers = [subject.ledger for subject in subjects_by_name.values()]
        return reviews(connection, ledgers, everything=everything)


def decide_reviews(
    target: Target, spec: Spec, numbers: Sequence[int], decision: ReviewDecision, *, ledger: str | None = None,
    dry_run: bool = False, observer: Observer | None = None,
) -> tuple[Decided, ...]:  # fmt: skip
    """Decide on reviews, each in a transaction of its own; on all open ones if `numbers` is empty.

    Raises UsageError for a number that does not exist, Refused if one cannot be decided in its present state, Failed
    if writers keep a balance locked; those before it are decided then.
    """
    decided = []
    command = f"balances review {decision.verb}"
    with run(target, command, purpose="reviews", observer=observer, locks=False) as current:
        connection, journal = current.connection, current.journal
        connection.execute("SET TimeZone = 'UTC'")
        known = _ledgers_by_name(journal, spec, ledger)
        ledgers = [subject.ledger for subject in known.values()]
        found = reviews(connection, ledgers, everything=bool(numbers), ids=numbers or None)
        _refuse_unfit(connection, known, numbers, found)
        if not dry_run:
            current.begin(command="balances review", options=decision.verb)
        for review in sorted(found, key=lambda one: one.id):
            one = _decide(connection, spec.locks.budget, known[review.ledger], review, decision, dry_run=dry_run)
            if not dry_run:
                current.observer(
                    Notice(f"Review {one.id}: {one.state}", {"decided": one, "key": review.key, "by": decision.by})
                )
            decided.append(one)
        current.finish(f"{counted(len(decided), 'review')} {decision.verb}ed")
    return tuple(decided)


def _decide(
    connection: Connection, budget: float, subject: Subject, review: Review, decision: ReviewDecision, *, dry_run: bool
) -> Decided:
    """Tried again while a writer has the balance locked, or another correction is running."""
    try:
        for attempt in Retrying(
            retry=retry_if_exception_type(RETRIED), stop=stop_after_delay(budget), wait=wait_random(0, 0.2),
            reraise=True,
        ):  # fmt: skip
            with attempt:
                return decide(
                    connection, subject.ledger, review.id, accept=decision.accept, by=decision.by,
                    note=decision.note, dry_run=dry_run,
                )  # fmt: skip
    except RETRIED as error:
        raise Failed(
            f"The balance of review {review.id} was locked by other sessions for {budget:g} s:"
            f" {error.diag.message_primary}",
            remedy=f"{END_HOLDERS}, then run the same command again.",
        ) from error
    raise AssertionError("unreachable")


def _ledgers_by_name(journal: Journal, spec: Spec, ledger: str | None) -> Mapping[str, Subject]:
    chosen = installed_subjects(journal, spec, ledger)
    return {subject.ledger.called: subject for subject in chosen}


def _refuse_unfit(
    connection: Connection, known: Mapping[str, Subject], numbers: Sequence[int], found: Sequence[Review]
) -> None:
    missing = sorted(set(numbers) - {review.id for review in found})
    if missing:
        raise UsageError(
            f"The review {', '.join(map(str, missing))} does not exist",
            remedy="`tenantry balances review list` lists them.",
        )
    triggers = [known[name].triggers for name in dict.fromkeys(review.ledger for review in found)]
    bare = [str(step.table) for step in triggers if definitions(connection, [step])[step.key] is None]
    if bare:
        raise Refused(
            f"Some triggers on {', '.join(bare)} are missing or disabled: movements are not counted",
            remedy="Run `tenantry balances install`, then `tenantry balances backfill`.",
        )
