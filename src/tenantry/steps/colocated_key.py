"""Foreign keys in the form that a distributed engine accepts: with the tenant column if they refer to owned tables,
never deferred, and without an action that would change the tenant column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, Self

from psycopg import sql

from tenantry.model.name import Name, quoted
from tenantry.model.plan import ExecutionMode, Lock, LockMode, Phase, Statement
from tenantry.model.schema import ForeignKey, Table
from tenantry.steps.foreign_key import TenantForeignKey, ValidateForeignKey
from tenantry.steps.introspection import identifiers, is_partition, raw
from tenantry.steps.naming import StaticNames
from tenantry.steps.step import Before, CompositeKeyBeside, Step


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
    original: TenantForeignKey | None = None
    """The original key with the partitions of its tables, if it has such."""

    @property
    def _original(self) -> TenantForeignKey:
        assert self.foreign_key is not None
        return self.original or as_it_was(self.phase, self.table, self.foreign_key)

    @property
    def _form(self) -> TenantForeignKey:
        """The key whose tables are locked."""
        return self._original

    @property
    def below(self) -> tuple[Name, ...]:
        return self._form.tree

    def moved_to(self, table: Name) -> Self:
        """The same on a partition that was detached, or on the table itself, whatever partitions it has."""
        key = self.foreign_key
        if key is not None and table != self.table:
            key = replace(key, inherited=True)
        original = self.original and _without_partitions(self.original, table)
        return replace(self, table=table, foreign_key=key, original=original)

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
        return replace(self, foreign_key=key, original=self.original and self.original.renamed(names))

    def record(self) -> sql.Composable:
        """With the names that the key has on partitions."""
        names = sql.SQL(
            ", 'leaves', (WITH RECURSIVE down(oid) AS (SELECT c.oid UNION ALL SELECT k.oid FROM down"
            " JOIN pg_catalog.pg_constraint k ON k.conparentid = down.oid)"
            " SELECT pg_catalog.jsonb_object_agg(pg_catalog.format('%I.%I', n.nspname, r.relname), k.conname)"
            " FROM down JOIN pg_catalog.pg_constraint k USING (oid) JOIN pg_catalog.pg_class r ON r.oid = k.conrelid"
            " JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace"
            " WHERE k.conrelid <> c.conrelid AND k.confrelid = c.confrelid)"
        )
        return sql.SQL(
            "SELECT pg_catalog.jsonb_build_object('valid', c.convalidated,"
            " 'comment', pg_catalog.obj_description(c.oid, 'pg_constraint'){})"
            " FROM pg_catalog.pg_constraint c WHERE c.conrelid = {} AND c.conname = {}"
        ).format(names if self._form.leaves else sql.SQL(""), self.table.oid, sql.Literal(self.constraint))

    def _locks(self, mode: LockMode) -> tuple[Lock, ...]:
        return self._form.lock_all(mode)

    @property
    def _existing(self) -> sql.Composed:
        return _existing(self.table, self.constraint)

    def _put_back(self, before: Before, *, drop: bool) -> tuple[Statement, ...]:
        """`drop`: another key with that name exists in its place."""
        if self.foreign_key is None or "valid" not in before:
            return ()
        key, valid = self._original, bool(before["valid"])
        here = sql.SQL("SELECT {} IS NOT NULL AND {} IS NOT NULL").format(self.table.oid, self.parent.oid)
        mode = LockMode.ACCESS_EXCLUSIVE if drop else LockMode.SHARE_ROW_EXCLUSIVE
        parts = _named(key, before.get("leaves") or {})
        found = [
            Statement(sql=self._add(form, drop=drop), locks=self._locks(mode), when=sql.SQL("{}{}").format(
                _needed(form, key.table, drop=drop), only))
            for one in parts for form, only in self._forms(one)
        ]  # fmt: skip
        if drop and key.leaves:
            found.insert(0, Statement(sql=_drop(self.table, self.constraint), locks=self._locks(mode), when=here))
        comment = []
        if before.get("comment") is not None and not self.foreign_key.inherited:
            text = sql.SQL("COMMENT ON CONSTRAINT {} ON {} IS {}").format(
                sql.Identifier(self.constraint), self.table.identifier, sql.Literal(before["comment"])
            )
            comment = [Statement(sql=text, locks=(Lock(self.table, LockMode.SHARE_UPDATE_EXCLUSIVE),), when=here)]
        if not key.leaves:
            found += comment
        if valid:
            # On its own: it reads both tables, and the locks of the statements before it are released by then.
            found += (_validate(one) for one in parts)
        if key.leaves:
            found += (replace(one, when=_needed(key, key.table, drop=False)) for one in key.apply())
            found += comment
        return tuple(found)

    def _forms(self, key: TenantForeignKey) -> Iterator[tuple[TenantForeignKey, sql.Composable]]:
        """The key as it is added, and the rest of the condition. A partition that was detached may be partitioned
        itself: before PostgreSQL 18 no key is NOT VALID there."""
        if self.foreign_key is None or not self.foreign_key.inherited:
            yield key, sql.SQL("")
            return
        partitioned = sql.SQL(" AND {} EXISTS (SELECT FROM pg_catalog.pg_class r WHERE r.oid = {} AND r.relkind = 'p')")
        yield key, partitioned.format(sql.SQL("NOT"), key.table.oid)
        yield replace(key, whole=True), partitioned.format(sql.SQL(""), key.table.oid)

    def _add(self, key: TenantForeignKey, *, drop: bool) -> sql.Composed:
        """By its columns and not by the original text: they may have other names by now."""
        assert self.foreign_key is not None
        return sql.SQL("ALTER TABLE {} {}{}{}").format(
            key.table.identifier,
            sql.SQL("DROP CONSTRAINT IF EXISTS {}, ").format(sql.Identifier(self.constraint)) if drop else sql.SQL(""),
            key.clause, sql.SQL("" if self.foreign_key.enforced else " NOT ENFORCED"),
        )  # fmt: skip


def _without_partitions(key: TenantForeignKey, table: Name) -> TenantForeignKey:
    """The key on `table` alone. A key that a partition has kept is enforced there by itself."""
    whole = key.whole and table == key.table
    return replace(key, table=table, whole=whole, tree=(), leaves=())


def _existing(table: Name, constraint: str) -> sql.Composed:
    return sql.SQL("SELECT FROM pg_catalog.pg_constraint c WHERE c.conrelid = {} AND c.conname = {}").format(
        table.oid, sql.Literal(constraint)
    )


def _drop(table: Name, constraint: str) -> sql.Composed:
    return sql.SQL("ALTER TABLE {} DROP CONSTRAINT IF EXISTS {}").format(table.identifier, sql.Identifier(constraint))


def _named(key: TenantForeignKey, names: Mapping[str, str]) -> tuple[TenantForeignKey, ...]:
    """The keys that are added first, under the names that they had on the partitions."""
    return tuple(replace(one, constraint=names.get(str(one.table), one.constraint)) for one in key.first)


def _needed(key: TenantForeignKey, root: Name, *, drop: bool) -> sql.Composed:
    """Whether a key can be added to its table; to a partition of `root` only as long as it is one. Unless another one
    with that name is dropped, it must be missing."""
    found = sql.SQL("SELECT {} IS NOT NULL AND {} IS NOT NULL").format(key.table.oid, key.parent.oid)
    if key.table != root:
        found = sql.SQL("{} AND {}").format(found, is_partition(key.table, root))
    return found if drop else sql.SQL("{} AND NOT EXISTS ({})").format(found, _existing(key.table, key.constraint))


def _validate(key: TenantForeignKey) -> Statement:
    unproved = sql.SQL("SELECT EXISTS ({} AND NOT c.convalidated)").format(_existing(key.table, key.constraint))
    validate = sql.SQL("ALTER TABLE {} VALIDATE CONSTRAINT {}").format(
        key.table.identifier, sql.Identifier(key.constraint)
    )
    locks = (Lock(key.parent, LockMode.ROW_SHARE), Lock(key.table, LockMode.SHARE_UPDATE_EXCLUSIVE))
    return Statement(sql=validate, manner=ExecutionMode.CONCURRENT, locks=locks, when=unproved)


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


def _colocated(table: sql.Composable, constraint: str, on_delete: str, *, validated: bool) -> sql.Composed:
    """A foreign key's definition without NOT VALID, where it has the form that can be distributed."""
    return sql.SQL(
        "SELECT pg_catalog.regexp_replace(pg_catalog.pg_get_constraintdef(c.oid), ' NOT VALID$', '')"
        " FROM pg_catalog.pg_constraint c WHERE c.conrelid = {} AND c.conname = {} AND NOT c.condeferrable"
        " AND c.confupdtype = 'a' AND c.confdeltype = {} AND (c.convalidated OR NOT {})"
    ).format(table, sql.Literal(constraint), sql.Literal(on_delete), sql.Literal(validated))


