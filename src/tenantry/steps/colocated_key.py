"""Foreign keys in the form that a distributed engine accepts: with the tenant column if they refer to owned tables,
never deferred, and without an action that would change the tenant column."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self

from psycopg import sql

from tenantry.model.name import Name, quoted
from tenantry.model.plan import ExecutionMode, Lock, LockMode, Phase, Statement
from tenantry.model.schema import ForeignKey, Table
from tenantry.steps.foreign_key import TenantForeignKey, ValidateForeignKey
from tenantry.steps.introspection import identifiers, raw
from tenantry.steps.naming import StaticNames
from tenantry.steps.step import Before, Step


def as_it_was(phase: Phase, table: Name, key: ForeignKey) -> TenantForeignKey:
    """A foreign key of the user's in its original form."""
    return TenantForeignKey(
        phase=phase, table=table, constraint=key.name, columns=key.columns, parent=key.parent,
        parent_columns=key.parent_columns, on_delete=key.on_delete, on_update=key.on_update,
        delete_columns=key.delete_columns, deferrable=key.deferrable, deferred=key.deferred, full=key.match == "f",
        whole=not key.enforced,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplacedForeignKey(Step):
    """The common part of steps that drop or replace a foreign key of the user's. The way back restores the original:
    enforced for new rows at once, then validated."""

    foreign_key: ForeignKey | None
    """The original key; None if it is one of tenantry's."""

    @property
    def constraint(self) -> str:
        """Its name."""
        assert self.foreign_key is not None
        return self.foreign_key.name

    @property
    def parent(self) -> Name:
        assert self.foreign_key is not None
        return self.foreign_key.parent

    def original_table(self, table: Table, before: Before) -> Table:
        if self.foreign_key is None:
            return table
        kept = [key for key in table.foreign_keys if key.name != self.constraint]
        return replace(table, foreign_keys=tuple(sorted((*kept, self.foreign_key), key=lambda key: key.name)))

    def renamed(self, names: StaticNames) -> Self:
        if self.foreign_key is None:
            return self
        key = replace(
            self.foreign_key, columns=names.columns(self.table, self.foreign_key.columns),
            parent_columns=names.columns(self.foreign_key.parent, self.foreign_key.parent_columns),
            delete_columns=names.columns(self.table, self.foreign_key.delete_columns),
        )  # fmt: skip
        return replace(self, foreign_key=key)

    def record(self) -> sql.Composable:
        return sql.SQL(
            "SELECT pg_catalog.jsonb_build_object('valid', c.convalidated,"
            " 'comment', pg_catalog.obj_description(c.oid, 'pg_constraint'))"
            " FROM pg_catalog.pg_constraint c WHERE c.conrelid = {} AND c.conname = {}"
        ).format(self.table.oid, sql.Literal(self.constraint))

    def _locks(self, mode: LockMode) -> tuple[Lock, ...]:
        return tuple(Lock(name, mode) for name in dict.fromkeys((self.table, self.parent)))

    @property
    def _existing(self) -> sql.Composed:
        return sql.SQL("SELECT FROM pg_catalog.pg_constraint c WHERE c.conrelid = {} AND c.conname = {}").format(
            self.table.oid, sql.Literal(self.constraint)
        )

    def _put_back(self, before: Before, *, drop: bool) -> tuple[Statement, ...]:
        """`drop`: another key with that name exists in its place."""
        if self.foreign_key is None or "valid" not in before:
            return ()
        table, name = self.table.identifier, sql.Identifier(self.constraint)
        valid = bool(before["valid"])
        # By its columns and not by the original text: they may have other names by now.
        add = sql.SQL("ALTER TABLE {} {}{}{}").format(
            table, sql.SQL("DROP CONSTRAINT IF EXISTS {}, ").format(name) if drop else sql.SQL(""),
            as_it_was(self.phase, self.table, self.foreign_key).clause,
            sql.SQL("" if self.foreign_key.enforced else " NOT ENFORCED"),
        )  # fmt: skip
        here = sql.SQL("SELECT {} IS NOT NULL AND {} IS NOT NULL").format(self.table.oid, self.parent.oid)
        when = here if drop else sql.SQL("{} AND NOT EXISTS ({})").format(here, self._existing)
        mode = LockMode.ACCESS_EXCLUSIVE if drop else LockMode.SHARE_ROW_EXCLUSIVE
        found = [Statement(sql=add, locks=self._locks(mode), when=when)]
        if before.get("comment") is not None:
            text = sql.SQL("COMMENT ON CONSTRAINT {} ON {} IS {}").format(name, table, sql.Literal(before["comment"]))
            found.append(Statement(sql=text, locks=(Lock(self.table, LockMode.SHARE_UPDATE_EXCLUSIVE),), when=here))
        if valid:
            # On its own: it reads both tables, and the locks of the statements before it are released by then.
            unproved = sql.SQL("SELECT EXISTS ({} AND NOT c.convalidated)").format(self._existing)
            validate = sql.SQL("ALTER TABLE {} VALIDATE CONSTRAINT {}").format(table, name)
            locks = (Lock(self.parent, LockMode.ROW_SHARE), Lock(self.table, LockMode.SHARE_UPDATE_EXCLUSIVE))
            found.append(Statement(sql=validate, manner=ExecutionMode.CONCURRENT, locks=locks, when=unproved))
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class DropForeignKey(ReplacedForeignKey):
    """Drops the user's foreign key to an owned table: it depends on a unique key without the tenant column, which is to
    include it. If there is a composite key beside it, that keeps the same rows consistent."""

    kind: Literal["foreign_key_dropped"] = "foreign_key_dropped"
    twin: str = ""
    """The composite key that checks the same rows; empty if there is none."""
    category = "constraint"

    @property
    def key(self) -> str:
        return f"foreign_key_dropped:{self.table}:{self.constraint}"

    @property
    def title(self) -> str:
        held = f", which {self.twin} holds within a tenant" if self.twin else ", which nothing holds from then on"
        return f"drop the foreign key {self.constraint} to {self.parent}{held}"

    @property
    def gives_up(self) -> tuple[str, str] | None:
        if self.twin:
            return None
        return (
            f"The foreign key {quoted(self.constraint)} of {self.table} to {self.parent} is dropped, and no"
            " composite key replaces it",
            "Check in the application that the rows to which others refer exist.",
        )

    @property
    def subject(self) -> str:
        return f"The end of the foreign key {quoted(self.constraint)} of {self.table}"

    def definition(self) -> sql.Composable:
        return sql.SQL("SELECT 'gone' WHERE {} IS NOT NULL AND NOT EXISTS ({})").format(self.table.oid, self._existing)

    def clashes(self) -> tuple[str, sql.Composable] | None:
        """Rows without a parent, if no composite key has checked them; a key that was NOT VALID allows such rows."""
        if self.twin or self.foreign_key is None or not self.foreign_key.validated:
            return None
        key = self.foreign_key
        present = sql.SQL(" AND ").join(sql.SQL("t.{} IS NOT NULL").format(sql.Identifier(one)) for one in key.columns)
        same = sql.SQL(" AND ").join(
            sql.SQL("p.{} OPERATOR({}.{}) t.{}").format(sql.Identifier(there), sql.Identifier(schema), raw(operator),
                                                       sql.Identifier(here))
            for here, there, (schema, operator) in zip(key.columns, key.parent_columns, key.operators, strict=True)
        )  # fmt: skip
        # The parents by themselves: joined with them directly, Citus would not find those of other tenants.
        return self.constraint, sql.SQL(
            "WITH p AS MATERIALIZED (SELECT {} FROM {} AS p)"
            " SELECT pg_catalog.count(*), pg_catalog.min(ROW({})::text) FROM {} AS t"
            " WHERE {} AND NOT EXISTS (SELECT FROM p WHERE {})"
        ).format(identifiers(key.parent_columns, sql.Identifier("p")), key.parent.identifier,
                 identifiers(key.columns, sql.Identifier("t")), self.table.identifier, present, same)  # fmt: skip

    def apply(self) -> tuple[Statement, ...]:
        drop = sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(
            self.table.identifier, sql.Identifier(self.constraint)
        )
        return (Statement(sql=drop, locks=self._locks(LockMode.ACCESS_EXCLUSIVE)),)

    def revert(self, before: Before) -> tuple[Statement, ...]:
        return self._put_back(before, drop=False)


def _colocated(table: Name, constraint: str, on_delete: str, *, validated: bool) -> sql.Composed:
    """A foreign key's definition without NOT VALID, where it has the form that can be distributed."""
    return sql.SQL(
        "SELECT pg_catalog.regexp_replace(pg_catalog.pg_get_constraintdef(c.oid), ' NOT VALID$', '')"
        " FROM pg_catalog.pg_constraint c WHERE c.conrelid = {} AND c.conname = {} AND NOT c.condeferrable"
        " AND c.confupdtype = 'a' AND c.confdeltype = {} AND (c.convalidated OR NOT {})"
    ).format(table.oid, sql.Literal(constraint), sql.Literal(on_delete), sql.Literal(validated))


@dataclass(frozen=True, slots=True, kw_only=True)
class ColocatedForeignKey(ReplacedForeignKey):
    """Replaces a foreign key by one of the same name: NOT DEFERRABLE, without ON UPDATE, and without SET NULL if the
    tenant column is part of it. One statement drops and adds it, so that no row is ever written without it."""

    kind: Literal["colocated_foreign_key"] = "colocated_foreign_key"
    foreign_key: ForeignKey | None = None
    wanted_key: TenantForeignKey
    """The wanted key."""
    changes: str = ""
    """What it changes for the user's application, if anything."""
    compared = True
    category = "constraint"

    @property
    def constraint(self) -> str:
        return self.wanted_key.constraint

    @property
    def parent(self) -> Name:
        return self.wanted_key.parent

    @property
    def key(self) -> str:
        return f"colocated_foreign_key:{self.table}:{self.constraint}"

    @property
    def title(self) -> str:
        return f"make the foreign key {self.constraint} to {self.parent} one that can be distributed"

    @property
    def note(self) -> str:
        return self.changes

    @property
    def subject(self) -> str:
        return f"The foreign key {quoted(self.constraint)} of {self.table} for a distributed engine"

    @property
    def ends(self) -> tuple[str, ...]:
        if self.foreign_key is not None:
            return ()
        place = f"{self.table}:{self.constraint}"
        return f"foreign_key:{place}", f"foreign_key_valid:{place}"

    @property
    def supersedes(self) -> bool:
        return True

    def renamed(self, names: StaticNames) -> ColocatedForeignKey:
        step = ReplacedForeignKey.renamed(self, names)
        return replace(step, wanted_key=self.wanted_key.renamed(names))

    def definition(self) -> sql.Composable:
        return _colocated(self.table, self.constraint, self.wanted_key.on_delete, validated=False)

    def apply(self) -> tuple[Statement, ...]:
        again = sql.SQL("ALTER TABLE {} DROP CONSTRAINT IF EXISTS {}, {}").format(
            self.table.identifier, sql.Identifier(self.constraint), self.wanted_key.clause
        )
        return (Statement(sql=again, locks=self._locks(LockMode.ACCESS_EXCLUSIVE)),)

    def revert(self, before: Before) -> tuple[Statement, ...]:
        """A key of tenantry's is reverted with the step that created it."""
        return self._put_back(before, drop=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidateColocatedKey(ValidateForeignKey):
    """VALIDATE a foreign key that was replaced. No row can violate it, since it has been enforced all the time."""

    kind: Literal["colocated_foreign_key_valid"] = "colocated_foreign_key_valid"  # type: ignore[assignment]
    on_delete: str = "a"
    proves = False

    @property
    def key(self) -> str:
        return f"colocated_foreign_key_valid:{self.table}:{self.constraint}"

    def definition(self) -> sql.Composable:
        return _colocated(self.table, self.constraint, self.on_delete, validated=True)
