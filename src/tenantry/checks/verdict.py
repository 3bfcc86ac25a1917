"""What families of checks have found, as one verdict."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tenantry.checks.base import Check, CheckContext, FamilyOf
from tenantry.checks.completeness import distributions, empty_tenants, slugs, spread
from tenantry.checks.runner import Examined, examine
from tenantry.checks.session_pool import Stop
from tenantry.errors import ExitStatus
from tenantry.execution.events import Distributed, FindingReported, Observer, Reading
from tenantry.model.distribution import Distribution
from tenantry.model.finding import Family, Finding, Severity
from tenantry.model.plan import Phase
from tenantry.model.verdict import FamilyVerdict, Verdict, accepted, by_severity, serious
from tenantry.model.wording import counted

Families = Sequence[tuple[Family, FamilyOf]]


def verdict_of(
    context: CheckContext, families: Families, command: str, next_step: str, observer: Observer, stop: Stop
) -> Verdict:
    """Run all families, report findings to `observer`, and return a verdict. Raises Interrupted after a stop."""
    began = time.monotonic()
    asked = [(family, list(function(context))) for family, function in families]
    checks = [one for _, found in asked for one in found if isinstance(one, Check) and not one.reads & context.hidden]
    observer(Reading("the rows"))
    examined = examine(context, checks, stop)
    known = slugs(context)
    shares, more = _spread(context, families, examined, known)
    stop.halt()
    found = (
        *(one for _, several in asked for one in several if isinstance(one, Finding)),
        *(_named(finding, known) for finding in examined.findings),
        *more,
    )
    findings = by_severity(accepted(found, context.spec))
    for share in shares:
        observer(Distributed(share))
    for finding in findings:
        observer(FindingReported(finding))
    bad = serious(findings)
    rows = sum(sum(counts.values()) for counts in examined.rows.values())
    return Verdict(
        command=command, run=context.run, exit_status=ExitStatus.FINDINGS if bad else ExitStatus.DONE,
        outcome=_outcome(context, findings, bad, len(checks)), next_step=_next(bad, next_step, command),
        families=tuple(_of_family(context, *one, checks, bad) for one in asked),
        findings=findings, distributions=shares, tables=len(examined.rows), rows=rows,
        seconds=time.monotonic() - began,
    )  # fmt: skip


def _of_family(
    context: CheckContext, family: Family, found: list[Check | Finding], checks: list[Check], bad: tuple[Finding, ...]
) -> FamilyVerdict:
    return FamilyVerdict(
        family=family, findings=sum(finding.family is family for finding in bad),
        checks=sum(check.family is family for check in checks),
        skipped=sum(isinstance(one, Check) and bool(one.reads & context.hidden) for one in found),
        waits_for=_waits_for(context, family),
    )  # fmt: skip


def _waits_for(context: CheckContext, family: Family) -> Phase | None:
    of_policies = family in (Family.ISOLATION, Family.PERFORMANCE)
    return Phase.ISOLATE if of_policies and not context.reached(Phase.ISOLATE) else None


def _named(finding: Finding, known: Mapping[str, str]) -> Finding:
    """The finding with the slugs of its tenants."""
    return replace(finding, tenants={known.get(key, key): rows for key, rows in finding.tenants.items()})


def _spread(
    context: CheckContext, families: Families, examined: Examined, known: Mapping[str, str]
) -> tuple[tuple[Distribution, ...], tuple[Finding, ...]]:
    """The distribution of the rows, which belongs to completeness."""
    shares = distributions(context, examined.rows, known)
    if Family.COMPLETENESS not in dict(families):
        return shares, ()
    return shares, (*spread(context, shares, known), *empty_tenants(context, examined.rows, known))


def _outcome(context: CheckContext, findings: tuple[Finding, ...], bad: tuple[Finding, ...], checks: int) -> str:
    where = "" if context.tables is None else f" in {', '.join(map(str, sorted(context.tables)))}"
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
