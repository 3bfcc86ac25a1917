"""Indexes that begin with the tenant: built CONCURRENTLY, on each partition separately, then attached one by one.

ATTACH PARTITION takes ACCESS EXCLUSIVE on the partition's index. No LOCK TABLE can take that lock ahead, and a
transaction that has read or updated the partition holds a conflicting lock on the index until it ends. In its own
transaction the attachment holds nothing that such a writer could be waiting for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self

from psycopg import sql

from tenantry.model.name import Name
from tenantry.model.plan import ExecutionMode, Lock, LockMode, Statement
from tenantry.steps.introspection import exists, identifiers, index_definition, raw
from tenantry.steps.naming import StaticNames
from tenantry.steps.step import Before, Step


def _or_of_root(own: sql.Composable, table: Name, root: Name | None) -> sql.Composable:
    """The definition `own`, or that of the index that PostgreSQL itself created on a partition that was added after the
    index of the `root` of all partitions existed. That index has another name."""
    if root is None:
        return own
    return sql.SQL(
        "{} UNION ALL SELECT pg_catalog.pg_get_indexdef(i.indexrelid) FROM pg_catalog.pg_index i WHERE i.indrelid = {}"
        " AND {} IN (SELECT a.relid FROM pg_catalog.pg_partition_ancestors(i.indexrelid) AS a) LIMIT 1"
    ).format(own, table.oid, root.oid)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltIndex(Step):
    """The common part of steps that build an index: its columns after `column`, or the `rest` of its text."""

    index: Name
    column: str
    columns: tuple[str, ...] = ()
    unique: bool = False
    rest: str = ""
    only_shared: str = ""
    """The tenant column, if only rows without a tenant are indexed: they need no tenant before the `rest`."""
    partial: bool = False
    """Whether the `rest` has a condition."""
    root: Name | None = None
    compared = True
    carries = True
    category = "index"
    needs = "CREATE in the schema"

    @property
    def key(self) -> str:
        return f"index:{self.index}"

    def renamed(self, names: StaticNames) -> Self:
        only_shared = names.column(self.table, self.only_shared) if self.only_shared else ""
        return replace(self, columns=names.columns(self.table, self.columns), only_shared=only_shared)

    @property
    def subject(self) -> str:
        return f"The index {self.index} on {self.table}"

    @property
    def own_index(self) -> Name:
        return self.index

    @property
    def _inside(self) -> sql.Composed:
        """The text after the opening parenthesis."""
        if not self.rest:
            inside = sql.SQL("{})").format(identifiers((self.column, *self.columns)))
        elif self.only_shared:
            inside = sql.Composed([raw(self.rest)])
        else:
            inside = sql.SQL("{}, {}").format(sql.Identifier(self.column), raw(self.rest))
        if not self.only_shared:
            return inside
        joined = sql.SQL("AND" if self.partial else "WHERE")
        return sql.SQL("{} {} {} IS NULL").format(inside, joined, sql.Identifier(self.only_shared))


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantIndex(BuiltIndex):
    """CREATE INDEX CONCURRENTLY on one relation. An invalid index left by a build that died is dropped and built again.

    `rest` is the text of a user's unique index after its opening parenthesis, before which the tenant column is put;
    otherwise `columns` are indexed after `column`.
    """

    kind: Literal["index"] = "index"
    reason: str = ""

    @property
    def title(self) -> str:
        what = "unique index" if self.unique else "index"
        return f"build the {what} {self.index.name}" + (f" ({self.reason})" if self.reason else "")

    @property
    def built(self) -> tuple[Name, str | None]:
        return self.index, None

    def definition(self) -> sql.Composable:
        return _or_of_root(index_definition(self.index), self.table, self.root)

    @property
    def indexed(self) -> tuple[str, ...]:
        return self.columns

    def apply(self) -> tuple[Statement, ...]:
        create = sql.SQL("CREATE {}INDEX CONCURRENTLY {} ON {} USING btree ({}").format(
            sql.SQL("UNIQUE " if self.unique else ""),
            sql.Identifier(self.index.name),
            self.table.identifier,
            self._inside,
        )
        return (
            self._drop(invalid=True),
            Statement(
                sql=create,
                manner=ExecutionMode.CONCURRENT,
                locks=(Lock(self.table, LockMode.SHARE_UPDATE_EXCLUSIVE),),
            ),
        )

    def revert(self, before: Before) -> tuple[Statement, ...]:
        return (self._drop(invalid=False),)

    def _drop(self, *, invalid: bool) -> Statement:
        """An attached index cannot be dropped alone, and is dropped with that of the partitioned table, which still
        exists if the partition came later."""
        there = sql.SQL(
            "SELECT FROM pg_catalog.pg_index i WHERE i.indexrelid = {} AND NOT (i.indisvalid AND {})"
            " AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhrelid = i.indexrelid)"
        ).format(self.index.oid, sql.Literal(invalid))
        drop = sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(self.index.identifier)
        return Statement(
            sql=drop,
            manner=ExecutionMode.CONCURRENT,
            locks=(Lock(self.table, LockMode.SHARE_UPDATE_EXCLUSIVE),),
            when=exists(there),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionedIndex(BuiltIndex):
    """The index of a partitioned table: an empty shell, to which the indexes of its partitions are attached.

    `rest` is as in TenantIndex. Dropping it drops those of the `parts`, the partitions at any level, too.
    """

    kind: Literal["partitioned_index"] = "partitioned_index"
    parts: tuple[Name, ...] = ()

    @property
    def title(self) -> str:
        return f"create {self.index.name}, to which the partitions' indexes are attached"

    @property
    def built(self) -> tuple[Name, str | None]:
        return self.index, None

    def definition(self) -> sql.Composable:
        own = sql.SQL(
            "SELECT pg_catalog.pg_get_indexdef(i.indexrelid) FROM pg_catalog.pg_index i WHERE i.indexrelid = {}"
        ).format(self.index.oid)
        return _or_of_root(own, self.table, self.root)

    def apply(self) -> tuple[Statement, ...]:
        create = sql.SQL("CREATE {}INDEX IF NOT EXISTS {} ON ONLY {} USING btree ({}").format(
            sql.SQL("UNIQUE " if self.unique else ""),
            sql.Identifier(self.index.name),
            self.table.identifier,
            self._inside,
        )
        return (Statement(sql=create, locks=(Lock(self.table, LockMode.SHARE),)),)

    def revert(self, before: Before) -> tuple[Statement, ...]:
        drop = sql.SQL("DROP INDEX IF EXISTS {}").format(self.index.identifier)
        locks = tuple(Lock(name, LockMode.ACCESS_EXCLUSIVE) for name in (self.table, *self.parts))
        there = sql.SQL("SELECT {} IS NOT NULL").format(self.index.oid)
        return (Statement(sql=drop, locks=locks, when=there),)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachPartitionIndex(Step):
    """A partition's index becomes a part of `whole`, the index of the partitioned table. `table` is the partition."""

    kind: Literal["index_attached"] = "index_attached"
    index: Name
    whole: Name
    root: Name | None = None
    category = "index"

    @property
    def key(self) -> str:
        return f"index_attached:{self.index}"

    @property
    def title(self) -> str:
        return f"attach {self.index.name} to {self.whole.name}"

    @property
    def subject(self) -> str:
        return f"The index {self.index} on {self.table}"

    @property
    def own_index(self) -> Name:
        return self.index

    def definition(self) -> sql.Composable:
        own = sql.SQL(
            "SELECT 'attached' FROM pg_catalog.pg_inherits h WHERE h.inhrelid = {} AND h.inhparent = {}"
        ).format(self.index.oid, self.whole.oid)
        return _or_of_root(own, self.table, self.root)

    def apply(self) -> tuple[Statement, ...]:
        attach = sql.SQL("ALTER INDEX {} ATTACH PARTITION {}").format(self.whole.identifier, self.index.identifier)
        locks = (Lock(self.table, LockMode.ACCESS_SHARE), Lock(self.index, LockMode.ACCESS_EXCLUSIVE))
        return (Statement(sql=attach, locks=locks),)

    def revert(self, before: Before) -> tuple[Statement, ...]:
        """Nothing: it is detached when the index of the partitioned table is dropped."""
        return ()


IndexStep = TenantIndex | PartitionedIndex | AttachPartitionIndex


def index_with_columns(step: IndexStep, table: Name, names: StaticNames) -> IndexStep:
    """A step on `table` or on one of its partitions, with other names of columns."""
    if isinstance(step, AttachPartitionIndex):
        return step
    return replace(step, column=names.column(table, step.column)).renamed(names)
