"""Generated columns in the text by which a row finds its tenant: a BEFORE trigger sees them without a value."""

from __future__ import annotations

from collections.abc import Iterator

from tenantry.execution.preflight.findings import refused
from tenantry.execution.preflight.scope import Scope
from tenantry.execution.preflight.sql_lexer import tokens
from tenantry.model.finding import Finding
from tenantry.steps.derivation import ByText


def generated_findings(scope: Scope) -> Iterator[Finding]:
    """None can be forced: new rows would have no tenant, or that of orphans."""
    texts = {
        (name, source.text)
        for step in scope.steps
        for name, sources in step.derives
        for source in sources
        if isinstance(source, ByText) and source.text is not None and name in scope.schema.tables
    }
    for name, text in sorted(texts):
        named = {token.name for token in tokens(text)}
        for column in scope.schema.tables[name].columns:
            if column.generated and column.name in named:
                yield refused(
                    name="assign-reads-generated",
                    table=name,
                    forcible=False,
                    message=f"The expression that assigns rows of {name} names {column.name}, a generated column, of"
                    " which the trigger that gives a new row its tenant sees no value",
                    remedy="name the columns that it is computed from instead",
                )
