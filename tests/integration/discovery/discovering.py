"""The whole of discovery against a database of the test."""

from functools import partial
from typing import Any

import psycopg

from tenantry.discovery.profile import census
from tenantry.discovery.proposal import Proposal
from tenantry.discovery.propose import propose
from tenantry.discovery.spec_file import spec_text
from tenantry.model.evidence import Census, Evidence
from tenantry.model.schema import ManagedObjects, Schema
from tenantry.model.spec import Spec, TablePart
from tenantry.planning.ownership import resolve
from tenantry.postgres.catalog import read_schema
from tenantry.postgres.census import run_census


def session(database: Any, **parameters: Any) -> psycopg.Connection[Any]:
    """As tenantry.postgres.connect sets one up."""
    connection = database.connect(autocommit=True, **parameters)
    connection.execute("SET search_path = pg_catalog")
    return connection


def schema_of(database: Any, managed: ManagedObjects | None = None) -> Schema:
    with session(database) as connection:
        return read_schema(connection, ("*",), managed=managed or ManagedObjects())


def ask(database: Any, census: Census) -> Evidence:
    with session(database) as connection:
        return run_census(connection, census)


def discover(database: Any, **options: Any) -> Proposal:
    """What is proposed; the file that is written of it must say the same and fit the database."""
    schema = schema_of(database)
    proposal = propose(schema, ask=partial(ask, database), **options)
    written = Spec.parse(spec_text(proposal))
    assert written == proposal.spec
    ownership = resolve(written, schema)
    assert set(ownership.undecided) >= {decision.table for decision in proposal.undecided}
    if not ownership.undecided:
        assert not ask(database, census(ownership, schema)).refused
    return proposal


def part(proposal: Proposal, table: str) -> TablePart:
    return next(part for part in proposal.spec.table if part.name == table)


def reasons(proposal: Proposal, table: str) -> str:
    decision = next(one for one in proposal.decisions.values() if one.part.name == table)
    return "\n".join(decision.reasons)
