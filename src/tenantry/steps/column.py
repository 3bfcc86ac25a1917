"""The tenant column, its constant default, and its default from the setting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from psycopg import sql

from tenantry.model.name import Name, quoted
from tenantry.model.plan import Lock, LockMode, Statement
from tenantry.steps.derivation import TenantReference
from tenantry.steps.introspection import body, column_definition, default_definition, exists, raw
from tenantry.steps.step import Before, Step
from tenantry.steps.tenant_setting import current_tenant_value


@dataclass(frozen=True, slots=True, kw_only=True)
class AddTenantColumn(Step):
    """ADD COLUMN, a catalog change: no row is touched, with or without the constant.

    `tree` are the partitions and inheritance children that get the column by recursion. The key of the constant's
    tenant is looked up by its slug when the statement runs, hence the DO block: a DEFAULT takes no subquery, and only a
    constant avoids a rewrite of the table.
    """

    kind: Literal["column"] = "column"
    column: str
    type: str
    tree: tuple[Name, ...] = ()
    constant: str | None = None
    tenant: TenantReference
    preserved = True
    carries = True
    holds = True
    of_owned = True
    noted_besides = True

    @property
    def key(self) -> str:
        return f"column:{self.table}:{self.column}"

    @property
    def title(self) -> str:
        ending = f", all rows to the tenant {self.constant!r}" if self.constant is not None else ""
        return f"add the column {self.column}{ending}"

    @property
    def locks(self) -> tuple[Lock, ...]:
        return tuple(Lock(table, LockMode.ACCESS_EXCLUSIVE) for table in (self.table, *self.tree))

    @property
    def subject(self) -> str:
        return f"The column {quoted(self.column)} of {self.table}"

    @property
    def built(self) -> tuple[Name, str | None]:
        return self.table, self.column

    @property
    def tenant_table(self) -> Name:
        return self.tenant.table

    @property
    def tenant_column(self) -> str:
        return self.column

    @property
    def constant_key(self) -> sql.Composable | None:
        return self.tenant.key_of(self.constant) if self.constant is not None else None

    @property
    def slugs(self) -> tuple[TenantReference, ...]:
        return (self.tenant,) if self.constant is not None else ()

    @property
    def growing(self) -> tuple[Name, ...]:
        return (self.table, *self.tree)

    @property
    def allotted(self) -> tuple[Name, ...]:
        return (self.table,)

    def definition(self) -> sql.Composable:
        return column_definition(self.table, self.column)

    def wants(self) -> str:
        """Its type and the tenant of all its rows, not the exact text: a change of the text alone is no reason to make
        it again."""
        return f"{self.type} {self.constant}"

    def values(self) -> sql.Composable:
        return sql.SQL("SELECT pg_catalog.count(row.{}) FROM {} AS row").format(
            sql.Identifier(self.column), self.table.identifier
        )

    def apply(self) -> tuple[Statement, ...]:
        add = sql.SQL("ALTER TABLE {} ADD COLUMN {} {}").format(
            self.table.identifier, sql.Identifier(self.column), raw(self.type)
        )
        if self.constant is None:
            return (Statement(sql=add, locks=self.locks),)
        template = sql.Literal(add.as_string(None).replace("%", "%%") + " DEFAULT %L")
        block = sql.SQL("DO {}").format(
            body(sql.SQL("BEGIN EXECUTE pg_catalog.format({}, {}); END").format(
                template, self.tenant.key_of(self.constant)))
        )  # fmt: skip
        return (Statement(sql=block, locks=self.locks),)

    def revert(self, before: Before) -> tuple[Statement, ...]:
        drop = sql.SQL("ALTER TABLE {} DROP COLUMN IF EXISTS {}").format(
            self.table.identifier, sql.Identifier(self.column)
        )
        return (Statement(sql=drop, locks=self.locks, when=exists(self.definition())),)

    def keep(self, before: Before) -> tuple[Statement, ...]:
        drop = sql.SQL("ALTER TABLE {} ALTER COLUMN {} DROP DEFAULT").format(
            self.table.identifier, sql.Identifier(self.column)
        )
        default = exists(default_definition(self.table, self.column))
        return (Statement(sql=drop, locks=self.locks, when=default),)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextDefault(Step):
    """SET DEFAULT from the setting, so that rows of an application that names no tenant column belong to the session's
    tenant.

    A catalog change. The default that was there before is recorded and restored.
    """

    kind: Literal["context_default"] = "context_default"
    column: str
    type: str
    setting: str
    compared = True

    @property
    def key(self) -> str:
        return f"context_default:{self.table}:{self.column}"

    @property
    def title(self) -> str:
        return f"set the default of {self.column} to the setting {self.setting}"

    @property
    def locks(self) -> tuple[Lock, ...]:
        return (Lock(self.table, LockMode.ACCESS_EXCLUSIVE),)

    @property
    def subject(self) -> str:
        return f"The default of {quoted(self.column)} of {self.table} from the setting {self.setting}"

    def definition(self) -> sql.Composable:
        expression = default_definition(self.table, self.column)
        return sql.SQL("SELECT found.* FROM ({}) AS found(text) WHERE pg_catalog.strpos(found.text, {}) > 0").format(
            expression, sql.Literal(f"current_setting('{self.setting}'")
        )

    def record(self) -> sql.Composable:
        return sql.SQL("SELECT pg_catalog.jsonb_build_object('default', ({}))").format(
            default_definition(self.table, self.column)
        )

    def apply(self) -> tuple[Statement, ...]:
        return (self._set(current_tenant_value(self.setting, self.type)),)

    def revert(self, before: Before) -> tuple[Statement, ...]:
        if before.get("default") is not None:
            return (self._set(raw(before["default"])),)
        drop = sql.SQL("ALTER TABLE ONLY {} ALTER COLUMN {} DROP DEFAULT").format(
            self.table.identifier, sql.Identifier(self.column)
        )
        return (Statement(sql=drop, locks=self.locks, when=exists(self.definition())),)

    def _set(self, value: sql.Composable) -> Statement:
        statement = sql.SQL("ALTER TABLE ONLY {} ALTER COLUMN {} SET DEFAULT {}").format(
            self.table.identifier, sql.Identifier(self.column), value
        )
        return Statement(sql=statement, locks=self.locks)
