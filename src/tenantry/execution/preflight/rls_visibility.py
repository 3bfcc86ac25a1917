"""Rows that our role may not see (hazard 13)."""

from __future__ import annotations

from collections.abc import Iterator

from tenantry.execution.preflight.findings import refused
from tenantry.execution.preflight.scope import Scope
from tenantry.model.finding import Finding
from tenantry.model.name import quoted
from tenantry.postgres.server_state import ServerState


def sight_findings(scope: Scope, facts: ServerState) -> Iterator[Finding]:
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
