"""The beginning of every command that reads or changes the database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import psycopg

from tenantry.balances.ledgers import Ledgers
from tenantry.errors import Failed
from tenantry.execution.events import Connected, Observer
from tenantry.execution.existing import read_entries
from tenantry.execution.renames import CurrentNames, current_names, with_indexes
from tenantry.model.plan import Phase
from tenantry.model.schema import ManagedObjects, Schema
from tenantry.model.spec import Spec
from tenantry.planning import Plan, make_plan
from tenantry.planning.original_schema import managed_objects, original_schema
from tenantry.postgres.catalog import read_schemas
from tenantry.postgres.connect import Target, connect, read_server
from tenantry.postgres.distribution import has_citus
from tenantry.postgres.journal import Entry, Journal
from tenantry.steps import from_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A connection, its journal, and the plan for the original schema."""

    target: Target
    connection: psycopg.Connection[Any]
    journal: Journal
    spec: Spec
    schema: Schema
    plan: Plan
    current_names: CurrentNames
    live: Schema
    """The present schema with tenantry's objects; without them, unless it was requested."""

    @property
    def entries(self) -> Mapping[str, Entry]:
        """The journal's steps, under the present names of their tables."""
        return self.current_names.entries

    @classmethod
    def begin(
        cls, target: Target, connection: psycopg.Connection[Any], spec: Spec, *, lenient: bool = False,
        live: bool = False, distribute: bool = False, engine: bool = False,
    ) -> Session:  # fmt: skip
        """Read the journal and the schema without tenantry's objects, and make the plan, which includes installed
        balances. Raises UsageError if the spec does not fit the database, unless `lenient`: then the plan is without
        the parts that do not. `live`: the schema with tenantry's objects is read as well, in the same snapshot.
        `distribute`: the plan has that phase, which it has in any case once a step of it was applied; with `engine` and
        in a database that has Citus, or once a step was applied that needs it, it has all steps of that phase."""
        journal = Journal(connection)
        found = current_names(read_entries(journal))
        asked = (managed_objects(found.entries), ManagedObjects()) if live else (managed_objects(found.entries),)
        schemas = read_schemas(connection, spec.schemas, managed=asked)
        schema = original_schema(schemas[0], found.entries)
        schema = replace(schema, earlier=found.tables, earlier_columns=found.columns)
        distribute = distribute or any(entry.phase == Phase.DISTRIBUTE for entry in found.entries.values())
        engine = engine and has_citus(connection)
        engine = engine or any(from_json(entry.value).engine for entry in found.entries.values())
        plan = make_plan(spec, schema, lenient=lenient, distribute=distribute, engine=engine)
        balances = Ledgers(connection, spec, found.entries, plan.ownership).planned()
        plan = plan.along(balances.steps, balances.refusals)
        found = with_indexes(found, plan.steps)
        return cls(target=target, connection=connection, journal=journal, spec=spec, schema=schema, plan=plan,
                   current_names=found, live=schemas[-1])  # fmt: skip


def check_spec(target: Target, spec: Spec) -> None:
    """Raises UsageError if the spec does not fit the database, ConnectionFailed without a connection."""
    with open_session(target, purpose="spec") as connection:
        Session.begin(target, connection, spec)


@contextmanager
def open_session(
    target: Target, *, run: str = "", purpose: str, observer: Observer | None = None
) -> Iterator[psycopg.Connection[Any]]:
    """A connection for the block, which `observer` is notified of. Raises Failed if it is lost during the block."""
    connection = connect(target, run=run, purpose=purpose)
    try:
        if observer is not None:
            observer(Connected(read_server(connection)))
        yield connection
    except psycopg.OperationalError as error:
        if not (connection.closed or connection.broken or is_lost(error)):
            raise
        raise Failed(
            "The connection to the server was lost",
            remedy="Run the same command again once the server can be reached: it continues where it stopped.",
            details=str(error).splitlines(),
        ) from error
    finally:
        connection.close()


def is_lost(error: psycopg.Error) -> bool:
    """Whether the error means that the connection is lost; a full disk is an OperationalError, too.

    An error without a SQLSTATE was raised by the driver: a value that cannot be sent says nothing about the connection.
    """
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError)
    return error.sqlstate.startswith(("08", "57P"))
