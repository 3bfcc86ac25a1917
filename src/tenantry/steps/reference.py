"""References that no composite key can hold: into mixed tables, and into tables whose rows may wait for a tenant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from psycopg import sql

from tenantry.model.name import Name, quoted
from tenantry.model.ownership import Hop
from tenantry.model.plan import Lock, LockMode, Manner, Statement
from tenantry.steps.catalog import body, identifiers, trigger_definition, unchanged
from tenantry.steps.derivation import TenantReference, equal
from tenantry.steps.step import Before, Reach, Step
from tenantry.steps.trigger import (
    ASK_OURS,
    CHANGE,
    DECLARE_OURS,
    IN_FILL,
    READ,
    RowTrigger,
    each,
    function_name,
    knows_no_tenants,
)

TENANT_CHANGE = "tenantry_tenant_change"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceTrigger(RowTrigger):
    """A constraint trigger: the parent's tenant is the row's own, or the parent has none.

    It locks the parent as the user's own foreign key has done, FOR KEY SHARE, for which TenantChange waits, and which
    waits for it, to see then what was committed (hazard 12). A stricter level sees the row of the transaction's
    beginning: there FOR SHARE fails, to be tried again, if the row has changed since. SECURITY DEFINER, as the
    application role does not see the rows of others.
    `only_tenants`: until contract, an old application, and nobody else, may write the parent first. Whether it is one,
    its role has to say as well: a tenant's session could name none by the time that this is asked.
    """

    kind: Literal["reference"] = "reference"
    name: str
    column: str
    hop: Hop
    parent_column: str
    setting: str
    only_tenants: bool = False

    constraint = True
    category = "constraint"

    @property
    def key(self) -> str:
        return f"reference:{self.table}:{self.name}"

    @property
    def title(self) -> str:
        return f"refuse references to another tenant's row of {self.hop.parent}"

    @property
    def trigger(self) -> str:
        return self.name

    @property
    def function(self) -> Name:
        return self.function_of(self.table, self.name)

    def reaches(self) -> Iterator[Reach]:
        yield from each(self.owner, self.hop.parent, CHANGE)

    @staticmethod
    def function_of(table: Name, name: str) -> Name:
        return function_name(table, f"refer by {quoted(name)} from")

    @property
    def event(self) -> sql.Composable:
        return sql.SQL("AFTER INSERT OR UPDATE")

    @property
    def manner(self) -> sql.Composable:
        return sql.SQL("DEFERRABLE INITIALLY {} FOR EACH ROW").format(
            sql.SQL("DEFERRED" if self.hop.deferrable else "IMMEDIATE")
        )

    def code(self) -> sql.Composed:
        guard: sql.Composable = sql.SQL("")
        if self.only_tenants:
            guard = sql.SQL("\n    IF {} THEN\n      RETURN NULL;\n    END IF;").format(
                knows_no_tenants(self.hop.parent, self.setting)
            )
        message = sql.Literal(
            f"{self.table} ({', '.join(self.hop.columns)}) refers to another tenant's row of {self.hop.parent}"
        )
        hop = self.hop
        own = (*hop.columns, self.column)
        return sql.SQL("""
DECLARE
  found {parent}.{parent_column}%TYPE;
BEGIN
  IF TG_OP = 'UPDATE' THEN
    IF {same} THEN
      RETURN NULL;
    END IF;
  END IF;
  IF pg_catalog.current_setting('transaction_isolation') = 'read committed' THEN
    SELECT parent.{parent_column} INTO found FROM {parent} AS parent WHERE {match} FOR KEY SHARE;
  ELSE
    SELECT parent.{parent_column} INTO found FROM {parent} AS parent WHERE {match} FOR SHARE;
  END IF;
  IF found IS DISTINCT FROM NEW.{column} AND found IS NOT NULL THEN{guard}
    RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation', MESSAGE = {message};
  END IF;
  RETURN NULL;
