"""Unique constraints and indexes of the user's: contract drops the global one that a per-tenant one has replaced;
distribute makes each unique within its tenant."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, Self

from psycopg import sql

from tenantry.model.name import Name, quoted, shortened
from tenantry.model.plan import ExecutionMode, Lock, LockMode, Statement
from tenantry.model.schema import Table, Unique
from tenantry.steps.foreign_key import TenantForeignKey
from tenantry.steps.index import IndexStep, PartitionedIndex, TenantIndex, index_with_columns
from tenantry.steps.introspection import INDEX_TEXT, identifiers, is_partition, raw
from tenantry.steps.naming import StaticNames
from tenantry.steps.step import Before, Step


def only_columns(columns: tuple[str, ...]) -> str:
    """The text after the opening parenthesis of an index of these columns and nothing else."""
    return ", ".join(quoted(column) for column in columns) + ")"


_DESCRIBED = sql.SQL(
    "pg_catalog.jsonb_build_object("
    "'index', {0}, 'inside', (SELECT CASE WHEN pg_catalog.starts_with(d.text, d.prefix)"
    " THEN pg_catalog.substr(d.text, pg_catalog.length(d.prefix) + 1) END FROM (SELECT {0} AS text,"
    " (SELECT 'CREATE UNIQUE INDEX ' || pg_catalog.quote_ident(x.relname) || ' ON '"
    " || CASE WHEN x.relkind = 'I' THEN 'ONLY ' ELSE '' END || i.indrelid::regclass::text"
    " || ' USING ' || pg_catalog.quote_ident(m.amname) || ' (' FROM pg_catalog.pg_class x"
    " JOIN pg_catalog.pg_am m ON m.oid = x.relam WHERE x.oid = i.indexrelid) AS prefix) AS d),"
    " 'constraint', pg_catalog.pg_get_constraintdef(c.oid),"
    "'deferrable', c.condeferrable, 'deferred', c.condeferred,"
    "'index_comment', pg_catalog.obj_description(i.indexrelid, 'pg_class'),"
    "'constraint_comment', pg_catalog.obj_description(c.oid, 'pg_constraint'),"
    "'clustered', i.indisclustered, 'identity', i.indisreplident,"
    "'statistics', (SELECT pg_catalog.jsonb_object_agg(a.attnum, a.attstattarget)"
    " FROM pg_catalog.pg_attribute a"
    " WHERE a.attrelid = i.indexrelid AND a.attstattarget >= 0))"
).format(INDEX_TEXT)
_WITH_CONSTRAINT = sql.SQL(
    "pg_catalog.pg_index i LEFT JOIN pg_catalog.pg_constraint c"
    " ON c.conindid = i.indexrelid AND c.conrelid = i.indrelid AND c.contype IN ('p', 'u', 'x')"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPart:
    """The part of a partitioned table's unique key on one of its partitions: the index there, the table of which this
    is a partition, and the index that replaces it; None if it is partitioned itself."""

    table: Name
    unique: Unique
    parent: Name
    by: Name | None = None

    @property
    def index(self) -> Name:
        return Name(self.table.schema, self.unique.name)

    @property
    def back(self) -> Name:
        """The original index, until it gets its name."""
        return Name(self.table.schema, shortened(f"tenantry_back_{self.unique.name}"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplacedUnique(Step):
    """The common part of steps that drop or replace a primary key, a unique constraint or a unique index of the
    user's."""

    unique: Unique
    """The original index: it is part of the user's schema even after it was dropped."""
    parts: tuple[KeyPart, ...] = ()
    """Those of its partitions, the deepest first."""

    @property
    def index(self) -> Name:
        return Name(self.table.schema, self.unique.name)

    @property
    def below(self) -> tuple[Name, ...]:
        return tuple(part.table for part in reversed(self.parts))

    @property
    def locks(self) -> tuple[Lock, ...]:
        return tuple(Lock(name, LockMode.ACCESS_EXCLUSIVE) for name in (self.table, *self.below))

    @property
    @abstractmethod
    def _own(self) -> KeyPart:
        """The key of the table itself."""

    @property
    def _every(self) -> tuple[KeyPart, ...]:
        """The parts, and the key of the table itself."""
        return (*self.parts, self._own)

    def _on_part(self, part: KeyPart) -> Self:
        """The step on a partition, with its own parts."""
        below = {part.table}
        for one in reversed(self.parts):
            below |= {one.table} if one.parent in below else set()
        parts = tuple(one for one in self.parts if one.table in below - {part.table})
        return replace(self, table=part.table, unique=part.unique, parts=parts)

    def moved_to(self, table: Name) -> Self:
        found = (self._on_part(part) for part in self.parts if part.table == table)
        return next(found, replace(self, table=table, parts=()))

    def renamed(self, names: StaticNames) -> Self:
        parts = tuple(
            replace(part, unique=_with_columns(part.unique, names.columns(self.table, part.unique.columns)))
            for part in self.parts
        )
        unique = _with_columns(self.unique, names.columns(self.table, self.unique.columns))
        return replace(self, unique=unique, parts=parts)

    def record(self) -> sql.Composable:
        own = sql.SQL("SELECT {} FROM {} WHERE i.indexrelid = {}").format(_DESCRIBED, _WITH_CONSTRAINT, self.index.oid)
        if not self.parts:
            return own
        names = sql.Literal([part.index.identifier.as_string(None) for part in self.parts])
        parts = sql.SQL(
            "SELECT pg_catalog.jsonb_object_agg(given.name, {}) FROM pg_catalog.unnest({}::text[]) AS given(name), {}"
            " WHERE i.indexrelid = pg_catalog.to_regclass(given.name)"
        ).format(_DESCRIBED, names, _WITH_CONSTRAINT)
        return sql.SQL("SELECT ({}) || pg_catalog.jsonb_build_object('parts', ({}))").format(own, parts)

    def _described(self, before: Before) -> Self:
        """The step with the recorded texts of its indexes."""
        parts = tuple(replace(one, unique=_with_text(one.unique, self._recorded(one, before))) for one in self.parts)
        return replace(self, unique=_with_text(self.unique, self._recorded(self._own, before)), parts=parts)

    def _recorded(self, one: KeyPart, before: Before) -> Before:
        """What was recorded of the index of the table, or of that of a partition."""
        whole = before if one.table == self.table and (self.parts or "parts" not in before) else {}
        found: Before = (before.get("parts") or {}).get(one.index.identifier.as_string(None), whole)
        return found

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

    # --- statements on each of them

    @property
    def _dropped(self) -> sql.Composed:
        """Drops the key; that of a partitioned table with those of its partitions."""
        if not self.unique.constraint:
            return _drop_index(self.index)
        return sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(
            self.table.identifier, sql.Identifier(self.index.name)
        )

    @staticmethod
    def _made(one: KeyPart, by: Name | None, tenant: str | None = None) -> sql.Composed:
        """Makes a key, after the column `tenant`: with the index `by`, or on a partitioned table anew, which adopts
        those of its partitions."""
        name, table = sql.Identifier(one.unique.name), one.table.identifier
        if not one.unique.constraint:
            if by is not None:
                return sql.SQL("ALTER INDEX {} RENAME TO {}").format(by.identifier, name)
            return sql.SQL("CREATE UNIQUE INDEX {} ON {} USING btree ({}").format(
                name, table, _inside(one.unique, tenant)
            )
        what = sql.SQL("PRIMARY KEY" if one.unique.primary else "UNIQUE")
        if by is not None:
            form = sql.SQL("{} USING INDEX {}").format(what, sql.Identifier(by.name))
        else:
            columns = (tenant, *one.unique.columns) if tenant is not None else one.unique.columns
            nulls, options = _options(one.unique)
            form = sql.SQL("{}{} ({}){}").format(what, raw(nulls), identifiers(columns), raw(options))
        return sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}{}").format(table, name, form, _timing(one.unique))

    def _build(
        self, one: KeyPart, index: Name, inside: sql.Composable, condition: sql.Composable | None = None
    ) -> tuple[Statement, ...]:
        """Builds an index CONCURRENTLY if it is missing and the condition holds, for a partition only if it still is
        one."""
        locks = (Lock(one.table, LockMode.SHARE_UPDATE_EXCLUSIVE),)
        invalid = sql.SQL(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indexrelid = {} AND NOT i.indisvalid)"
        ).format(index.oid)
        missing = sql.SQL("SELECT {} IS NULL").format(index.oid)
        if condition is not None:
            missing = sql.SQL("{} AND ({})").format(missing, condition)
        if one.table != self.table:
            missing = sql.SQL("{} AND {}").format(missing, is_partition(one.table, self.table))
        create = sql.SQL("CREATE UNIQUE INDEX CONCURRENTLY {} ON {} USING btree ({}").format(
            sql.Identifier(index.name), one.table.identifier, inside
        )
        drop = sql.SQL("DROP INDEX CONCURRENTLY {}").format(index.identifier)
        return (
            Statement(sql=drop, manner=ExecutionMode.CONCURRENT, locks=locks, when=invalid),
            Statement(sql=create, manner=ExecutionMode.CONCURRENT, locks=locks, when=missing),
        )

    def _there(self, one: KeyPart) -> sql.Composed:
        """A condition: the table exists, and is still a partition of this one."""
        when = sql.SQL("SELECT {} IS NOT NULL").format(one.table.oid)
        if one.table != self.table:
            when = sql.SQL("{} AND {}").format(when, is_partition(one.table, self.table))
        return when

    def _ornaments(self, before: Before) -> Iterator[Statement]:
        """What pg_dump shows of the indexes apart from their definitions."""
        for one in self._every:
            there = sql.SQL("SELECT {} IS NOT NULL").format(one.index.oid)
            for statement in _ornaments(one, self._recorded(one, before)):
                when = None if one.table == self.table else there
                yield Statement(sql=statement, locks=self.locks, when=when)


