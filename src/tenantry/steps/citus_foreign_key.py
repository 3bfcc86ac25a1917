"""Foreign keys while tables are distributed by Citus: they are dropped first and added last. Citus would otherwise
convert each table that they lead to, and distribute none of these afterwards."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from psycopg import sql

from tenantry.model.name import Name, quoted
from tenantry.model.plan import ExecutionMode, Lock, LockMode, Statement
from tenantry.model.schema import ForeignKey, Table
from tenantry.steps.foreign_key import TenantForeignKey
from tenantry.steps.introspection import body, constraint_definition
from tenantry.steps.naming import StaticNames
from tenantry.steps.step import Before, Step


def in_sequence(statement: sql.Composable) -> sql.Composed:
    """A change of shards that a foreign key connects with tables on each node: over one connection to each node."""
    return sql.SQL("DO {}").format(
        body(sql.SQL("BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; {}; END").format(statement))
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DetachForeignKey(Step):
    """Drops a foreign key of a table that is to be distributed or copied to each node. Its revert adds the key again,
    enforced for new rows at once, then validated."""

    kind: Literal["detached_foreign_key"] = "detached_foreign_key"
    wanted_key: TenantForeignKey
    """The key in the form that it has until now."""
    foreign_key: ForeignKey | None = None
    """The user's original key, if it has its original form until now."""
    valid: bool = True
    """Whether it is validated."""
    enforced: bool = True
    after: tuple[str, ...] = ()
    """The keys of the steps that have given it its form."""
    engine = True
    category = "constraint"

    @property
    def constraint(self) -> str:
        return self.wanted_key.constraint

    @property
    def key(self) -> str:
        return f"detached_foreign_key:{self.table}:{self.constraint}"

    @property
    def title(self) -> str:
        return f"drop the foreign key {self.constraint} to {self.wanted_key.parent} until the tables are distributed"

    @property
    def subject(self) -> str:
        return f"The absence of the foreign key {quoted(self.constraint)} of {self.table}"

    @property
    def ends(self) -> tuple[str, ...]:
        return self.after

    @property
    def supersedes(self) -> bool:
        return True

    def original_table(self, table: Table, before: Before) -> Table:
        if self.foreign_key is None:
            return table
        kept = [key for key in table.foreign_keys if key.name != self.constraint]
        return replace(table, foreign_keys=tuple(sorted((*kept, self.foreign_key), key=lambda key: key.name)))

    def clashes(self) -> tuple[str, sql.Composable] | None:
        """None: rows are checked by the key that is added when the tables are distributed."""
        return None

    def renamed(self, names: StaticNames) -> DetachForeignKey:
        key = self.foreign_key
        if key is not None:
            key = replace(
                key, columns=names.columns(self.table, key.columns),
                parent_columns=names.columns(key.parent, key.parent_columns),
                delete_columns=names.columns(self.table, key.delete_columns),
            )  # fmt: skip
        return replace(self, wanted_key=self.wanted_key.renamed(names), foreign_key=key)

    @property
    def _there(self) -> sql.Composed:
        return sql.SQL("SELECT FROM pg_catalog.pg_constraint c WHERE c.conrelid = {} AND c.conname = {}").format(
            self.table.oid, sql.Literal(self.constraint)
        )

    def definition(self) -> sql.Composable:
        return sql.SQL("SELECT 'gone' WHERE {} IS NOT NULL AND NOT EXISTS ({})").format(self.table.oid, self._there)

    def record(self) -> sql.Composable:
        return sql.SQL(
            "SELECT pg_catalog.jsonb_build_object('comment', pg_catalog.obj_description(c.oid, 'pg_constraint'))"
            " FROM pg_catalog.pg_constraint c WHERE c.conrelid = {} AND c.conname = {}"
        ).format(self.table.oid, sql.Literal(self.constraint))

    def _locks(self, mode: LockMode) -> tuple[Lock, ...]:
        return tuple(Lock(name, mode) for name in dict.fromkeys((self.table, self.wanted_key.parent)))

    def apply(self) -> tuple[Statement, ...]:
        drop = sql.SQL("ALTER TABLE {} DROP CONSTRAINT IF EXISTS {}").format(
            self.table.identifier, sql.Identifier(self.constraint)
        )
        return (Statement(sql=drop, locks=self._locks(LockMode.ACCESS_EXCLUSIVE)),)

    def revert(self, before: Before) -> tuple[Statement, ...]:
        table, name = self.table.identifier, sql.Identifier(self.constraint)
        here = sql.SQL("SELECT {} IS NOT NULL AND {} IS NOT NULL").format(self.table.oid, self.wanted_key.parent.oid)
        missing = sql.SQL("{} AND NOT EXISTS ({})").format(here, self._there)
        add = sql.SQL("ALTER TABLE {} {}{}").format(
            table, self.wanted_key.clause, sql.SQL("" if self.enforced else " NOT ENFORCED")
        )
        found = [Statement(sql=add, locks=self._locks(LockMode.SHARE_ROW_EXCLUSIVE), when=missing)]
        if before.get("comment") is not None:
            text = sql.SQL("COMMENT ON CONSTRAINT {} ON {} IS {}").format(name, table, sql.Literal(before["comment"]))
            found.append(Statement(sql=text, locks=(Lock(self.table, LockMode.SHARE_UPDATE_EXCLUSIVE),), when=here))
        if self.valid and self.enforced:
            unproved = sql.SQL("SELECT EXISTS ({} AND NOT c.convalidated)").format(self._there)
            validate = sql.SQL("ALTER TABLE {} VALIDATE CONSTRAINT {}").format(table, name)
            locks = (
                Lock(self.wanted_key.parent, LockMode.ROW_SHARE), Lock(self.table, LockMode.SHARE_UPDATE_EXCLUSIVE)
            )  # fmt: skip
            found.append(Statement(sql=validate, manner=ExecutionMode.CONCURRENT, locks=locks, when=unproved))
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachForeignKey(Step):
    """Adds a foreign key NOT VALID to tables that are distributed: each shard then checks new rows."""

    kind: Literal["attached_foreign_key"] = "attached_foreign_key"
    wanted_key: TenantForeignKey
    enforced: bool = True
    compared = True
    journaled = True
    engine = True
    category = "constraint"

    @property
    def constraint(self) -> str:
        return self.wanted_key.constraint

    @property
    def key(self) -> str:
        return f"attached_foreign_key:{self.table}:{self.constraint}"

    @property
    def title(self) -> str:
        return f"add the foreign key {self.constraint} to {self.wanted_key.parent} on all nodes"

    @property
    def subject(self) -> str:
        return f"The foreign key {quoted(self.constraint)} of {self.table} on all nodes"

    @property
    def ends(self) -> tuple[str, ...]:
        return (f"detached_foreign_key:{self.table}:{self.constraint}",)

    @property
    def supersedes(self) -> bool:
        return True

    def renamed(self, names: StaticNames) -> AttachForeignKey:
        return replace(self, wanted_key=self.wanted_key.renamed(names))

    def definition(self) -> sql.Composable:
        return constraint_definition(self.table, self.constraint, validated=False)

    def _locks(self, mode: LockMode) -> tuple[Lock, ...]:
        return tuple(Lock(name, mode) for name in dict.fromkeys((self.table, self.wanted_key.parent)))

    def apply(self) -> tuple[Statement, ...]:
        add = sql.SQL("ALTER TABLE {} {}{}").format(
            self.table.identifier, self.wanted_key.clause, sql.SQL("" if self.enforced else " NOT ENFORCED")
        )
        locks = self._locks(LockMode.SHARE_ROW_EXCLUSIVE)
        return (Statement(sql=in_sequence(add), manner=ExecutionMode.ENGINE, locks=locks),)

    def revert(self, before: Before) -> tuple[Statement, ...]:
        drop = sql.SQL("ALTER TABLE {} DROP CONSTRAINT IF EXISTS {}").format(
            self.table.identifier, sql.Identifier(self.constraint)
        )
        there = sql.SQL("SELECT EXISTS ({})").format(self.definition())
        locks = self._locks(LockMode.ACCESS_EXCLUSIVE)
        return (Statement(sql=in_sequence(drop), manner=ExecutionMode.ENGINE, locks=locks, when=there),)


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidateAttachedKey(Step):
    """VALIDATE a foreign key on each shard: reads rows, and blocks no reader or writer."""

    kind: Literal["attached_foreign_key_valid"] = "attached_foreign_key_valid"
    constraint: str
    parent: Name
    journaled = True
    engine = True
    category = "constraint"

    @property
    def key(self) -> str:
        return f"attached_foreign_key_valid:{self.table}:{self.constraint}"

    @property
    def title(self) -> str:
        return f"validate the foreign key {self.constraint} to {self.parent} on all nodes"

    @property
    def subject(self) -> str:
        return f"The validation of the foreign key {quoted(self.constraint)} of {self.table} on all nodes"

    @property
    def remedy(self) -> str:
        return (
            f"Rows that were written while {self.constraint} was missing refer to rows of {self.parent} that do not"
            " exist: correct them, then run the same command again."
        )

    def definition(self) -> sql.Composable:
        return constraint_definition(self.table, self.constraint, validated=True)

    def apply(self) -> tuple[Statement, ...]:
        validate = sql.SQL("ALTER TABLE {} VALIDATE CONSTRAINT {}").format(
            self.table.identifier, sql.Identifier(self.constraint)
        )
        locks = (Lock(self.parent, LockMode.ROW_SHARE), Lock(self.table, LockMode.SHARE_UPDATE_EXCLUSIVE))
        return (Statement(sql=in_sequence(validate), manner=ExecutionMode.ENGINE, locks=locks),)

    def revert(self, before: Before) -> tuple[Statement, ...]:
        return ()
