"""What the owners of tables lack, as whom our triggers run: these would fail at every row, in the middle of a run
(hazard 2)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import psycopg

from tenantry.execution.preflight.scope import Scope
from tenantry.execution.preflight.verdict import refused
from tenantry.model.finding import Finding
from tenantry.model.name import Name, quoted
from tenantry.postgres.facts import Barred
from tenantry.postgres.preflight import read_barred
from tenantry.steps import AdoptionTrigger, AssignmentTrigger, FollowTrigger, ReferenceTrigger, Step, TenantChange
from tenantry.steps.derivation import ByPath, Source

READ = ("SELECT",)
# Who locks a row needs the right to change it, too.
CHANGE = ("SELECT", "UPDATE")


def reach_findings(scope: Scope, connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Schemas and tables that a trigger needs and its role may not use. None can be forced."""
    barred = unreachable(scope, connection)
    closed = {(reach.role, reach.table.schema): reach.table for reach in reversed(barred) if not reach.usage}
    for (role, schema), table in sorted(closed.items()):
        yield _lacking(role, table, f"use the schema {schema}", f"USAGE ON SCHEMA {quoted(schema)}")
    for reach in barred:
        if not reach.held:
            yield _lacking(reach.role, reach.table, f"{reach.privilege} there", f"{reach.privilege} ON {reach.table}")


def unreachable(scope: Scope, connection: psycopg.Connection[Any]) -> tuple[Barred, ...]:
    """What the owners of tables may not do there that our triggers do as them."""
    return read_barred(connection, sorted(set(_reached(scope.steps))))


def _lacking(role: str, table: Name, what: str, grant: str) -> Finding:
    return refused(
        name="owner-lacks-privilege",
        table=table,
        forcible=False,
        message=f"{role}, as whom triggers run that find tenants in {table}, may not {what}",
        remedy=f"GRANT {grant} TO {quoted(role)}",
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
