"""The lists of a report, collected during the run: limited in length, without secrets, with a count of what is left
out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tenantry.errors import TenantryError
from tenantry.model.distribution import Distribution
from tenantry.model.finding import Finding, Severity
from tenantry.postgres.dsn import masked_value
from tenantry.reports.document import plain
from tenantry.reports.measures import Measures
from tenantry.reports.report import (
    Action,
    Counted,
    Entry,
    Error,
    ReportedFinding,
    Share,
    Statement,
    TableRows,
    Wait,
)  # fmt: skip
from tenantry.reports.text import LONGEST, bounded

ENTRIES, WAITS, FINDINGS, DETAILS, TENANTS = 5_000, 1_000, 500, 100, 50
"""The maximum number of entries in each list of a report, and of findings of each severity."""
WORTH = 100.0
"""Milliseconds from which on a wait for a lock is listed in the report."""


@dataclass(slots=True, kw_only=True)
class CurrentWait:
    """A wait of the action in progress."""

    at: float
    last: float
    tries: int = 1
    behind: int = 0
    blocked_by: dict[str, None] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class CurrentAction:
    """The action in progress; `at` in milliseconds since the run began."""

    at: float
    title: str
    key: str | None = None
    phase: str | None = None
    table: str | None = None
    rows: int | None = None
    statements: list[Statement] = field(default_factory=list)
    waiting: CurrentWait | None = None

    def __str__(self) -> str:
        return f"{self.table}: {self.title}" if self.table is not None else self.title

    def blocked(
        self, now: float, since: float, blockers: Iterable[str], *, behind: int = 0, retried: bool = False
    ) -> None:
        """It waits for `blockers`, or others wait for it; `retried` after an attempt that has failed."""
        waiting = self.waiting = self.waiting or CurrentWait(at=max(self.at, min(since, now)), last=now)
        waiting.last = max(waiting.last, now)
        waiting.tries += retried
        waiting.behind = max(waiting.behind, behind)
        waiting.blocked_by.update(dict.fromkeys(blockers))


class Gathering:
    """The lists of a report."""

    def __init__(self, *, secrets: Sequence[str], samples: int) -> None:
        self.secrets, self.samples = tuple(secrets), samples
        self.measures = Measures()
        self.timeline: list[Entry] = []
        self.waits: list[Wait] = []
        self.tables: dict[str, TableRows] = {}
        self.timeline_left_out = self.waits_left_out = 0
        self._findings: dict[Severity, list[ReportedFinding]] = {severity: [] for severity in Severity}
        self._counted: Counter[Severity] = Counter()

    def text(self, value: object, longest: int = LONGEST) -> str:
        """Text for a report: without secrets, and limited in length."""
        return str(self.value(str(value), longest))

    def value(self, value: Any, longest: int = LONGEST) -> Any:
        """The same for any value."""
        # Masked before it is cut: the cut could leave half of a secret.
        return bounded(masked_value(plain(value), self.secrets), longest)

    def add(self, doing: CurrentAction, action: Action, now: float, facts: Mapping[str, Any]) -> None:
        """An action has ended; `facts` are those fields of an entry that the runner supplies."""
        took = now - doing.at
        rows = facts.get("rows", doing.rows)
        entry = Entry(
            **{
                "at": round(doing.at, 1), "milliseconds": round(took, 1), "action": action, "title": doing.title,
                "key": doing.key, "phase": doing.phase, "table": doing.table, "statements": doing.statements, **facts,
                "rows": rows, "rows_per_second": round(rows / took * 1000, 1) if rows and took > 0 else None,
            }
        )  # fmt: skip
        self.measures.add(entry)
        self._add_wait(doing, entry)
        if len(self.timeline) < ENTRIES:
            self.timeline.append(entry)
        else:
            self.timeline_left_out += 1

    def _add_wait(self, doing: CurrentAction, entry: Entry) -> None:
        waiting = doing.waiting
        if waiting is None and entry.waited < WORTH and entry.tries == 1:
            return
        waiting = waiting or CurrentWait(at=entry.at, last=entry.at)
        if len(self.waits) >= WAITS:
            self.waits_left_out += 1
            return
        self.waits.append(
            Wait(
                at=round(waiting.at, 1), milliseconds=round(max(waiting.last - waiting.at, entry.waited), 1),
                table=doing.table, title=doing.title, tries=max(waiting.tries, entry.tries),
                blocked_by=[self.text(blocker) for blocker in waiting.blocked_by], behind=waiting.behind,
            )
        )  # fmt: skip

    def found(self, finding: Finding) -> None:
        """Adds a finding."""
        self._counted[finding.severity] += 1
        kept = self._findings[finding.severity]
        if len(kept) >= FINDINGS:
            return
        tenants = sorted(finding.tenants.items(), key=lambda pair: -pair[1])[:TENANTS]
        kept.append(
            ReportedFinding(
                name=self.text(finding.name), severity=finding.severity,
                family=None if finding.family is None else str(finding.family),
                message=self.text(finding.message), remedy=self.text(finding.remedy, 2_000),
                table=None if finding.table is None else self.text(finding.table), count=finding.count,
                refuses=finding.refuses, samples=[self.value(sample) for sample in finding.samples[: self.samples]],
                tenants={self.text(tenant): count for tenant, count in tenants},
            )
        )  # fmt: skip

    def distributed(self, distribution: Distribution) -> None:
        """A table's rows were counted by tenant; this replaces an earlier count."""
        table = self.text(distribution.table)
        self.tables[table] = TableRows(
            table=table, rows=distribution.rows, without_tenant=distribution.without_tenant,
            tenants=distribution.tenants, empty=distribution.empty, typical=distribution.typical,
            largest=[Share(tenant=self.text(tenant), rows=rows) for tenant, rows in distribution.largest[:TENANTS]],
        )  # fmt: skip

    def findings(self) -> dict[str, Any]:
        """The fields of a report for findings; errors first."""
        listed = [finding for severity in Severity for finding in self._findings[severity]]
        return {
            "findings": listed,
            "findings_counted": Counted(**{str(one): count for one, count in self._counted.items()}),
            "findings_left_out": self._counted.total() - len(listed),
        }

    def error(self, error: TenantryError) -> Error:
        """Why a run has ended."""
        return Error(
            message=self.text(error.message), remedy=self.text(error.remedy, 2_000),
            details=[self.text(detail) for detail in error.details[:DETAILS] if detail],
            details_left_out=max(0, len(error.details) - DETAILS),
        )  # fmt: skip