@dataclass(frozen=True, slots=True, kw_only=True)
class DropGlobalUnique(ReplacedUnique):
    """Drops the index, and the constraint of the same name if there is one. Everything that pg_dump shows of it is
    recorded, and restored without blocking writers: the index CONCURRENTLY, then the constraint on it. For a
    partitioned table those of its partitions are restored so, and that of the table itself adopts them."""

    kind: Literal["global_unique"] = "global_unique"
    replaced_by: Name
    mixed: bool = False
    """Whether rows of the table may have no tenant."""
    partitioned: bool = False

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

    @property
    def _own(self) -> KeyPart:
        by = None if self.partitioned else self.replaced_by
        return KeyPart(table=self.table, unique=self.unique, parent=self.table, by=by)

    def _on_part(self, part: KeyPart) -> Self:
        step = ReplacedUnique._on_part(self, part)
        return replace(step, replaced_by=part.by or self.replaced_by, partitioned=part.by is None)

    def stood_in(self, before: Before) -> tuple[Name, ...]:
        return tuple(
            by for one, by in self._replacements if by is not None and self._recorded(one, before).get("identity")
        )  # fmt: skip

    @property
    def _replacements(self) -> tuple[tuple[KeyPart, Name | None], ...]:
        return (*((part, part.by) for part in self.parts), (self._own, self.replaced_by))

    def apply(self) -> tuple[Statement, ...]:
        # Every update of a published table would fail without a replica identity. If the tenant may be NULL, no index
        # can be it.
        found = list[sql.Composed]()
        for one, by in self._replacements:
            if one.unique.identity and by is not None:
                form = sql.SQL("FULL") if self.mixed else sql.SQL("USING INDEX {}").format(sql.Identifier(by.name))
                found.append(sql.SQL("ALTER TABLE {} REPLICA IDENTITY {}").format(one.table.identifier, form))
        return tuple(Statement(sql=statement, locks=self.locks) for statement in (*found, self._dropped))

    def revert(self, before: Before) -> tuple[Statement, ...]:
        return self._described(before)._restored(before) if before.get("index") else ()

    def _restored(self, before: Before) -> tuple[Statement, ...]:
        built, made = list[Statement](), list[Statement]()
        for one in self._every:
            missing = sql.SQL("{} IS NULL").format(one.index.oid)
            if one.by is not None:
                built += self._build(one, one.index, _inside(one.unique))
                missing = sql.SQL(
                    "{} IS NOT NULL AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint c"
                    " WHERE c.conrelid = {} AND c.conname = {})"
                ).format(one.index.oid, one.table.oid, sql.Literal(one.unique.name))
            if one.by is None or one.unique.constraint:
                statement = self._made(one, one.index if one.by is not None else None)
                when = sql.SQL("{} AND {}").format(self._there(one), missing)
                made.append(Statement(sql=statement, locks=self.locks, when=when))
        return (*built, *made, *self._ornaments(before))


