"""What prevents a rollback, found before anything is changed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg import sql

from tenantry.execution.existing import altered, definitions
from tenantry.execution.preflight.findings import noted, refused, warned
from tenantry.execution.preflight.privileges import privilege_findings
from tenantry.execution.preflight.scope import Scope
from tenantry.execution.preflight.server import session_findings
from tenantry.model.finding import Finding
from tenantry.model.name import JOURNAL_SCHEMA, Name, quoted
from tenantry.model.plan import LockMode, Statement
from tenantry.model.schema import ManagedObjects
from tenantry.postgres.catalog import read_schema
from tenantry.postgres.dependents import dependents, detached, existing, keys_to
from tenantry.postgres.journal import Entry
from tenantry.postgres.preflight import read_facts
from tenantry.postgres.session import holders
from tenantry.steps import Step, from_json
from tenantry.steps.renaming import named_in, words_in

ALTERED = "altered-step"
IDENTITY = "replica identity of table "
HELD = 2.0
"""Seconds after which a transaction that holds a lock on a table is reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """A finding; with the key of a step that cannot be undone while it stands, if it is about one."""

    finding: Finding
    step: str | None = None


def obstacles(
    connection: psycopg.Connection[Any], entries: Sequence[Entry], *, journal: Mapping[str, Entry], keep: bool,
    under_way: bool,
) -> tuple[Obstacle, ...]:  # fmt: skip
    """What prevents the reversal of these entries of all in the `journal`; `keep` as in --preserve-data.

    An earlier rollback that is `under_way` has checked for altered objects, and its own changes would be found now. It
    only reads.
    """
    steps = [from_json(entry.value) for entry in entries]
    undone = [step for step in steps if not (keep and step.preserved)]
    found = [*_around(connection, undone)]
    if not under_way:
        found += _altered(connection, entries, journal)
    identities = frozenset(name for entry in entries for name in from_json(entry.value).stood_in(entry.before))
    gone = DroppedObjects.of(connection, journal.values())
    found += _built_upon(connection, undone, identities)
    found += _clashes(connection, [step for step in undone if step.table not in gone.tables])
    found += _tenants(connection, undone)
    return tuple(sorted(found, key=lambda obstacle: not obstacle.finding.refuses))


def built_upon(connection: psycopg.Connection[Any], step: Step) -> tuple[str, ...]:
    """Objects of others that depend on a step's objects, as the catalog describes them."""
    return dependents(connection, [step.built])[0] if step.built is not None else ()


def _around(connection: psycopg.Connection[Any], steps: Sequence[Step]) -> Iterator[Obstacle]:
    """Privileges, sessions and prepared transactions, as before a migrate; and the sessions that hold a lock on a table
    now."""
    named = sorted({step.table.schema for step in steps} - {JOURNAL_SCHEMA})
    schemas = existing(connection, named)
    schema = read_schema(connection, schemas, managed=ManagedObjects())
    # A rollback creates nothing, so the privileges that creating needs are not checked.
    asked = tuple(step for step in steps if step.needs is None and step.table.schema in schemas)
    scope = Scope(schema=schema, steps=asked)
    facts = read_facts(
        connection, roles=sorted(scope.acted_as), schemas=sorted({*schemas, JOURNAL_SCHEMA}), application=""
    )
    for finding in (*privilege_findings(scope, facts), *session_findings(scope, facts)):
        remedy = finding.remedy
        yield Obstacle(finding=replace(finding, remedy=f"{remedy[0].upper()}{remedy[1:]}." if remedy else ""))
    tables = sorted(name for name in scope.relations if name in schema.tables)
    for holder in holders(connection, tables, LockMode.ACCESS_EXCLUSIVE):
        if holder.age is not None and holder.age >= HELD:
            yield Obstacle(
                finding=warned(
                    name="table-held", table=holder.relation, message=f"{holder.relation} is locked: {holder}",
                    remedy="Nothing to do: rollback waits and tries again. To end that session: SELECT"
                    f" pg_terminate_backend({holder.pid}).",
                )
            )  # fmt: skip


