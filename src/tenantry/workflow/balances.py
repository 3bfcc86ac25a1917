"""balances: install, backfill, validate, compact, empty, remove."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from tenantry.balances.backfill import Backfill
from tenantry.balances.compaction import compact
from tenantry.balances.differences import states
from tenantry.balances.inspection import Line, inspect
from tenantry.balances.ledgers import BALANCE_STEPS, Ledgers, balance_steps, installed
from tenantry.errors import ExitStatus, Refused, UsageError, nearest
from tenantry.execution.reverting import Reverting
from tenantry.execution.survey import definitions, in_force
from tenantry.execution.transaction import Patience, run_together
from tenantry.model.finding import Finding, Severity
from tenantry.model.ledger import Ledger
from tenantry.model.name import Name
from tenantry.model.plan import Lock, LockMode, Statement
from tenantry.model.run import Result, new_run
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target, connect
from tenantry.postgres.journal import Entry, Journal
from tenantry.postgres.locks import hold_run_lock
from tenantry.steps import BalanceTriggers, Step, from_json
from tenantry.steps.balance_triggers import EMPTYING
from tenantry.workflow.lookout import lookout
from tenantry.workflow.migrate import MigrateOptions, Tally, make_runner, stop
from tenantry.workflow.plan import Outline, Planned
from tenantry.workflow.session import Session, end_noted, interruptible, opened
from tenantry.workflow.watcher import Nobody, Watcher


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancesOptions:
    """`ledger` is one of the spec's, None for all; `slots` in place of the spec's hot_keys; lock times in seconds,
    None for the spec's."""

    ledger: str | None = None
    slots: int | None = None
    workers: int = 2
    lock_timeout: float | None = None
    lock_budget: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A ledger of the spec and the steps that keep its balances."""

    ledger: Ledger
    steps: tuple[Step, ...]

    @property
    def triggers(self) -> BalanceTriggers:
        return next(step for step in self.steps if isinstance(step, BalanceTriggers))


def install_balances(
    target: Target, spec: Spec, options: BalancesOptions | None = None, watcher: Watcher | None = None
) -> Result:
    """Make the table, functions, triggers and view of each ledger; what is there already is left alone.

    Raises UsageError where the spec does not fit the database, Refused where a person must decide, Failed where it
    stopped part-way.
    """
    options, watcher, run = options or BalancesOptions(), watcher or Nobody(), new_run()
    watcher.began("balances install", run)
    with opened(target, run=run, purpose="balances", watcher=watcher) as connection, hold_run_lock(connection):
        session = Session.begin(target, connection, spec)
        steps = [step for subject in subjects(session, options) for step in subject.steps]
        tally = Tally(watcher)
        runner = make_runner(session, run, watcher, tally, _migrating(options))
        session.journal.install()
        session.journal.begin_run(run, "balances install")
        started = time.monotonic()
        with (
            end_noted(session.journal, run),
            interruptible(lambda: stop(runner, watcher)),
            lookout(target, connection.info.backend_pid, watcher, run=run),
        ):
            applied = runner.apply_all(steps)
        stale = [state.ledger for state in states(connection).values() if state.stale]
        outcome = f"{applied} steps applied, {tally.found} were in force"
        session.journal.finish_run(run, exit_status=ExitStatus.DONE, outcome=outcome)
    result = Result(
        command="balances install", run=run, exit_status=ExitStatus.DONE, outcome=outcome, applied=applied,
        found=tally.found, seconds=time.monotonic() - started, longest_lock=tally.longest_lock, retries=tally.retries,
        next_step=f"Stale until a backfill is done: {', '.join(stale)}. Run `tenantry balances backfill`." if stale
        else "Nothing: the balances are kept in step.",
    )  # fmt: skip
    watcher.concluded(result.outcome, result.next_step)
    return result


def preview_install(target: Target, spec: Spec, options: BalancesOptions | None = None) -> Outline:
    """What install would do. Changes nothing."""
    with opened(target, purpose="plan") as connection:
        session = Session.begin(target, connection, spec)
        steps = [step for subject in subjects(session, options or BalancesOptions()) for step in subject.steps]
        done = in_force(connection, steps, session.entries)
        pending = tuple(
            Planned(step=step, in_force=False, statements=step.apply()) for step in steps if step.key not in done
        )
        return _outline(connection, "balances install", pending)


def backfill_balances(
    target: Target, spec: Spec, options: BalancesOptions | None = None, watcher: Watcher | None = None
) -> Result:
    """Bring the balances in step with their ledgers while writers go on, and fold slots that are left.

    Raises Refused where they are not installed, Failed or Interrupted where it stopped part-way; the same call then
    goes on.
    """
    options, watcher, run = options or BalancesOptions(), watcher or Nobody(), new_run()
    watcher.began("balances backfill", run)
    with opened(target, run=run, purpose="balances", watcher=watcher) as connection, hold_run_lock(connection):
        session = Session.begin(target, connection, spec)
        chosen = subjects(session, options)
        refuse_not_installed(session, chosen)
        session.journal.begin_run(run, "balances backfill")
        started, corrected, halt = time.monotonic(), 0, threading.Event()
        budget = options.lock_budget or spec.locks.budget

        def interrupt() -> None:
            watcher.said("Stopping after the batch in hand; Ctrl-C again stops at once …")
            halt.set()
            connection.cancel_safe(timeout=5.0)

        with end_noted(session.journal, run), interruptible(interrupt):
            for subject in chosen:
                watcher.looking(f"the movements of {subject.ledger.table}")
                work = Backfill(
                    ledger=subject.ledger, connection=connection, progress=watcher, workers=options.workers,
                    connections=lambda purpose: connect(target, run=run, purpose=purpose), budget=budget, stop=halt,
                )  # fmt: skip
                corrected += work.run(subject.triggers)
                compact(connection, subject.ledger, stop=halt)
        outcome = (
            f"{corrected} balances corrected; "
            + ("the balances are" if len(chosen) == 1 else f"{len(chosen)} balances are")
            + " in step"
        )
        session.journal.finish_run(run, exit_status=ExitStatus.DONE, outcome=outcome)
    result = Result(
        command="balances backfill", run=run, exit_status=ExitStatus.DONE, outcome=outcome, rows=corrected,
        seconds=time.monotonic() - started,
    )  # fmt: skip
    watcher.concluded(result.outcome, result.next_step)
    return result


def validate_balances(
    target: Target, spec: Spec, options: BalancesOptions | None = None, watcher: Watcher | None = None
) -> tuple[Line, ...]:
    """Whether all is there and the balances equal their ledgers. Changes nothing, takes no lock."""
    watcher, run = watcher or Nobody(), new_run()
    watcher.began("balances validate", run)
    with opened(target, run=run, purpose="balances", watcher=watcher) as connection:
        session = Session.begin(target, connection, spec)
        lines: list[Line] = []
        for subject in subjects(session, options or BalancesOptions()):
            watcher.looking(f"the balances of {subject.ledger.table}")
            lines += inspect(connection, subject.ledger, subject.steps)
    failed = [line for line in lines if not line.holds]
    for line in failed:
        watcher.found(_finding(line))
    outcome = f"{len(failed)} of {len(lines)} checks failed" if failed else f"all {len(lines)} checks passed"
    watcher.concluded(outcome, failed[0].remedy if failed else "")
    return tuple(lines)


def _finding(line: Line) -> Finding:
    samples = ({**one.key, "quantity": one.quantity, "movements": one.movements} for one in line.differences)
    return Finding(
        name=f"balance-{line.name}", severity=Severity.ERROR, table=line.table, message=line.message,
        remedy=line.remedy, count=line.count, samples=tuple(samples),
    )  # fmt: skip


def compact_balances(target: Target, spec: Spec, options: BalancesOptions | None = None) -> dict[Name, int]:
    """Fold the slots that writers have left; how many rows are gone, by ledger. Beside any other run."""
    with opened(target, purpose="balances") as connection:
        session = Session.begin(target, connection, spec)
        chosen = subjects(session, options or BalancesOptions())
        refuse_not_installed(session, chosen)
        return {subject.ledger.table: compact(connection, subject.ledger) for subject in chosen}


def empty_ledger(target: Target, spec: Spec, options: BalancesOptions, watcher: Watcher | None = None) -> Statement:
    """TRUNCATE a ledger and take its rows out of the balances, in one transaction.

    Raises UsageError where the spec has several and none is named.
    """
    watcher, run = watcher or Nobody(), new_run()
    watcher.began("balances empty", run)
    with opened(target, run=run, purpose="balances", watcher=watcher) as connection, hold_run_lock(connection):
        session = Session.begin(target, connection, spec)
        statement = _truncation(session, options)
        session.journal.begin_run(run, "balances empty --confirm")
        with end_noted(session.journal, run):
            run_together(
                connection, [statement], patience=_patience(spec, options), prepare=lambda: _set_emptying(connection)
            )
        session.journal.finish_run(run, exit_status=ExitStatus.DONE, outcome="the ledger is empty")
    watcher.concluded("the ledger is empty", "")
    return statement


def preview_empty(target: Target, spec: Spec, options: BalancesOptions) -> Statement:
    """The statement that empty would run. Changes nothing."""
    with opened(target, purpose="plan") as connection:
        return _truncation(Session.begin(target, connection, spec), options)


def _truncation(session: Session, options: BalancesOptions) -> Statement:
    """TRUNCATE, with its lock on the table and each partition."""
    chosen = subjects(session, options)
    if len(chosen) != 1:
        raise UsageError("The spec has several ledgers", remedy="Name the one to be emptied: --ledger TABLE.")
    refuse_not_installed(session, chosen)
    ledger = chosen[0].ledger
    locks = tuple(Lock(name, LockMode.ACCESS_EXCLUSIVE) for name in ledger.relations)
    return Statement(sql=sql.SQL("TRUNCATE {}").format(ledger.table.identifier), locks=locks)


def _set_emptying(connection: psycopg.Connection[Any]) -> None:
    connection.execute(sql.SQL("SELECT pg_catalog.set_config({}, 'on', true)").format(sql.Literal(EMPTYING)))


def remove_balances(
    target: Target, spec: Spec, options: BalancesOptions | None = None, watcher: Watcher | None = None
) -> Result:
    """Take away all that install made; needs the spec for the limits of locks only: the journal knows.

    Raises Refused where something of the user's depends on the view, Failed where it stopped part-way.
    """
    options, watcher, run = options or BalancesOptions(), watcher or Nobody(), new_run()
    watcher.began("balances remove", run)
    with opened(target, run=run, purpose="balances", watcher=watcher) as connection, hold_run_lock(connection):
        session = Session.begin(target, connection, spec)
        entries = _entries(session.journal, spec, options)
        _refuse_dependents(connection, session.journal, entries)
        tally = Tally(watcher)
        runner = make_runner(session, run, watcher, tally, _migrating(options))
        started = time.monotonic()
        with (
            _noted(session.journal, run, "balances remove --confirm", entries),
            interruptible(lambda: stop(runner, watcher)),
        ):
            reverted = Reverting(runner=runner, dependents=lambda step: ()).all(entries)
        outcome = f"{reverted} steps reverted" if reverted else "no balances were there"
        if entries:
            session.journal.finish_run(run, exit_status=ExitStatus.DONE, outcome=outcome)
    result = Result(
        command="balances remove", run=run, exit_status=ExitStatus.DONE, outcome=outcome, applied=reverted,
        seconds=time.monotonic() - started, longest_lock=tally.longest_lock, retries=tally.retries,
    )  # fmt: skip
    watcher.concluded(result.outcome, result.next_step)
    return result


@contextmanager
def _noted(journal: Journal, run: str, command: str, entries: list[Entry]) -> Iterator[None]:
    if not entries:
        yield
        return
    journal.begin_run(run, command)
    with end_noted(journal, run):
        yield


def preview_remove(target: Target, spec: Spec, options: BalancesOptions | None = None) -> Outline:
    """What remove would do. Changes nothing."""
    with opened(target, purpose="plan") as connection:
        entries = _entries(Journal(connection), spec, options or BalancesOptions())
        planned = []
        for entry in sorted(entries, key=lambda entry: entry.position, reverse=True):
            step = from_json(entry.value)
            planned.append(Planned(step=step, in_force=False, statements=step.revert(entry.before)))
        return _outline(connection, "balances remove", tuple(planned))


# --- what all of them begin with


def subjects(session: Session, options: BalancesOptions) -> tuple[Subject, ...]:
    """The ledgers that are meant, with their steps. Raises UsageError, Refused."""
    resolver = Ledgers(session.connection, session.spec, session.plan.ownership, session.entries)
    found = resolver.read(slots=options.slots)
    if options.ledger is not None:
        wanted = Name.parse(options.ledger, schema=session.spec.schemas[0])
        chosen = tuple(ledger for ledger in found if ledger.table == wanted)
        if not chosen:
            names = [str(ledger.table) for ledger in found]
            raise UsageError(f"the spec has no ledger {wanted}{nearest(str(wanted), names)}")
        found = chosen
    return tuple(Subject(ledger=ledger, steps=balance_steps(ledger, resolver.readers(ledger))) for ledger in found)


def refuse_not_installed(session: Session, chosen: tuple[Subject, ...]) -> None:
    tables = [subject.steps[0] for subject in chosen]
    there = definitions(session.connection, tables)
    missing = [str(step.table) for step in tables if there[step.key] is None or step.key not in session.entries]
    if missing:
        raise Refused(f"There are no balances of {', '.join(missing)}", remedy="Run `tenantry balances install`.")


def _entries(journal: Journal, spec: Spec, options: BalancesOptions) -> list[Entry]:
    entries = journal.entries()
    known = installed(entries)
    wanted = None
    if options.ledger is not None:
        wanted = Name.parse(options.ledger, schema=spec.schemas[0])
        if wanted not in known:
            raise UsageError(f"there are no balances of {wanted}{nearest(str(wanted), [str(name) for name in known])}")
    return [
        entry for entry in entries.values()
        if isinstance(step := from_json(entry.value), BALANCE_STEPS) and wanted in (None, step.table)
    ]  # fmt: skip


def _refuse_dependents(connection: psycopg.Connection[Any], journal: Journal, entries: list[Entry]) -> None:
    """Raises Refused where somebody's view reads the balances: it would have to go first."""
    views = {from_json(entry.value).ledger.balance for entry in entries}  # type: ignore[attr-defined]
    for view in views:
        query = sql.SQL(
            "SELECT DISTINCT r.ev_class::pg_catalog.regclass::text FROM pg_catalog.pg_depend d"
            " JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid WHERE d.classid = 'pg_rewrite'::pg_catalog.regclass"
            " AND d.refclassid = 'pg_class'::pg_catalog.regclass AND d.refobjid = {0} AND r.ev_class <> {0} ORDER BY 1"
        ).format(view.oid)
        if names := [name for (name,) in connection.execute(query)]:
            raise Refused(
                f"{view} is read by {', '.join(names)}", remedy="Drop them first, and make them again from the ledger."
            )


def _outline(connection: psycopg.Connection[Any], command: str, steps: tuple[Planned, ...]) -> Outline:
    version = connection.info.server_version
    return Outline(
        command=command, database=connection.info.dbname, server=f"PostgreSQL {version // 10000}.{version % 10000}",
        steps=steps, undecided={},
    )  # fmt: skip


def _migrating(options: BalancesOptions) -> MigrateOptions:
    return MigrateOptions(lock_timeout=options.lock_timeout, lock_budget=options.lock_budget)


def _patience(spec: Spec, options: BalancesOptions) -> Patience:
    return Patience(timeout=options.lock_timeout or spec.locks.timeout, budget=options.lock_budget or spec.locks.budget)
