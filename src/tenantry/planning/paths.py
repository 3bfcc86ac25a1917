"""The paths and children of a spec, column by column, as hops along the foreign keys of a schema."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from tenantry.model.name import Name
from tenantry.model.ownership import Child, Hop, Path, TenantTable
from tenantry.model.schema import ForeignKey, Schema, Table
from tenantry.model.spec import ReferencePart
from tenantry.planning.lookup import Lookup

EQUALS = ("pg_catalog", "=")


def foreign_keys(schema: Schema, table: Table) -> tuple[ForeignKey, ...]:
    """The foreign keys of a table; those that only its partitions declare count as its own."""
    found: dict[tuple[tuple[str, ...], Name], ForeignKey] = {}
    for part in schema.tree(table.name):
        for key in part.foreign_keys:
            if not key.inherited or part.name == table.name:
                found.setdefault((key.columns, key.parent), key)
    return tuple(found.values())


def reference(part: ReferencePart, lookup: Lookup) -> tuple[Name, ForeignKey]:
    """A [[reference]] with both its ends as a foreign key that is not declared. Raises UsageError."""
    assert part.parent is not None
    child, column = lookup.table_column(part.child, "[[reference]]")
    parent, parent_column = lookup.table_column(part.parent, "[[reference]]")
    key = ForeignKey(
        name=f"reference_{column}", columns=(column,), parent=parent.name, parent_columns=(parent_column,),
        operators=(EQUALS,), declared=False, validated=False,
    )  # fmt: skip
    return child.name, key


def crossing(part: ReferencePart, lookup: Lookup) -> Iterator[tuple[Name, tuple[str, ...]]]:
    """The tables and columns of the keys that a [[reference]] with crosses = true names: for a declared key, all its
    columns. Raises UsageError."""
    child, column = lookup.table_column(part.child, "[[reference]]")
    keys = [key.columns for key in foreign_keys(lookup.schema, child) if column in key.columns]
    exact = [columns for columns in keys if columns == (column,)]
    if part.parent is not None:
        exact = [(column,)]
    elif not keys:
        raise lookup.error(
            f"[[reference]] from {part.child}: {child.name} has no foreign key on ({column})",
            remedy='Use the column of a foreign key, or set to = "table.column" to what it refers to.',
        )
    for columns in exact or keys:
        yield child.name, columns


class WaitsError(Exception):
    """A table's path ends at an undecided table: so it is undecided, too."""

    def __init__(self, on: Name) -> None:
        super().__init__(on)
        self.on = on


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """`owned` and `undecided` are the tables known so far, `references` the spec's own, `heirs` and `crossing` as in
    Ownership.

    `place`, in each method, is the position of the path in the spec. They raise UsageError, and WaitsError.
    """

    lookup: Lookup
    tenant: TenantTable
    heirs: Mapping[Name, Name]
    references: Sequence[tuple[Name, ForeignKey]]
    crossing: AbstractSet[tuple[Name, tuple[str, ...]]]
    owned: AbstractSet[Name]
    undecided: Mapping[Name, str]

    def path(self, table: Table, columns: Iterable[tuple[str, ...]], place: str) -> Path:
        """The hops until the first owned table, or the tenant table; everything named after that has to exist, too."""
        hops: list[Hop] = []
        at: Table | None = table
        steps, end = list(columns), 0
        for number, names in enumerate(steps, start=1):
            if hops and hops[-1].parent == self.tenant.name:
                raise self.lookup.error(f"{place}: the path continues after the tenant table")
            if at is None:
                raise self.lookup.error(f"{place}: {hops[-1].parent} is in no schema of the spec")
            hop, at = self._hop(at, names, place, last=number == len(steps))
            hops.append(hop)
            if not end and (hop.parent == self.tenant.name or self._root(hop.parent) in self.owned):
                end = number
        if end:
            return Path(hops=tuple(hops[:end]))
        if hops and self._root(hops[-1].parent) in self.undecided:
            raise WaitsError(self._root(hops[-1].parent))
        raise self.lookup.error(
            f"{place}: the path ends at {hops[-1].parent if hops else table.name},"
            " which is neither an owned table nor the tenant table",
            remedy="Add hops until it reaches an owned table or the tenant table.",
        )

    def child(self, table: Table, text: str, place: str) -> Child:
        child, column = self.lookup.table_column(text, place)
        for key in self.keys(child):
            if column in key.columns and self._root(key.parent) == table.name:
                self._check_crossing(child, key.columns, place)
                if child.name in self.undecided:
                    raise WaitsError(child.name)
                if child.name not in self.owned:
                    raise self.lookup.error(f"{place}: {child.name} is not an owned table, so it has no tenant to give")
                return Child(table=child.name, columns=key.columns, own_columns=key.parent_columns,
                             operators=_operators(key), deferrable=key.deferrable)  # fmt: skip
        raise self.lookup.error(f"{place}: {child.name}.{column} is not a foreign key to {table.name}")

    def _hop(self, table: Table, columns: tuple[str, ...], place: str, *, last: bool) -> tuple[Hop, Table | None]:
        for column in columns:
            self.lookup.stored(table, column, place)
        keys = [key for key in self.keys(table) if sorted(key.columns) == sorted(columns)]
        ends = [key for key in keys if self._root(key.parent) in self.owned or key.parent == self.tenant.name]
        candidates = ends if last and ends else keys
        if candidates:
            self._check_crossing(table, candidates[0].columns, place)
            return self._along(table, candidates[0])
        only = table.column(columns[0])
        if len(columns) == 1 and only is not None and last and only.base_type == self.tenant.type:
            hop = Hop(columns=columns, parent=self.tenant.name, parent_columns=(self.tenant.key,),
                      operators=(EQUALS,), nullable=not only.not_null)  # fmt: skip
            return hop, None
        known = ["(" + ", ".join(key.columns) + ")" for key in self.keys(table)]
        raise self.lookup.error(
            f"{place}: {table.name} has no foreign key on ({', '.join(columns)})"
            + (f"; it has {', '.join(known)}" if known else ""),
            remedy="Use the columns of a foreign key, or declare a [[reference]].",
        )

    def _check_crossing(self, table: Table, columns: tuple[str, ...], place: str) -> None:
        if (table.name, columns) in self.crossing:
            raise self.lookup.error(
                f"{place}: {table.name} ({', '.join(columns)}) may refer to rows of other tenants, so it tells no"
                " tenant",
                remedy="Remove it here, or remove crosses = true from its [[reference]].",
            )

    def _along(self, table: Table, key: ForeignKey) -> tuple[Hop, Table | None]:
        columns = [table.column(name) for name in key.columns]
        nullable = not key.declared or not key.validated or any(not found or not found.not_null for found in columns)
        # In a BEFORE trigger a generated column is still NULL: its rows get their tenant later.
        generated = any(found and found.generated for found in columns)
        parent = self.lookup.schema.tables.get(key.parent)
        unique = key.declared or (
            parent is not None
            and any(set(found.columns) == set(key.parent_columns) and not found.partial for found in parent.uniques)
        )
        hop = Hop(columns=key.columns, parent=key.parent, parent_columns=key.parent_columns,
                  operators=_operators(key), nullable=nullable, deferrable=key.deferrable or generated,
                  unique=unique)  # fmt: skip
        return hop, parent

    def keys(self, table: Table) -> list[ForeignKey]:
        """The foreign keys of a table, with those of the spec."""
        declared = foreign_keys(self.lookup.schema, table)
        return [*declared, *(key for name, key in self.references if name == table.name)]

    def _root(self, name: Name) -> Name:
        return self.heirs.get(name, name)


def _operators(key: ForeignKey) -> tuple[tuple[str, str], ...]:
    return key.operators or (EQUALS,) * len(key.columns)