def _altered(
    connection: psycopg.Connection[Any], entries: Sequence[Entry], journal: Mapping[str, Entry]
) -> Iterator[Obstacle]:
    changed = altered(connection, journal)
    steps = {step.key: step for entry in entries if (step := from_json(entry.value)).key in changed}
    now = definitions(connection, list(steps.values()))
    gone = DroppedObjects.of(connection, journal.values())
    along = gone.went_along([step for step in steps.values() if now[step.key] is None])
    if along:
        yield Obstacle(
            finding=noted(
                name="went-along", always=True, count=len(along),
                samples=tuple({"step": step.title} for step in along[:20]),
                message=f"{len(along)} objects of tenantry were dropped together with {gone}, which others have dropped"
                " or detached: there is nothing to roll back for them",
            )
        )  # fmt: skip
    for step in (step for step in steps.values() if step not in along):
        verb = "dropped" if now[step.key] is None else "changed"
        # Others may change privileges: what they have granted or revoked since stays (hazard 16).
        verdict = warned if step.of_role else refused
        yield Obstacle(
            finding=verdict(
                name=ALTERED, table=step.table,
                message=f"{step.table}: an object that tenantry made was {verb}: {step.title}",
                remedy="Restore it (`tenantry migrate` does where it was dropped), or make sure that nothing else was"
                " changed.",
            )
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class DroppedObjects:
    """Objects that others have dropped or detached since: migrated tables, columns of such tables, partitions."""

    tables: frozenset[Name]
    columns: frozenset[tuple[Name, str]] = frozenset()
    detached: frozenset[Name] = frozenset()
    sequences: frozenset[Name] = frozenset()
    """Those of `tables` that are not tables themselves, but were dropped with one."""

    @classmethod
    def of(cls, connection: psycopg.Connection[Any], journal: Iterable[Entry]) -> DroppedObjects:
        entries = [(from_json(entry.value), entry) for entry in journal]
        trees = {(step.table, step.below) for step, _ in entries if step.below}
        # Others are not expected to drop a tenant column that tenantry added: that counts as altered.
        ours = {step.built for step, _ in entries}
        return cls(
            tables=frozenset(step.table for step, entry in entries if entry.table_dropped),
            columns=frozenset(
                (step.table, was) for step, entry in entries for was, now in entry.columns.items()
                if now is None and (step.table, was) not in ours
            ),
            detached=frozenset(name for table, below in trees for name in detached(connection, table, below)),
            sequences=frozenset(step.table for step, _ in entries if (step.hands_on or [""])[0] == "SEQUENCE"),
        )  # fmt: skip

    def went_along(self, missing: Sequence[Step]) -> tuple[Step, ...]:
        """Those of the missing steps that are about such an object, with the validations of constraints that are."""
        first = [step for step in missing if self._has(step)]
        made = {(step.table, word) for step in first for word in words_in(step) if word.startswith("tenantry_")}
        return tuple(
            step for step in missing if step in first or any((step.table, word) in made for word in words_in(step))
        )

    def _has(self, step: Step) -> bool:
        named, words = {*named_in(step)}, {*words_in(step)}
        return (
            not self.tables.isdisjoint(named)
            or step.table in self.detached
            or any(table in named and one in words for table, one in self.columns)
        )

    def names(self, statement: Statement) -> bool:
        """Whether the statement is about a table that is gone."""
        return any(table.identifier.as_string(None) in statement.text for table in self.tables)

    def __str__(self) -> str:
        columns = [f"{table}.{quoted(column)}" for table, column in self.columns if table not in self.tables]
        tables = (self.tables | self.detached) - self.sequences
        return ", ".join(sorted({*map(str, tables), *columns} or map(str, self.tables)))


def _built_upon(
    connection: psycopg.Connection[Any], steps: Sequence[Step], identities: Collection[Name]
) -> Iterator[Obstacle]:
    """`identities` are indexes of tenantry's that it has made replica identities itself."""
    made = [(step, found) for step in steps if (found := step.built) is not None]
    spared = [step.widened for step in steps if step.widened is not None]
    upon = dependents(connection, [one for _, one in made], spared)
    for (step, (name, _)), built in zip(made, upon, strict=True):
        if name in identities:
            built = tuple(one for one in built if not one.startswith(IDENTITY))
        if built:
            yield Obstacle(
                step=step.key,
                finding=refused(
                    name="built-upon", table=step.table, count=len(built),
                    message=f"{step.table}: {step.title}: rollback would drop what other objects depend on:"
                    f" {', '.join(built)}",
                    remedy="Drop these objects first, or keep the migration: tenantry drops no object of others.",
                    samples=tuple({"object": one} for one in built),
                ),
            )  # fmt: skip


def _clashes(connection: psycopg.Connection[Any], steps: Sequence[Step]) -> Iterator[Obstacle]:
    for step in steps:
        if (clash := step.clashes()) is None:
            continue
        what, query = clash
        row = connection.execute(sql.Composed([query])).fetchone()
        if row is not None and row[0]:
            yield Obstacle(
                step=step.key,
                finding=refused(
                    name="value-clash", table=step.table, count=row[0],
                    message=f"{what} of {step.table} cannot be unique across tenants again: {row[0]} values occur in"
                    f" more than one row, such as {row[1]}",
                    remedy="Change these values, or keep the migration.", samples=({"value": row[1]},),
                ),
            )  # fmt: skip


def _tenants(connection: psycopg.Connection[Any], steps: Sequence[Step]) -> Iterator[Obstacle]:
    """A tenant that tenantry added, and to which rows refer by a key that was made since: that key could delete them,
    too."""
    for step in (one.tenant_row for one in steps):
        if step is None:
            continue
        for key in keys_to(connection, step.table):
            if (key.table, key.column) in step.spared or key.parent_column != step.tenant.key:
                continue
            used = sql.SQL("SELECT EXISTS (SELECT FROM {} AS used WHERE used.{} = {})").format(
                key.table.identifier, sql.Identifier(key.column), step.tenant.key_of(step.slug)
            )
            if connection.execute(used).fetchone() == (True,):
                yield Obstacle(
                    step=step.key,
                    finding=refused(
                        name="tenant-used", table=step.table,
                        message=f"Rows of {key.table} refer by {key.key} to the tenant {step.slug!r}, which rollback"
                        " would delete",
                        remedy="Let them refer to another tenant, or drop that key.",
                    ),
                )  # fmt: skip
