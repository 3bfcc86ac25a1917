"""Which ledgers of a spec a command is for, and which of their balances are installed."""

from __future__ import annotations

from collections.abc import Sequence

from tenantry.balances.ledgers import Ledgers, Subject, balance_steps
from tenantry.errors import Refused, UsageError, nearest
from tenantry.execution.existing import definitions, read_entries
from tenantry.execution.renames import current_names
from tenantry.execution.session import Session
from tenantry.model.ledger import Ledger
from tenantry.model.name import Name
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.journal import Entry, Journal
from tenantry.steps import from_json
from tenantry.steps.balance import BalanceStep


def selected_ledgers(session: Session, ledger: str | None = None, slots: int | None = None) -> tuple[Subject, ...]:
    """The `ledger` of this name, or all, with their steps as the spec wants them; `slots` in place of its hot_keys.
    Raises UsageError, Refused."""
    resolver = Ledgers(session.connection, session.spec, session.entries, session.plan.ownership)
    return tuple(Subject(ledger=one, steps=_planned_steps(resolver, one)) for one in _meant(resolver, ledger, slots))


def _planned_steps(resolver: Ledgers, ledger: Ledger) -> tuple[BalanceStep, ...]:
    """The steps of a ledger, up to the phase that the migration of its table has reached: isolate lets the application
    read it."""
    isolated = resolver.isolated(ledger.table)
    return tuple(step for step in resolver.steps(ledger) if isolated or step.phase is not Phase.ISOLATE)


def orphans(session: Session, chosen: Sequence[Subject]) -> list[Entry]:
    """The steps of these ledgers that are in the journal and no longer in the spec."""
    wanted = {step.key for subject in chosen for step in subject.steps}
    tables = {subject.ledger.table for subject in chosen}
    return [
        entry for entry in session.entries.values()
        if (ledger := from_json(entry.value).keeps) is not None and ledger.table in tables and entry.key not in wanted
    ]  # fmt: skip


def installed_subjects(
    journal: Journal, spec: Spec, ledger: str | None = None, slots: int | None = None
) -> tuple[Subject, ...]:
    """The chosen ledgers, which must have balances. Only their tables are read: for a large schema, reading all tables
    would take most of the time of a reconciliation. Raises UsageError; Refused if one has no balances."""
    entries = current_names(read_entries(journal)).entries
    resolver = Ledgers(journal.connection, spec, entries)
    chosen = tuple(Subject(ledger=one, steps=balance_steps(one)) for one in _meant(resolver, ledger, slots))
    tables = [subject.steps[0] for subject in chosen]
    there = definitions(journal.connection, tables)
    missing = [str(step.table) for step in tables if there[step.key] is None or step.key not in entries]
    if missing:
        raise Refused(f"There are no balances of {', '.join(missing)}", remedy="Run `tenantry balances install`.")
    return chosen


def _meant(resolver: Ledgers, ledger: str | None, slots: int | None) -> tuple[Ledger, ...]:
    found = resolver.read(slots=slots)
    if ledger is None:
        return found
    wanted = Name.parse(ledger, schema=resolver.spec.schemas[0])
    chosen = tuple(one for one in found if one.table == wanted)
    if not chosen:
        names = [str(one.table) for one in found]
        raise UsageError(f"the spec has no ledger {wanted}{nearest(str(wanted), names)}")
    return chosen
