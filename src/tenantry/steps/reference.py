"""References that no composite key can check: to mixed tables, and to tables whose rows may wait for a tenant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from psycopg import sql

from tenantry.model.name import Name
from tenantry.model.ownership import Hop
from tenantry.model.plan import ExecutionMode, Lock, LockMode, Statement
from tenantry.steps.derivation import TenantReference, equal, literal_key
from tenantry.steps.introspection import body, identifiers, raw, trigger_definition, unchanged
from tenantry.steps.naming import StaticNames, Work, hops_of, tenant_of
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


def unproved(table: Name, setting: str) -> sql.Composed:
    """If the function's owner may no longer read a table, since its owner or privileges were changed, a tenant's
    session is refused; an application that names no tenant goes on."""
    return sql.SQL("""
    IF denied AND NOT {} THEN
      RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = {},
        HINT = 'tenantry migrate makes the triggers run as the new owner.';
    END IF;""").format(
        knows_no_tenants(raw("TG_RELID"), setting),
        sql.Literal(f"{table} has another owner, so the tenant of its rows cannot be read"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceTrigger(RowTrigger):
    """A constraint trigger: the parent's tenant is that of the row, or the parent has none.

    It locks the parent with FOR KEY SHARE, as the user's own foreign key has done. TenantChange waits for that lock,
    and this trigger waits for TenantChange and then sees what was committed (hazard 12). A stricter isolation level
    sees the row as it was when the transaction began: there FOR SHARE fails with a serialization error if the row has
    changed since, and the application tries again. SECURITY DEFINER, as the application role does not see the rows of
    other tenants.

    `only_tenants`: until contract, an old application, and nobody else, may write the parent first. The session's role
    must be that of an old application as well: a tenant's session could have reset the setting by the time of the
    check.
    """

    kind: Literal["reference"] = "reference"
    name: str
    column: str
    type: str
    """The type of tenant columns."""
    hop: Hop
    parent_column: str
    setting: str
    only_tenants: bool = False
    everybody: str = ""
    """The key of the sentinel tenant, as text. While rows of all tenants get it, or NULL again, both mean the same."""

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

    def renamed(self, names: StaticNames) -> ReferenceTrigger:
        (hop,) = hops_of(names, self.table, (self.hop,))
        return replace(self, hop=hop, parent_column=names.column(self.hop.parent, self.parent_column))

    @staticmethod
    def function_of(table: Name, name: str) -> Name:
        return function_name(table, "refer", name)

    @property
    def event(self) -> sql.Composable:
        return sql.SQL("AFTER INSERT OR UPDATE")

    @property
    def manner(self) -> sql.Composable:
        timing = "DEFERRABLE INITIALLY DEFERRED" if self.hop.deferrable else "NOT DEFERRABLE"
        return sql.SQL("{} FOR EACH ROW").format(sql.SQL(timing))

    def work(self) -> Work:
        return Work(
            table=self.table, trigger=self.trigger, always=(self.column,), early=self._unchanged,
            statements=self._asking,
            missed=lambda _: unproved(self.hop.parent, self.setting),
            declare=sql.SQL("\n  found {};\n  yes boolean;").format(raw(self.type)),
        )  # fmt: skip

    def _unchanged(self, names: StaticNames) -> sql.Composable:
        watched = (*names.columns(self.table, self.hop.columns), names.column(self.table, self.column))
        same = names.ask("yes", unchanged(watched, names.new, names.old))
        return sql.SQL("""
  IF TG_OP = 'UPDATE' THEN{}
    IF yes THEN
      RETURN NULL;
    END IF;
  END IF;""").format(same)

    def _asking(self, names: StaticNames) -> sql.Composable:
        names.changes(self.hop.parent)
        guard: sql.Composable = sql.SQL("")
        if self.only_tenants:
            old = names.ask("yes", knows_no_tenants(names.table(self.hop.parent).oid, self.setting))
            guard = sql.SQL("{}\n    IF yes THEN\n      RETURN NULL;\n    END IF;").format(old)
        message = sql.Literal(
            f"{self.table} ({', '.join(self.hop.columns)}) refers to another tenant's row of {self.hop.parent}"
        )
        (hop,) = hops_of(names, self.table, (self.hop,))
        parent = sql.SQL("parent")
        match = equal(parent, hop.parent_columns, names.new, hop.columns, hop.operators)

        def locked(strength: str) -> sql.Composable:
            row = sql.SQL("(SELECT parent.{} FROM {} AS parent WHERE {} LIMIT 1 {})").format(
                sql.Identifier(names.column(self.hop.parent, self.parent_column)), hop.parent.identifier, match,
                raw(strength),
            )  # fmt: skip
            return names.ask("found", row)

        return sql.SQL("""
  IF pg_catalog.current_setting('transaction_isolation') = 'read committed' THEN{key_share}
  ELSE{share}
  END IF;
  IF {found} IS DISTINCT FROM {own} AND {found} IS NOT NULL THEN{guard}
    RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation', MESSAGE = {message};
  END IF;""").format(
            key_share=locked("FOR KEY SHARE"), share=locked("FOR SHARE"),
            found=self._tenant(raw("found")), own=self._tenant(sql.SQL("NEW.{}").format(sql.Identifier(self.column))),
            guard=guard, message=message,
        )  # fmt: skip

    def _tenant(self, value: sql.Composable) -> sql.Composable:
        """NULL for a row of all tenants."""
        if not self.everybody:
            return value
        return sql.SQL("NULLIF({}, {})").format(value, literal_key(self.everybody, self.type))


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidateReferences(Step):
    """Validates that rows from before the trigger do not refer to another tenant's rows either."""

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
        return f"validate that no row refers to another tenant's row of {self.hop.parent}"

    def renamed(self, names: StaticNames) -> ValidateReferences:
        (hop,) = hops_of(names, self.table, (self.hop,))
        return replace(self, hop=hop, parent_column=names.column(self.hop.parent, self.parent_column))

    def definition(self) -> sql.Composable:
        # The trigger keeps true what the journal records as validated once.
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
        return (Statement(sql=sql.SQL("DO {}").format(body(code)), manner=ExecutionMode.VALIDATION, locks=locks),)

    def revert(self, before: Before) -> tuple[Statement, ...]:
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Rows of `table` that refer to a mixed table by `hop`; `column` holds their tenant."""

    table: Name
    column: str
    hop: Hop

    def check(self, names: StaticNames, parent: Name, parent_column: str, message: sql.Composable) -> sql.Composed:
        """The lock makes it and sessions that insert a reference wait for each other; then what they committed is
        checked."""
        names.changes(parent)
        (hop,) = hops_of(names, self.table, (self.hop,))
        columns, operators = hop.parent_columns, hop.operators
        same = equal(sql.SQL("parent"), columns, names.new, columns, operators)
        lock = sql.SQL(
            "(SELECT pg_catalog.count(*) > 0 FROM (SELECT FROM {} AS parent WHERE {} FOR UPDATE) AS locked)"
        ).format(names.table(parent).identifier, same)
        child, tenant = (
            sql.Identifier(names.column(table, column))
            for table, column in ((self.table, self.column), (parent, parent_column))
        )
        others = sql.SQL(
            "EXISTS (SELECT FROM {} AS child WHERE {} AND child.{} IS DISTINCT FROM {}.{})"
        ).format(
            names.table(self.table).identifier,
            equal(names.new, columns, sql.SQL("child"), hop.columns, operators), child, names.new, tenant,
        )  # fmt: skip
        return sql.SQL("""{lock}{others}
  IF yes THEN
    RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation', MESSAGE = {message},
      HINT = 'First change the tenant of these rows, or let them refer to another row.';
  END IF;""").format(lock=names.ask("yes", lock), others=names.ask("yes", others), message=message)


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantChange(RowTrigger):
    """A row of a mixed table can become a tenant's only while no row of another tenant refers to it.

    It accepts READ COMMITTED only: at the stricter levels the trigger would use the snapshot from the beginning of the
    transaction, and not see which rows have come to refer to this one since (hazard 12).
    """

    kind: Literal["tenant_change"] = "tenant_change"
    column: str
    references: tuple[Reference, ...]
    tenant: TenantReference
    """If the key of a tenant changes, its rows change their tenant one after the other."""
    setting: str = ""
    category = "constraint"

    @property
    def key(self) -> str:
        return f"tenant_change:{self.table}"

    @property
    def title(self) -> str:
        return "refuse to give a row to a tenant while rows of other tenants refer to it"

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

    def renamed(self, names: StaticNames) -> TenantChange:
        references = tuple(
            replace(one, hop=hops_of(names, one.table, (one.hop,))[0], column=names.column(one.table, one.column))
            for one in self.references
        )
        return replace(self, references=references)

    def work(self) -> Work:
        message = sql.Literal(f"rows of other tenants refer to this row of {self.table}: its tenant cannot change")
        level = sql.Literal(f"the tenant of a row of {self.table} can only change under READ COMMITTED")

        def statements(names: StaticNames) -> sql.Composable:
            checks = [one.check(names, self.table, self.column, message) for one in self.references]
            tenant = tenant_of(names, self.tenant)
            unknown = sql.SQL("NOT EXISTS (SELECT FROM {} AS tenant WHERE tenant.{} = {}.{})").format(
                tenant.table.identifier, sql.Identifier(tenant.key), names.old,
                sql.Identifier(names.column(self.table, self.column)),
            )  # fmt: skip
            return sql.SQL("""
  IF OLD.{column} IS NOT NULL THEN{unknown}
    IF yes THEN
      RETURN NULL;
    END IF;
  END IF;
  IF pg_catalog.current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION USING ERRCODE = 'feature_not_supported', MESSAGE = {level};
  END IF;{checks}""").format(
                column=sql.Identifier(self.column), level=level,
                unknown=names.ask("yes", unknown), checks=sql.Composed(checks),
            )  # fmt: skip

        def early(_: StaticNames) -> sql.Composable:
            return sql.SQL("""
  IF NEW.{column} IS NULL OR NEW.{column} IS NOT DISTINCT FROM OLD.{column} THEN
    RETURN NULL;
  END IF;{ask}
  IF ours OR {filling} THEN
    RETURN NULL;
  END IF;""").format(column=sql.Identifier(self.column), ask=ASK_OURS, filling=IN_FILL)

        return Work(
            table=self.table, trigger=self.trigger, always=(self.column,), early=early, statements=statements,
            missed=lambda _: unproved(self.table, self.setting),
            declare=sql.SQL("\n  yes boolean;\n  {}").format(DECLARE_OURS),
        )  # fmt: skip
