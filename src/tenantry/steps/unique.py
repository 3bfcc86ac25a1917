"""Unique constraints and indexes of the user's: contract drops the global one that a per-tenant one has replaced;
distribute makes each unique within its tenant."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self

from psycopg import sql

from tenantry.model.name import Name, quoted, shortened
from tenantry.model.plan import ExecutionMode, Lock, LockMode, Statement
from tenantry.model.schema import Table, Unique
from tenantry.steps.foreign_key import TenantForeignKey
from tenantry.steps.introspection import INDEX_TEXT, identifiers, raw
from tenantry.steps.naming import StaticNames
from tenantry.steps.step import Before, Step


def _only_columns(columns: tuple[str, ...]) -> str:
    """The text after the opening parenthesis of an index of these columns and nothing else."""
    return ", ".join(quoted(column) for column in columns) + ")"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplacedUnique(Step):
    """The common part of steps that drop or replace a primary key, a unique constraint or a unique index of the
    user's."""

    unique: Unique
    """The original index: it is part of the user's schema even after it was dropped."""

    @property
    def index(self) -> Name:
        return Name(self.table.schema, self.unique.name)

    @property
    def locks(self) -> tuple[Lock, ...]:
        return (Lock(self.table, LockMode.ACCESS_EXCLUSIVE),)

    def renamed(self, names: StaticNames) -> Self:
        """For an index that has more in its text than names of columns, the original text is kept."""
        unique, columns = self.unique, names.columns(self.table, self.unique.columns)
        rest = _only_columns(columns) if unique.rest == _only_columns(unique.columns) else unique.rest
        return replace(self, unique=replace(unique, columns=columns, rest=rest))

    def record(self) -> sql.Composable:
        return sql.SQL(
            "SELECT pg_catalog.jsonb_build_object("
            "'index', {}, 'constraint', pg_catalog.pg_get_constraintdef(c.oid),"
            "'deferrable', c.condeferrable, 'deferred', c.condeferred,"
            "'index_comment', pg_catalog.obj_description(i.indexrelid, 'pg_class'),"
            "'constraint_comment', pg_catalog.obj_description(c.oid, 'pg_constraint'),"
            "'clustered', i.indisclustered, 'identity', i.indisreplident,"
            "'statistics', (SELECT pg_catalog.jsonb_object_agg(a.attnum, a.attstattarget)"
            " FROM pg_catalog.pg_attribute a"
            " WHERE a.attrelid = i.indexrelid AND a.attstattarget >= 0))"
            " FROM pg_catalog.pg_index i LEFT JOIN pg_catalog.pg_constraint c"
            " ON c.conindid = i.indexrelid AND c.conrelid = i.indrelid AND c.contype IN ('p', 'u', 'x')"
            " WHERE i.indexrelid = {}"
        ).format(INDEX_TEXT, self.index.oid)

    def clashes(self) -> tuple[str, sql.Composable] | None:
        """Values that more than one row has; None if the index is not over plain columns, or covers only some rows."""
        if not self.unique.columns or self.unique.partial:
            return None
        columns = identifiers(self.unique.columns)
        present = sql.SQL(" AND ").join(
            sql.SQL("{} IS NOT NULL").format(sql.Identifier(name)) for name in self.unique.columns
        )
        return self.index.name, sql.SQL(
            "SELECT pg_catalog.count(*), pg_catalog.min(found.value) FROM (SELECT ROW({0})::text AS value FROM {1}"
            " WHERE {2} GROUP BY {0} HAVING pg_catalog.count(*) > 1) AS found"
        ).format(columns, self.table.identifier, present)

    def _ornaments(self, before: Before) -> tuple[Statement, ...]:
        table, index = self.table.identifier, sql.Identifier(self.index.name)
        found: list[sql.Composable] = []
        if before.get("index_comment") is not None:
            found.append(
                sql.SQL("COMMENT ON INDEX {} IS {}").format(self.index.identifier, sql.Literal(before["index_comment"]))
            )
        if before.get("constraint_comment") is not None:
            found.append(
                sql.SQL("COMMENT ON CONSTRAINT {} ON {} IS {}").format(
                    index, table, sql.Literal(before["constraint_comment"])
                )
            )
        if before.get("clustered"):
            found.append(sql.SQL("ALTER TABLE {} CLUSTER ON {}").format(table, index))
        if before.get("identity"):
            found.append(sql.SQL("ALTER TABLE {} REPLICA IDENTITY USING INDEX {}").format(table, index))
        for number, target in (before.get("statistics") or {}).items():
            found.append(
                sql.SQL("ALTER INDEX {} ALTER COLUMN {} SET STATISTICS {}").format(
                    self.index.identifier, sql.Literal(int(number)), sql.Literal(int(target))
                )
            )
        return tuple(Statement(sql=statement, locks=self.locks) for statement in found)


