"""balances: install, backfill, validate, compact."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg

from tenantry.backups.create import BackupOptions
from tenantry.balances.backfill import AGAIN, Backfill
from tenantry.balances.compaction import compact
from tenantry.balances.differences import states
from tenantry.balances.inspection import Line, inspect
from tenantry.balances.ledgers import Ledgers, Subject, balance_steps
from tenantry.commands.running import Run, interruptible, run
from tenantry.errors import ExitStatus, Interrupted, Refused, UsageError, nearest
from tenantry.execution.activity_monitor import monitor_activity
from tenantry.execution.events import Found, Looking, Observer, Said
from tenantry.execution.existing import definitions, in_force, read_entries
from tenantry.execution.outline import Outline, Planned, takes_back
from tenantry.execution.prospect import MigrateOptions
from tenantry.execution.renames import known, settle
from tenantry.execution.rollback.executor import Reverting, backwards
from tenantry.execution.runs import Tally, make_runner, stop
from tenantry.execution.session import Session, open_session
from tenantry.model.finding import Finding, Severity
from tenantry.model.ledger import Ledger
from tenantry.model.name import Name
from tenantry.model.plan import Phase
from tenantry.model.run import Result
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target, connect
from tenantry.postgres.journal import Entry, Journal
from tenantry.postgres.schema_snapshot import note_first_description
from tenantry.steps import from_json
from tenantry.steps.balance import BalanceStep


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancesOptions:
    """`ledger` is one of the spec's, None for all; `slots` overrides the spec's hot_keys; `backup` is made before a
    ledger is emptied; lock times in seconds, None for the spec's."""

    ledger: str | None = None
    slots: int | None = None
    workers: int = 2
    lock_timeout: float | None = None
    lock_budget: float | None = None
    backup: BackupOptions = field(default_factory=BackupOptions)


def install_balances(
    target: Target, spec: Spec, options: BalancesOptions | None = None, observer: Observer | None = None
) -> Result:
    """Create the table, functions, triggers and view of each ledger; existing ones are kept, and objects that the spec
    no longer asks for are removed.

    Raises UsageError where the spec does not fit the database, Refused where a person must decide, Failed where it
    stopped part-way.
    """
    options = options or BalancesOptions()
    with run(target, "balances install", purpose="balances", observer=observer) as current:
        connection, observer = current.connection, current.observer
        session = Session.begin(target, connection, spec)
        chosen = subjects(session, options)
        steps, going = [step for subject in chosen for step in subject.steps], orphans(session, chosen)
        tally = Tally(observer)
        runner = make_runner(session, current.id, observer, tally, migrating(options))
        session.journal.install()
        note_first_description(connection)
        current.begin()
        started = time.monotonic()
        settle(session.journal, session.known)
        with (
            interruptible(lambda: stop(runner, current.observer)),
            monitor_activity(target, connection.info.backend_pid, observer, run=current.id),
        ):
            Reverting(runner=runner, dependents=lambda step: ()).all(going)
            applied = runner.apply_all(steps)
        stale = [state.ledger for state in states(connection).values() if state.stale]
        outcome = f"{applied} steps applied, {tally.found} were applied already"
        following = "Nothing: the balances are kept up to date."
        if stale:
            following = f"Stale until they are backfilled: {', '.join(stale)}. Run `tenantry balances backfill`."
        current.finish(outcome, following)
    return Result(
        command="balances install", run=current.id, exit_status=ExitStatus.DONE, outcome=outcome, applied=applied,
        found=tally.found, seconds=time.monotonic() - started, longest_lock=tally.longest_lock, retries=tally.retries,
        next_step=following,
    )  # fmt: skip


def preview_install(target: Target, spec: Spec, options: BalancesOptions | None = None) -> Outline:
    """What install would do. Changes nothing."""
    with open_session(target, purpose="plan") as connection:
        session = Session.begin(target, connection, spec)
        chosen = subjects(session, options or BalancesOptions())
        steps = [step for subject in chosen for step in subject.steps]
        done = in_force(connection, steps, session.entries)
        pending = tuple(
            Planned(step=step, in_force=False, statements=step.apply()) for step in steps if step.key not in done
        )
        going = takes_back(sorted(orphans(session, chosen), key=backwards))
        return replace(outline(connection, "balances install", pending), reverts=going)


def backfill_balances(
    target: Target, spec: Spec, options: BalancesOptions | None = None, observer: Observer | None = None
) -> Result:
    """Set the balances to the sums of their ledgers while writers go on, and merge slots that are left over.

    Raises Refused where they are not installed, Failed or Interrupted where it stopped part-way; the same call then
    continues.
    """
    options = options or BalancesOptions()
    with run(target, "balances backfill", purpose="balances", observer=observer) as current:
        chosen = installed_subjects(current.journal, spec, options)
        current.begin()
        started = time.monotonic()
        corrected = _backfill_all(current, chosen, options, options.lock_budget or spec.locks.budget)
        outcome = (
            f"{corrected} balances corrected; "
            + ("the balances are" if len(chosen) == 1 else f"{len(chosen)} balances are")
            + " in step"
        )
        current.finish(outcome)
    return Result(
        command="balances backfill", run=current.id, exit_status=ExitStatus.DONE, outcome=outcome, rows=corrected,
        seconds=time.monotonic() - started,
    )  # fmt: skip


