"""A draft: the paths that every table could take, from which a spec is made for the census to test."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher

from tenantry.discovery.links import Link, Links
from tenantry.discovery.tenant_table import column_names, shown
from tenantry.model.evidence import Evidence, PathEvidence, PathKind, TableEvidence
from tenantry.model.name import Name, quoted
from tenantry.model.spec import ReferencePart, Spec, TablePart, TenantPart


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """The paths of each table; a table without one is not reached.

    `path_links` are the links that a table's rows can follow, best first; `children` the links that lead to it from
    tables with a known tenant; `audits` name the writer of a row, and not its owner.
    """

    links: Links
    home: str
    tenant: TenantPart
    table: Name
    path_links: dict[Name, tuple[Link, ...]] = field(default_factory=dict)
    children: dict[Name, tuple[Link, ...]] = field(default_factory=dict)
    audits: frozenset[Link] = frozenset()

    def audits_of(self, name: Name) -> tuple[Link, ...]:
        """The table's references that name the writer of a row."""
        return tuple(link for link in self.links.up[name] if link in self.audits)

    @property
    def others(self) -> tuple[Name, ...]:
        """All tables but the tenant table, those of the first schema first."""
        names = [name for name in self.links.tables if name != self.table]
        return tuple(sorted(names, key=lambda name: (name.schema != self.home, name)))

    def followed(self) -> Draft:
        """With every link of every table that leads to the tenant or to a table whose children have a tenant."""
        known = self.links.reached(self.table, *self.children, without=self.audits)
        ends = {self.table, *self.children, *known}
        path_links = {name: self._ranked(name, ends, known) for name in (*known, *self.children) if name != self.table}
        return replace(self, path_links={name: found for name, found in path_links.items() if found})

    def undeclared(self, name: Name) -> Link | None:
        """A link along which rows find their tenant, by one column, if the table has a column of that name and type
        without a foreign key; the link of the table with the most similar name."""
        table = self.links.tables[name]
        keys = {*table.primary_key, *(column for link in self.links.up[name] for column in link.columns)}
        free = {(column.name, column.base_type) for column in table.columns if column.name not in keys}
        found = [
            link
            for other, links in sorted(self.path_links.items())
            for link in links
            if len(link.columns) == 1 and (column := self.links.tables[other].column(link.columns[0])) is not None
            and (column.name, column.base_type) in free
        ]  # fmt: skip
        return max(
            found, key=lambda link: SequenceMatcher(None, link.table.name, name.name).ratio(), default=None
        )  # fmt: skip

    def asking(self, children: dict[Name, tuple[Link, ...]]) -> Draft:
        """With further tables whose children may have a tenant."""
        return replace(self, children=self.children | children)

    def name(self, table: Name) -> str:
        """The table's name as the spec writes it."""
        return shown(table, self.home)

    def column(self, name: Name) -> str | None:
        """Another name for the tenant column, if the table has a different column of that name."""
        table, first = self.links.tables[name], self.path_links.get(name, ())[:1]
        tenants = self.links.tables.get(self.table)
        key = tenants.column(self.tenant.key) if tenants is not None else None
        given = table.column(first[0].columns[0]) if first and self.is_direct(first[0]) else None
        if given is not None and key is not None and given.base_type == key.base_type:
            return None
        if table.column(self.tenant.column) is not None:
            return next(free for free in column_names() if table.column(free) is None)
        return self.tenant.column if given is not None else None

    def part(self, name: Name) -> TablePart:
        """The table's part of the spec, as far as its paths determine it."""
        return TablePart(
            name=shown(name, self.home),
            paths=tuple((link.columns,) for link in self.path_links.get(name, ())),
            children=tuple(
                f"{shown(link.table, self.home)}.{quoted(link.columns[0])}" for link in self.children.get(name, ())
            ),
            column=self.column(name),
        )

    def spec(self) -> Spec:
        """A spec of the tables that are reached, for the census."""
        schemas = (self.home, *(name for name in self.links.schema.schemas if name != self.home))
        parts = [self.part(name) for name in self.others if name in self.path_links or name in self.children]
        return Spec(schemas=schemas, tenant=self.tenant, table=tuple(parts), reference=self.crossing())

    def crossing(self) -> tuple[ReferencePart, ...]:
        """The audit references, as references that may lead to another tenant's row."""
        columns = dict.fromkeys(
            f"{self.name(link.table)}.{quoted(link.columns[0])}"
            for link in sorted(self.audits, key=lambda link: (link.table, link.columns))
        )
        return tuple(ReferencePart(child=column, crosses=True) for column in columns)

    def common(self, shared: set[Name]) -> dict[Name, Link]:
        """Tables that are not reached, and to which shared rows or rows of several tenants refer by this link."""
        found: dict[Name, Link] = {}
        waiting = [*self.path_links, *self.children, *sorted(shared)]
        owned = {self.table, *waiting}
        while waiting:
            for link in self.links.up[waiting.pop()]:
                if link.parent not in owned and link.parent not in found:
                    found[link.parent] = link
                    waiting.append(link.parent)
        return found

    def is_direct(self, link: Link) -> bool:
        """Whether the link's column holds the tenant's key itself."""
        return link.parent == self.table and link.parent_columns == (self.tenant.key,)

    def _ranked(self, name: Name, ends: set[Name], distances: dict[Name, int]) -> tuple[Link, ...]:
        found: dict[tuple[str, ...], Link] = {}
        for link in sorted(self.links.up[name], key=lambda link: self._rank(link, distances)):
            if link.parent in ends and link not in self.audits:
                found.setdefault(tuple(sorted(link.columns)), link)
        return tuple(found.values())

    def _rank(self, link: Link, distances: dict[Name, int]) -> tuple[bool, bool, bool, bool, bool, int]:
        """Direct paths first, those over children and to the table itself last; then those that are never NULL, then
        the shortest."""
        return (
            link.itself, link.parent in self.children, not self.is_direct(link),
            link.columns != (self.tenant.column,), link.nullable, distances.get(link.parent, 0),
        )  # fmt: skip


def evidence_of(link: Link, evidence: TableEvidence, *, child: bool = False) -> PathEvidence | None:
    """The result of the census for a link."""
    columns = ",".join(link.columns)
    for path_evidence in evidence.paths:
        if child and path_evidence.kind is PathKind.CHILD and path_evidence.label == f"{link.table}.{columns}":
            return path_evidence
        if not child and (
            (path_evidence.kind is PathKind.PATH and path_evidence.label.startswith(f"{columns} > "))
            or (path_evidence.kind is PathKind.GIVEN and path_evidence.label == columns)
        ):
            return path_evidence
    return None


def disputed(evidence: TableEvidence) -> int:
    """The number of rows whose paths disagree, at least; references are no paths."""
    return max(
        (path_evidence.differs for path_evidence in evidence.paths if path_evidence.kind is not PathKind.REFERENCE),
        default=0,
    )


def has_tenants(evidence: Evidence, name: Name) -> bool:
    """Whether the rows of a table have tenants, and more than one, so that agreement is evidence."""
    found = evidence.tables.get(name)
    return found is not None and found.with_tenant > 0 and found.several
