"""balances: empty and remove."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import sql

from tenantry.backups.create import BackupRun
from tenantry.backups.create import ensure_backup as back_up
from tenantry.backups.estimate import BackupEstimate, estimate_backup
from tenantry.balances.ledgers import installed
from tenantry.balances.selection import installed_subjects
from tenantry.commands.balances import BalancesOptions, migrating, outline
from tenantry.commands.running import interruptible, run
from tenantry.errors import ExitStatus, Refused, UsageError, nearest
from tenantry.execution.events import Observer
from tenantry.execution.existing import read_entries
from tenantry.execution.outline import Outline, PlannedStep
from tenantry.execution.renames import current_names, settle
from tenantry.execution.rollback.executor import Reverting, backwards
from tenantry.execution.runs import RunCounts, make_runner, stop
from tenantry.execution.session import Session, open_session
from tenantry.execution.transaction import LockPolicy, run_in_transaction
from tenantry.model.backup import Reason
from tenantry.model.name import Name
from tenantry.model.plan import Lock, LockMode, Statement
from tenantry.model.run import Result
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target
from tenantry.postgres.journal import Entry, Journal
from tenantry.steps import from_json
from tenantry.steps.balance_functions import EMPTYING


def empty_ledger(target: Target, spec: Spec, options: BalancesOptions, observer: Observer | None = None) -> Statement:
    """TRUNCATE a ledger and delete its rows from the balances, in one transaction, after a backup of it.

    Raises UsageError if the spec has several and none is chosen, Refused if the backup needs a decision.
    """
    with run(target, "balances empty", purpose="balances", observer=observer) as current:
        connection = current.connection
        ledger, statement = _truncation(current.journal, spec, options)
        current.begin(options="--confirm")
        making = BackupRun(
            target=target, connection=connection, run=current.id, options=options.backup, observer=current.observer
        )
        back_up(making, Reason.EMPTYING, [ledger], changes=True)
        run_in_transaction(
            connection, [statement], patience=_patience(spec, options), prepare=lambda: _set_emptying(connection)
        )
        current.finish("the ledger was emptied")
    return statement


def preview_empty(target: Target, spec: Spec, options: BalancesOptions) -> tuple[Statement, BackupEstimate | None]:
    """The statement that empty would run, and the backup before it. Changes nothing."""
    with open_session(target, purpose="plan") as connection:
        ledger, statement = _truncation(Journal(connection), spec, options)
        return statement, estimate_backup(connection, [ledger], options.backup)


def _truncation(journal: Journal, spec: Spec, options: BalancesOptions) -> tuple[Name, Statement]:
    """The ledger, and TRUNCATE with its lock on the table and each partition."""
    chosen = installed_subjects(journal, spec, options.ledger, options.slots)
    if len(chosen) != 1:
        raise UsageError("The spec has several ledgers", remedy="Choose the one to empty: --ledger TABLE.")
    ledger = chosen[0].ledger
    locks = tuple(Lock(name, LockMode.ACCESS_EXCLUSIVE) for name in ledger.relations)
    return ledger.table, Statement(sql=sql.SQL("TRUNCATE {}").format(ledger.table.identifier), locks=locks)


def _set_emptying(connection: psycopg.Connection[Any]) -> None:
    connection.execute(sql.SQL("SELECT pg_catalog.set_config({}, 'on', true)").format(sql.Literal(EMPTYING)))


def remove_balances(
    target: Target, spec: Spec, options: BalancesOptions | None = None, observer: Observer | None = None
) -> Result:
    """Remove all that install created; uses the spec for the limits of locks only, and the journal for the rest.

    Raises Refused if objects of others depend on the view, Failed if it stopped part-way.
    """
    options = options or BalancesOptions()
    with run(target, "balances remove", purpose="balances", observer=observer) as current:
        session = Session.begin(target, current.connection, spec)
        entries = _entries(session.entries, spec, options)
        _refuse_dependents(current.connection, session.journal, entries)
        tally = RunCounts(current.observer)
        runner = make_runner(session, current.id, current.observer, tally, migrating(options))
        started = time.monotonic()
        if entries:
            current.begin(options="--confirm")
            settle(session.journal, session.current_names)
        with interruptible(lambda: stop(runner, current.observer)):
            reverted = Reverting(runner=runner, dependents=lambda step: ()).all(entries)
        outcome = f"{reverted} steps reverted" if reverted else "there were no balances"
        current.finish(outcome)
    return Result(
        command="balances remove", run=current.id, exit_status=ExitStatus.DONE, outcome=outcome, applied=reverted,
        seconds=time.monotonic() - started, longest_lock=tally.longest_lock, retries=tally.retries,
    )  # fmt: skip


def preview_remove(target: Target, spec: Spec, options: BalancesOptions | None = None) -> Outline:
    """What remove would do. Changes nothing."""
    with open_session(target, purpose="plan") as connection:
        entries = _entries(current_names(read_entries(Journal(connection))).entries, spec, options or BalancesOptions())
        planned = []
        for entry in sorted(entries, key=backwards):
            step = from_json(entry.value)
            planned.append(PlannedStep(step=step, in_force=False, statements=step.revert(entry.before)))
        return outline(connection, "balances remove", tuple(planned))


def _entries(entries: Mapping[str, Entry], spec: Spec, options: BalancesOptions) -> list[Entry]:
    ledgers, wanted = installed(entries), None
    if options.ledger is not None:
        wanted = Name.parse(options.ledger, schema=spec.schemas[0])
        if wanted not in ledgers:
            raise UsageError(f"{wanted} has no balances{nearest(str(wanted), map(str, ledgers))}")
    return [
        entry for entry in entries.values()
        if (ledger := from_json(entry.value).keeps) is not None and wanted in (None, ledger.table)
    ]  # fmt: skip


def _refuse_dependents(connection: psycopg.Connection[Any], journal: Journal, entries: list[Entry]) -> None:
    """Raises Refused if a view of others reads the balances: it would have to be dropped first."""
    views = {ledger.balance for entry in entries if (ledger := from_json(entry.value).keeps) is not None}
    for view in views:
        query = sql.SQL(
            "SELECT DISTINCT r.ev_class::pg_catalog.regclass::text FROM pg_catalog.pg_depend d"
            " JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid WHERE d.classid = 'pg_rewrite'::pg_catalog.regclass"
            " AND d.refclassid = 'pg_class'::pg_catalog.regclass AND d.refobjid = {0} AND r.ev_class <> {0} ORDER BY 1"
        ).format(view.oid)
        if names := [name for (name,) in connection.execute(query)]:
            raise Refused(
                f"{', '.join(names)} read{'s' if len(names) == 1 else ''} from {view}",
                remedy="Drop them first, and create them again to read from the ledger.",
            )


def _patience(spec: Spec, options: BalancesOptions) -> LockPolicy:
    return LockPolicy(
        timeout=options.lock_timeout or spec.locks.timeout, budget=options.lock_budget or spec.locks.budget
    )
