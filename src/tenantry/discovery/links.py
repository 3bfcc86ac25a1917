"""The foreign keys between tables, as links that a derivation path can take."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from tenantry.model.name import Name
from tenantry.model.schema import Kind, Schema, Table
from tenantry.planning.paths import foreign_keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One foreign key. `parent` is the partitioned table, even if the key names a partition of it.

    `declared` is False for a column that looks like the tenant's and has no foreign key.
    """

    table: Name
    columns: tuple[str, ...]
    parent: Name
    parent_columns: tuple[str, ...]
    nullable: bool
    declared: bool = True

    @property
    def itself(self) -> bool:
        """Whether the table refers to itself."""
        return self.table == self.parent


class Links:
    """All links of a schema, and the tables that they connect: partitions and inheritance children count as their
    parent."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.tables = {
            name: table
            for name, table in schema.tables.items()
            if table.partition_of is None and not table.inherits and table.kind is not Kind.FOREIGN
        }
        self.up = {name: tuple(self._links(table)) for name, table in self.tables.items()}
        down: dict[Name, list[Link]] = {name: [] for name in self.tables}
        for link in self:
            down[link.parent].append(link)
        self.down = {name: tuple(links) for name, links in down.items()}

    def __iter__(self) -> Iterator[Link]:
        for links in self.up.values():
            yield from links

    def add(self, link: Link) -> None:
        """Add a link that no foreign key declares."""
        self.up[link.table] = (*self.up[link.table], link)
        self.down[link.parent] = (*self.down[link.parent], link)

    def leave_out(self, names: AbstractSet[Name]) -> None:
        """Ignore all links from and to these tables."""
        self.up = {
            name: tuple(link for link in links if name not in names and link.parent not in names)
            for name, links in self.up.items()
        }
        self.down = {
            name: tuple(link for link in links if name not in names and link.table not in names)
            for name, links in self.down.items()
        }

    def direct(self, tenant: Name, key: str) -> list[Link]:
        """The links to the tenant table's key."""
        return [link for link in self.down[tenant] if link.parent_columns == (key,) and not link.itself]

    def reached(self, *sources: Name, without: AbstractSet[Link] = frozenset()) -> dict[Name, int]:
        """The tables that lead to one of `sources` by other links than those in `without`, with the number of links on
        their shortest path."""
        distances = dict.fromkeys(sources, 0)
        waiting = deque(sources)
        while waiting:
            name = waiting.popleft()
            for link in self.down.get(name, ()):
                if link.table not in distances and link not in without:
                    distances[link.table] = distances[name] + 1
                    waiting.append(link.table)
        return {name: distance for name, distance in distances.items() if name not in sources}

    def _root(self, name: Name) -> Name:
        table = self.schema.tables.get(name)
        while table is not None and (table.partition_of is not None or table.inherits):
            name = table.partition_of or table.inherits[0]
            table = self.schema.tables.get(name)
        return name

    def _links(self, table: Table) -> Iterator[Link]:
        seen = set()
        for key in foreign_keys(self.schema, table):
            parent = self._root(key.parent)
            if parent in self.tables and (key.columns, parent) not in seen:
                seen.add((key.columns, parent))
                yield Link(
                    table=table.name, columns=key.columns, parent=parent, parent_columns=key.parent_columns,
                    nullable=not key.validated or not all(_is_filled(table, name) for name in key.columns),
                )  # fmt: skip


def _is_filled(table: Table, name: str) -> bool:
    column = table.column(name)
    return column is not None and column.not_null
