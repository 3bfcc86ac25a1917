"""discover: a proposed spec, from the schema and the rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from tenantry.discovery.diagram import diagram
from tenantry.discovery.proposal import Background, Proposal, Undecided
from tenantry.discovery.propose import propose
from tenantry.discovery.spec_file import spec_text
from tenantry.discovery.update import Update, by_keys, update
from tenantry.execution.existing import read_entries
from tenantry.execution.renames import current_names
from tenantry.execution.session import open_session
from tenantry.model.schema import Schema
from tenantry.model.spec import Spec
from tenantry.planning.original_schema import managed_objects
from tenantry.planning.ownership import resolve
from tenantry.postgres.catalog import read_schema
from tenantry.postgres.census import run_census
from tenantry.postgres.connect import Target
from tenantry.postgres.journal import Journal


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """The proposal, as the text of a tenantry.toml, and as a Mermaid diagram; and what it was made from."""

    proposal: Proposal
    text: str
    diagram: str
    background: Background


def discover(
    target: Target, *, tenant_table: str | None = None, undecided: Undecided = Undecided.ASK,
    schemas: tuple[str, ...] = ("*",),
) -> Discovery:  # fmt: skip
    """Read every schema of the user's, and count rows where paths compete. Changes nothing.

    Raises UsageError if no proposal can be made, ConnectionFailed without a connection or the privilege to read.
    """
    with _looking(target, schemas) as (connection, schema):
        proposal = propose(
            schema,
            ask=lambda census: run_census(connection, census),
            tenant_table=tenant_table,
            undecided=undecided,
        )
        background = Background(schema=schema, proposal=proposal, tenants=_tenants(connection, schema, proposal))
    return Discovery(
        proposal=proposal, text=spec_text(proposal), diagram=diagram(proposal), background=background
    )  # fmt: skip


def discover_update(target: Target, spec: Spec, text: str, *, undecided: Undecided = Undecided.ASK) -> Update:
    """Tables that the spec, whose file has this text, does not list; and other changes since it was written.

    Changes nothing. Raises UsageError if nothing can be added, ConnectionFailed as `discover` does.
    """
    with _looking(target, spec.schemas) as (connection, schema):
        ownership = resolve(spec, schema, lenient=True)
        if ownership.tenant.name not in schema.tables:
            proposal = by_keys(spec, schema, ownership.tenant.name)
        else:
            proposal = propose(
                schema, ask=lambda census: run_census(connection, census), tenant_table=str(ownership.tenant.name),
                undecided=undecided, home=spec.schemas[0], tenancy=spec.tenant,
            )  # fmt: skip
        background = Background(schema=schema, proposal=proposal, tenants=_tenants(connection, schema, proposal))
    return update(text, spec, background, gone=tuple(ownership.misfits))


def _tenants(connection: psycopg.Connection[Any], schema: Schema, proposal: Proposal) -> tuple[str, ...]:
    """The slugs of the tenants; none if the table does not exist yet."""
    table, part = schema.tables.get(proposal.tenant), proposal.spec.tenant
    if table is None or table.column(part.slug) is None:
        return tuple(row.slug for row in part.rows)
    query = sql.SQL("SELECT tenant.{}::pg_catalog.text FROM {} AS tenant ORDER BY 1").format(
        sql.Identifier(part.slug), table.name.identifier
    )
    return tuple(slug for (slug,) in connection.execute(query) if slug is not None)


@contextmanager
def _looking(target: Target, schemas: tuple[str, ...]) -> Iterator[tuple[psycopg.Connection[Any], Schema]]:
    """A connection, and the schema without tenantry's objects."""
    with open_session(target, purpose="discover") as connection:
        found = current_names(read_entries(Journal(connection))).entries
        yield connection, read_schema(connection, schemas, managed=managed_objects(found))
