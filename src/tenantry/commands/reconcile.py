"""balances reconcile: compare, correct small differences, put others under review."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tenantry.balances.reconcile_ledger import REVIEW, LedgerReconciled, ReconcileOptions, reconcile_ledger
from tenantry.balances.review_history import history
from tenantry.balances.selection import installed_subjects
from tenantry.commands.running import run
from tenantry.errors import ExitStatus
from tenantry.execution.events import FindingReported, Observer
from tenantry.model.spec import Spec
from tenantry.model.wording import counted
from tenantry.postgres.connect import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileResult:
    """The result of a run."""

    run: str
    exit_status: ExitStatus
    outcome: str
    next_step: str
    ledgers: tuple[LedgerReconciled, ...]
    dry_run: bool


def reconcile_balances(
    target: Target, spec: Spec, options: ReconcileOptions | None = None, observer: Observer | None = None
) -> ReconcileResult:
    """Compare ledgers and balances while writers go on; other runs may be active.

    Differences below the spec's threshold are corrected, up to its total_limit for each key; others become reviews.
    Raises Refused if balances are not installed, or row-level security hides rows of a ledger from this role.
    """
    options = options or ReconcileOptions()
    with run(target, "balances reconcile", purpose="reconcile", observer=observer, locks=False) as current:
        connection, journal, observer = current.connection, current.journal, current.observer
        chosen = installed_subjects(journal, spec, options.ledger)
        # Keys are written as JSON, with times in the time zone of the session.
        connection.execute("SET TimeZone = 'UTC'")
        if not options.dry_run:
            current.begin()
        found = [reconcile_ledger(journal, spec, subject, current.id, options, observer) for subject in chosen]
        result = _concluded(current.id, found, options)
        for subject in chosen:
            for finding in history(connection, subject.ledger):
                observer(FindingReported(finding))
        current.finish(result.outcome, result.next_step, exit_status=result.exit_status)
    return result


def _concluded(run: str, found: Sequence[LedgerReconciled], options: ReconcileOptions) -> ReconcileResult:
    results = [one.result for one in found if one.result is not None]
    corrected, new, opened_ = (sum(getattr(one, name) for one in results) for name in ("corrected", "reviews", "open"))
    left = [one for one in found if one.result is None]
    put = "would be put" if options.dry_run else "put"
    outcome = (
        f"{counted(sum(one.compared for one in results), 'key')} compared, {corrected}"
        f" {'to be ' if options.dry_run else ''}corrected, {new} {put} under review"
    )
    if left:
        outcome += f"; not compared: {', '.join(str(one.table) for one in left)}"
    next_step = left[0].remedy if left else REVIEW if opened_ else ""
    status = ExitStatus.FINDINGS if (left or opened_) and not options.dry_run else ExitStatus.DONE
    return ReconcileResult(
        run=run, exit_status=status, outcome=outcome, next_step=next_step, ledgers=tuple(found),
        dry_run=options.dry_run,
    )  # fmt: skip
