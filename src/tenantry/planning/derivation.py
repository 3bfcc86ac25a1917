"""The order in which tables get their tenants, and the tables in which every new row gets its tenant at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tenantry.model.name import Name
from tenantry.model.ownership import Owned, Path
from tenantry.model.schema import Schema
from tenantry.model.spec import Orphans


@dataclass(frozen=True, slots=True, kw_only=True)
class Derivation:
    """The owned tables of a schema by name; `heirs` maps partitions and inheritance children to them."""

    owned: Mapping[Name, Owned]
    heirs: Mapping[Name, Name]
    tenant: Name
    schema: Schema

    def components(self) -> tuple[tuple[Owned, ...], ...]:
        """Tables in order of derivation; those that depend on each other together."""
        # Imported here, because only making a plan needs it.
        import networkx as nx

        graph: nx.DiGraph[Name] = nx.DiGraph()
        graph.add_nodes_from(sorted(self.owned))
        for name, table in self.owned.items():
            sources = [path.target for path in table.paths] + [child.table for child in table.children]
            graph.add_edges_from((self._root(source), name) for source in sources if self._root(source) in self.owned)
        condensed = nx.condensation(graph)
        members = condensed.nodes
        order = nx.lexicographical_topological_sort(condensed, key=lambda node: min(members[node]["members"]))
        return tuple(tuple(self.owned[name] for name in sorted(members[node]["members"])) for node in order)

    def certain(self) -> set[Name]:
        """Tables in which every new row gets its tenant at once, whatever the old application does."""
        certain = {name for name, table in self.owned.items() if self._fixed(table)}
        while True:
            more = {
                name for name, table in self.owned.items()
                if name not in certain and not table.mixed and not table.children and not table.has_own_column
                and self._derives(table, certain)
            }  # fmt: skip
            if not more:
                return certain
            certain |= more

    def _fixed(self, table: Owned) -> bool:
        """One tenant for all rows, or a column of the user's own that is never NULL."""
        column = self.schema.tables[table.table].column(table.column)
        given = table.has_own_column and column is not None and column.not_null
        return given or (table.assignment is not None and table.assignment.tenant is not None)

    def _derives(self, table: Owned, certain: set[Name]) -> bool:
        if any(self._sure(path, certain) for path in table.paths):
            return True
        falls_back = table.orphans in (Orphans.DEFAULT, Orphans.QUARANTINE)
        return falls_back and all(self._settled(path, certain) for path in table.paths)

    def _sure(self, path: Path, certain: set[Name]) -> bool:
        """The path leads every new row to a tenant."""
        return not any(hop.nullable or hop.deferrable for hop in path.hops) and self._has_tenant(path, certain)

    def _settled(self, path: Path, certain: set[Name]) -> bool:
        """If the path leads a row to a tenant, it does so when the row is written, and not later."""
        return not any(hop.deferrable for hop in path.hops) and self._has_tenant(path, certain)

    def _has_tenant(self, path: Path, certain: set[Name]) -> bool:
        return path.target == self.tenant or self._root(path.target) in certain

    def _root(self, name: Name) -> Name:
        return self.heirs.get(name, name)
