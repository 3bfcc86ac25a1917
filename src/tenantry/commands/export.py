"""export: the migrated tables, as files for an ORM."""

from __future__ import annotations

from dataclasses import replace

from tenantry.errors import Refused
from tenantry.execution.existing import read_entries
from tenantry.execution.renames import current_names
from tenantry.execution.session import open_session
from tenantry.exports import ExportContext, Files, Orm, write
from tenantry.model.schema import ManagedObjects
from tenantry.model.spec import Spec
from tenantry.planning.original_schema import managed_objects, original_schema
from tenantry.planning.ownership import resolve
from tenantry.postgres.catalog import read_schemas
from tenantry.postgres.connect import Target
from tenantry.postgres.journal import Journal


def export(target: Target, spec: Spec, orm: Orm, *, app: str = "tenants", after: str | None = None) -> Files:
    """The text of each file, by its path: models of all tables of the spec's schemas, and for Django and Alembic a
    migration that changes nothing in the database. `app`: the label of Django's application. `after`: the migration or
    revision that the new one follows. Changes nothing.

    Raises UsageError if the spec does not fit the database, or `after` is not the name of a migration; Refused if
    a tenant column is still missing; ConnectionFailed without a connection or privileges.
    """
    context = replace(read_context(target, spec), app=app, after=after)
    missing = [
        owned.table
        for owned in context.ownership.owned
        if (table := context.live.tables.get(owned.table)) is None or table.column(owned.column) is None
    ]
    if missing:
        raise Refused(
            f"{missing[0]} has no tenant column yet" + (f", nor have {len(missing) - 1} more" if missing[1:] else ""),
            remedy="Run `tenantry migrate` first: models are written for the migrated tables.",
        )
    return write(orm, context)


def read_context(target: Target, spec: Spec) -> ExportContext:
    """The original schema and the current one, read in one snapshot."""
    with open_session(target, purpose="export") as connection:
        entries = current_names(read_entries(Journal(connection))).entries
        found, live = read_schemas(
            connection, spec.schemas, managed=(managed_objects(entries), ManagedObjects(named=False))
        )
    found = original_schema(found, entries)
    return ExportContext(original=found, live=live, ownership=resolve(spec, found))
