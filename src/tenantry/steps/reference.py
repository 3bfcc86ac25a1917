"""References that no composite key can hold: into mixed tables, and into tables whose rows may wait for a tenant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from psycopg import sql

from tenantry.model.name import Name, shortened
from tenantry.model.ownership import Hop
from tenantry.model.plan import Lock, LockMode, Statement
from tenantry.steps.assignment import always, create_function, drop_trigger, function_name
from tenantry.steps.catalog import WORKSHOP, trigger_definition
from tenantry.steps.derivation import equal
from tenantry.steps.step import Before, Step

FIXED = "tenantry_fixed_tenant"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceTrigger(Step):
    """A constraint trigger: the parent's tenant is the row's own, or the parent has none.

    It needs no lock: a parent in a mixed table never changes its tenant (FixedTenant), and the user's own foreign key
    keeps it from going away (hazard 12). SECURITY DEFINER, as the application role does not see the rows of others.
    `only_tenants`: until contract, a session without a tenant is an old application, which may write the parent first.
    """

    kind: Literal["reference"] = "reference"
    name: str
    column: str
    hop: Hop
    parent_column: str
    owner: str
    setting: str
    only_tenants: bool = False
    tree: tuple[Name, ...] = ()

    @property
    def key(self) -> str:
        return f"reference:{self.table}:{self.name}"

    @property
    def title(self) -> str:
        return f"refuse references to another tenant's row of {self.hop.parent}"

    @property
    def function(self) -> Name:
        return self.function_of(self.table, self.name)

    @staticmethod
    def function_of(table: Name, name: str) -> Name:
        return Name(WORKSHOP, shortened(f"refer_{table.schema}_{table.name}_{name}"))

    def definition(self) -> sql.Composable:
        return trigger_definition(self.table, self.name)

    def apply(self) -> tuple[Statement, ...]:
        guard: sql.Composable = sql.SQL("")
        if self.only_tenants:
            guard = sql.SQL(" AND NULLIF(pg_catalog.current_setting({}, true), '') IS NOT NULL").format(
                sql.Literal(self.setting)
            )
        message = sql.Literal(
            f"{self.table} ({', '.join(self.hop.columns)}) refers to another tenant's row of {self.hop.parent}"
        )
        code = sql.SQL("""
BEGIN
  IF EXISTS (
    SELECT FROM {parent} AS parent
    WHERE {match} AND parent.{parent_column} IS DISTINCT FROM NEW.{column} AND parent.{parent_column} IS NOT NULL
  ){guard} THEN
    RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation', MESSAGE = {message};
  END IF;
  RETURN NULL;
END
""").format(
            parent=self.hop.parent.identifier,
            match=equal(sql.SQL("parent"), self.hop.parent_columns, sql.SQL("NEW"), self.hop.columns, self.hop.operators),
            parent_column=sql.Identifier(self.parent_column), column=sql.Identifier(self.column),
            guard=guard, message=message,
        )  # fmt: skip
        create = sql.SQL(
            "CREATE CONSTRAINT TRIGGER {} AFTER INSERT OR UPDATE ON {} DEFERRABLE INITIALLY {} FOR EACH ROW"
            " EXECUTE FUNCTION {}()"
        ).format(
            sql.Identifier(self.name), self.table.identifier,
            sql.SQL("DEFERRED" if self.hop.deferrable else "IMMEDIATE"), self.function.identifier,
        )  # fmt: skip
        locks = tuple(Lock(name, LockMode.SHARE_ROW_EXCLUSIVE) for name in (self.table, *self.tree))
        return (
            *create_function(self.function, self.owner, code),
            *drop_trigger(self.table, self.name, self.function, self.tree)[:1],
            Statement(sql=create, locks=locks),
            *always(self.table, self.name, self.tree),
        )

    def revert(self, before: Before) -> tuple[Statement, ...]:
        return drop_trigger(self.table, self.name, self.function, self.tree)


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedTenant(Step):
    """The tenant of a mixed table's row does not change, except in a fill of ours."""

    kind: Literal["fixed_tenant"] = "fixed_tenant"
    column: str
    owner: str
    tree: tuple[Name, ...] = ()

    @property
    def key(self) -> str:
        return f"fixed_tenant:{self.table}"

    @property
    def title(self) -> str:
        return f"keep {self.column} of a row that others may point at"

    @property
    def function(self) -> Name:
        return function_name(self.table, "fix")

    def definition(self) -> sql.Composable:
        return trigger_definition(self.table, FIXED)

    def apply(self) -> tuple[Statement, ...]:
        message = sql.Literal(f"the tenant of a row of {self.table} cannot change: other rows may refer to it")
        code = sql.SQL("""
BEGIN
  IF NEW.{column} IS DISTINCT FROM OLD.{column}
     AND pg_catalog.current_setting('tenantry.filling', true) IS DISTINCT FROM 'on' THEN
    RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = {message},
      HINT = 'Delete the row and insert it again for the other tenant.';
  END IF;
  RETURN NULL;
END
""").format(column=sql.Identifier(self.column), message=message)
        create = sql.SQL("CREATE TRIGGER {} AFTER UPDATE ON {} FOR EACH ROW EXECUTE FUNCTION {}()").format(
            sql.Identifier(FIXED), self.table.identifier, self.function.identifier
        )
        locks = tuple(Lock(name, LockMode.SHARE_ROW_EXCLUSIVE) for name in (self.table, *self.tree))
        return (
            *create_function(self.function, self.owner, code),
            *drop_trigger(self.table, FIXED, self.function, self.tree)[:1],
            Statement(sql=create, locks=locks),
            *always(self.table, FIXED, self.tree),
        )

    def revert(self, before: Before) -> tuple[Statement, ...]:
        return drop_trigger(self.table, FIXED, self.function, self.tree)
