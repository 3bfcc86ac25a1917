"""Foreign keys of the tenant column: one to the tenant table, and a composite key beside each foreign key of the
user's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from psycopg import sql

from tenantry.model.name import Name, quoted
from tenantry.model.plan import ExecutionMode, Lock, LockMode, Statement
from tenantry.steps.introspection import constraint_definition, exists, identifiers
from tenantry.steps.naming import StaticNames
from tenantry.steps.step import Before, CompositeKeyBeside, Step

_ACTIONS = {"a": "NO ACTION", "r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantForeignKey(Step):
    """ADD FOREIGN KEY NOT VALID: checks new rows at once; ValidateForeignKey checks the old ones.

    A partitioned table takes no NOT VALID before PostgreSQL 18: its partitions get their keys first, and the key of the
    parent then adopts those without a scan (`whole`).
    """

    kind: Literal["foreign_key"] = "foreign_key"
    constraint: str
    columns: tuple[str, ...]
    parent: Name
    parent_columns: tuple[str, ...]
    on_delete: str = "a"
    on_update: str = "a"
    delete_columns: tuple[str, ...] = ()
    deferrable: bool = False
    deferred: bool = False
    whole: bool = False
    full: bool = False
    """MATCH FULL."""
    tree: tuple[Name, ...] = ()
    parent_tree: tuple[Name, ...] = ()
    leaves: tuple[Name, ...] = ()
    """The partitions that store rows, if the phase distribute replaces the key on all of them."""
    changes: str = ""
    """What it changes for the user's application, if anything."""
    compared = True
    category = "constraint"

    @property
    def key(self) -> str:
        return f"foreign_key:{self.table}:{self.constraint}"

    @property
    def title(self) -> str:
        return f"foreign key ({', '.join(self.columns)}) to {self.parent}"

    @property
    def note(self) -> str:
        return self.changes

    @property
    def subject(self) -> str:
        return f"The foreign key {quoted(self.constraint)} of {self.table}"

    @property
    def beside(self) -> CompositeKeyBeside:
        return CompositeKeyBeside(
            columns=self.columns[:-1], parent=self.parent, constraint=self.constraint, deferred=self.deferred
        )  # fmt: skip

    def renamed(self, names: StaticNames) -> TenantForeignKey:
        return replace(
            self, columns=names.columns(self.table, self.columns),
            parent_columns=names.columns(self.parent, self.parent_columns),
            delete_columns=names.columns(self.table, self.delete_columns),
        )  # fmt: skip

    @property
    def holds_to_tenants(self) -> tuple[str, sql.Composable] | None:
        if len(self.columns) > 1:
            return None
        (column,), (key,) = self.columns, self.parent_columns
        return column, sql.SQL(
            "SELECT pg_catalog.count(*) FROM ONLY {table} AS row WHERE row.{column} IS NOT NULL"
            " AND NOT EXISTS (SELECT FROM {parent} AS tenant WHERE tenant.{key} = row.{column})"
        ).format(
            table=self.table.identifier, column=sql.Identifier(column), parent=self.parent.identifier,
            key=sql.Identifier(key),
        )  # fmt: skip

    def definition(self) -> sql.Composable:
        return constraint_definition(self.table, self.constraint, validated=False)

    @property
    def first(self) -> tuple[TenantForeignKey, ...]:
        """The keys that are added first: itself, or those of the partitions, which it adopts once they are valid."""
        if not self.leaves:
            return (self,)
        return tuple(replace(self, table=leaf, whole=False, tree=(), leaves=()) for leaf in self.leaves)

    def lock_all(self, mode: LockMode) -> tuple[Lock, ...]:
        # Locks in the order in which writers of children take them: the child's, then through the check of the key the
        # parent's. In the other order this transaction would hold the parent that a writer wants while it waits for the
        # child that the writer holds, and would give up in nearly every try.
        names = dict.fromkeys((self.table, *self.tree, self.parent, *self.parent_tree))
        return tuple(Lock(name, mode) for name in names)

    @property
    def clause(self) -> sql.Composed:
        """The text after ALTER TABLE."""
        on_delete = sql.SQL(_ACTIONS[self.on_delete])
        if self.delete_columns:
            on_delete = sql.SQL("{} ({})").format(on_delete, identifiers(self.delete_columns))  # type: ignore[assignment]
        timing = sql.SQL("")
        if self.deferrable:
            timing = sql.SQL(" DEFERRABLE INITIALLY DEFERRED" if self.deferred else " DEFERRABLE INITIALLY IMMEDIATE")
        return sql.SQL(
            "ADD CONSTRAINT {} FOREIGN KEY ({}) REFERENCES {} ({}){} ON UPDATE {} ON DELETE {}{}{}"
        ).format(
            sql.Identifier(self.constraint), identifiers(self.columns), self.parent.identifier,
            identifiers(self.parent_columns), sql.SQL(" MATCH FULL" if self.full else ""),
            sql.SQL(_ACTIONS[self.on_update]), on_delete, timing, sql.SQL("" if self.whole else " NOT VALID"),
        )  # fmt: skip

    def apply(self) -> tuple[Statement, ...]:
        add = sql.SQL("ALTER TABLE {} {}").format(self.table.identifier, self.clause)
        locks = self.lock_all(LockMode.SHARE_ROW_EXCLUSIVE)
        if self.whole:
            # Adopting the keys of the partitions drops their triggers on the parent; and keys of their own, if that is
            # partitioned as well.
            alone = {self.parent, *self.parent_tree, *(self.tree if self.parent_tree else ())}
            locks = tuple(Lock(x.table, LockMode.ACCESS_EXCLUSIVE) if x.table in alone else x for x in locks)
        return (Statement(sql=add, locks=locks),)

    def revert(self, before: Before) -> tuple[Statement, ...]:
        drop = sql.SQL("ALTER TABLE {} DROP CONSTRAINT IF EXISTS {}").format(
            self.table.identifier, sql.Identifier(self.constraint)
        )
        # A partition's key that was adopted is dropped with the key of the partitioned table.
        return (Statement(sql=drop, locks=self.lock_all(LockMode.ACCESS_EXCLUSIVE), when=exists(self.definition())),)


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidateForeignKey(Step):
    """VALIDATE a foreign key: reads both tables and blocks no reader or writer."""

    kind: Literal["foreign_key_valid"] = "foreign_key_valid"
    constraint: str
    parent: Name
    proves = True
    category = "constraint"

    @property
    def key(self) -> str:
        return f"foreign_key_valid:{self.table}:{self.constraint}"

    @property
    def title(self) -> str:
        return f"validate the foreign key {self.constraint} to {self.parent}"

    @property
    def subject(self) -> str:
        return f"The validation of the foreign key {quoted(self.constraint)} of {self.table}"

    def definition(self) -> sql.Composable:
        return constraint_definition(self.table, self.constraint, validated=True)

    def apply(self) -> tuple[Statement, ...]:
        validate = sql.SQL("ALTER TABLE {} VALIDATE CONSTRAINT {}").format(
            self.table.identifier, sql.Identifier(self.constraint)
        )
        locks = (Lock(self.parent, LockMode.ROW_SHARE), Lock(self.table, LockMode.SHARE_UPDATE_EXCLUSIVE))
        return (Statement(sql=validate, manner=ExecutionMode.VALIDATION, locks=locks),)

    def revert(self, before: Before) -> tuple[Statement, ...]:
        return ()
