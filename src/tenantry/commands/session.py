"""What every command that reads or changes the database begins with."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from pydantic import ValidationError

from tenantry.balances.ledgers import Ledgers
from tenantry.errors import Failed, Refused
from tenantry.execution.events import Connected, Observer
from tenantry.execution.renames import Known, known, with_indexes
from tenantry.model.name import Name
from tenantry.model.plan import Phase
from tenantry.model.schema import Ours, Schema
from tenantry.model.spec import Spec
from tenantry.planning import Plan, make_plan
from tenantry.postgres.catalog import read_schemas
from tenantry.postgres.connect import Target, connect, read_server
from tenantry.postgres.journal import Entry, Journal
from tenantry.steps import from_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A connection, its journal, and the plan for the database as the user made it."""

    target: Target
    connection: psycopg.Connection[Any]
    journal: Journal
    spec: Spec
    schema: Schema
    plan: Plan
    known: Known
    live: Schema
    """The schema as it is, with what is ours; without, unless it was asked for."""

    @property
    def entries(self) -> Mapping[str, Entry]:
        """The journal's steps, under the names that their tables have now."""
        return self.known.entries

    @classmethod
    def begin(
        cls, target: Target, connection: psycopg.Connection[Any], spec: Spec, *, lenient: bool = False,
        live: bool = False,
    ) -> Session:  # fmt: skip
        """Read the journal and the schema without what is ours, and make the plan, of which balances that are installed
        are a part. Raises UsageError where the spec does not fit the database, unless `lenient`: then the plan is
        without what does not. `live`: the schema with what is ours is read as well, as of the same moment."""
        journal = Journal(connection)
        found = known(read_entries(journal))
        asked = (ours(found.entries), Ours()) if live else (ours(found.entries),)
        schemas = read_schemas(connection, spec.schemas, ours=asked)
        schema = as_found(schemas[0], found.entries)
        schema = replace(schema, earlier=found.tables, earlier_columns=found.columns)
        plan = make_plan(spec, schema, lenient=lenient)
        balances = Ledgers(connection, spec, found.entries, plan.ownership).planned()
        plan = plan.along(balances.steps, balances.refusals)
        found = with_indexes(found, plan.steps)
        return cls(target=target, connection=connection, journal=journal, spec=spec, schema=schema, plan=plan,
                   known=found, live=schemas[-1])  # fmt: skip


def read_entries(journal: Journal) -> dict[str, Entry]:
    """The steps that are ours. Raises Refused for a row of the journal that holds no step as we write it."""
    entries = journal.entries()
    for key, entry in entries.items():
        try:
            problem = "" if from_json(entry.value).key == key else "is another step's"
            problem = problem or ("" if isinstance(entry.before, dict) else "has a `before` that is no object")
            Phase(entry.phase)
        except ValueError as error:
            problem = f"cannot be read: {_first_problem(error)}"
        if problem:
            raise Refused(
                f"The row {key!r} of tenantry.steps {problem}",
                remedy="Somebody has changed the journal: put the row back, from a dump of the schema tenantry.",
            )
    return entries


def _first_problem(error: ValueError) -> str:
    """One line; pydantic's own words are many."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        if first["type"] == "union_tag_invalid":
            return f"there is no kind {first['ctx']['tag']!r}"
        place = ".".join(map(str, first["loc"]))
        return f"{place}: {first['msg']}" if place else first["msg"]
    return str(error).splitlines()[0]


def ours(entries: Mapping[str, Entry]) -> Ours:
    """What the journal says that we made, to be left out of the schema as found."""
    columns: dict[Name, str] = {}
    live: set[Name] = set()
    kept: set[Name] = set()
    created: set[Name] = set()
    for entry in entries.values():
        step = from_json(entry.value)
        if step.makes is not None:
            created.add(step.makes)
        if step.tenant_column is not None:
            columns[step.table] = step.tenant_column
            (kept if entry.state == "kept" else live).add(step.table)
    return Ours(tables=frozenset(live), columns=columns, created=frozenset(created), kept=frozenset(kept))


def as_found(schema: Schema, entries: Mapping[str, Entry]) -> Schema:
    """The schema with what our steps have changed of the user's own objects put back: the unique indexes that contract
    has dropped, the NULLs that the user's own tenant columns allowed, and what the application role might do."""
    tables, views = dict(schema.tables), dict(schema.views)
    for entry in entries.values():
        step, before = from_json(entry.value), entry.before
        if (table := tables.get(step.table)) is not None:
            table = step.as_found(table, before)
            tables[step.table] = replace(table, grants=step.grants_as_found(table.grants, before))
        elif (view := views.get(step.table)) is not None:
            views[step.table] = replace(view, grants=step.grants_as_found(view.grants, before))
    return replace(schema, tables=tables, views=views)


@contextmanager
def open_session(
    target: Target, *, run: str = "", purpose: str, observer: Observer | None = None
) -> Iterator[psycopg.Connection[Any]]:
    """A connection for the block, of which `observer` is told. Raises Failed where it is lost within."""
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
            remedy="Run the same command again once the server can be reached: it goes on where it stopped.",
            details=str(error).splitlines(),
        ) from error
    finally:
        connection.close()


def is_lost(error: psycopg.Error) -> bool:
    """Whether it says that there is no connection any more; a full disk is an OperationalError, too.

    Without a SQLSTATE it was raised here: a value that cannot be sent says nothing about the connection.
    """
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError)
    return error.sqlstate.startswith(("08", "57P"))


@contextmanager
def interruptible(interrupt: Callable[[], None]) -> Iterator[None]:
    """Within the block Ctrl-C, or SIGTERM, asks for a stop; a second Ctrl-C is Python's own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        # The handler may interrupt a call into the driver: what cancels must not wait for it.
        threading.Thread(target=interrupt, daemon=True).start()

    for number in before:
        signal.signal(number, ask)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