END
""").format(
            parent=hop.parent.identifier, same=unchanged(own),
            match=equal(sql.SQL("parent"), hop.parent_columns, sql.SQL("NEW"), hop.columns, hop.operators),
            parent_column=sql.Identifier(self.parent_column), column=sql.Identifier(self.column),
            guard=guard, message=message,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceProof(Step):
    """Rows that were there before the trigger refer to no other tenant's, either."""

    kind: Literal["reference_proof"] = "reference_proof"
    name: str
    column: str
    hop: Hop
    parent_column: str
    journaled = True
    proves = True

    @property
    def key(self) -> str:
        return f"reference_proof:{self.table}:{self.name}"

    @property
    def title(self) -> str:
        return f"prove that no row refers to another tenant's row of {self.hop.parent}"

    def definition(self) -> sql.Composable:
        # The trigger holds what the journal says was proved once.
        return trigger_definition(self.table, self.name)

    def apply(self) -> tuple[Statement, ...]:
        message = sql.Literal(f"rows refer to another tenant's row of {self.hop.parent}")
        child = sql.SQL("child")
        code = sql.SQL("""
DECLARE
  wrong text;
BEGIN
  SELECT pg_catalog.format('%s rows, such as %s', pg_catalog.count(*), pg_catalog.min(ROW({columns})::text)) INTO wrong
  FROM {table} AS child JOIN {parent} AS parent ON {match}
  WHERE parent.{parent_column} IS NOT NULL AND parent.{parent_column} IS DISTINCT FROM child.{column}
  HAVING pg_catalog.count(*) > 0;
  IF wrong IS NOT NULL THEN
    RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation', MESSAGE = {message}, DETAIL = wrong;
  END IF;
END
""").format(
            columns=identifiers((self.column, *self.hop.columns), child), table=self.table.identifier,
            parent=self.hop.parent.identifier,
            match=equal(sql.SQL("parent"), self.hop.parent_columns, child, self.hop.columns, self.hop.operators),
            parent_column=sql.Identifier(self.parent_column), column=sql.Identifier(self.column), message=message,
        )  # fmt: skip
        locks = (Lock(self.hop.parent, LockMode.ACCESS_SHARE), Lock(self.table, LockMode.ACCESS_SHARE))
        return (Statement(sql=sql.SQL("DO {}").format(body(code)), manner=Manner.VALIDATION, locks=locks),)

    def revert(self, before: Before) -> tuple[Statement, ...]:
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Rows of `table` that point at a mixed table by `hop`; `column` holds their tenant."""

    table: Name
    column: str
    hop: Hop

    def check(self, parent: Name, parent_column: str, message: sql.Composable) -> sql.Composed:
        """The lock waits for those who insert a reference, and they for it; then what they committed is looked at."""
        new, columns, operators = sql.SQL("NEW"), self.hop.parent_columns, self.hop.operators
        return sql.SQL("""
  PERFORM FROM {parent} AS parent WHERE {same} FOR UPDATE;
  IF EXISTS (SELECT FROM {table} AS child WHERE {match} AND child.{column} IS DISTINCT FROM NEW.{tenant}) THEN
    RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation', MESSAGE = {message},
      HINT = 'Let these rows change their tenant or refer to another row first.';
  END IF;""").format(
            parent=parent.identifier, same=equal(sql.SQL("parent"), columns, new, columns, operators),
            table=self.table.identifier, match=equal(new, columns, sql.SQL("child"), self.hop.columns, operators),
            column=sql.Identifier(self.column), tenant=sql.Identifier(parent_column), message=message,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantChange(RowTrigger):
    """A row of a mixed table becomes a tenant's only while no row of another tenant refers to it.

    Under READ COMMITTED alone: at the stricter levels the trigger would look with the eyes of the transaction's
    beginning, and not see who has come to refer to the row since (hazard 12).
    """

    kind: Literal["tenant_change"] = "tenant_change"
    column: str
    references: tuple[Reference, ...]
    tenant: TenantReference
    """Where the key of a tenant changes, its rows change hands one after the other."""
    category = "constraint"

    @property
    def key(self) -> str:
        return f"tenant_change:{self.table}"

    @property
    def title(self) -> str:
        return "give a row to a tenant only while no row of another refers to it"

    @property
    def trigger(self) -> str:
        return TENANT_CHANGE

    @property
    def function(self) -> Name:
        return function_name(self.table, "change")

    def reaches(self) -> Iterator[Reach]:
        yield from each(self.owner, self.table, CHANGE)
        yield from each(self.owner, self.tenant.table, READ)
        for reference in self.references:
            yield from each(self.owner, reference.table, READ)

    @property
    def event(self) -> sql.Composable:
        return sql.SQL("AFTER UPDATE")

    def code(self) -> sql.Composed:
        message = sql.Literal(f"rows of other tenants refer to this row of {self.table}: its tenant cannot change")
        level = sql.Literal(f"the tenant of a row of {self.table} changes under READ COMMITTED only")
        return sql.SQL("""
DECLARE
  {declare}
BEGIN
  IF NEW.{column} IS NULL OR NEW.{column} IS NOT DISTINCT FROM OLD.{column} THEN
    RETURN NULL;
  END IF;{ask}
  IF ours OR {filling} THEN
    RETURN NULL;
  END IF;
  IF OLD.{column} IS NOT NULL
    AND NOT EXISTS (SELECT FROM {tenants} AS tenant WHERE tenant.{key} = OLD.{column})
  THEN
    RETURN NULL;
  END IF;
  IF pg_catalog.current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION USING ERRCODE = 'feature_not_supported', MESSAGE = {level};
  END IF;{checks}
  RETURN NULL;
END
""").format(
            column=sql.Identifier(self.column), level=level, declare=DECLARE_OURS, ask=ASK_OURS, filling=IN_FILL,
            tenants=self.tenant.table.identifier, key=sql.Identifier(self.tenant.key),
            checks=sql.SQL("").join(one.check(self.table, self.column, message) for one in self.references),
        )  # fmt: skip
