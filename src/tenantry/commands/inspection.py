"""What validate and verify share: families yield checks, the checks read the rows, the findings become a verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tenantry.checks.base import CheckContext
from tenantry.checks.session_pool import Stop
from tenantry.checks.verdict import Families, verdict_of
from tenantry.commands.running import interruptible, run
from tenantry.errors import UsageError, nearest
from tenantry.execution.events import Notice, Observer, Reading
from tenantry.execution.session import Session, open_session
from tenantry.model.name import Name
from tenantry.model.spec import Spec
from tenantry.model.verdict import Verdict
from tenantry.postgres.citus import allow_repartition_joins
from tenantry.postgres.connect import Target
from tenantry.postgres.locks import run_lock_held
from tenantry.postgres.owner_context import set_read_only
from tenantry.postgres.preflight import in_recovery, read_hidden
from tenantry.postgres.session import set_uncounted

SAMPLES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectionOptions:
    """`tables` as in SQL, empty for all; `samples` of the rows that violate a check; `detailed` for figures by tenant.
    `application` is where the application connects to; with None its role is used over tenantry's own connection."""

    tables: tuple[str, ...] = ()
    samples: int = SAMPLES
    detailed: bool = False
    application: Target | None = None


def inspect(
    target: Target, spec: Spec, families: Families, options: InspectionOptions | None = None,
    observer: Observer | None = None, *, command: str, next_step: str,
) -> Verdict:  # fmt: skip
    """Run the checks of `families`. Changes nothing of the user's; the journal, if there is one, records the run.

    Raises UsageError if the spec does not fit the database or a table does not exist, ConnectionFailed without a
    connection or privileges, Interrupted after Ctrl-C.
    """
    options, stop = options or InspectionOptions(), Stop()
    # The first connection is for the journal alone: all others are read-only.
    with run(target, command, purpose=command, observer=observer, locks=False) as current:
        if current.journal.installed:
            words = " ".join(f"--table {table}" for table in options.tables)
            # A standby cannot be written to, and a role that can only read can validate all the same.
            current.begin(options=words, partial=bool(options.tables), lenient=True)
        with (
            interruptible(stop),
            open_check_context(
                target, spec, options, current.observer, stop, run=current.id, purpose=command
            ) as context,
        ):
            if run_lock_held(current.connection):
                current.observer(
                    Notice("Another run is active: what it has not applied yet is reported as missing here.")
                )
            verdict = verdict_of(context, families, command, next_step, current.observer, stop)
        current.finish(verdict.outcome, verdict.next_step, exit_status=verdict.exit_status)
    return verdict


@contextmanager
def open_check_context(
    target: Target, spec: Spec, options: InspectionOptions, observer: Observer, stop: Stop, *, run: str, purpose: str
) -> Iterator[CheckContext]:
    """The context of the checks, with a read-only connection for the block, whose statements `stop` cancels."""
    observer(Reading("the schema and the journal"))
    with open_session(target, run=run, purpose=f"{purpose} catalog") as connection, stop.interrupting():
        set_read_only(connection)
        set_uncounted(connection)
        stop.also(connection)
        session = Session.begin(target, connection, spec, lenient=True, live=True)
        if any(step.engine for step in session.plan.steps):
            allow_repartition_joins(connection)
        yield CheckContext(
            target=target, connection=connection, spec=spec, schema=session.schema, plan=session.plan,
            live=session.live, entries=session.entries, run=run,
            tables=_tables(options, session), samples=options.samples, detailed=options.detailed,
            looking=_looking(observer, stop), application=options.application,
            hidden=frozenset(read_hidden(connection)),
            opened=stop.also, standby=in_recovery(connection),
        )  # fmt: skip


def _looking(observer: Observer, stop: Stop) -> Callable[[str], None]:
    """Reports the current check, unless a stop was asked for."""

    def look(at: str) -> None:
        stop.halt()
        observer(Reading(at))

    return look


def _tables(options: InspectionOptions, session: Session) -> frozenset[Name] | None:
    if not options.tables:
        return None
    known, tenant = session.schema.tables, session.plan.ownership.tenant.name
    found = set()
    for text in options.tables:
        name = Name.parse(text, schema=session.spec.schemas[0])
        if name not in known and name != tenant:
            raise UsageError(f"--table: the table {name} does not exist{nearest(str(name), map(str, known))}")
        found.add(name)
    return frozenset(found)
