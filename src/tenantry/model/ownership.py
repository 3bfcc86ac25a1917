"""Which tenant owns which rows: the spec, resolved against a schema. Plans, the census and checks are made from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from tenantry.model.name import Name
from tenantry.model.schema import ForeignKey
from tenantry.model.spec import Orphans


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One foreign key on the path to the tenant: columns here, columns there, and the operators that compare them.

    `operators` has a (schema, name) for each column, with the parent's column as the left operand. `nullable`: a column
    here may be NULL; `unique`: at most one parent row can match.
    """

    columns: tuple[str, ...]
    parent: Name
    parent_columns: tuple[str, ...]
    operators: tuple[tuple[str, str], ...]
    nullable: bool = False
    deferrable: bool = False
    unique: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """A derivation path: hops until the next owned table, or the tenant table itself."""

    hops: tuple[Hop, ...]

    @property
    def target(self) -> Name:
        return self.hops[-1].parent

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the row itself that the path starts from."""
        return self.hops[0].columns

    def __str__(self) -> str:
        return " > ".join(",".join(hop.columns) for hop in self.hops) + f" > {self.target}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A table whose rows determine the tenant of the parent to which they refer.

    `columns` are the child's, `own_columns` the parent's.
    """

    table: Name
    columns: tuple[str, ...]
    own_columns: tuple[str, ...]
    operators: tuple[tuple[str, str], ...]
    deferrable: bool = False

    def __str__(self) -> str:
        return f"{self.table}.{','.join(self.columns)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """Ownership that does not follow from foreign keys: exactly one of the fields is set.

    `tenant` is a slug; `column` and `expression` give a slug or a key as text, row by row; `rows` are those of a CSV
    file: the primary key's values as text, then the slug.
    """

    tenant: str | None = None
    column: str | None = None
    expression: str | None = None
    rows: tuple[tuple[str, ...], ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """An owned or mixed table. `has_own_column`: the tenant column is the user's own. `late`: a row may have to wait
    for its tenant, so NOT NULL and the composite keys into the table come in contract."""

    table: Name
    column: str
    has_own_column: bool = False
    mixed: bool = False
    late: bool = False
    paths: tuple[Path, ...] = ()
    children: tuple[Child, ...] = ()
    assignment: Assignment | None = None
    orphans: Orphans = Orphans.FAIL
    unique: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A table whose rows belong to the tenants that a link table names: to several, one or none. `columns` of the link
    refer to `own_columns`; `writable`: a tenant may change the rows that belong to it."""

    table: Name
    link: Name
    columns: tuple[str, ...]
    own_columns: tuple[str, ...]
    operators: tuple[tuple[str, str], ...]
    writable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantTable:
    """The table with one row per tenant. `type` is the type of every tenant column (a domain's base type)."""

    name: Name
    key: str
    slug: str
    type: str
    key_operator: tuple[str, str] = ("pg_catalog", "=")
    create: bool = False
    default: str | None = None
    quarantine: str | None = None
    """Slugs of the tenants that must exist; None if no table needs one."""
    slugs: tuple[str, ...] = ()
    """Slugs that `assign = { tenant = … }` names, and those of the tenants that the spec declares."""
    names: tuple[tuple[str, str], ...] = ()
    """By slug, the other names of declared tenants."""
    sentinel: str | None = None
    """The key, as text, of the tenant to which the rows of all tenants in mixed tables belong from the phase distribute
    on; None if there is no such table, or the plan does not have that phase."""

    @property
    def zero(self) -> str:
        """The key, as text, that the sentinel tenant gets: the zero of the key's type."""
        return "00000000-0000-0000-0000-000000000000" if self.type == "uuid" else "0"

    def fallback(self, orphans: Orphans) -> str | None:
        """The slug of the tenant for rows that no path reaches; None if they stay without one."""
        match orphans:
            case Orphans.DEFAULT:
                return self.default
            case Orphans.QUARANTINE:
                return self.quarantine
            case Orphans.FAIL | Orphans.SHARED:
                return None


@dataclass(frozen=True, kw_only=True)
class Ownership:
    """`components` are the owned tables in order of derivation; tables that depend on each other are in one component.

    `heirs` maps a partition or an inheritance child to the owned table whose decision applies to it.
    """

    tenant: TenantTable
    setting: str
    components: tuple[tuple[Owned, ...], ...] = ()
    shared: tuple[Name, ...] = ()
    written: frozenset[Name] = frozenset()
    """Those of the shared tables to which all tenants may write."""
    members: tuple[Member, ...] = ()
    """The tables whose rows belong to tenants through a link table."""
    undecided: Mapping[Name, str] = field(default_factory=dict)
    heirs: Mapping[Name, Name] = field(default_factory=dict)
    references: tuple[tuple[Name, ForeignKey], ...] = ()
    """The spec's own references: the referring column, and the key that the database does not declare."""
    crossing: frozenset[tuple[Name, tuple[str, ...]]] = frozenset()
    """Foreign keys, by table and columns, by which a row may refer to another tenant's row: they determine no
    tenant."""
    misfits: tuple[str, ...] = ()
    """Entries of the spec that do not fit the database, if it was resolved nevertheless."""

    @property
    def owned(self) -> Iterator[Owned]:
        for component in self.components:
            yield from component

    def of(self, table: Name) -> Owned | None:
        """The ownership of a table, or of the table of which it is a partition or an inheritance child."""
        return self._by_table.get(self.heirs.get(table, table))

    def crosses(self, table: Name, columns: tuple[str, ...]) -> bool:
        """Whether a row of the table may refer to another tenant's row by these columns of a foreign key."""
        return (table, columns) in self.crossing or (self.heirs.get(table, table), columns) in self.crossing

    @cached_property
    def _by_table(self) -> Mapping[Name, Owned]:
        return {owned.table: owned for owned in self.owned}
