"""NOT NULL without a scan under a lock that blocks writers: a CHECK that is NOT VALID, its validation, then the flag.

PostgreSQL 18 can add NOT NULL itself as NOT VALID; the CHECK works in the same way on 14 to 18, so that it alone is
used.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from psycopg import sql

from tenantry.model.name import Name, quoted
from tenantry.model.plan import ExecutionMode, Lock, LockMode, Statement
from tenantry.model.schema import Table
from tenantry.steps.introspection import constraint_definition, exists, not_null_definition
from tenantry.steps.step import Before, Step

CHECK = "tenantry_tenant_not_null"


@dataclass(frozen=True, slots=True, kw_only=True)
class NotNullCheck(Step):
    """ADD CHECK (tenant IS NOT NULL) NOT VALID: checks new rows from now on."""

    kind: Literal["not_null_check"] = "not_null_check"
    column: str
    tree: tuple[Name, ...] = ()

    @property
    def key(self) -> str:
        return f"not_null_check:{self.table}"

    @property
    def title(self) -> str:
        return f"refuse new rows without {self.column}"

    @property
    def locks(self) -> tuple[Lock, ...]:
        return tuple(Lock(table, LockMode.ACCESS_EXCLUSIVE) for table in (self.table, *self.tree))

    @property
    def subject(self) -> str:
        return f"The check {quoted(CHECK)} of {self.table}"

    def definition(self) -> sql.Composable:
        return _either(constraint_definition(self.table, CHECK, validated=False), self.table, self.column)

    def apply(self) -> tuple[Statement, ...]:
        add = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} CHECK ({} IS NOT NULL) NOT VALID").format(
            self.table.identifier, sql.Identifier(CHECK), sql.Identifier(self.column)
        )
        return (Statement(sql=add, locks=self.locks),)

    def revert(self, before: Before) -> tuple[Statement, ...]:
        drop = sql.SQL("ALTER TABLE {} DROP CONSTRAINT IF EXISTS {}").format(
            self.table.identifier, sql.Identifier(CHECK)
        )
        there = exists(constraint_definition(self.table, CHECK, validated=False))
        return (Statement(sql=drop, locks=self.locks, when=there),)


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidateNotNullCheck(Step):
    """VALIDATE the check: reads every row and blocks no reader or writer."""

    kind: Literal["not_null_check_valid"] = "not_null_check_valid"
    column: str

    @property
    def key(self) -> str:
        return f"not_null_check_valid:{self.table}"

    @property
    def title(self) -> str:
        return f"validate that no row has NULL in {self.column}"

    @property
    def subject(self) -> str:
        return f"The check {quoted(CHECK)} of {self.table}"

    def definition(self) -> sql.Composable:
        return _either(constraint_definition(self.table, CHECK, validated=True), self.table, self.column)

    def apply(self) -> tuple[Statement, ...]:
        validate = sql.SQL("ALTER TABLE {} VALIDATE CONSTRAINT {}").format(self.table.identifier, sql.Identifier(CHECK))
        locks = (Lock(self.table, LockMode.SHARE_UPDATE_EXCLUSIVE),)
        return (Statement(sql=validate, manner=ExecutionMode.VALIDATION, locks=locks),)

    def revert(self, before: Before) -> tuple[Statement, ...]:
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SetNotNull(Step):
    """SET NOT NULL, which needs no scan thanks to the valid check; then the check is dropped."""

    kind: Literal["not_null"] = "not_null"
    column: str
    tree: tuple[Name, ...] = ()
    category = "constraint"
    of_owned = True
    refuses_null = True

    @property
    def key(self) -> str:
        return f"not_null:{self.table}"

    @property
    def title(self) -> str:
        return f"set {self.column} NOT NULL"

    @property
    def locks(self) -> tuple[Lock, ...]:
        return tuple(Lock(table, LockMode.ACCESS_EXCLUSIVE) for table in (self.table, *self.tree))

    @property
    def subject(self) -> str:
        return f"NOT NULL of {quoted(self.column)} of {self.table}"

    def original_table(self, table: Table, before: Before) -> Table:
        """With the NULLs that the user's own column allowed."""
        columns = (
            replace(column, not_null=False) if column.name == self.column else column for column in table.columns
        )
        return replace(table, columns=tuple(columns))

    def definition(self) -> sql.Composable:
        return not_null_definition(self.table, self.column)

    def apply(self) -> tuple[Statement, ...]:
        table, column = self.table.identifier, sql.Identifier(self.column)
        alter = sql.SQL("ALTER TABLE {} ALTER COLUMN {} SET NOT NULL").format(table, column)
        drop = sql.SQL("ALTER TABLE {} DROP CONSTRAINT IF EXISTS {}").format(table, sql.Identifier(CHECK))
        there = exists(constraint_definition(self.table, CHECK, validated=False))
        return Statement(sql=alter, locks=self.locks), Statement(sql=drop, locks=self.locks, when=there)

    def record(self) -> sql.Composable | None:
        """The partitions whose column was NOT NULL before."""
        if not self.tree:
            return None
        names = sql.Literal([part.identifier.as_string(None) for part in self.tree])
        return sql.SQL(
            "SELECT pg_catalog.jsonb_build_object('parts', (SELECT pg_catalog.jsonb_agg(given.name)"
            " FROM pg_catalog.unnest({}::text[]) AS given(name) JOIN pg_catalog.pg_attribute a"
            " ON a.attrelid = pg_catalog.to_regclass(given.name) AND a.attname = {} AND a.attnotnull))"
        ).format(names, sql.Literal(self.column))

    def revert(self, before: Before) -> tuple[Statement, ...]:
        """A primary key on a partition, even if it is dropped again, can have made NOT NULL the partition's own."""
        kept = before.get("parts") or ()
        others = [part for part in self.tree if part.identifier.as_string(None) not in kept]
        return tuple(
            Statement(
                sql=sql.SQL("ALTER TABLE {} ALTER COLUMN {} DROP NOT NULL").format(
                    table.identifier, sql.Identifier(self.column)
                ),
                locks=self.locks, when=exists(not_null_definition(table, self.column)),
            )
            for table in (self.table, *others)
        )  # fmt: skip


def _either(check: sql.Composable, table: Name, column: str) -> sql.Composed:
    """The definition of the check, or of the NOT NULL that replaced it."""
    return sql.SQL("{} UNION ALL {} LIMIT 1").format(check, not_null_definition(table, column))
