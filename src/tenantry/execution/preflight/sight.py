"""Rows that our role, or the owners that our triggers run as, may not see (hazards 2 and 13)."""

from __future__ import annotations

from collections.abc import Iterator

from tenantry.execution.preflight.scope import Scope
from tenantry.execution.preflight.verdict import refused
from tenantry.model.finding import Finding
from tenantry.model.name import Name, quoted
from tenantry.postgres.preflight import Facts
from tenantry.steps import AdoptionTrigger, AssignmentTrigger, FollowTrigger, ReferenceTrigger, TenantChange
from tenantry.steps.derivation import ByPath


def sight_findings(scope: Scope, facts: Facts) -> Iterator[Finding]:
    yield from _hidden(scope, facts)
    yield from _blind_owners(scope)


def _hidden(scope: Scope, facts: Facts) -> Iterator[Finding]:
    """What is counted there could not be believed. A role that bypasses row security needs none of this: its
    sessions raise where a policy would hide rows."""
    user = facts.server.user
    for name in facts.hidden:
        if name in scope.read:
            yield refused(
                name="rows-hidden",
                table=name,
                forcible=False,
                message=f"Row security of {name} may hide rows from {user}, and so from every count and proof",
                remedy=f"connect as a role with BYPASSRLS, or CREATE POLICY … ON {name} TO {quoted(user)} USING (true),"
                " and let no restrictive policy hold for this role",
            )


def _blind_owners(scope: Scope) -> Iterator[Finding]:
    """A trigger runs as the owner of its table, and fails for every writer where that role lacks a privilege."""
    for owner, name, privilege in dict.fromkeys(_used(scope)):
        table = scope.schema.tables.get(name)
        if table is None or scope.has(owner, frozenset((table.owner,))) or _is_superuser(scope, owner):
            continue
        holders = {grant.grantee for grant in table.grants if grant.privilege == privilege and grant.column is None}
        if not scope.has(owner, frozenset(holders)) and "PUBLIC" not in holders:
            yield refused(
                name="owner-lacks-privilege",
                table=name,
                forcible=False,
                message=f"{owner}, as whom triggers run that find tenants in {name}, may not {privilege} there",
                remedy=f"GRANT {privilege} ON {name} TO {quoted(owner)}",
            )


def _is_superuser(scope: Scope, role: str) -> bool:
    known = scope.schema.roles.get(role)
    return known is not None and known.superuser


def _used(scope: Scope) -> Iterator[tuple[str, Name, str]]:
    """Who uses what, with which privilege; a row that is locked takes UPDATE."""
    for step in scope.steps:
        match step:
            case AssignmentTrigger():
                paths = (source for source in step.sources if isinstance(source, ByPath))
                for hop in (hop for path in paths for hop in path.hops):
                    yield step.owner, hop.parent, "SELECT"
                if step.fallback is not None or any(source.kind in ("slug", "text", "rows") for source in step.sources):
                    yield step.owner, step.tenant.table, "SELECT"
            case ReferenceTrigger():
                yield step.owner, step.hop.parent, "SELECT"
                yield step.owner, step.hop.parent, "UPDATE"
            case TenantChange():
                for reference in step.references:
                    yield step.owner, reference.table, "SELECT"
            case AdoptionTrigger():
                for adoption in step.adoptions:
                    yield step.owner, adoption.parent, "SELECT"
                    yield step.owner, adoption.parent, "UPDATE"
            case FollowTrigger():
                for follower in step.followers:
                    yield step.owner, follower.table, "SELECT"
                    yield step.owner, follower.table, "UPDATE"
            case _:
                pass
