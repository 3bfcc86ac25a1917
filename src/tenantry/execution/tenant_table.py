"""The tenant table: its rows, and the statements that change them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from tenantry.errors import ConnectionFailed, Refused, UsageError
from tenantry.execution.session import Session
from tenantry.model.ownership import TenantTable
from tenantry.model.schema import Column
from tenantry.model.spec import is_slug
from tenantry.planning.tenant_rows import is_text, name_column, needs_value
from tenantry.steps.introspection import with_search_path


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """A row of the tenant table, or a tenant that has moved away: `location` then says where its rows are. `name` is
    empty if the table has no column for one. `sentinel`: it is not a customer; from the phase distribute on the rows of
    all tenants belong to it."""

    slug: str
    key: str
    name: str = ""
    default: bool = False
    quarantine: bool = False
    location: str = ""
    moving: bool = False
    """Its rows are being moved from here, or deleted here after a move."""
    sentinel: bool = False

    def refuse_sentinel(self) -> None:
        """Raises Refused for the sentinel tenant."""
        if self.sentinel:
            raise Refused(
                f"{self.slug!r} is not a customer: the rows of mixed tables that all tenants see belong to it",
                remedy="Choose another tenant; `tenantry rollback --confirm` removes this one.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantRowChange:
    """The change that was made, or would be made in a dry run: the statement, with its values, and the tenant after
    it."""

    statement: str
    tenant: Tenant | None


def _slug(text: str) -> str:
    if not is_slug(text):
        raise UsageError(f"{text!r} is not a valid slug", remedy="Use a short name without spaces at its ends.")
    return text


class TenantRows:
    """The tenant table, from the spec and the schema."""

    def __init__(self, session: Session) -> None:
        self.connection: psycopg.Connection[Any] = session.connection
        self.spec = session.spec
        self.search_path = session.schema.search_path
        self.tenant: TenantTable = session.plan.ownership.tenant
        table = session.schema.tables.get(self.tenant.name)
        self.columns: tuple[Column, ...] = () if table is None else table.columns
        if table is None:
            # One that tenantry made is not part of the original schema.
            row = self.connection.execute(sql.SQL("SELECT {} IS NOT NULL").format(self.tenant.name.oid)).fetchone()
            if row is None or not row[0]:
                raise UsageError(
                    f"The tenant table {self.tenant.name} does not exist yet",
                    remedy="Add new tenants to [[tenant.rows]] in the spec; `tenantry migrate --until expand` creates"
                    " the table with them.",
                )
            self.columns = (Column(name="name", type="text", base_type="text", not_null=True),)
        self.name = name_column(self.columns, self.tenant)

    def read(self) -> tuple[Tenant, ...]:
        name = sql.Identifier(self.name) if self.name is not None else sql.SQL("''")
        query = sql.SQL(
            "SELECT tenant.{}::pg_catalog.text, tenant.{}::pg_catalog.text, coalesce({}::pg_catalog.text, '')"
            " FROM {} AS tenant ORDER BY 1"
        ).format(
            sql.Identifier(self.tenant.slug), sql.Identifier(self.tenant.key), name, self.tenant.name.identifier
        )  # fmt: skip
        try:
            rows = self.connection.execute(query).fetchall()
        except psycopg.errors.InsufficientPrivilege as error:
            raise ConnectionFailed(
                f"The tenants cannot be read: {error.diag.message_primary}",
                remedy="Connect as the owner of the tables.",
            ) from error
        return tuple(
            Tenant(slug=slug, key=key, name=shown, default=slug == self.spec.tenant.default,
                   quarantine=slug == self.tenant.quarantine, sentinel=key == self.tenant.sentinel)
            for slug, key, shown in rows
        )  # fmt: skip

    def refuse_taken(self, slug: str) -> None:
        if any(tenant.slug == slug for tenant in self.read()):
            raise Refused(f"The tenant {slug!r} already exists", remedy="Choose another slug.")

    def refuse_named(self, slug: str) -> None:
        """The next migrate would create the spec's own tenants again under the old slug."""
        if slug in (self.tenant.default, self.tenant.quarantine, *self.tenant.slugs):
            source = self.spec.path or "the spec"
            raise Refused(
                f"The spec lists the tenant {slug!r}: migrate would create it again",
                remedy=f"Rename it in {source} and in the tenant table by hand.",
            )

    def insert(self, slug: str, name: str) -> sql.Composed:
        values: dict[str, sql.Composable] = {self.tenant.slug: sql.Literal(slug)}
        if self.name is not None:
            values[self.name] = sql.Literal(name)
        wanting = []
        for column in self.columns:
            if column.name in values or not needs_value(column):
                continue
            if column.base_type == "uuid" and column.name == self.tenant.key:
                values[column.name] = sql.SQL("pg_catalog.gen_random_uuid()")
            elif is_text(column):
                values[column.name] = sql.Literal(slug if column.name == self.tenant.key else name)
            else:
                wanting.append(f"{column.name} {column.type}")
        if wanting:
            raise UsageError(
                f"{self.tenant.name} requires values for {', '.join(wanting)}, which have no default",
                remedy=f"INSERT the row into {self.tenant.name} yourself, or give these columns defaults.",
            )
        return sql.SQL("INSERT INTO {} AS tenant ({}) VALUES ({})").format(
            self.tenant.name.identifier, sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join(values.values()),
        )  # fmt: skip

    def rename(self, slug: str, new: str) -> sql.Composed:
        return sql.SQL(
            "UPDATE {} AS tenant SET {} = {} WHERE tenant.{}::pg_catalog.text OPERATOR(pg_catalog.=) {}"
        ).format(
            self.tenant.name.identifier, sql.Identifier(self.tenant.slug), sql.Literal(new),
            sql.Identifier(self.tenant.slug), sql.Literal(slug),
        )  # fmt: skip

    def change(self, statement: sql.Composed, *, dry_run: bool) -> TenantRowChange:
        text = statement.as_string(None)
        # A trigger of the table may write another slug than the given one: the key identifies the row.
        told = sql.SQL("{} RETURNING tenant.{}::pg_catalog.text").format(statement, sql.Identifier(self.tenant.key))
        if dry_run:
            return TenantRowChange(statement=text, tenant=None)
        try:
            with self.connection.transaction():
                # For the table's own triggers.
                self.connection.execute(sql.SQL("SELECT {}").format(with_search_path(self.search_path)))
                row = self.connection.execute(told).fetchone()
                if row is None:
                    raise UsageError(
                        f"{self.tenant.name} did not store the tenant: a trigger or rule on it discards the row",
                        remedy=f"INSERT the row into {self.tenant.name} yourself, in the way that the table allows.",
                    )
        except psycopg.errors.UniqueViolation as error:
            raise Refused(
                f"Such a tenant already exists: {error.diag.message_detail or error.diag.message_primary}",
                remedy="Choose other values.",
            ) from error
        except psycopg.errors.InsufficientPrivilege as error:
            raise ConnectionFailed(
                f"Missing privileges: {error.diag.message_primary}",
                remedy="Connect as the owner of the tables.",
            ) from error
        except psycopg.OperationalError:
            raise
        except psycopg.DatabaseError as error:
            raise UsageError(
                f"{self.tenant.name} does not accept the tenant: {error.diag.message_primary}",
                details=[error.diag.message_detail or ""],
            ) from error
        return TenantRowChange(statement=text, tenant=next((one for one in self.read() if one.key == row[0]), None))