def _on_each_partition(table: Name, constraint: str, on_delete: str) -> sql.Composed:
    """The same where each partition that stores rows has such a key."""
    own = _colocated(sql.SQL("t.relid"), constraint, on_delete, validated=False)
    return sql.SQL(
        "SELECT pg_catalog.string_agg(DISTINCT of.text, '; ') FROM (SELECT ({}) AS text"
        " FROM pg_catalog.pg_partition_tree({}) AS t WHERE t.isleaf) AS of"
        " HAVING pg_catalog.bool_and(of.text IS NOT NULL)"
    ).format(own, table.oid)


def replacing(key: TenantForeignKey) -> Iterator[sql.Composed]:
    """The statements that drop what has its name, and add it: on a partitioned table on each partition, NOT VALID."""
    for one in key.first:
        yield sql.SQL("ALTER TABLE {} DROP CONSTRAINT IF EXISTS {}, {}").format(
            one.table.identifier, sql.Identifier(one.constraint), one.clause
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ColocatedForeignKey(ReplacedForeignKey):
    """Replaces a foreign key by one of the same name: NOT DEFERRABLE, without ON UPDATE, and without SET NULL if the
    tenant column is part of it. One statement drops and adds it, so that no row is ever written without it; on a
    partitioned table, one transaction on all its partitions."""

    kind: Literal["colocated_foreign_key"] = "colocated_foreign_key"
    foreign_key: ForeignKey | None = None
    wanted_key: TenantForeignKey
    """The wanted key."""
    changes: str = ""
    """What it changes for the user's application, if anything."""
    compared = True
    category = "constraint"

    @property
    def _form(self) -> TenantForeignKey:
        return self.wanted_key

    def moved_to(self, table: Name) -> Self:
        moved = ReplacedForeignKey.moved_to(self, table)
        return replace(moved, wanted_key=_without_partitions(self.wanted_key, table))

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
        places = [f"{table}:{self.constraint}" for table in (self.table, *self.wanted_key.leaves)]
        return tuple(f"{made}:{place}" for place in places for made in ("foreign_key", "foreign_key_valid"))

    @property
    def supersedes(self) -> bool:
        return True

    def renamed(self, names: StaticNames) -> ColocatedForeignKey:
        step = ReplacedForeignKey.renamed(self, names)
        return replace(step, wanted_key=self.wanted_key.renamed(names))

    def definition(self) -> sql.Composable:
        own = _colocated(self.table.oid, self.constraint, self.wanted_key.on_delete, validated=False)
        if not self.wanted_key.whole:
            return own
        parts = _on_each_partition(self.table, self.constraint, self.wanted_key.on_delete)
        return sql.SQL("{} UNION ALL {} LIMIT 1").format(own, parts)

    def apply(self) -> tuple[Statement, ...]:
        locks = self._locks(LockMode.ACCESS_EXCLUSIVE)
        found = [Statement(sql=one, locks=locks) for one in replacing(self.wanted_key)]
        if self.wanted_key.leaves:
            # The keys of partitions are dropped with it.
            found.insert(0, Statement(sql=_drop(self.table, self.constraint), locks=locks))
        return tuple(found)

    def revert(self, before: Before) -> tuple[Statement, ...]:
        """A key of tenantry's is reverted with the step that created it."""
        return self._put_back(before, drop=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidateColocatedKey(ValidateForeignKey):
    """VALIDATE a foreign key that was replaced. No row can violate it, since it has been enforced all the time."""

    kind: Literal["colocated_foreign_key_valid"] = "colocated_foreign_key_valid"  # type: ignore[assignment]
    on_delete: str = "a"
    adopting: TenantForeignKey | None = None
    """The key of a partitioned table: it is added once those of the partitions are valid, and adopts them."""
    proves = False

    @property
    def key(self) -> str:
        return f"colocated_foreign_key_valid:{self.table}:{self.constraint}"

    @property
    def title(self) -> str:
        if self.adopting is None:
            return ValidateForeignKey.title.fget(self)  # type: ignore[attr-defined,no-any-return]
        return f"add the foreign key {self.constraint} to {self.parent}, which adopts those of the partitions"

    @property
    def below(self) -> tuple[Name, ...]:
        return self.adopting.tree if self.adopting is not None else ()

    def moved_to(self, table: Name) -> ValidateColocatedKey:
        adopting = self.adopting and _without_partitions(self.adopting, table)
        return replace(self, table=table, adopting=adopting)

    def renamed(self, names: StaticNames) -> ValidateColocatedKey:
        return replace(self, adopting=self.adopting and self.adopting.renamed(names))

    @property
    def beside(self) -> CompositeKeyBeside | None:
        return self.adopting.beside if self.adopting is not None else None

    def definition(self) -> sql.Composable:
        return _colocated(self.table.oid, self.constraint, self.on_delete, validated=True)

    def apply(self) -> tuple[Statement, ...]:
        return ValidateForeignKey.apply(self) if self.adopting is None else self.adopting.apply()