@dataclass(frozen=True, slots=True, kw_only=True)
class WidenKey(ReplacedUnique):
    """Puts the tenant column in front of a primary key, a unique constraint or a unique index, with an index that
    exists already and gets its name: a change of the catalog alone. The composite keys keep that index.

    On a partitioned table there is such an index for each partition. The index of the table itself can only be created
    anew: it adopts those of the partitions. The index that composite keys have used until now is dropped, since an
    index that is part of another one cannot become that of a constraint; one transaction moves these keys to the new
    index, NOT VALID.

    The way back builds both indexes CONCURRENTLY, and moves the composite keys to the one that stays, so that rows
    refer to rows of their own tenant at every moment.
    """

    kind: Literal["widened_key"] = "widened_key"
    column: str
    """The tenant column."""
    by: Name | None
    """The index that replaces it; None if the table is partitioned."""
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
    replaced: tuple[IndexStep, ...] = ()
    """The steps that have made the index of a partitioned table on which composite keys depend until now."""
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
        return (
            *(f"index:{one.by}" for one in self._every if one.by is not None), *(step.key for step in self.replaced)
        )  # fmt: skip

    @property
    def supersedes(self) -> bool:
        return True

    @property
    def widened(self) -> Name:
        return self.index

    @property
    def _own(self) -> KeyPart:
        return KeyPart(table=self.table, unique=self.unique, parent=self.table, by=self.by)

    def _on_part(self, part: KeyPart) -> Self:
        return replace(ReplacedUnique._on_part(self, part), by=part.by)

    def moved_to(self, table: Name) -> Self:
        return replace(ReplacedUnique.moved_to(self, table), replaced=(), referred=(), needed_by=())

    def renamed(self, names: StaticNames) -> Self:
        return replace(
            ReplacedUnique.renamed(self, names), columns=names.columns(self.table, self.columns),
            referred=tuple(key.renamed(names) for key in self.referred),
            replaced=tuple(index_with_columns(one, self.table, names) for one in self.replaced),
        )  # fmt: skip

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

    # --- applying

    def apply(self) -> tuple[Statement, ...]:
        if self.by is not None:
            found = [*self._swap(self.by)]
        else:
            found = [*self._dropped_keys]
            found += (_drop_index(step.index) for step in self.replaced if step.table == self.table)
            found.append(self._dropped)
            found += (self._made(one, one.by, self.column) for one in self._every)
        for one in self._every:
            if one.unique.identity:
                identity = sql.SQL("ALTER TABLE {} REPLICA IDENTITY USING INDEX {}")
                found.append(identity.format(one.table.identifier, sql.Identifier(one.unique.name)))
        if self.by is None:
            found += (_add_key(one) for key in self.referred for one in key.first)
        locks = self.locks if self.by is not None else self._all_locks
        return tuple(Statement(sql=statement, locks=locks) for statement in found)

    @property
    def _all_locks(self) -> tuple[Lock, ...]:
        """Those of the tables that refer to this one first, as their writers take them."""
        referring = (lock for key in self.referred for lock in key.lock_all(LockMode.ACCESS_EXCLUSIVE))
        return tuple(dict.fromkeys((*referring, *self.locks)))

    @property
    def _dropped_keys(self) -> Iterator[sql.Composed]:
        """Drops the composite keys; those of partitions as well that their table's key has not adopted yet."""
        for key in self.referred:
            for one in dict.fromkeys((key, *key.first)):
                yield _drop_key(one.table, key)

    def _swap(self, by: Name) -> tuple[sql.Composed, ...]:
        """Replaces the index that has the name now by the index `by`, on a table that is not partitioned."""
        name = sql.Identifier(self.index.name)
        if not self.unique.constraint:
            return (
                sql.SQL("DROP INDEX {}").format(self.index.identifier),
                sql.SQL("ALTER INDEX {} RENAME TO {}").format(by.identifier, name),
            )
        what = sql.SQL("PRIMARY KEY" if self.unique.primary else "UNIQUE")
        return (
            sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}, ADD CONSTRAINT {} {} USING INDEX {}{}").format(
                self.table.identifier, name, name, what, sql.Identifier(by.name), _timing(self.unique)
            ),
        )

    # --- reverting

    def revert(self, before: Before) -> tuple[Statement, ...]:
        return self._described(before)._revert(before) if before.get("index") else ()

    def _revert(self, before: Before) -> tuple[Statement, ...]:
        wide = sql.SQL("SELECT EXISTS ({})").format(self.definition())
        built = [
            statement for one in self._every if one.by is not None
            for statement in self._build(one, one.back, _inside(one.unique), wide)
        ]  # fmt: skip
        own = self._every[-1]
        if self.by is not None and self.referred and self.home:
            columns = sql.SQL("{})").format(identifiers((self.column, *self.columns)))
            built += self._build(own, self.by, columns, wide)
        for step in self.replaced:
            if isinstance(step, TenantIndex):
                columns = sql.SQL("{})").format(identifiers((step.column, *step.columns)))
                built += self._build(replace(own, table=step.table), step.index, columns, wide)
        swap: list[tuple[sql.Composable, sql.Composable]] = []
        for key in self.referred:
            # A partition that was detached has taken the key along, and those below it have theirs from it.
            for table in dict.fromkeys((key.table, *key.tree, *(first.table for first in key.first))):
                top = sql.SQL(
                    "{} AND EXISTS (SELECT FROM pg_catalog.pg_constraint c"
                    " WHERE c.conrelid = {} AND c.conname = {} AND c.conparentid = 0)"
                ).format(wide, table.oid, sql.Literal(key.constraint))
                swap.append((_drop_key(table, key), top))
        # Each statement checks again, and after the first of these the index is no longer wide.
        swap += self._swapped_back(wide)
        swap += self._indexes_again()
        for one in (first for key in self.referred for first in key.first):
            gone = sql.SQL("SELECT {} IS NOT NULL AND NOT EXISTS ({})").format(one.table.oid, one.definition())
            swap.append((_add_key(one), gone))
        referring = (Lock(name, LockMode.ACCESS_EXCLUSIVE) for one in self.referred for name in (one.table, *one.tree))
        locks = (*self.locks, *referring) if self.by is not None else self._all_locks
        return (
            *built,
            *(Statement(sql=statement, locks=locks, when=when) for statement, when in swap),
            *self._ornaments(before),
        )

    def _swapped_back(self, wide: sql.Composable) -> list[tuple[sql.Composed, sql.Composed]]:
        """The statements that make the original key again, each with its condition."""
        own = self._every[-1]
        if self.by is not None:
            stands = sql.SQL("SELECT {} IS NOT NULL").format(own.back.oid)
            return [(statement, stands) for statement in self._swap(own.back)]
        found = [(self._dropped, sql.Composed([wide]))]
        for one in self._every:
            back = one.back if one.by is not None else None
            missing = sql.SQL("{} IS NULL").format(one.index.oid)
            there = missing if back is None else sql.SQL("{} IS NOT NULL").format(back.oid)
            found.append((self._made(one, back), sql.SQL("{} AND {}").format(self._there(one), there)))
        return found

    def _indexes_again(self) -> Iterator[tuple[sql.Composed, sql.Composed]]:
        """The index of a partitioned table for composite keys, which adopts those of the partitions."""
        for step in self.replaced:
            if isinstance(step, PartitionedIndex):
                when = sql.SQL("SELECT {} IS NOT NULL").format(step.table.oid)
                if step.table != self.table:
                    when = sql.SQL("{} AND {}").format(when, is_partition(step.table, self.table))
                create = sql.SQL("CREATE UNIQUE INDEX IF NOT EXISTS {} ON {} USING btree ({})")
                columns = identifiers((step.column, *step.columns))
                yield create.format(sql.Identifier(step.index.name), step.table.identifier, columns), when


