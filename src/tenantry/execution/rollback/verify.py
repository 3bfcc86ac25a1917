"""After a rollback: no object of tenantry is left, the schema is as it was recorded, and no table was rewritten."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

from tenantry.execution.events import FindingReported, Notice, Reading
from tenantry.execution.existing import definitions, read_entries
from tenantry.execution.preflight.findings import noted, warned
from tenantry.execution.rollback.executor import Reverting, StillApplied
from tenantry.execution.rollback.select import Selection
from tenantry.execution.runs import RunCounts
from tenantry.model.finding import Finding
from tenantry.model.name import Name
from tenantry.postgres.dependents import files
from tenantry.postgres.journal import Journal
from tenantry.postgres.schema_snapshot import Described, describe, noted_description
from tenantry.steps import Step, from_json

_OURS = re.compile(r"""\A\w+ (?:(?:"(?:[^"]|"")+"|[^ ."]+)\.)?"?~?tenantry_""")
SAMPLES = 20


@dataclass(slots=True, kw_only=True)
class StateBefore:
    """The state of a database before a rollback, for the verification afterwards.

    `tables` are those that are reverted, None if all are. In those of which an object of tenantry's was `altered` by
    hand, a new object may be tenantry's under another name.
    """

    connection: psycopg.Connection[Any]
    tables: frozenset[Name] | None = None
    altered: frozenset[Name] = frozenset()
    before: Mapping[str, Described] = field(init=False)
    files: Mapping[int, tuple[str, int | None]] = field(init=False)

    def __post_init__(self) -> None:
        self.before, self.files = describe(self.connection), files(self.connection)

    def findings(
        self, reverted: Sequence[Step], kept: Sequence[Step], still_applied: Sequence[StillApplied]
    ) -> tuple[Finding, ...]:
        """`still_applied` could not be reverted. Warnings are differences from the recorded state; notes are what
        others have made since."""
        found = [*self._still_applied(still_applied), *self._in_force(reverted)]
        found += self._differences(kept, still_applied)
        found += self._rewritten()
        return tuple(found)

    def _still_applied(self, still_applied: Sequence[StillApplied]) -> Iterator[Finding]:
        for one in still_applied:
            yield warned(
                name="not-reverted", table=one.step.table,
                message=f"{one.step.table}: {one.step.title}: still applied. {one.reason}",
                remedy="Remove the obstacle, and run the same rollback again: it continues from here.",
            )  # fmt: skip

    def _in_force(self, reverted: Sequence[Step]) -> Iterator[Finding]:
        asked = [step for step in reverted if not step.journaled and not step.ends]
        now = definitions(self.connection, asked)
        for step in asked:
            if now[step.key] is None:
                continue
            if step.stays:
                yield noted(
                    name="kept-in-use", table=step.table, message=f"{step.stays} is still in use, and was kept",
                    remedy="Drop it by hand once nothing depends on it.",
                )  # fmt: skip
            else:
                yield warned(
                    name="left-behind", table=step.table, message=f"{step.table}: still exists: {step.title}",
                    remedy="Drop it by hand; it is no longer in the journal.",
                )  # fmt: skip

    def _differences(self, kept: Sequence[Step], still_applied: Sequence[StillApplied]) -> Iterator[Finding]:
        recorded, after = noted_description(self.connection), describe(self.connection)
        if recorded is None:
            return
        expected = {f"column {step.table}.{step.tenant_column}" for step in kept if step.tenant_column is not None}
        expected |= {f"trigger {name} of {step.table}" for step in kept for name in step.kept_triggers}
        made = {str(step.makes) for step in kept if step.makes is not None}
        known = {one.relation for one in recorded.values()} & {one.relation for one in after.values()}
        ours: list[str] = []
        others: list[str] = []
        for name in sorted(recorded.keys() | after.keys()):
            one = after.get(name) or recorded[name]
            if after.get(name) == recorded.get(name) or self._elsewhere(one) or one.relation in made:
                continue
            if _is_one_of(name, expected):
                continue
            # In a table that others have created, dropped or renamed, objects that are not tenantry's are theirs.
            touched = one.relation in known and after.get(name) != self.before.get(name)
            if name not in recorded:
                # An object that had this name when the rollback began was given it by others.
                touched = name not in self.before or bool(_OURS.match(name)) or self._of(one, self.altered)
            (ours if touched else others).append(f"{name} {_how(recorded.get(name), after.get(name))}")
        if ours and not still_applied:
            yield _difference(
                "schema-differs", ours, warned, "The schema differs from the one recorded before the migration"
            )
        if others:
            yield _difference("changed-since", others, noted, "Changed by others since the migration, and kept")

    def _elsewhere(self, one: Described) -> bool:
        return self.tables is not None and not self._of(one, self.tables)

    @staticmethod
    def _of(one: Described, tables: frozenset[Name]) -> bool:
        return one.relation in {str(name) for name in tables}

    def _rewritten(self) -> Iterator[Finding]:
        now = files(self.connection)
        for oid, (name, file) in self.files.items():
            if oid in now and now[oid][1] != file:
                yield warned(
                    name="table-rewritten", message=f"{name} was rewritten or emptied during the rollback, not by it",
                    remedy="VACUUM FULL, CLUSTER and TRUNCATE do that; compare its rows with a backup.",
                )  # fmt: skip


def _is_one_of(name: str, expected: set[str]) -> bool:
    return name.replace('"', "") in {one.replace('"', "") for one in expected}


def _how(recorded: Described | None, now: Described | None) -> str:
    if recorded is None:
        return "did not exist"
    return "is gone" if now is None else f"was {recorded.definition!r}, is {now.definition!r}"


def _difference(name: str, lines: Sequence[str], verdict: Any, message: str) -> Finding:
    finding: Finding = verdict(
        name=name, count=len(lines), samples=tuple({"object": line} for line in lines[:SAMPLES]),
        message=f"{message}: {'; '.join(lines[:3])}" + (f", and {len(lines) - 3} more" if len(lines) > 3 else ""),
    )  # fmt: skip
    return finding


def look_back(
    connection: psycopg.Connection[Any], walk: Reverting, selection: Selection, aftermath: StateBefore, tally: RunCounts
) -> tuple[Finding, ...]:
    tally.observer(Reading("what is left after the rollback"))
    gone = {one.step.key for one in walk.still_applied}
    steps = [step for entry in selection.entries if (step := from_json(entry.value)).key not in gone]
    reverted = [step for step in steps if not (walk.keep and step.preserved)]
    # Those that an earlier rollback has kept are not part of this one.
    kept = [from_json(entry.value) for entry in read_entries(Journal(connection)).values() if entry.state == "kept"]
    findings = aftermath.findings(reverted, kept, walk.still_applied)
    for finding in findings:
        tally.observer(FindingReported(finding))
    if not any(finding.severity.serious for finding in findings):
        tally.observer(
            Notice("Verified: all objects of tenantry are gone, the schema is as recorded, no table was rewritten")
        )
    return findings
