"""Asks the database all checks: fused, in slices; then samples of what failed."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import psycopg
from psycopg import sql

from tenantry.checks.check import Check, Ground, Offenders
from tenantry.checks.readers import Readers, Session, Stop
from tenantry.checks.scan import Scan, Slice, fused, offenders, slices
from tenantry.model.distribution import LARGEST
from tenantry.model.finding import Finding, Severity
from tenantry.model.name import Name

SLICE = 131_072
"""Pages, 1 GB: what one statement reads at most, so that no snapshot is held for long."""
WRONG_QUESTION = (psycopg.DataError, psycopg.ProgrammingError, psycopg.NotSupportedError, psycopg.InternalError)
"""What is wrong with a check, or has gone since its table was looked at; not with the server."""


@dataclass(slots=True)
class Answer:
    """What is known of a check: the rows that break it by tenant, where they were found, some of them, or why it
    could not be asked."""

    counts: Counter[str | None] = field(default_factory=Counter)
    places: list[tuple[Scan, Slice | None]] = field(default_factory=list)
    samples: list[Mapping[str, Any]] = field(default_factory=list)
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """`findings` of the checks that failed; `rows` of every scanned table by the tenant's key as text, None for rows
    without one."""

    findings: tuple[Finding, ...]
    rows: Mapping[Name, Mapping[str | None, int]]


def examine(ground: Ground, checks: Sequence[Check], stop: Stop, *, slice_pages: int = SLICE) -> Examined:
    """Ask everything; counts are exact, each as of the moment in which its slice was read.

    Raises Interrupted after a stop, ConnectionFailed without connections, Failed where another session keeps a table
    to itself, and psycopg's InsufficientPrivilege for a table that may not be read.
    """
    with Readers.opened(ground, "validate", stop) as readers:
        asking = _Asking(ground=ground, checks=checks, slice_pages=slice_pages)
        readers.all(asking.work())
        readers.all([partial(asking.sample, check) for check in checks if asking.answers[id(check)].counts.total()])
    return Examined(findings=tuple(asking.findings()), rows=asking.rows)


class _Tally:
    """What the slices of one scan have come to: the rows by tenant, and for each of its checks, by number, those that
    break it and the slices that hold some."""

    def __init__(self) -> None:
        self.rows: Counter[str | None] = Counter()
        self.counts: defaultdict[int, Counter[str | None]] = defaultdict(Counter)
        self.parts: defaultdict[int, list[Slice | None]] = defaultdict(list)

    def add(self, part: Slice | None, lines: Sequence[Sequence[Any]]) -> None:
        """One slice: lines of the tenant, its rows, and how many of them break each check."""
        for tenant, rows, *figures in lines:
            self.rows[tenant] += rows
            for number, count in enumerate(figures):
                if count:
                    self.counts[number][tenant] += count
        for number in range(len(lines[0]) - 2 if lines else 0):
            if any(line[number + 2] for line in lines):
                self.parts[number].append(part)


class _Asking:
    """The answers as they come in, from several threads."""

    def __init__(self, *, ground: Ground, checks: Sequence[Check], slice_pages: int) -> None:
        self.ground = ground
        self.checks = checks
        self.slice_pages = slice_pages
        self.scans = sorted(fused(ground, checks), key=lambda scan: -ground.live.tables[scan.relation].bytes)
        self.answers = {id(check): Answer() for check in checks}
        self.rows: dict[Name, Counter[str | None]] = {scan.table: Counter() for scan in self.scans if not scan.joined}
        self._one = threading.Lock()

    def work(self) -> list[Any]:
        """The largest relations first, so that none of them is left alone at the end."""
        own = [check for check in self.checks if isinstance(check.question, Offenders)]
        return [partial(self.query, check) for check in own] + [partial(self.scan, scan) for scan in self.scans]

    # --- counting

    def scan(self, scan: Scan, session: Session) -> None:
        """Read a relation slice by slice, and add up what was found once all of it is read."""
        pages, tally = self._pages(scan, session), _Tally()
        for part in slices(pages, self.slice_pages):
            self.ground.looking(f"{scan.title}" + ("" if part is None else f", {100 * part[0] // pages} %"))
            try:
                tally.add(part, session.execute(scan.counts(part)).fetchall())
            except WRONG_QUESTION as error:
                self._singly(scan, session, error)
                return
        with self._one:
            if not scan.joined:
                self.rows[scan.table] += tally.rows
            for number, check in enumerate(scan.checks):
                answer = self.answers[id(check)]
                answer.counts += tally.counts[number]
                answer.places += [(scan, part) for part in tally.parts[number]]

    def _pages(self, scan: Scan, session: Session) -> int:
        query = sql.SQL("SELECT pg_catalog.pg_relation_size({}) / pg_catalog.current_setting('block_size')::int")
        row = session.execute(query.format(scan.relation.oid)).fetchone()
        return int(row[0]) if row is not None and row[0] is not None else 0

    def _singly(self, scan: Scan, session: Session, error: psycopg.Error) -> None:
        """One of several checks cannot be asked: each by itself, so that the others are."""
        if isinstance(error, psycopg.errors.InsufficientPrivilege):
            raise error
        if len(scan.checks) == 1 and scan.joined:
            self.answers[id(scan.checks[0])].problem = _said(error)
        elif scan.checks:
            alone = [replace(scan, checks=(check,), joined=True) for check in scan.checks]
            for one in alone if scan.joined else [replace(scan, checks=()), *alone]:
                self.scan(one, session)

    def query(self, check: Check, session: Session) -> None:
        """Count the rows of a check's own query."""
        assert isinstance(check.question, Offenders)
        count, _ = offenders(check, check.question, self.ground.samples)
        self.ground.looking(f"the rows of {check.table}: {check.name}")
        try:
            row = session.execute(count).fetchone()
        except WRONG_QUESTION as error:
            if isinstance(error, psycopg.errors.InsufficientPrivilege):
                raise
            self.answers[id(check)].problem = _said(error)
            return
        if row is not None and row[0]:
            self.answers[id(check)].counts[None] += row[0]

    # --- samples

    def sample(self, check: Check, session: Session) -> None:
        """Some of the rows that break a check, from where they were found; fewer, where they have changed so much since
        that they cannot be asked for."""
        if self.ground.samples > 0:
            with suppress(*WRONG_QUESTION):
                self._sample(check, session)

    def _sample(self, check: Check, session: Session) -> None:
        answer, wanted = self.answers[id(check)], self.ground.samples
        if isinstance(check.question, Offenders):
            _, query = offenders(check, check.question, wanted)
            answer.samples = [row[0] for row in session.execute(query)]
            return
        key = self.ground.live.tables[check.table].primary_key
        for scan, part in answer.places:
            cursor = session.execute(scan.samples(check, key, part, wanted - len(answer.samples)))
            names = [column.name for column in cursor.description or ()]
            answer.samples += [dict(zip(names, row, strict=True)) for row in cursor]
            if len(answer.samples) >= wanted:
                break

    # --- findings

    def findings(self) -> list[Finding]:
        found = [self._finding(check, self.answers[id(check)]) for check in self.checks]
        return [finding for finding in found if finding is not None]

    def _finding(self, check: Check, answer: Answer) -> Finding | None:
        if answer.problem:
            return Finding(
                name="check-failed", family=check.family, severity=Severity.ERROR, table=check.table,
                message=f"The check {check.name} of {check.table} cannot be asked: {answer.problem}",
                remedy="Correct the condition in the spec, or run the command again if the table has just changed.",
            )  # fmt: skip
        count = answer.counts.total()
        if not count:
            return None
        told = answer.counts.most_common(LARGEST) if self.ground.detailed else []
        tenants = {tenant: rows for tenant, rows in told if tenant is not None}
        return check.finding(count, tuple(answer.samples), tenants)


def _said(error: psycopg.Error) -> str:
    return (error.diag.message_primary or str(error)).splitlines()[0]
