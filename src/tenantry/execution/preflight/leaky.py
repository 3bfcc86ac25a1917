"""Indexes that the policies put out of use for the application (hazard 28)."""

from __future__ import annotations

from collections.abc import Iterator

from tenantry.execution.preflight.findings import warned
from tenantry.execution.preflight.scope import Scope
from tenantry.model.finding import Finding
from tenantry.model.name import quoted
from tenantry.postgres.server_state import ServerState


def leaky_findings(scope: Scope, facts: ServerState) -> Iterator[Finding]:
    """The policy is asked first where an operator could tell of rows that it hides, and so not by the index."""
    for index in facts.leaky:
        if index.table in scope.guarded:
            alter = "; ".join(f"ALTER FUNCTION {function} LEAKPROOF" for function in index.functions)
            yield warned(
                name="index-behind-policies",
                table=index.table,
                message=f"The index {quoted(index.name)} of {index.table} serves only operators that are not leakproof:"
                " once row security is on, queries of the application read all rows of their tenant instead",
                remedy=f"where these may be trusted to tell nothing of their arguments, as a superuser: {alter}",
            )
