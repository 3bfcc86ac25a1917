"""Runs all checks: combined, in slices; then reads samples of the violations."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import psycopg
from psycopg import sql

from tenantry.checks.base import Check, CheckContext, QueryCheck
from tenantry.checks.scan import Scan, Slice, fused, offenders, slices
from tenantry.checks.session_pool import Readers, Session, Stop
from tenantry.model.distribution import LARGEST
from tenantry.model.finding import Finding, Severity
from tenantry.model.name import Name

PAGE = 8192
SLICE = 131_072
"""Pages (1 GB): the most that one statement reads, so that no snapshot is kept for long."""
HELD = ("dangling-reference", "tenant-differs")
"""Checks of what a foreign key with the tenant enforces."""
WRONG_QUESTION = (psycopg.DataError, psycopg.ProgrammingError, psycopg.NotSupportedError, psycopg.InternalError)
"""Errors of a check, or of a table that has changed meanwhile; not of the server."""


@dataclass(slots=True)
class CheckResult:
    """The result of a check: the rows that violate it by tenant, where they were found, samples, or why it could not be
    run. `moving`: rows may have moved from one slice to another during the count."""

    counts: Counter[str | None] = field(default_factory=Counter)
    places: list[tuple[Scan, Slice | None]] = field(default_factory=list)
    samples: list[Mapping[str, Any]] = field(default_factory=list)
    problem: str = ""
    unsupported: bool = False
    """Citus does not support its query."""
    moving: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """`findings` of the checks that failed; `rows` of every scanned table by the tenant's key as text, None for rows
    without one."""

    findings: tuple[Finding, ...]
    rows: Mapping[Name, Mapping[str | None, int]]


def examine(context: CheckContext, checks: Sequence[Check], stop: Stop, *, slice_pages: int = SLICE) -> Examined:
    """Run all checks; counts are exact, each for the moment in which its slice was read. Rows that others write
    meanwhile are checked again, so that nothing is missed.

    Raises Interrupted after a stop, ConnectionFailed without connections, Failed if another session keeps a table
    locked, and psycopg's InsufficientPrivilege for a table that may not be read.
    """
    with Readers.opened(context, "validate", stop) as readers:
        asking = _Asking(context=context, checks=checks, slice_pages=slice_pages)
        readers.all(asking.work())
        readers.all([partial(asking.sample, check) for check in checks if asking.answers[id(check)].counts.total()])
    return Examined(findings=tuple(asking.findings()), rows=asking.rows)


class _Tally:
    """The results of the slices of one scan: the rows by tenant, and for each of its checks, by number, the violations
    and the slices that contain some."""

    def __init__(self) -> None:
        self.rows: Counter[str | None] = Counter()
        self.counts: defaultdict[int, Counter[str | None]] = defaultdict(Counter)
        self.parts: defaultdict[int, list[Slice | None]] = defaultdict(list)

    def add(self, part: Slice | None, lines: Sequence[Sequence[Any]]) -> None:
        """One slice: for each tenant, its rows, and how many of them violate each check."""
        for tenant, rows, *figures in lines:
            self.rows[tenant] += rows
            for number, count in enumerate(figures):
                if count:
                    self.counts[number][tenant] += count
        for number in range(len(lines[0]) - 2 if lines else 0):
            if any(line[number + 2] for line in lines):
                self.parts[number].append(part)


class _Asking:
    """Collects the results of several threads."""

    def __init__(self, *, context: CheckContext, checks: Sequence[Check], slice_pages: int) -> None:
        self.context = context
        self.checks = checks
        self.slice_pages = slice_pages
        self.scans = sorted(fused(context, checks), key=lambda scan: -context.live.tables[scan.relation].bytes)
        self.answers = {id(check): CheckResult() for check in checks}
        self.rows: dict[Name, Counter[str | None]] = {scan.table: Counter() for scan in self.scans if not scan.joined}
        self._one = threading.Lock()

    def work(self) -> list[Any]:
        """The largest relations first, so that no thread is left with one at the end."""
        own = [check for check in self.checks if isinstance(check.question, QueryCheck)]
        return [partial(self.query, check) for check in own] + [partial(self.scan, scan) for scan in self.scans]

    # --- counting

    def scan(self, scan: Scan, session: Session) -> None:
        """Read a relation slice by slice, and add up the results once all of it is read."""
        pages, tally, late = self._pages(scan, session), _Tally(), _Tally()
        sliced = pages > self.slice_pages
        oldest, before = self._transactions(session) if sliced else ("", "")
        try:
            self._read(scan, session, tally, pages)
            moving = sliced and self._transactions(session)[1] != before
            if moving and scan.checks:
                self._read(scan, session, late, self._pages(scan, session), since=oldest)
        except WRONG_QUESTION as error:
            self._singly(scan, session, error)
            return
        with self._one:
            if not scan.joined:
                self.rows[scan.table] += tally.rows
            for number, check in enumerate(scan.checks):
                # A row read before it moved is in both results; one that moved to a slice read before is in the second
                # only.
                seen = tally if tally.counts[number].total() >= late.counts[number].total() else late
                answer = self.answers[id(check)]
                answer.counts += seen.counts[number]
                answer.places += [(scan, part) for part in dict.fromkeys((*tally.parts[number], *late.parts[number]))]
                answer.moving |= moving

    def _read(self, scan: Scan, session: Session, tally: _Tally, pages: int, since: str | None = None) -> None:
        """All slices, or only the rows in them that were written since a transaction began."""
        again = ", rows written meanwhile" if since is not None else ""
        for part in slices(pages, self.slice_pages):
            self.context.looking(scan.title + again + ("" if part is None else f", {100 * part[0] // pages} %"))
            tally.add(part, session.execute(scan.counts(part, since)).fetchall())

    def _transactions(self, session: Session) -> tuple[str, str]:
        """The oldest active transaction, and the snapshot: while it stays the same, nothing has been written."""
        query = "SELECT pg_snapshot_xmin(s)::xid::text, s::text FROM pg_current_snapshot() AS s"
        oldest, snapshot = session.execute(query).fetchone() or ("", "")
        return oldest, snapshot

    def _pages(self, scan: Scan, session: Session) -> int:
        """Asked anew only of what has come near a slice: what is small is read in one go."""
        known = self.context.live.tables[scan.relation].bytes // PAGE
        if known < self.slice_pages // 2:
            return known
        query = sql.SQL("SELECT pg_catalog.pg_relation_size({}) / pg_catalog.current_setting('block_size')::int")
        row = session.execute(query.format(scan.relation.oid)).fetchone()
        return int(row[0]) if row is not None and row[0] is not None else 0

    def _singly(self, scan: Scan, session: Session, error: psycopg.Error) -> None:
        """One of several checks fails: each is run by itself, so that the others give results."""
        if isinstance(error, psycopg.errors.InsufficientPrivilege):
            raise error
        if len(scan.checks) == 1 and scan.joined:
            self._failed(self.answers[id(scan.checks[0])], error)
        elif scan.checks:
            alone = [replace(scan, checks=(check,), joined=True) for check in scan.checks]
            for one in alone if scan.joined else [replace(scan, checks=()), *alone]:
                self.scan(one, session)

    def query(self, check: Check, session: Session) -> None:
        """Count the rows of a check's own query."""
        assert isinstance(check.question, QueryCheck)
        count, _ = offenders(check, check.question, self.context.samples)
        self.context.looking(f"the rows of {check.table}: {check.name}")
        try:
            row = session.execute(count).fetchone()
        except WRONG_QUESTION as error:
            if isinstance(error, psycopg.errors.InsufficientPrivilege):
                raise
            self._failed(self.answers[id(check)], error)
            return
        if row is not None and row[0]:
            self.answers[id(check)].counts[None] += row[0]

    def _failed(self, answer: CheckResult, error: psycopg.Error) -> None:
        answer.problem = _message(error)
        answer.unsupported = self.context.distributed and isinstance(error, psycopg.errors.FeatureNotSupported)

    # --- samples

    def sample(self, check: Check, session: Session) -> None:
        """Some of the rows that violate a check, from where they were found; fewer, if they have changed so much since
        that they cannot be read."""
        if self.context.samples > 0:
            with suppress(*WRONG_QUESTION):
                self._sample(check, session)

    def _sample(self, check: Check, session: Session) -> None:
        answer, wanted = self.answers[id(check)], self.context.samples
        if isinstance(check.question, QueryCheck):
            _, query = offenders(check, check.question, wanted)
            answer.samples = [row[0] for row in session.execute(query)]
            return
        key = self.context.live.tables[check.table].primary_key
        found: dict[tuple[Any, ...], Mapping[str, Any]] = {}
        for scan, part in answer.places:
            cursor = session.execute(scan.samples(check, key, part, wanted))
            names = [column.name for column in cursor.description or ()]
            found |= {row: dict(zip(names, row, strict=True)) for row in cursor}
            if len(found) >= wanted:
                break
        answer.samples = list(found.values())[:wanted]
        if answer.moving and len(answer.samples) < answer.counts.total() <= wanted:
            # The sample has all present violations; the others were counted twice, or no longer exist.
            answer.counts = Counter({None: len(answer.samples)})

    # --- findings

    def findings(self) -> list[Finding]:
        found = [self._finding(check, self.answers[id(check)]) for check in self.checks]
        return [finding for finding in (*found, *self._unsupported()) if finding is not None]

    def _unsupported(self) -> Iterator[Finding]:
        """Checks that join distributed tables by other columns than the tenant. References that keep to their tenant
        are held by the foreign keys of the shards, and those are found missing if they are."""
        left = [check for check in self.checks if self.answers[id(check)].unsupported]
        held = [check for check in left if check.name in HELD]
        for checks, severity, says, remedy in (
            (held, Severity.INFO, "the foreign keys of the shards hold what they check", ""),
            (
                [check for check in left if check not in held], Severity.WARNING,
                "nothing else checks it while the tables are distributed", "Check it before the phase distribute.",
            ),
        ):  # fmt: skip
            if checks:
                names = ", ".join(dict.fromkeys(check.name for check in checks))
                yield Finding(
                    name="not-checked-on-citus", family=checks[0].family, severity=severity, count=len(checks),
                    message=f"Citus does not support the queries of {names} ({len(checks)} in all): {says}",
                    remedy=remedy,
                    samples=tuple({"check": check.name, "table": str(check.table)} for check in checks[:20]),
                )  # fmt: skip

    def _finding(self, check: Check, answer: CheckResult) -> Finding | None:
        if answer.unsupported:
            return None
        if answer.problem:
            return Finding(
                name="check-failed", family=check.family, severity=Severity.ERROR, table=check.table,
                message=f"The check {check.name} of {check.table} failed: {answer.problem}",
                remedy="Correct the condition in the spec; if the table has just changed, run the command again.",
            )  # fmt: skip
        count = answer.counts.total()
        if not count:
            return None
        told = answer.counts.most_common(LARGEST) if self.context.detailed else []
        tenants = {tenant: rows for tenant, rows in told if tenant is not None}
        return check.finding(count, tuple(answer.samples), tenants)


def _message(error: psycopg.Error) -> str:
    return (error.diag.message_primary or str(error)).splitlines()[0]
