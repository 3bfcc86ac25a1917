"""What validate and verify share: families yield checks, the checks read the rows, the findings become a verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import psycopg

from tenantry.checks.base import Check, CheckContext, FamilyOf
from tenantry.checks.completeness import distributions, empty_tenants, slugs, spread
from tenantry.checks.runner import Examined, examine
from tenantry.checks.session_pool import Stop
from tenantry.commands.running import interruptible, run
from tenantry.errors import ExitStatus, UsageError, nearest
from tenantry.execution.events import Distributed, Found, Looking, Observer, Said
from tenantry.execution.session import Session, open_session
from tenantry.model.distribution import Distribution
from tenantry.model.finding import Family, Finding, Severity
from tenantry.model.name import Name
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.model.verdict import FamilyVerdict, Verdict, accepted, by_severity, serious
from tenantry.model.wording import counted
from tenantry.postgres.connect import Target
from tenantry.postgres.locks import run_lock_held
from tenantry.postgres.owner_context import set_read_only
from tenantry.postgres.preflight import in_recovery, read_hidden
from tenantry.postgres.session import set_uncounted

SAMPLES = 20
Families = Sequence[tuple[Family, FamilyOf]]


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

    Raises UsageError where the spec does not fit the database or a table does not exist, ConnectionFailed without a
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
            grounded(target, spec, options, current.observer, stop, run=current.id, purpose=command) as ground,
        ):
            if run_lock_held(current.connection):
                current.observer(
                    Said("Another run is active: what it has not applied yet is reported as missing here.")
                )
            verdict = verdict_of(ground, families, command, next_step, current.observer, stop)
        current.finish(verdict.outcome, verdict.next_step, exit_status=verdict.exit_status)
    return verdict


@contextmanager
def grounded(
    target: Target, spec: Spec, options: InspectionOptions, observer: Observer, stop: Stop, *, run: str, purpose: str
) -> Iterator[CheckContext]:
    """The context of the checks, with a read-only connection for the block, whose statements `stop` cancels."""
    observer(Looking("the schema and the journal"))
    with open_session(target, run=run, purpose=f"{purpose} catalog") as connection:
        set_read_only(connection)
        set_uncounted(connection)
        stop.also(connection)
        session = Session.begin(target, connection, spec, lenient=True, live=True)
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
        observer(Looking(at))

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


def verdict_of(
    ground: CheckContext, families: Families, command: str, next_step: str, observer: Observer, stop: Stop
) -> Verdict:
    """Run all families, report findings to `observer`, and return a verdict. Raises Interrupted after a stop."""
    began = time.monotonic()
    try:
        asked = [(family, list(function(ground))) for family, function in families]
        checks = [
            one for _, found in asked for one in found if isinstance(one, Check) and not one.reads & ground.hidden
        ]
        observer(Looking("the rows"))
        examined = examine(ground, checks, stop)
        known = slugs(ground)
        shares, more = _spread(ground, families, examined, known)
    except psycopg.errors.QueryCanceled as error:
        stop.halt()
        raise error
    stop.halt()
    found = (
        *(one for _, several in asked for one in several if isinstance(one, Finding)),
        *(_named(finding, known) for finding in examined.findings),
        *more,
    )
    findings = by_severity(accepted(found, ground.spec))
    for share in shares:
        observer(Distributed(share))
    for finding in findings:
        observer(Found(finding))
    bad = serious(findings)
    rows = sum(sum(counts.values()) for counts in examined.rows.values())
    return Verdict(
        command=command, run=ground.run, exit_status=ExitStatus.FINDINGS if bad else ExitStatus.DONE,
        outcome=_outcome(ground, findings, bad, len(checks)), next_step=_next(bad, next_step, command),
        families=tuple(_of_family(ground, *one, checks, bad) for one in asked),
        findings=findings, distributions=shares, tables=len(examined.rows), rows=rows,
        seconds=time.monotonic() - began,
    )  # fmt: skip


def _of_family(
    ground: CheckContext, family: Family, found: list[Check | Finding], checks: list[Check], bad: tuple[Finding, ...]
) -> FamilyVerdict:
    return FamilyVerdict(
        family=family, findings=sum(finding.family is family for finding in bad),
        checks=sum(check.family is family for check in checks),
        skipped=sum(isinstance(one, Check) and bool(one.reads & ground.hidden) for one in found),
        waits_for=_waits_for(ground, family),
    )  # fmt: skip


def _waits_for(ground: CheckContext, family: Family) -> Phase | None:
    of_policies = family in (Family.ISOLATION, Family.PERFORMANCE)
    return Phase.ISOLATE if of_policies and not ground.reached(Phase.ISOLATE) else None


def _named(finding: Finding, known: Mapping[str, str]) -> Finding:
    """The finding with the slugs of its tenants."""
    return replace(finding, tenants={known.get(key, key): rows for key, rows in finding.tenants.items()})


def _spread(
    ground: CheckContext, families: Families, examined: Examined, known: Mapping[str, str]
) -> tuple[tuple[Distribution, ...], tuple[Finding, ...]]:
    """The distribution of the rows, which belongs to completeness."""
    shares = distributions(ground, examined.rows, known)
    if Family.COMPLETENESS not in dict(families):
        return shares, ()
    return shares, (*spread(ground, shares, known), *empty_tenants(ground, examined.rows, known))


def _outcome(ground: CheckContext, findings: tuple[Finding, ...], bad: tuple[Finding, ...], checks: int) -> str:
    where = "" if ground.tables is None else f" in {', '.join(map(str, sorted(ground.tables)))}"
    if not bad:
        accepted_ones = sum(finding.severity is Severity.ACCEPTED for finding in findings)
        stays = f", and {counted(accepted_ones, 'accepted finding')}" if accepted_ones else ""
        return f"nothing was found wrong{where}{stays}; {checks} checks of the rows"
    counts = ((sum(finding.severity is severity for finding in bad), severity) for severity in Severity)
    return " and ".join(counted(count, word) for count, word in counts if count) + where


def _next(bad: tuple[Finding, ...], next_step: str, command: str) -> str:
    if not bad:
        return next_step
    return f"Follow the remedy of each finding, from the first one on; then run `tenantry {command}` again."
