"""Spec, schema and ownership, with cached lookups that the phases of planning share."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

from tenantry.model.name import JOURNAL_SCHEMA, Name, object_name
from tenantry.model.ownership import Child, Hop, Member, Owned, Ownership, Path
from tenantry.model.schema import ForeignKey, Kind, Schema, Table
from tenantry.model.spec import Spec
from tenantry.planning.paths import foreign_keys
from tenantry.steps.cascade_trigger import Follower
from tenantry.steps.derivation import ByChildren, ByPath, ByRows, BySlug, ByText, Source, TenantReference


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedRelation:
    """A table that gets triggers and keys: an owned table, or an inheritance child of one."""

    owned: Owned
    table: Table
    tree: tuple[Table, ...]
    """Its partitions, parents before children; empty if it is not partitioned."""

    @property
    def name(self) -> Name:
        return self.table.name

    @property
    def tree_names(self) -> tuple[Name, ...]:
        return tuple(part.name for part in self.tree)

    @property
    def relations(self) -> tuple[Table, ...]:
        """The relations that store its rows."""
        if self.table.kind is not Kind.PARTITIONED:
            return (self.table,)
        return tuple(part for part in self.tree if part.kind is Kind.TABLE)

    @property
    def all(self) -> tuple[Table, ...]:
        return (self.table, *self.tree)


@dataclass(frozen=True, kw_only=True)
class PlanContext:
    """Spec, schema and ownership. Lookups for each table are cached, not searched: schemas can be large."""

    spec: Spec
    schema: Schema
    ownership: Ownership

    @property
    def reference(self) -> TenantReference:
        tenant = self.ownership.tenant
        return TenantReference(table=tenant.name, key=tenant.key, slug=tenant.slug, type=tenant.type)

    @property
    def setting_type(self) -> str:
        """The tenant key's type without its length (see steps.context); `character` without one has a length of 1."""
        name = self.ownership.tenant.type.partition("(")[0]
        return "bpchar" if name == "character" else name

    def units_of(self, owned: Owned) -> tuple[OwnedRelation, ...]:
        return self._units[owned.table]

    def units(self) -> Iterator[OwnedRelation]:
        return chain.from_iterable(self._units.values())

    @cached_property
    def _units(self) -> Mapping[Name, tuple[OwnedRelation, ...]]:
        return {owned.table: tuple(self._units_of(owned)) for owned in self.ownership.owned}

    def _units_of(self, owned: Owned) -> Iterator[OwnedRelation]:
        table = self.schema.tables[owned.table]
        yield OwnedRelation(owned=owned, table=table, tree=self.schema.partitions(table.name))
        for heir in self.schema.heirs(table.name):
            yield OwnedRelation(owned=owned, table=heir, tree=())

    def family(self, name: Name) -> tuple[Table, ...]:
        """A table, its partitions and its inheritance children."""
        return (self.schema.tables[name], *self.schema.partitions(name), *self.schema.heirs(name))

    @cached_property
    def links(self) -> Mapping[Name, tuple[Member, ...]]:
        """The tables that name the tenants of rows of others, together with these."""
        found: dict[Name, tuple[Member, ...]] = {}
        for member in self.ownership.members:
            found[member.link] = (*found.get(member.link, ()), member)
        return found

    def owner(self, name: Name) -> str:
        return self.schema.tables[name].owner

    @cached_property
    def operator(self) -> str:
        """The operator's role: from the spec, else the role that owns most of the owned tables."""
        if self.spec.operator.role is not None:
            return self.spec.operator.role
        owners = Counter(self.owner(owned.table) for owned in self.ownership.owned)
        return owners.most_common(1)[0][0] if owners else self.schema.user

    def operators(self, owner: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.operator, owner)))

    @cached_property
    def readers(self) -> Mapping[Name, tuple[str, ...]]:
        """For each table that is no child, the owners of the tables whose triggers, which run as them, read or change
        its rows."""
        found: dict[Name, dict[str, None]] = {}
        for unit in self.units():
            for name in self._neighbours(unit):
                found.setdefault(self._root(name), {})[unit.table.owner] = None
        return {root: tuple(owners) for root, owners in found.items()}

    def _neighbours(self, unit: OwnedRelation) -> set[Name]:
        """Tables that a unit gets its tenants from, or gives tenants to."""
        owned = unit.owned
        found = {hop.parent for path in owned.paths for hop in path.hops}
        found |= {key.parent for key, _ in self.references(unit)}
        found |= {child.table for child in owned.children} | {self.ownership.tenant.name}
        found |= self._deriving.get(owned.table, set())
        return found | self._referring.get(owned.table, set()) if owned.mixed else found

    @cached_property
    def _deriving(self) -> Mapping[Name, set[Name]]:
        """For each table at the end of a path, and each child that gives its tenant, the owned tables that use it."""
        found: dict[Name, set[Name]] = {}
        for owned in self.ownership.owned:
            for source in (*(path.target for path in owned.paths), *(child.table for child in owned.children)):
                found.setdefault(source, set()).add(owned.table)
        return found

    @cached_property
    def _referring(self) -> Mapping[Name, set[Name]]:
        """For each table, the owned tables with a foreign key to it."""
        found: dict[Name, set[Name]] = {}
        for unit in self.units():
            for key, _ in self.references(unit):
                found.setdefault(key.parent, set()).add(unit.owned.table)
        return found

    def _root(self, name: Name) -> Name:
        return self.ownership.heirs.get(name, name)

    def filtered(self, roles: tuple[str, ...]) -> tuple[str, ...]:
        """Those of `roles` that row-level security applies to."""
        known = self.schema.roles
        return tuple(role for role in roles if role not in known or not (known[role].superuser or known[role].bypasses))

    def sources(self, owned: Owned, *, slug: bool = True) -> tuple[Source, ...]:
        """How the tenant of a table's rows is found; the path of a given column is left out."""
        assignment = owned.assignment
        if assignment is not None:
            if assignment.tenant is not None:
                return (BySlug(tenant=self.reference, slug=assignment.tenant),) if slug else ()
            if assignment.rows is not None:
                keys = self.schema.tables[owned.table].primary_key
                digest = hashlib.sha256(repr(assignment.rows).encode()).hexdigest()[:16]
                return (ByRows(tenant=self.reference, assigned=self.assigned(owned), columns=keys, digest=digest),)
            return (
                ByText(tenant=self.reference, table=owned.table, column=assignment.column, text=assignment.expression),
            )
        paths = owned.paths[1:] if owned.has_own_column else owned.paths
        found: list[Source] = [ByPath(hops=path.hops, column=self._path_column(path.hops[-1])) for path in paths]
        found.extend(
            ByChildren(table=child.table, columns=child.columns, own_columns=child.own_columns,
                       operators=child.operators, column=self.column(child.table), told=self.paths_of_child(child))
            for child in owned.children
        )  # fmt: skip
        return tuple(found)

    def paths_of_child(self, child: Child) -> tuple[ByPath, ...]:
        """The paths by which a child finds its tenant without this parent; none if it has other ways."""
        owned = self.ownership.of(child.table)
        assert owned is not None, child.table
        if owned.has_own_column or owned.assignment is not None or owned.children:
            return ()
        return self.by_paths(owned, without=child.columns)

    def by_paths(self, owned: Owned, *, without: tuple[str, ...] = ()) -> tuple[ByPath, ...]:
        """A table's paths, except the one that starts from the columns `without`."""
        paths = (path for path in owned.paths if path.columns != without)
        return tuple(ByPath(hops=path.hops, column=self._path_column(path.hops[-1])) for path in paths)

    def parents_of(self, child: Name) -> tuple[Owned, ...]:
        """The tables that get their tenants from this one, their child."""
        return tuple(self._parents.get(child, ()))

    @cached_property
    def _parents(self) -> Mapping[Name, list[Owned]]:
        found: dict[Name, list[Owned]] = {}
        for parent in self.ownership.owned:
            for child in dict.fromkeys(child.table for child in parent.children):
                found.setdefault(child, []).append(parent)
        return found

    def followers(self, owned: Owned) -> Mapping[str, tuple[Follower, ...]]:
        """The tables that derive from this one, by their owners."""
        return self._followers.get(owned.table, {})

    @cached_property
    def _followers(self) -> Mapping[Name, Mapping[str, tuple[Follower, ...]]]:
        found: dict[Name, dict[str, tuple[Follower, ...]]] = {}
        for other in self.ownership.owned:
            for path in other.paths:
                if not other.has_own_column and len(path.hops) == 1:
                    by_owner, owner = found.setdefault(self._root(path.target), {}), self.owner(other.table)
                    by_owner[owner] = (*by_owner.get(owner, ()), self._follower(other, path))
        return found

    def _follower(self, owned: Owned, path: Path) -> Follower:
        hop = path.hops[0]
        return Follower(
            table=owned.table, column=owned.column, columns=path.columns, parent_columns=hop.parent_columns,
            operators=hop.operators, paths=self.by_paths(owned) if len(owned.paths) > 1 else (),
        )  # fmt: skip

    def _path_column(self, last: Hop) -> str | None:
        """The tenant column where a path ends; None if the path's own last column is the key."""
        tenant = self.ownership.tenant
        if last.parent != tenant.name:
            return self.column(last.parent)
        return None if last.parent_columns == (tenant.key,) else tenant.key

    def column(self, table: Name) -> str:
        owned = self.ownership.of(table)
        assert owned is not None, table
        return owned.column

    def assigned(self, owned: Owned) -> Name:
        return Name(JOURNAL_SCHEMA, object_name("assigned", owned.table.schema, owned.table.name))

    def fallback(self, owned: Owned) -> str | None:
        """The slug of the tenant for rows that no path reaches."""
        return self.ownership.tenant.fallback(owned.orphans)

    def keys(self, unit: OwnedRelation) -> tuple[ForeignKey, ...]:
        """The unit's declared foreign keys, those of its partitions included, except those that are NOT ENFORCED: no
        enforced key is added for one of these."""
        return tuple(key for key in foreign_keys(self.schema, unit.table) if key.enforced)

    def references(self, unit: OwnedRelation) -> Iterator[tuple[ForeignKey, Owned]]:
        """The foreign keys to owned tables, with these tables, that must stay within a tenant; without that of the
        tenant column."""
        for key in self.keys(unit):
            parent = self.ownership.of(key.parent)
            if self.ownership.crosses(unit.name, key.columns):
                continue
            if parent is not None and unit.owned.column not in key.columns:
                yield key, parent

    def composite(self, unit: OwnedRelation) -> Iterator[tuple[ForeignKey, Owned]]:
        """Those that get a composite key: a mixed parent cannot have one."""
        for key, parent in self.references(unit):
            if not parent.mixed and parent.column not in key.parent_columns:
                yield key, parent

    def waits(self, unit: OwnedRelation, key: ForeignKey, parent: Owned) -> bool:
        """Whether the composite key for `key` waits for contract: where the parent may get its tenant late, and where a
        column is generated, so that neither a trigger nor a cascade can make the row follow its parent."""
        return parent.late or self.generated(unit, key)

    def generated(self, unit: OwnedRelation, key: ForeignKey) -> bool:
        """Whether a column of the composite key for `key` is generated: no action of a foreign key can set it."""
        return any(self._is_generated(unit, name) for name in (unit.owned.column, *key.columns))

    def generated_tenant(self, unit: OwnedRelation) -> bool:
        """Whether the user's own tenant column is generated: only its expression gives a row its tenant."""
        return self._is_generated(unit, unit.owned.column)

    @staticmethod
    def _is_generated(unit: OwnedRelation, name: str) -> bool:
        column = unit.table.column(name)
        return column is not None and bool(column.generated)

    def composite_targets(self, owned: Owned) -> tuple[tuple[str, ...], ...]:
        """The sets of columns of an owned table that composite keys refer to, after the tenant column."""
        return tuple(self._composite_targets.get(owned.table, ()))

    @cached_property
    def _composite_targets(self) -> Mapping[Name, Mapping[tuple[str, ...], None]]:
        found: dict[Name, dict[tuple[str, ...], None]] = {}
        for unit in self.units():
            for key, parent in self.composite(unit):
                found.setdefault(parent.table, {})[key.parent_columns] = None
        return found

    def action(self, key: ForeignKey) -> tuple[str, tuple[str, ...], bool]:
        """ON DELETE of the composite key for `key`: its letter, the columns that it sets, and whether it is deferred to
        the end of the transaction.

        It copies that of the simple key, so that whichever fires first has the same effect (hazard 11). Before
        PostgreSQL 15, SET NULL cannot be limited to some columns: the composite key is then checked at the end of the
        transaction, after the simple one has set its columns.
        """
        if key.on_delete not in ("n", "d"):
            return key.on_delete, (), False
        if self.schema.major < 15:
            return "a", (), True
        return key.on_delete, key.delete_columns or key.columns, False
