"""Triggers that defer foreign keys of tenantry's when an event occurs in which the user's own keys need time until
COMMIT.

The keys are not deferred from the start: a table with checks that wait for COMMIT cannot be altered or truncated by the
transaction that has inserted rows into it (hazard 22).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from psycopg import sql

from tenantry.model.name import Name
from tenantry.steps.naming import Work
from tenantry.steps.step import Reach
from tenantry.steps.trigger import RowTrigger, function_name

DEFER = "~tenantry_defer"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Deferring(RowTrigger):
    """`column` holds the tenant, or is the tenant's key; `constraints` are the schemas and names of foreign keys."""

    column: str
    constraints: tuple[Name, ...]

    @property
    def key(self) -> str:
        return f"{self.kind}:{self.table}"  # type: ignore[attr-defined]

    @property
    def trigger(self) -> str:
        return DEFER

    @property
    def function(self) -> Name:
        return function_name(self.table, "defer")

    @property
    @abstractmethod
    def returns(self) -> str:
        """What its trigger function returns."""

    def work(self) -> Work:
        # A key that does not exist yet, or has another name by now, is checked with each statement.
        each = (
            sql.SQL(
                "\n  BEGIN\n    SET CONSTRAINTS {} DEFERRED;"
                "\n  EXCEPTION WHEN undefined_object OR invalid_schema_name THEN\n    NULL;\n  END;"
            ).format(name.identifier)
            for name in self.constraints
        )
        return Work(
            table=self.table, trigger=self.trigger, statements=None, first=sql.SQL("").join(each), returns=self.returns
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentsDeferred(_Deferring):
    """BEFORE UPDATE, after the assignment trigger: a row of two parents that changes its tenant follows one of them
    first, and the other parent has until COMMIT to follow."""

    kind: Literal["parents_deferred"] = "parents_deferred"

    @property
    def title(self) -> str:
        return "when a row changes its tenant, check at COMMIT that its parents have changed, too"

    @property
    def event(self) -> sql.Composable:
        return sql.SQL("BEFORE UPDATE")

    @property
    def manner(self) -> sql.Composable:
        return sql.SQL("FOR EACH ROW WHEN (NEW.{0} <> OLD.{0})").format(sql.Identifier(self.column))

    @property
    def returns(self) -> str:
        return "NEW"

    def reaches(self) -> Iterator[Reach]:
        yield self.owner, self.table, ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantsDeferred(_Deferring):
    """BEFORE a tenant is deleted or its key is changed: the user's keys have until COMMIT to update or delete its rows.
    `tables` has one of the tables with such a key in each schema."""

    kind: Literal["tenants_deferred"] = "tenants_deferred"
    tables: tuple[Name, ...]
    of_table = False

    @property
    def title(self) -> str:
        return "when a tenant is deleted, check at COMMIT that it has no rows left"

    @property
    def event(self) -> sql.Composable:
        return sql.SQL("BEFORE DELETE OR UPDATE OF {}").format(sql.Identifier(self.column))

    @property
    def manner(self) -> sql.Composable:
        return sql.SQL("FOR EACH STATEMENT")

    @property
    def returns(self) -> str:
        return "NULL"

    def reaches(self) -> Iterator[Reach]:
        for table in self.tables:
            yield self.owner, table, ""