def _ornaments(one: KeyPart, before: Before) -> Iterator[sql.Composed]:
    """What pg_dump shows of an index apart from its definition."""
    table, index = one.table.identifier, sql.Identifier(one.unique.name)
    if before.get("index_comment") is not None:
        yield sql.SQL("COMMENT ON INDEX {} IS {}").format(one.index.identifier, sql.Literal(before["index_comment"]))
    if before.get("constraint_comment") is not None:
        comment = sql.Literal(before["constraint_comment"])
        yield sql.SQL("COMMENT ON CONSTRAINT {} ON {} IS {}").format(index, table, comment)
    if before.get("clustered"):
        yield sql.SQL("ALTER TABLE {} CLUSTER ON {}").format(table, index)
    if before.get("identity"):
        yield sql.SQL("ALTER TABLE {} REPLICA IDENTITY USING INDEX {}").format(table, index)
    for number, target in (before.get("statistics") or {}).items():
        yield sql.SQL("ALTER INDEX {} ALTER COLUMN {} SET STATISTICS {}").format(
            one.index.identifier, sql.Literal(int(number)), sql.Literal(int(target))
        )


def _inside(unique: Unique, tenant: str | None = None) -> sql.Composed:
    """The text after the opening parenthesis of an index, with the column `tenant` first."""
    first = (sql.Identifier(tenant),) if tenant is not None else ()
    inside = raw(unique.rest) if unique.rest else sql.SQL("{})").format(identifiers(unique.columns))
    return sql.SQL(", ").join((*first, inside))


