"""What the owners of tables lack, as whom our triggers run: a run would fail at the first row, in the middle of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import psycopg

from tenantry.execution.preflight.scope import Scope
from tenantry.execution.preflight.verdict import refused
from tenantry.model.finding import Finding
from tenantry.model.name import Name, quoted
from tenantry.postgres.preflight import read_barred
from tenantry.steps import AdoptionTrigger, AssignmentTrigger, FollowTrigger, ReferenceTrigger, Step, TenantChange
from tenantry.steps.derivation import ByPath, Source

READ = ("SELECT",)
# Who locks a row needs the right to change it, too.
CHANGE = ("SELECT", "UPDATE")


def reach_findings(scope: Scope, connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Schemas and tables that a trigger needs and its role may not use. None can be forced."""
    barred = read_barred(connection, sorted(set(_reached(scope.steps))))
    for role, schema in sorted({(reach.role, reach.table.schema) for reach in barred if not reach.usage}):
        tables = sorted({reach.table for reach in barred if (reach.role, reach.table.schema) == (role, schema)})
        yield refused(
            name="privilege-reach",
            table=tables[0],
            message=f"{role} may not use the schema {schema}, where the triggers that run as {role} meet {tables[0]}",
            remedy=f"GRANT USAGE ON SCHEMA {quoted(schema)} TO {quoted(role)}",
            forcible=False,
        )
    for role, table in sorted({(reach.role, reach.table) for reach in barred if not reach.held}):
        lacking = ", ".join(
            reach.privilege for reach in barred if (reach.role, reach.table) == (role, table) and not reach.held
        )
        yield refused(
            name="privilege-reach",
            table=table,
            message=f"{role} has no {lacking} on {table}, and triggers that run as {role} need it",
            remedy=f"GRANT {lacking} ON {table} TO {quoted(role)}",
            forcible=False,
        )


def _reached(steps: Iterable[Step]) -> Iterator[tuple[str, Name, str]]:
    """The role, the table, and the privilege; none where the table's name is enough."""
    for step in steps:
        match step:
            case AssignmentTrigger(owner=owner):
                yield owner, step.table, ""
                yield from _asked(owner, step.sources)
                if step.fallback is not None or any(not isinstance(source, ByPath) for source in step.sources):
                    yield from _each(owner, step.tenant.table, READ)
            case AdoptionTrigger(owner=owner):
                for adoption in step.adoptions:
                    yield from _each(owner, adoption.parent, CHANGE)
                    yield from _each(owner, adoption.child, READ)
                    yield from _asked(owner, (*adoption.told, *adoption.ways))
            case FollowTrigger(owner=owner):
                for follower in step.followers:
                    yield from _each(owner, follower.table, CHANGE)
                    yield from _asked(owner, follower.paths)
            case ReferenceTrigger(owner=owner):
                yield from _each(owner, step.hop.parent, CHANGE)
            case TenantChange(owner=owner):
                yield from _each(owner, step.table, CHANGE)
                for reference in step.references:
                    yield from _each(owner, reference.table, READ)


def _asked(role: str, sources: Iterable[Source]) -> Iterator[tuple[str, Name, str]]:
    for source in sources:
        if isinstance(source, ByPath):
            # A path that ends in the row's own column does not look at the last table.
            for hop in source.hops if source.column is not None else source.hops[:-1]:
                yield from _each(role, hop.parent, READ)


def _each(role: str, table: Name, privileges: tuple[str, ...]) -> Iterator[tuple[str, Name, str]]:
    for privilege in privileges:
        yield role, table, privilege
