"""Which rows belong to one tenant, and how their tables depend on each other: for export, import and removal.

Rows are chosen by the tenant column alone, never by a policy: a policy could hide some of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from psycopg import sql

from tenantry.model.name import Name
from tenantry.model.ownership import Member, Ownership
from tenantry.model.schema import ForeignKey, Kind, Schema
from tenantry.model.tenant_export import Holding
from tenantry.planning.paths import EQUALS, foreign_keys
from tenantry.steps.derivation import equal


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectedTable:
    """A table with rows of tenants. `column` holds the tenant's key, in the table itself or, if rows belong by
    `member`, in the link table; `leaves` are the relations that store its rows: itself, or its partitions."""

    name: Name
    holding: Holding
    column: str
    operator: tuple[str, str]
    leaves: tuple[Name, ...]
    primary_key: tuple[str, ...] = ()
    member: Member | None = None

    @property
    def rows(self) -> sql.Composable:
        """The table as FROM names it: with its partitions, without its inheritance children, which are separate tables
        here."""
        return self.name.from_item(only=self.leaves == (self.name,))

    def belongs(self, key: str, alias: str = "t") -> sql.Composed:
        """A condition over the row `alias`: it belongs to the tenant with this key."""
        if self.member is None:
            return self._is(alias, key)
        link = "~link"
        return sql.SQL("EXISTS (SELECT FROM {} AS {} WHERE {} AND {})").format(
            self.member.link.identifier, sql.Identifier(link),
            equal(sql.Identifier(alias), self.member.own_columns, sql.Identifier(link), self.member.columns,
                  self.member.operators),
            self._is(link, key),
        )  # fmt: skip

    def belongs_to_others(self, key: str, alias: str = "t") -> sql.Composed:
        """A condition: it belongs to another tenant, too; by membership a row can belong to several."""
        if self.member is None:
            return sql.SQL("({}) IS FALSE").format(self._is(alias, key))
        link = "~link"
        return sql.SQL("EXISTS (SELECT FROM {} AS {} WHERE {} AND ({}) IS FALSE)").format(
            self.member.link.identifier, sql.Identifier(link),
            equal(sql.Identifier(alias), self.member.own_columns, sql.Identifier(link), self.member.columns,
                  self.member.operators),
            self._is(link, key),
        )  # fmt: skip

    def everybodys(self, ownership: Ownership) -> sql.Composed:
        """The rows of a mixed table that belong to all tenants, as FROM names them: those of the sentinel tenant."""
        assert ownership.tenant.sentinel is not None, self.name
        return sql.SQL("(SELECT t.* FROM {} AS t WHERE {})").format(self.rows, self.belongs(ownership.tenant.sentinel))

    def goes(self, key: str, alias: str = "t") -> sql.Composed:
        """A condition: it is removed with the tenant, as it belongs to no other."""
        if self.member is None:
            return self.belongs(key, alias)
        return sql.SQL("{} AND NOT {}").format(self.belongs(key, alias), self.belongs_to_others(key, alias))

    def _is(self, alias: str, key: str) -> sql.Composed:
        schema, name = self.operator
        return sql.SQL("{}.{} OPERATOR({}.{}) {}").format(
            sql.Identifier(alias), sql.Identifier(self.column), sql.Identifier(schema), sql.SQL(name), sql.Literal(key)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A foreign key between two tables, declared or named by the spec, with those of both that have rows of tenants."""

    child: Name
    key: ForeignKey
    of_child: SelectedTable | None
    of_parent: SelectedTable | None

    @property
    def parent(self) -> Name:
        return self.key.parent

    @property
    def columns(self) -> str:
        return f"{self.child} ({', '.join(self.key.columns)})"

    def joined(self, child: str, parent: str) -> sql.Composed:
        """A condition: the row `child` refers to the row `parent`."""
        operators = self.key.operators or (EQUALS,) * len(self.key.columns)
        return equal(
            sql.Identifier(parent), self.key.parent_columns, sql.Identifier(child), self.key.columns, operators
        )


