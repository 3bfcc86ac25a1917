"""The original schema of a database: the user's own objects, without those that tenantry made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from psycopg import sql

from tenantry.model.name import Name


class Kind(StrEnum):
    """The values of pg_class.relkind that tenantry reads."""

    TABLE = "r"
    PARTITIONED = "p"
    VIEW = "v"
    MATERIALIZED_VIEW = "m"
    FOREIGN = "f"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """`type` is the text of format_type; `base_type` the same with every domain replaced by its base type;
    `type_schema` the schema of the type itself."""

    name: str
    type: str
    base_type: str
    not_null: bool = False
    default: str | None = None
    generated: str = ""
    identity: str = ""
    domain: bool = False
    type_schema: str = "pg_catalog"
    comment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unique:
    """A primary key, a unique constraint or a unique index, by the name of its index.

    `columns` is empty if the index has an expression. `rest` is pg_get_indexdef's text after `USING method (`.
    `referenced`: a user's foreign key depends on it. `inherited`: it is a partition's part of its parent's index,
    `part_of` by name. `identity`: it is the table's replica identity.
    """

    name: str
    columns: tuple[str, ...]
    constraint: bool
    primary: bool = False
    partial: bool = False
    deferrable: bool = False
    deferred: bool = False
    valid: bool = True
    rest: str = ""
    exclusion: bool = False
    referenced: bool = False
    inherited: bool = False
    part_of: str = ""
    identity: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An index that is not unique; `columns` holds None for an expression. `rest` as for Unique."""

    name: str
    columns: tuple[str | None, ...]
    method: str = "btree"
    partial: bool = False
    valid: bool = True
    inherited: bool = False
    rest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKey:
    """A declared foreign key. Actions are pg_constraint's letters: a no action, r restrict, c cascade, n set null, d
    set default. `operators` compares (schema, name), parent on the left, one per column. `declared` is False for a
    reference that is only in the spec, `enforced` for one that is NOT ENFORCED (since PostgreSQL 18)."""

    name: str
    columns: tuple[str, ...]
    parent: Name
    parent_columns: tuple[str, ...]
    operators: tuple[tuple[str, str], ...] = ()
    on_delete: str = "a"
    on_update: str = "a"
    delete_columns: tuple[str, ...] = ()
    match: str = "s"
    deferrable: bool = False
    deferred: bool = False
    validated: bool = True
    inherited: bool = False
    declared: bool = True
    enforced: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """A user's trigger; `events` of INSERT, UPDATE, DELETE, TRUNCATE. `inherited`: it is a partition's copy of its
    parent's trigger."""

    name: str
    before: bool
    row: bool
    events: tuple[str, ...]
    enabled: str
    function: Name
    source: str = ""
    security_definer: bool = False
    constraint: bool = False
    inherited: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A user's row security policy."""

    name: str
    permissive: bool
    command: str
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One privilege of one grantee (`PUBLIC` for all) on a relation, or on `column` of it."""

    grantor: str
    grantee: str
    privilege: str
    grantable: bool = False
    column: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Executed:
    """A function that runs with the rights of the role that reads or writes a relation; `signature` is its
    oid::regprocedure. `trigger`: it is run by that trigger, for which no privilege to call it is needed. `public`:
    PUBLIC may call it. `source` is empty if its text needs no privileges, or they are known: SECURITY DEFINER, and SQL
    that was parsed."""

    signature: str
    trigger: str | None = None
    public: bool = True
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table, partitioned table, partition or foreign table."""

    name: Name
    kind: Kind = Kind.TABLE
    owner: str = ""
    columns: tuple[Column, ...] = ()
    primary_key: tuple[str, ...] = ()
    uniques: tuple[Unique, ...] = ()
    indexes: tuple[Index, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    triggers: tuple[Trigger, ...] = ()
    rules: tuple[str, ...] = ()
    policies: tuple[Policy, ...] = ()
    grants: tuple[Grant, ...] = ()
    sequences: tuple[Name, ...] = ()
    executes: tuple[Executed, ...] = ()
    row_security: bool = False
    forced: bool = False
    partition_of: Name | None = None
    partition_key: tuple[str, ...] = ()
    inherits: tuple[Name, ...] = ()
    replica_identity: str = "d"
    published: bool = False
    type_used_by: tuple[str, ...] = ()
    rows: float = 0.0
    bytes: int = 0
    comment: str | None = None

    def column(self, name: str) -> Column | None:
        return next((column for column in self.columns if column.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A view or materialised view; `reads` are the relations that its rule names directly; `writable` the statements on
    it that PostgreSQL itself turns into those on its table."""

    name: Name
    kind: Kind
    owner: str
    options: tuple[str, ...] = ()
    reads: tuple[Name, ...] = ()
    definition: str = ""
    grants: tuple[Grant, ...] = ()
    writable: tuple[str, ...] = ()
    executes: tuple[Executed, ...] = ()

    @property
    def invoker(self) -> bool:
        return any(option.lower() in ("security_invoker=true", "security_invoker=on", "security_invoker=1")
                   for option in self.options)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A user's function or procedure; `signature` is its oid::regprocedure."""

    name: Name
    signature: str
    owner: str
    language: str
    security_definer: bool
    returns_table: Name | None
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """`usage_of`: the roles whose privileges it inherits, including predefined ones such as pg_read_all_data.

    Not listed for superusers, who have all privileges, and for predefined roles, which Schema.roles leaves out.
    """

    name: str
    superuser: bool = False
    bypasses: bool = False
    login: bool = False
    create_role: bool = False
    usage_of: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Schema:
    """The input of a plan, together with the spec."""

    version: int
    database: str
    user: str
    schemas: tuple[str, ...]
    tables: Mapping[Name, Table] = field(default_factory=dict)
    views: Mapping[Name, View] = field(default_factory=dict)
    functions: tuple[Function, ...] = ()
    sequences: frozenset[Name] = frozenset()
    """Every sequence of the database."""
    roles: Mapping[str, Role] = field(default_factory=dict)
    preserved: frozenset[Name] = frozenset()
    """Tables whose tenant column stayed after `rollback --preserve-data`."""
    earlier: Mapping[Name, Name | None] = field(default_factory=dict)
    earlier_columns: Mapping[tuple[Name, str], str | None] = field(default_factory=dict)
    """The names that tables with steps of tenantry's, and their columns, had when these were applied, with their
    present names; None if they were dropped."""
    search_path: tuple[str, ...] = ()
    """The search_path with which the user's own functions find what they name without a schema: the default of
    tenantry's role, and `schemas`."""

    @property
    def major(self) -> int:
        return self.version // 10000

    def partitions(self, name: Name) -> tuple[Table, ...]:
        """All partitions below a partitioned table: partitioned ones first, parents before children."""
        whole: list[Table] = []
        leaves: list[Table] = []
        level = [name]
        while level:
            below = [table for parent in level for table in self._partitions.get(parent, ())]
            whole += sorted((one for one in below if one.kind is Kind.PARTITIONED), key=lambda one: one.name)
            leaves += (one for one in below if one.kind is not Kind.PARTITIONED)
            level = [one.name for one in below]
        return (*whole, *sorted(leaves, key=lambda one: one.name))

    def unique_parts(self, table: Name, unique: str) -> Iterator[tuple[Table, Unique]]:
        """The parts on partitions of a partitioned table's unique index, the deepest first."""
        for part in self._partitions.get(table, ()):
            for own in part.uniques:
                if own.part_of == unique:
                    yield from self.unique_parts(part.name, own.name)
                    yield part, own

    def leaves(self, name: Name) -> tuple[Table, ...]:
        """The partitions below a partitioned table that store rows."""
        return tuple(table for table in self.partitions(name) if table.kind is Kind.TABLE)

    def tree(self, name: Name) -> tuple[Table, ...]:
        """The table and all its partitions."""
        return (self.tables[name], *self.partitions(name))

    def lineage(self, name: Name) -> Iterator[Name]:
        """A table and, if it is a partition, the partitioned tables above it, the topmost last."""
        current: Name | None = name
        while current is not None:
            yield current
            table = self.tables.get(current)
            current = table.partition_of if table is not None else None

    def topmost(self, name: Name) -> Name:
        """The topmost partitioned table of which the table is a partition; otherwise the table itself."""
        return list(self.lineage(name))[-1]

    def as_referenced(self, name: Name) -> sql.Composed:
        """A table as foreign keys see it, as an item of FROM: with its partitions, without its inheritance children."""
        table = self.tables.get(name)
        return name.from_item(only=table is None or table.kind is not Kind.PARTITIONED)

    def heirs(self, name: Name) -> Iterator[Table]:
        """Tables that inherit from `name` by INHERITS, at any depth; each once, even if there are several paths to
        it."""
        found: dict[Name, Table] = {}
        for table in self._heirs.get(name, ()):
            found |= {heir.name: heir for heir in (table, *self.heirs(table.name))}
        yield from found.values()

    @cached_property
    def _partitions(self) -> Mapping[Name, list[Table]]:
        """The partitions directly below a table."""
        found: dict[Name, list[Table]] = {}
        for table in self.tables.values():
            if table.partition_of is not None:
                found.setdefault(table.partition_of, []).append(table)
        return found

    @cached_property
    def _heirs(self) -> Mapping[Name, list[Table]]:
        """The tables that inherit directly from a table."""
        found: dict[Name, list[Table]] = {}
        for table in self.tables.values():
            for parent in table.inherits:
                found.setdefault(parent, []).append(table)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedObjects:
    """The objects that tenantry made, according to the journal, so that a schema can be read without them.

    `columns` has the name of each tenant column that tenantry added; for `tables`, their partitions and inheritance
    children it is present and left out of the schema. `created` are tables and views that tenantry created.
    `preserved`: see Schema.preserved. `named`: objects with a name of tenantry's are left out as well.
    """

    tables: frozenset[Name] = frozenset()
    columns: Mapping[Name, str] = field(default_factory=dict)
    created: frozenset[Name] = frozenset()
    preserved: frozenset[Name] = frozenset()
    named: bool = True
