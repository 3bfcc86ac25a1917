"""discover: a proposed spec, from the schema and what the data says."""

from __future__ import annotations

from dataclasses import dataclass

from tenantry.discovery.diagram import diagram
from tenantry.discovery.proposal import Proposal, Undecided
from tenantry.discovery.propose import propose
from tenantry.discovery.spec_file import spec_text
from tenantry.execution.renames import known
from tenantry.model.schema import Schema
from tenantry.postgres.catalog import read_schema
from tenantry.postgres.census import run_census
from tenantry.postgres.connect import Target
from tenantry.postgres.journal import Journal
from tenantry.workflow.session import opened, ours, read_entries


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """The proposal, as the text of a tenantry.toml, and as a Mermaid diagram."""

    proposal: Proposal
    text: str
    diagram: str


def discover(
    target: Target, *, tenant_table: str | None = None, undecided: Undecided = Undecided.ASK,
    schemas: tuple[str, ...] = ("*",),
) -> Discovery:  # fmt: skip
    """Look at every schema of the user's, and ask the data where paths compete. Changes nothing.

    Raises UsageError where no proposal can be made, ConnectionFailed without a connection or the right to read.
    """
    with opened(target, purpose="discover") as connection:
        found = known(read_entries(Journal(connection))).entries
        schema: Schema = read_schema(connection, schemas, ours=ours(found))
        proposal = propose(
            schema,
            ask=lambda census: run_census(connection, census),
            tenant_table=tenant_table,
            undecided=undecided,
        )
    return Discovery(proposal=proposal, text=spec_text(proposal), diagram=diagram(proposal))
