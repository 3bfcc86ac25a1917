"""Publications: updates that fail because of them, and columns that their subscribers lack (hazard 5)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import sql

from tenantry.errors import Refused
from tenantry.execution.preflight.findings import refused
from tenantry.execution.preflight.scope import Scope
from tenantry.model.finding import Finding, Severity
from tenantry.model.name import Name
from tenantry.postgres.server_state import ServerState

_REFUSED = (psycopg.errors.ObjectNotInPrerequisiteState, psycopg.errors.InvalidColumnReference)


def growing_publications(scope: Scope, facts: ServerState) -> Iterator[Finding]:
    """Tables that are published with a column that their subscribers do not have yet."""
    read = any(slot.here and slot.plugin == "pgoutput" for slot in facts.slots)
    whole = {published.table for published in facts.published if published.every_column}
    for name in sorted(whole.intersection(scope.growing)):
        yield Finding(
            name="publication-grows",
            severity=Severity.ERROR if read else Severity.WARNING,
            table=name,
            refuses=read,
            message=f"{name} is published with all columns, and subscribers lack {scope.growing[name]}:"
            " replication stops at the first change",
            remedy=f"add {scope.growing[name]} to the subscribers' tables first, or publish a list of columns",
        )


def publication_findings(scope: Scope, facts: ServerState, connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Tables whose updates fail because of a publication: there is no replica identity, the row filter uses a column
    outside it, or the list of columns lacks one of it. None can be forced.

    PostgreSQL itself is asked: it checks this when it plans an update, before it executes one.
    """
    updates = {published.table for published in facts.published if published.updates}
    for name in sorted(scope.updated):
        if updates.intersection(scope.schema.lineage(name)) and (said := _refusal(scope, connection, name)):
            yield refused(
                name="publication-refuses-updates",
                table=name,
                forcible=False,
                message=f"{name} is published in a way that makes every UPDATE fail, those of the backfill, too:"
                f" {said}",
                remedy=f"ALTER TABLE {name} REPLICA IDENTITY FULL, or USING INDEX one that has all columns of the"
                " publication's row filter; if the publication lists columns, it must list those of the identity, too",
            )


def _refusal(scope: Scope, connection: psycopg.Connection[Any], name: Name) -> str | None:
    """PostgreSQL's objection to an update; None if there is none, or if it cannot be asked."""
    table = scope.schema.tables[name]
    unique = {column for one in table.uniques for column in one.columns}
    able = [one.name for one in table.columns if not one.generated and one.identity != "a"]
    # The backfill sets no key column; an update that does could have effects on other tables.
    column = next(iter(sorted(able, key=lambda name: name in unique)), None)
    if column is None:
        return None
    try:
        # A transaction, so that an error here does not abort that of the caller.
        with connection.transaction():
            connection.execute(
                sql.SQL("EXPLAIN UPDATE ONLY {} SET {column} = {column}").format(
                    name.identifier, column=sql.Identifier(column)
                )
            )
    except _REFUSED as error:
        return error.diag.message_detail or error.diag.message_primary or "it is refused"
    except Refused:
        return None
    return None