@dataclass(frozen=True, slots=True, kw_only=True)
class DropGlobalUnique(ReplacedUnique):
    """Drops the index, and the constraint of the same name if there is one. Everything that pg_dump shows of it is
    recorded, and restored without blocking writers: the index CONCURRENTLY, then the constraint on it."""

    kind: Literal["global_unique"] = "global_unique"
    replaced_by: Name
    mixed: bool = False
    """Whether rows of the table may have no tenant."""

    @property
    def key(self) -> str:
        return f"global_unique:{self.index}"

    @property
    def title(self) -> str:
        return f"drop {self.index.name}, which {self.replaced_by.name} replaces within each tenant"

    @property
    def subject(self) -> str:
        return f"The replacement of the unique index {self.index} by {self.replaced_by}"

    def original_table(self, table: Table, before: Before) -> Table:
        if any(unique.name == self.unique.name for unique in table.uniques):
            return table
        return replace(table, uniques=(*table.uniques, self.unique))

    def definition(self) -> sql.Composable:
        return sql.SQL("SELECT 'replaced' WHERE {} IS NULL AND {} IS NOT NULL").format(
            self.index.oid, self.replaced_by.oid
        )

    def stood_in(self, before: Before) -> Name | None:
        return self.replaced_by if before.get("identity") else None

    def apply(self) -> tuple[Statement, ...]:
        if not self.unique.identity:
            return (self._drop,)
        # Every update of a published table would fail without it. If the tenant may be NULL, no index can be the
        # replica identity.
        form = (
            sql.SQL("FULL") if self.mixed else sql.SQL("USING INDEX {}").format(sql.Identifier(self.replaced_by.name))
        )
        identity = sql.SQL("ALTER TABLE {} REPLICA IDENTITY {}").format(self.table.identifier, form)
        return Statement(sql=identity, locks=self.locks), self._drop

    @property
    def _drop(self) -> Statement:
        if self.unique.constraint:
            drop = sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(
                self.table.identifier, sql.Identifier(self.index.name)
            )
        else:
            drop = sql.SQL("DROP INDEX {}").format(self.index.identifier)
        return Statement(sql=drop, locks=self.locks)

    def revert(self, before: Before) -> tuple[Statement, ...]:
        if not before.get("index"):
            return ()
        table, index = self.table.identifier, sql.Identifier(self.index.name)
        missing = sql.SQL("SELECT {} IS NULL").format(self.index.oid)
        invalid = sql.SQL(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indexrelid = {} AND NOT i.indisvalid)"
        ).format(self.index.oid)
        build = before["index"].replace("CREATE UNIQUE INDEX ", "CREATE UNIQUE INDEX CONCURRENTLY ", 1)
        statements = [
            Statement(
                sql=sql.SQL("DROP INDEX CONCURRENTLY {}").format(self.index.identifier),
                manner=ExecutionMode.CONCURRENT,
                when=invalid,
            ),
            Statement(sql=raw(build), manner=ExecutionMode.CONCURRENT, when=missing),
        ]
        if before.get("constraint"):
            timing = ""
            if before.get("deferrable"):
                timing = " DEFERRABLE INITIALLY DEFERRED" if before.get("deferred") else " DEFERRABLE"
            attach = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} UNIQUE USING INDEX {}{}").format(
                table, index, index, raw(timing)
            )
            alone = sql.SQL(
                "SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_constraint c WHERE c.conrelid = {} AND c.conname = {})"
            ).format(self.table.oid, sql.Literal(self.index.name))
            statements.append(Statement(sql=attach, locks=self.locks, when=alone))
        return (*statements, *self._ornaments(before))


