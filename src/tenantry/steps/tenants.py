"""The tenant table, if the database has none, and the tenants that the spec names."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from psycopg import sql

from tenantry.model.name import Name
from tenantry.model.plan import Lock, LockMode, Statement
from tenantry.steps.derivation import TenantReference
from tenantry.steps.introspection import body, column_definition, revoke_default_privileges, with_search_path
from tenantry.steps.naming import StaticNames
from tenantry.steps.step import Before, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateTenantTable(Step):
    """CREATE TABLE for tenants: uuid key, slug, name, status. Changes no table of the user's."""

    kind: Literal["tenant_table"] = "tenant_table"
    key_column: str
    slug: str
    owner: str
    preserved = True
    carries = True
    holds = True
    of_table = False
    of_owned = True
    needs = "CREATE in the schema"

    @property
    def key(self) -> str:
        return f"tenant_table:{self.table}"

    @property
    def title(self) -> str:
        return f"create the tenant table {self.table}"

    @property
    def subject(self) -> str:
        return f"The tenant table {self.table}"

    @property
    def built(self) -> tuple[Name, str | None]:
        return self.table, None

    @property
    def tenant_table(self) -> Name:
        return self.table

    @property
    def makes(self) -> Name:
        return self.table

    @property
    def given_to(self) -> str:
        return self.owner

    def definition(self) -> sql.Composable:
        return column_definition(self.table, self.key_column)

    def wants(self) -> str:
        """Its key and slug: its owner follows from the owned tables, and is no reason to make it again."""
        return f"{self.key_column} {self.slug}"

    def values(self) -> sql.Composable:
        return sql.SQL("SELECT pg_catalog.count(*) FROM {}").format(self.table.identifier)

    def apply(self) -> tuple[Statement, ...]:
        create = sql.SQL(
            "CREATE TABLE {table} ({key} uuid DEFAULT gen_random_uuid() PRIMARY KEY, {slug} text NOT NULL UNIQUE,"
            " name text NOT NULL, status text NOT NULL DEFAULT 'active')"
        ).format(table=self.table.identifier, key=sql.Identifier(self.key_column), slug=sql.Identifier(self.slug))
        owner = sql.SQL("ALTER TABLE {} OWNER TO {}").format(self.table.identifier, sql.Identifier(self.owner))
        foreign = sql.SQL("SELECT current_user <> {}").format(sql.Literal(self.owner))
        return (
            Statement(sql=create),
            Statement(sql=revoke_default_privileges(self.table)),
            Statement(sql=owner, when=foreign),
        )

    def revert(self, before: Before) -> tuple[Statement, ...]:
        drop = sql.SQL("DROP TABLE IF EXISTS {}").format(self.table.identifier)
        return (Statement(sql=drop, locks=(Lock(self.table, LockMode.ACCESS_EXCLUSIVE),)),)


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantRow(Step):
    """A tenant that the spec names and the table lacks. `columns` get its name, which is the slug if no name is given;
    the key, if it is one of them, gets the slug."""

    kind: Literal["tenant_row"] = "tenant_row"
    tenant: TenantReference
    slug: str
    name: str | None = None
    columns: tuple[str, ...] = ()
    referenced_by: tuple[tuple[Name, str], ...] = ()
    """The user's own columns that point at the tenant table."""
    search_path: tuple[str, ...] = ()
    preserved = True
    carries = True
    of_table = False

    def renamed(self, names: StaticNames) -> TenantRow:
        return replace(self, columns=names.columns(self.table, self.columns))

    @property
    def key(self) -> str:
        return f"tenant_row:{self.table}:{self.slug}"

    @property
    def title(self) -> str:
        return f"add the tenant {self.slug!r}"

    @property
    def remedy(self) -> str:
        return f"Add this row to {self.table} by hand, or list an existing tenant in the spec."

    @property
    def subject(self) -> str:
        return f"The tenant {self.slug!r} in {self.table}"

    @property
    def tenant_table(self) -> Name:
        return self.table

    @property
    def tenant_row(self) -> TenantRow:
        return self

    @property
    def slugs(self) -> tuple[TenantReference, ...]:
        return (self.tenant,)

    @property
    def spared(self) -> tuple[tuple[Name, str], ...]:
        """Tables and columns that need not be free of its key before it is deleted."""
        return self.referenced_by

    @property
    def stays(self) -> str:
        return f"the tenant {self.slug!r}"

    def definition(self) -> sql.Composable:
        # Also queried after the user's own triggers, in which the user's search_path is set.
        return sql.SQL(
            "SELECT tenant.{}::pg_catalog.text FROM {} AS tenant"
            " WHERE tenant.{}::pg_catalog.text OPERATOR(pg_catalog.=) {}"
        ).format(
            sql.Identifier(self.tenant.key), self.table.identifier,
            sql.Identifier(self.tenant.slug), sql.Literal(self.slug),
        )  # fmt: skip

    def wants(self) -> str:
        """The tenant itself: the values of its columns are the user's own once it exists."""
        return self.key

    def row_values(self) -> dict[str, str]:
        """By column, the values of the new row."""
        values = {column: self.slug if column == self.tenant.key else self.name or self.slug for column in self.columns}
        return values | {self.tenant.slug: self.slug}

    def _values(self) -> dict[str, sql.Composable]:
        return {column: sql.Literal(value) for column, value in self.row_values().items()}

    _overriding: ClassVar[sql.SQL] = sql.SQL("")

    def apply(self) -> tuple[Statement, ...]:
        values = self._values()
        insert = sql.SQL("INSERT INTO {} ({}){} SELECT {} WHERE {}").format(
            self.table.identifier, sql.SQL(", ").join(map(sql.Identifier, values)), self._overriding,
            sql.SQL(", ").join(values.values()), with_search_path(self.search_path),
        )  # fmt: skip
        # Otherwise nothing that looks for the tenant by its slug would find it, and rows would wait for it for ever.
        kept = sql.SQL("DO {}").format(
            body(
                sql.SQL(
                    "BEGIN IF NOT EXISTS ({}) THEN RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = {};"
                    " END IF; END"
                ).format(self.definition(), sql.Literal(f"a trigger of {self.table} changes the slug of the new row"))
            )
        )
        return Statement(sql=insert, locks=(Lock(self.table, LockMode.ROW_EXCLUSIVE),)), Statement(sql=kept)

    def revert(self, before: Before) -> tuple[Statement, ...]:
        delete = sql.SQL("DELETE FROM {} AS tenant WHERE tenant.{}::text = {} AND {}").format(
            self.table.identifier, sql.Identifier(self.tenant.slug), sql.Literal(self.slug),
            with_search_path(self.search_path),
        )  # fmt: skip
        used: list[sql.Composable] = [
            sql.SQL("SELECT FROM {} AS used WHERE used.{} = {}").format(
                table.identifier, sql.Identifier(column), self.tenant.key_of(self.slug)
            )
            for table, column in self.referenced_by
        ]
        when = sql.SQL("SELECT NOT EXISTS ({})").format(sql.SQL(" UNION ALL ").join(used)) if used else None
        return (Statement(sql=delete, locks=(Lock(self.table, LockMode.ROW_EXCLUSIVE),), when=when),)