@dataclass(frozen=True, kw_only=True)
class TenantSelection:
    """The tables with rows of tenants in a database: of `schema`, read with the tenant columns and the tenant table."""

    ownership: Ownership
    schema: Schema

    @cached_property
    def tables(self) -> Mapping[Name, SelectedTable]:
        """By name; parents before children, except for those that refer to each other in a circle."""
        return {table.name: table for component in self.components for table in component}

    @property
    def mixed(self) -> tuple[SelectedTable, ...]:
        """The mixed tables, whose rows may belong to all tenants; parents first."""
        return tuple(table for table in self.tables.values() if table.holding is Holding.MIXED)

    @cached_property
    def _tables(self) -> Mapping[Name, SelectedTable]:
        tenant = self.ownership.tenant
        found = [self._selected(tenant.name, Holding.TENANT, tenant.key)]
        for owned in self.ownership.owned:
            holding = Holding.MIXED if owned.mixed else Holding.OWNED
            names = (owned.table, *(heir.name for heir in self.schema.heirs(owned.table)))
            found += [self._selected(name, holding, owned.column) for name in names]
        for member in self.ownership.members:
            link = self.ownership.of(member.link)
            assert link is not None, member.link
            found.append(self._selected(member.table, Holding.MEMBERSHIP, link.column, member))
        return {table.name: table for table in found}

    def _selected(self, name: Name, holding: Holding, column: str, member: Member | None = None) -> SelectedTable:
        leaves = tuple(part.name for part in self.schema.tree(name) if part.kind is not Kind.PARTITIONED)
        return SelectedTable(
            name=name, holding=holding, column=column, operator=self.ownership.tenant.key_operator, leaves=leaves,
            primary_key=self.schema.tables[name].primary_key, member=member,
        )  # fmt: skip

    @cached_property
    def references(self) -> tuple[Reference, ...]:
        """All that lead from or to a table with rows of tenants, each once; a key of a partition counts as its
        table's."""
        found: dict[tuple[Name, tuple[str, ...], Name], Reference] = {}
        for name, table in self.schema.tables.items():
            if table.partition_of is None:
                for key in foreign_keys(self.schema, table):
                    self._refer(found, name, key)
        for name, key in self.ownership.references:
            self._refer(found, name, key)
        return tuple(found.values())

    def _refer(self, found: dict[tuple[Name, tuple[str, ...], Name], Reference], child: Name, key: ForeignKey) -> None:
        of_child, of_parent = self._tables.get(child), self._tables.get(self.schema.topmost(key.parent))
        if of_child is not None or of_parent is not None:
            found.setdefault(
                (child, key.columns, key.parent),
                Reference(child=child, key=key, of_child=of_child, of_parent=of_parent),
            )

    @cached_property
    def components(self) -> tuple[tuple[SelectedTable, ...], ...]:
        """The tables, parents before children; those that refer to each other in a circle together."""
        return self._components(())

    @cached_property
    def removed_together(self) -> tuple[tuple[SelectedTable, ...], ...]:
        """The same, children first, for deleting: rows that belong by membership together with their links, which name
        their tenants."""
        links = [(member.table, member.link) for member in self.ownership.members]
        return self._components((*links, *((link, table) for table, link in links)))[::-1]

    def _components(self, more: Iterable[tuple[Name, Name]]) -> tuple[tuple[SelectedTable, ...], ...]:
        # Imported here, because only callers that need the order use it.
        import networkx as nx

        graph: nx.DiGraph[Name] = nx.DiGraph()
        graph.add_nodes_from(sorted(self._tables))
        tenant = self.ownership.tenant.name
        # tenantry's own key of the tenant column, which is not part of the original schema.
        graph.add_edges_from((tenant, name) for name, table in self._tables.items() if table.member is None)
        for reference in self.references:
            if reference.of_child is not None and reference.of_parent is not None:
                graph.add_edge(reference.of_parent.name, reference.of_child.name)
        graph.add_edges_from(more)
        graph.remove_edges_from([(tenant, tenant)])
        condensed = nx.condensation(graph)
        members = condensed.nodes
        order = nx.lexicographical_topological_sort(condensed, key=lambda node: min(members[node]["members"]))
        return tuple(tuple(self._tables[name] for name in sorted(members[node]["members"])) for node in order)

    def leading_out(self) -> Iterator[Reference]:
        """Those along which a tenant's row can refer to one that is not the tenant's. Not those that a composite key
        keeps within the tenant."""
        for reference in self.references:
            child, parent = reference.of_child, reference.of_parent
            if child is None or (child.column in reference.key.columns and child.member is None):
                continue
            crosses = self.ownership.crosses(child.name, reference.key.columns)
            if parent is None or parent.holding is not Holding.OWNED or child.holding is Holding.MEMBERSHIP or crosses:
                yield reference

    def leading_in(self) -> Iterator[Reference]:
        """Those along which a row that is not the tenant's can refer to one that is."""
        for reference in self.references:
            if reference.of_parent is None:
                continue
            tenant = reference.of_parent.holding is Holding.TENANT
            by_tenant = reference.of_child is not None and reference.of_child.column in reference.key.columns
            if not (tenant and by_tenant):
                yield reference

    def within(self, component: tuple[SelectedTable, ...]) -> tuple[Reference, ...]:
        """Those between the tables of a component."""
        return tuple(one for one in self.references if one.of_child in component and one.of_parent in component)