_OPTIONS = re.compile(
    r"""(?:"(?:[^"]|"")*"|[^")])*\)(?P<include>\ INCLUDE\ \((?:"(?:[^"]|"")*"|[^")])*\))?"""
    r"""(?P<nulls>\ NULLS\ NOT\ DISTINCT)?(?P<options>\ WITH\ \(.*?\))?"""
    r"""(?P<tablespace>\ TABLESPACE\ .*)?""",
    re.VERBOSE | re.DOTALL,
)


def _options(unique: Unique) -> tuple[str, str]:
    """What an index of plain columns has besides them, as the clauses before and after the columns of a constraint."""
    found = _OPTIONS.fullmatch(unique.rest)
    if found is None:
        return "", ""
    tablespace = " USING INDEX" + found["tablespace"] if found["tablespace"] else ""
    return found["nulls"] or "", (found["include"] or "") + (found["options"] or "") + tablespace


def _with_columns(unique: Unique, columns: tuple[str, ...]) -> Unique:
    """For an index that has more in its text than names of columns, the original text is kept."""
    rest = only_columns(columns) if unique.rest == only_columns(unique.columns) else unique.rest
    return replace(unique, columns=columns, rest=rest)


def _with_text(unique: Unique, before: Before) -> Unique:
    """With the recorded text, in which columns have their present names; it comes from the server."""
    return replace(unique, rest=before.get("inside") or unique.rest)


def _timing(unique: Unique) -> sql.SQL:
    if not unique.deferrable:
        return raw("")
    return raw(" DEFERRABLE INITIALLY DEFERRED" if unique.deferred else " DEFERRABLE")


def _drop_index(index: Name) -> sql.Composed:
    return sql.SQL("DROP INDEX {}").format(index.identifier)


def _drop_key(table: Name, key: TenantForeignKey) -> sql.Composed:
    return sql.SQL("ALTER TABLE {} DROP CONSTRAINT IF EXISTS {}").format(
        table.identifier, sql.Identifier(key.constraint)
    )


def _add_key(key: TenantForeignKey) -> sql.Composed:
    return sql.SQL("ALTER TABLE {} {}").format(key.table.identifier, key.clause)
