"""Preflight: what would prevent a run or break the application, found before anything is changed. Each family has its
own module."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg

from tenantry.execution.preflight.backfill_side_effects import row_findings
from tenantry.execution.preflight.column_limits import generated_findings, growth_findings
from tenantry.execution.preflight.constraints import proof_findings, stray_findings, unproved_findings
from tenantry.execution.preflight.privileges import (
    executed_findings,
    handing_findings,
    privilege_findings,
    reach_findings,
)
from tenantry.execution.preflight.publications import growing_publications, publication_findings
from tenantry.execution.preflight.query_compatibility import application_findings
from tenantry.execution.preflight.rls_bypass import around_findings, leaky_findings, sight_findings
from tenantry.execution.preflight.roles import power_findings, role_findings
from tenantry.execution.preflight.scope import Scope
from tenantry.execution.preflight.server import free_bytes, server_findings, session_findings, space_findings
from tenantry.execution.preflight.slugs import encoding_findings, missing_findings, slug_findings
from tenantry.model.finding import Finding
from tenantry.model.name import JOURNAL_SCHEMA
from tenantry.model.plan import Phase
from tenantry.model.schema import Schema
from tenantry.planning import Plan
from tenantry.postgres.preflight import read_facts
from tenantry.postgres.server_state import ServerState

__all__ = ["preflight"]

WORKERS = 2


def preflight(
    connection: psycopg.Connection[Any],
    *,
    schema: Schema,
    plan: Plan,
    until: Phase,
    free_space: int | None,
    workers: int = WORKERS,
) -> tuple[Finding, ...]:
    """The findings about applying the plan's steps up to `until`, those that refuse the run first.

    `plan` should have the steps that are not applied yet: findings are about its steps only. `free_space` is in bytes,
    None if it was not given. `connection` is one of tenantry.postgres.connect; it is only read from.

    A finding named `privilege-…` tells that tenantry's role lacks a privilege for a step.
    """
    scope = Scope.of(schema, plan, until)
    facts = read_facts(
        connection,
        roles=sorted(scope.acted_as),
        schemas=sorted(scope.schemas | {JOURNAL_SCHEMA}),
        application=scope.application or "",
    )
    free = free_space if free_space is not None else free_bytes(facts.room, connection.info.host)
    found = [*_pure(scope, facts, workers), *space_findings(scope, facts.room, free)]
    found += reach_findings(scope, connection)
    found += power_findings(scope, connection)
    found += handing_findings(scope, connection)
    found += proof_findings(scope, connection)
    if not any(finding.name.startswith("privilege-") for finding in found):
        # These read rows, or ask PostgreSQL about an update of them.
        found += publication_findings(scope, facts, connection)
        found += unproved_findings(scope, facts, connection)
        found += slug_findings(scope, connection)
        found += missing_findings(scope, connection)
        found += encoding_findings(plan.ownership.tenant, scope, connection)
        found += stray_findings(scope, connection)
    return tuple(sorted(map(_as_sentence, found), key=lambda finding: not finding.refuses))


def _as_sentence(finding: Finding) -> Finding:
    """The remedy as a complete sentence, as others may follow it."""
    remedy = finding.remedy
    return replace(finding, remedy=f"{remedy[0].upper()}{remedy[1:]}.") if remedy else finding


def _pure(scope: Scope, facts: ServerState, workers: int) -> Iterator[Finding]:
    yield from privilege_findings(scope, facts)
    yield from sight_findings(scope, facts)
    yield from growth_findings(scope, facts)
    yield from generated_findings(scope)
    yield from server_findings(scope, facts, workers)
    yield from session_findings(scope, facts)
    yield from row_findings(scope, facts)
    yield from growing_publications(scope, facts)
    yield from application_findings(scope, facts)
    yield from role_findings(scope, facts)
    yield from leaky_findings(scope, facts)
    yield from around_findings(scope, facts)
    yield from executed_findings(scope)