def _backfill_all(current: Run, chosen: tuple[Subject, ...], options: BalancesOptions, budget: float) -> int:
    """Returns the number of balances corrected. Raises Interrupted after Ctrl-C, which cancels a running comparison."""
    connection, observer, halt, corrected = current.connection, current.observer, threading.Event(), 0

    def interrupt() -> None:
        observer(Said("Stopping after the current batch; press Ctrl-C again to stop at once …"))
        halt.set()
        connection.cancel_safe(timeout=5.0)

    with interruptible(interrupt):
        for subject in chosen:
            observer(Looking(f"the movements of {subject.ledger.table}"))
            work = Backfill(
                ledger=subject.ledger, connection=connection, observer=observer, workers=options.workers,
                connections=lambda purpose: connect(current.target, run=current.id, purpose=purpose), stop=halt,
                budget=budget,
            )  # fmt: skip
            try:
                corrected += work.run(subject.triggers)
            except psycopg.errors.QueryCanceled as error:
                if not halt.is_set():
                    raise
                raise Interrupted("Stopped before everything was compared", remedy=AGAIN) from error
            compact(connection, subject.ledger, stop=halt)
    return corrected


def validate_balances(
    target: Target, spec: Spec, options: BalancesOptions | None = None, observer: Observer | None = None
) -> tuple[Line, ...]:
    """Check that all objects exist and the balances equal their ledgers. Changes nothing, takes no lock."""
    with run(target, "balances validate", purpose="balances", observer=observer, locks=False) as current:
        connection, observer = current.connection, current.observer
        session = Session.begin(target, connection, spec)
        lines: list[Line] = []
        for subject in subjects(session, options or BalancesOptions()):
            observer(Looking(f"the balances of {subject.ledger.table}"))
            lines += inspect(connection, subject.ledger, subject.steps)
        failed = [line for line in lines if not line.holds]
        for line in failed:
            observer(Found(_finding(line)))
        outcome = f"{len(failed)} of {len(lines)} checks failed" if failed else f"all {len(lines)} checks passed"
        current.finish(outcome, failed[0].remedy if failed else "")
    return tuple(lines)


def _finding(line: Line) -> Finding:
    samples = ({**one.key, "quantity": one.quantity, "movements": one.movements} for one in line.differences)
    return Finding(
        name=f"balance-{line.name}", severity=Severity.ERROR, table=line.table, message=line.message,
        remedy=line.remedy, count=line.count, samples=tuple(samples),
    )  # fmt: skip


def compact_balances(target: Target, spec: Spec, options: BalancesOptions | None = None) -> dict[Name, int]:
    """Merge the slots that writers have left; returns how many rows were removed, by ledger. Other runs may be
    active."""
    with open_session(target, purpose="balances") as connection:
        chosen = installed_subjects(Journal(connection), spec, options or BalancesOptions())
        return {subject.ledger.table: compact(connection, subject.ledger) for subject in chosen}


# --- what all of them have in common


def subjects(session: Session, options: BalancesOptions) -> tuple[Subject, ...]:
    """The chosen ledgers, with their steps as the spec defines them. Raises UsageError, Refused."""
    resolver = Ledgers(session.connection, session.spec, session.entries, session.plan.ownership)
    return tuple(Subject(ledger=ledger, steps=_wanted(resolver, ledger)) for ledger in _meant(resolver, options))


def _wanted(resolver: Ledgers, ledger: Ledger) -> tuple[BalanceStep, ...]:
    """The steps of a ledger, as far as the migration of its table has come: isolate lets the application read it."""
    isolated = resolver.isolated(ledger.table)
    return tuple(step for step in resolver.steps(ledger) if isolated or step.phase is not Phase.ISOLATE)


def orphans(session: Session, chosen: Sequence[Subject]) -> list[Entry]:
    """The steps of these ledgers that are in the journal, and no longer in the spec."""
    wanted = {step.key for subject in chosen for step in subject.steps}
    tables = {subject.ledger.table for subject in chosen}
    return [
        entry for entry in session.entries.values()
        if (ledger := from_json(entry.value).keeps) is not None and ledger.table in tables and entry.key not in wanted
    ]  # fmt: skip


def installed_subjects(journal: Journal, spec: Spec, options: BalancesOptions) -> tuple[Subject, ...]:
    """The chosen ledgers, which must have balances. Only their tables are read: on a large schema, reading all would be
    most of the time of a reconciliation. Raises UsageError, Refused where one has no balances."""
    entries = known(read_entries(journal)).entries
    resolver = Ledgers(journal.connection, spec, entries)
    chosen = tuple(Subject(ledger=ledger, steps=balance_steps(ledger)) for ledger in _meant(resolver, options))
    tables = [subject.steps[0] for subject in chosen]
    there = definitions(journal.connection, tables)
    missing = [str(step.table) for step in tables if there[step.key] is None or step.key not in entries]
    if missing:
        raise Refused(f"There are no balances of {', '.join(missing)}", remedy="Run `tenantry balances install`.")
    return chosen


def _meant(resolver: Ledgers, options: BalancesOptions) -> tuple[Ledger, ...]:
    found = resolver.read(slots=options.slots)
    if options.ledger is None:
        return found
    wanted = Name.parse(options.ledger, schema=resolver.spec.schemas[0])
    chosen = tuple(ledger for ledger in found if ledger.table == wanted)
    if not chosen:
        names = [str(ledger.table) for ledger in found]
        raise UsageError(f"the spec has no ledger {wanted}{nearest(str(wanted), names)}")
    return chosen


def outline(connection: psycopg.Connection[Any], command: str, steps: tuple[Planned, ...]) -> Outline:
    version = connection.info.server_version
    return Outline(
        command=command, database=connection.info.dbname, server=f"PostgreSQL {version // 10000}.{version % 10000}",
        steps=steps, undecided={},
    )  # fmt: skip


def migrating(options: BalancesOptions) -> MigrateOptions:
    return MigrateOptions(lock_timeout=options.lock_timeout, lock_budget=options.lock_budget)
