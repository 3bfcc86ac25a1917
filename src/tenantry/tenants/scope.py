"""The start of every command about one tenant's rows: an isolated database, and the rows that are the tenant's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from tenantry.backups.content import source
from tenantry.backups.create import refuse_hidden
from tenantry.errors import Refused, UsageError, nearest
from tenantry.execution.events import Observer
from tenantry.execution.existing import survey
from tenantry.execution.session import Session
from tenantry.execution.tenant_table import Tenant, TenantRows
from tenantry.model.backup import CopiedColumn, TableCopy
from tenantry.model.name import Name
from tenantry.model.plan import Lock, LockMode, Phase, Statement
from tenantry.model.schema import ManagedObjects
from tenantry.planning.original_schema import with_dropped_keys
from tenantry.planning.tenant_selection import SelectedTable, TenantSelection
from tenantry.postgres.catalog import EVERY_SCHEMA, read_schema


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantScope:
    """A database that is isolated, with the tables that have tenants' rows."""

    session: Session
    selection: TenantSelection
    run: str
    observer: Observer

    @property
    def connection(self) -> psycopg.Connection[Any]:
        return self.session.connection

    @property
    def tenant_rows(self) -> TenantRows:
        return TenantRows(self.session)

    @property
    def fingerprint(self) -> str:
        """A digest of the spec."""
        text = json.dumps(self.session.spec.model_dump(mode="json"), sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    @classmethod
    def of(cls, session: Session, *, run: str, observer: Observer) -> TenantScope:
        """Raises Refused if not every step until isolate is applied, or if a policy may hide rows from the operator."""
        comparison = survey(session.connection, session.plan, session.entries, exact=False)
        missing = [step for step in session.plan.until(Phase.ISOLATE) if step.key not in comparison.in_force]
        if missing:
            raise Refused(
                f"The database is not isolated: {len(missing)} steps are not applied, the first of them"
                f" {missing[0].key}",
                remedy="Run `tenantry migrate --until isolate` first: until then it is not certain whose a row is.",
            )
        schema = read_schema(session.connection, (EVERY_SCHEMA,), managed=ManagedObjects())
        schema = with_dropped_keys(schema, session.schema)
        selection = TenantSelection(ownership=session.plan.ownership, schema=schema)
        around = {name for one in selection.references for name in (one.child, one.parent)}
        refuse_hidden(session.connection, sorted(around | selection.tables.keys()))
        return cls(session=session, selection=selection, run=run, observer=observer)

    def find(self, slug: str) -> Tenant | None:
        """The tenant with this slug."""
        return next((tenant for tenant in self.tenant_rows.read() if tenant.slug == slug), None)

    def tenant(self, slug: str) -> Tenant:
        """The same. Raises UsageError if there is none, Refused if it is the sentinel tenant."""
        found = self.find(slug)
        if found is None:
            known = self.tenant_rows.read()
            raise UsageError(
                f"there is no tenant {slug!r}{nearest(slug, [tenant.slug for tenant in known])}",
                remedy="`tenantry tenants list` has them.",
            )
        found.refuse_sentinel()
        return found

    def copy(self, name: Name) -> TableCopy:
        """The columns of a table that are exported: all except generated ones."""
        return source(self.selection.schema, name, managed={}, created=frozenset())

    def copied(self, name: Name) -> tuple[CopiedColumn, ...]:
        """The same columns by name: tables of two databases may have them in another order."""
        return tuple(sorted(self.copy(name).columns, key=lambda column: column.name))

    def count(self, table: SelectedTable, condition: sql.Composable) -> int:
        """The rows `t` of a table for which a condition holds."""
        query = sql.SQL("SELECT pg_catalog.count(*) FROM {} AS t WHERE {}").format(table.rows, condition)
        row = self.connection.execute(query).fetchone()
        return 0 if row is None else int(row[0])


def write_lock(name: Name) -> Statement:
    """The lock of every INSERT and DELETE, requested separately: so that a session with an exclusive lock is named."""
    return Statement(
        sql=sql.SQL("LOCK TABLE ONLY {} IN ROW EXCLUSIVE MODE").format(name.identifier),
        locks=(Lock(name, LockMode.ROW_EXCLUSIVE),),
    )


def key_text(columns: Iterable[CopiedColumn | str], alias: str) -> sql.Composed:
    """A row's values in these columns, as one text for people."""
    names = [column if isinstance(column, str) else column.name for column in columns]
    return sql.SQL("pg_catalog.concat_ws(', ', {})").format(
        sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(alias, name)) for name in names)
    )
