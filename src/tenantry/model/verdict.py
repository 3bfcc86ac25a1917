"""The results of validate and verify."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from tenantry.errors import ExitStatus
from tenantry.model.distribution import Distribution
from tenantry.model.finding import Family, Finding, Severity
from tenantry.model.name import Name
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyVerdict:
    """The result of one family: how many of its checks read the rows, how many could not, as the rows may be hidden
    from the operator, and how many findings there are, without those of severity info. `waits_for` is the phase before
    which its checks do not apply."""

    family: Family
    checks: int
    findings: int
    skipped: int = 0
    waits_for: Phase | None = None

    @property
    def passed(self) -> bool:
        return self.findings == 0 and self.skipped == 0 and self.waits_for is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`findings` are sorted, the worst first; `rows` were read in `tables`; time in seconds."""

    command: str
    run: str
    exit_status: ExitStatus
    outcome: str
    next_step: str
    families: tuple[FamilyVerdict, ...]
    findings: tuple[Finding, ...]
    distributions: tuple[Distribution, ...] = ()
    tables: int = 0
    rows: int = 0
    seconds: float = 0.0


def by_severity(findings: Iterator[Finding] | tuple[Finding, ...]) -> tuple[Finding, ...]:
    """The worst first; of one severity in the order of families."""
    severities, families = list(Severity), list(Family)
    return tuple(
        sorted(findings, key=lambda one: (severities.index(one.severity), families.index(one.family or families[0])))
    )


def serious(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Those that are more than information and not accepted."""
    return tuple(finding for finding in findings if finding.severity.serious)


def accepted(findings: Iterable[Finding], spec: Spec) -> Iterator[Finding]:
    """The findings, with those that the spec accepts marked as accepted, with the reason. A finding that stops a run
    cannot be accepted."""
    parts: dict[tuple[str, Name | None], str] = {}
    for part in spec.accept:
        table = None if part.table is None else Name.parse(part.table, schema=spec.schemas[0])
        parts[part.check, table] = part.reason
    for finding in findings:
        reason = parts.get((finding.name, finding.table), parts.get((finding.name, None)))
        if reason is None or finding.refuses or not finding.severity.serious:
            yield finding
        else:
            message = f"{finding.message} (accepted: {reason})"
            yield replace(finding, severity=Severity.ACCEPTED, message=message, remedy="")