@dataclass(frozen=True, slots=True, kw_only=True)
class WidenKey(ReplacedUnique):
    """Puts the tenant column in front of a primary key, a unique constraint or a unique index, with an index that
    exists already and gets its name: a change of the catalog alone. The composite keys keep that index.

    The way back builds both indexes CONCURRENTLY, and moves the composite keys to the one that stays, so that rows
    refer to rows of their own tenant at every moment.
    """

    kind: Literal["widened_key"] = "widened_key"
    column: str
    """The tenant column."""
    by: Name
    """The index that replaces it."""
    columns: tuple[str, ...] = ()
    """The columns of that index after the tenant column, if composite keys depend on it."""
    referred: tuple[TenantForeignKey, ...] = ()
    """The composite keys that depend on that index."""
    home: bool = True
    """Whether these keys keep that index on the way back. Where several unique keys have the same columns, that is so
    of one index, and the others are gone then."""
    needed_by: tuple[Name, ...] = ()
    """The tables with foreign keys of the user's that need the original key: the steps that restore those restore
    it."""
    compared = True
    category = "constraint"

    @property
    def key(self) -> str:
        return f"widened_key:{self.index}"

    @property
    def title(self) -> str:
        what = (
            "primary key" if self.unique.primary else "unique constraint" if self.unique.constraint else "unique index"
        )
        return f"make the {what} {self.index.name} one of each tenant"

    @property
    def subject(self) -> str:
        return f"The tenant in front of {self.index} of {self.table}"

    @property
    def note(self) -> str:
        names = ", ".join(self.unique.columns) or "values of its expressions"
        return f"two tenants may use the same {names}: name {self.column} in ON CONFLICT, and join by it as well"

    @property
    def ends(self) -> tuple[str, ...]:
        return (f"index:{self.by}",)

    @property
    def supersedes(self) -> bool:
        return True

    @property
    def widened(self) -> Name:
        return self.index

    def renamed(self, names: StaticNames) -> WidenKey:
        step = ReplacedUnique.renamed(self, names)
        referred = tuple(key.renamed(names) for key in self.referred)
        return replace(step, columns=names.columns(self.table, self.columns), referred=referred)

    def original_table(self, table: Table, before: Before) -> Table:
        kept = [one for one in table.uniques if one.name != self.unique.name]
        uniques = tuple(sorted((*kept, self.unique), key=lambda one: one.name))
        key = self.unique.columns if self.unique.primary else table.primary_key
        return replace(table, uniques=uniques, primary_key=key)

    def definition(self) -> sql.Composable:
        return sql.SQL(
            "SELECT pg_catalog.pg_get_indexdef(i.indexrelid) FROM pg_catalog.pg_index i"
            " JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]"
            " WHERE i.indexrelid = {} AND i.indisvalid AND a.attname = {} AND i.indrelid = {}"
        ).format(self.index.oid, sql.Literal(self.column), self.table.oid)

    def apply(self) -> tuple[Statement, ...]:
        swap = self._swap(self.by)
        if self.unique.identity:
            swap = (*swap, self._identity)
        return tuple(Statement(sql=statement, locks=self.locks) for statement in swap)

    @property
    def _identity(self) -> sql.Composed:
        return sql.SQL("ALTER TABLE {} REPLICA IDENTITY USING INDEX {}").format(
            self.table.identifier, sql.Identifier(self.index.name)
        )

    def _swap(self, by: Name) -> tuple[sql.Composed, ...]:
        """Replaces the index that has the name now by the index `by`."""
        name = sql.Identifier(self.index.name)
        if not self.unique.constraint:
            return (
                sql.SQL("DROP INDEX {}").format(self.index.identifier),
                sql.SQL("ALTER INDEX {} RENAME TO {}").format(by.identifier, name),
            )
        timing = ""
        if self.unique.deferrable:
            timing = " DEFERRABLE INITIALLY DEFERRED" if self.unique.deferred else " DEFERRABLE"
        what = sql.SQL("PRIMARY KEY" if self.unique.primary else "UNIQUE")
        return (
            sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}, ADD CONSTRAINT {} {} USING INDEX {}{}").format(
                self.table.identifier, name, name, what, sql.Identifier(by.name), raw(timing)
            ),
        )

    def revert(self, before: Before) -> tuple[Statement, ...]:
        if not before.get("index"):
            return ()
        back = Name(self.table.schema, shortened(f"tenantry_back_{self.unique.name}"))
        wide = sql.SQL("SELECT EXISTS ({})").format(self.definition())
        inside = raw(self.unique.rest) if self.unique.rest else sql.SQL("{})").format(identifiers(self.unique.columns))
        built = [*self._build(back, inside, wide)]
        if self.referred and self.home:
            built += self._build(self.by, sql.SQL("{})").format(identifiers((self.column, *self.columns))), wide)
        locks = (*self.locks, *(Lock(one.table, LockMode.ACCESS_EXCLUSIVE) for one in self.referred))
        swap: list[tuple[sql.Composable, sql.Composable]] = []
        for one in self.referred:
            drop = sql.SQL("ALTER TABLE {} DROP CONSTRAINT IF EXISTS {}").format(
                one.table.identifier, sql.Identifier(one.constraint)
            )
            swap.append((drop, wide))
        # Each statement checks again, and after the first of these the index is no longer wide: the index that replaces
        # it exists.
        stands = sql.SQL("SELECT {} IS NOT NULL").format(back.oid)
        swap += [(statement, stands) for statement in self._swap(back)]
        for one in self.referred:
            gone = sql.SQL("SELECT {} IS NOT NULL AND NOT EXISTS ({})").format(one.table.oid, one.definition())
            swap.append((sql.SQL("ALTER TABLE {} {}").format(one.table.identifier, one.clause), gone))
        return (
            *built,
            *(Statement(sql=statement, locks=locks, when=when) for statement, when in swap),
            *self._ornaments(before),
        )

    def _build(self, index: Name, inside: sql.Composable, wide: sql.Composable) -> tuple[Statement, ...]:
        locks = (Lock(self.table, LockMode.SHARE_UPDATE_EXCLUSIVE),)
        invalid = sql.SQL(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indexrelid = {} AND NOT i.indisvalid)"
        ).format(index.oid)
        missing = sql.SQL("SELECT {} IS NULL AND ({})").format(index.oid, wide)
        create = sql.SQL("CREATE UNIQUE INDEX CONCURRENTLY {} ON {} USING btree ({}").format(
            sql.Identifier(index.name), self.table.identifier, inside
        )
        drop = sql.SQL("DROP INDEX CONCURRENTLY {}").format(index.identifier)
        return (
            Statement(sql=drop, manner=ExecutionMode.CONCURRENT, locks=locks, when=invalid),
            Statement(sql=create, manner=ExecutionMode.CONCURRENT, locks=locks, when=missing),
        )
