"""How the tenant of a table's rows is found: joins with the tenant maps of other tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from psycopg import sql

from tenantry.model.evidence import PathKind
from tenantry.model.name import Name
from tenantry.model.ownership import Child, Hop, Owned, Ownership, Path
from tenantry.model.schema import ForeignKey, Kind, Schema
from tenantry.planning.paths import foreign_keys


class TenantMaps(Protocol):
    """What a lookup needs of the tenant maps: the relation of a table's, and the names of its columns."""

    def source(self, table: Name) -> sql.Composable:
        """A query with relation, address, tenant and the requested columns."""
        ...

    def column(self, table: Name, column: str) -> sql.Identifier:
        """The name of a column in a tenant map."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantLookup:
    """From `columns` of the row to the tenant map of `target`, by its columns `target_columns`.

    `operators` compare the row with the first table on the path. `path` has the hops of a path or reference, and
    `referenced` is the relation that the last foreign key names, which can be a part of `target`.
    """

    label: str
    kind: PathKind
    columns: tuple[str, ...]
    target: Name
    target_columns: tuple[str, ...]
    operators: tuple[tuple[str, str], ...]
    path: Path | None = None
    referenced: Name | None = None

    @property
    def gives_tenant(self) -> bool:
        return self.kind is not PathKind.REFERENCE

    @property
    def many(self) -> bool:
        """Whether several rows can match, which must then agree."""
        return self.kind is PathKind.CHILD or (self.path is not None and not all(hop.unique for hop in self.path.hops))

    def relation(self, schema: Schema, tenant_maps: TenantMaps) -> sql.Composed:
        """A query with k0, k1, … and low, and high if several rows can match: the tenants at the end of the path."""
        if self.path is None or len(self.path.hops) == 1:
            keys: list[sql.Composable] = [
                sql.SQL("x.{}").format(tenant_maps.column(self.target, column)) for column in self.target_columns
            ]
            joined = sql.SQL("{} AS x").format(tenant_maps.source(self.target))
        else:
            keys = [sql.Identifier("h0", column) for column in self.path.hops[0].parent_columns]
            joined = _chain(self.path.hops, self.target, schema, tenant_maps)
        conditions: list[sql.Composable] = [sql.SQL("x.tenant IS NOT NULL")]
        places = restriction(schema, self.referenced, self.target)
        if places:
            conditions.append(
                sql.SQL("x.relation IN ({})").format(sql.SQL(", ").join(place.regclass for place in places))
            )
        return sql.SQL("(SELECT {keys}, {tenants} FROM {joined} WHERE {conditions}{group})").format(
            keys=sql.SQL(", ").join(
                sql.SQL("{} AS {}").format(key, sql.Identifier(f"k{number}")) for number, key in enumerate(keys)
            ),
            tenants=sql.SQL("min(x.tenant) AS low, max(x.tenant) AS high" if self.many else "x.tenant AS low"),
            joined=joined,
            conditions=sql.SQL(" AND ").join(conditions),
            group=sql.SQL(" GROUP BY {}").format(sql.SQL(", ").join(keys)) if self.many else sql.SQL(""),
        )

    def condition(self, alias: str, row: Sequence[sql.Composable]) -> sql.Composed:
        """A condition: the row's values, in the order of `columns`, match the relation called `alias`."""
        return sql.SQL(" AND ").join(
            compared(mine, sql.Identifier(alias, f"k{number}"), operator)
            if self.kind is PathKind.CHILD
            else compared(sql.Identifier(alias, f"k{number}"), mine, operator)
            for number, (mine, operator) in enumerate(zip(row, self.operators, strict=True))
        )


def compared(left: sql.Composable, right: sql.Composable, operator: tuple[str, str]) -> sql.Composed:
    """`left OPERATOR(schema.name) right`: the equality operator of the foreign key."""
    schema, name = operator
    return sql.SQL("{} OPERATOR({}.{}) {}").format(left, sql.Identifier(schema), sql.SQL(name), right)


def lookups(owned: Owned, ownership: Ownership, schema: Schema) -> Iterator[TenantLookup]:
    """All lookups of a table except its assignment, the one with precedence first."""
    tenant = ownership.tenant
    if owned.has_own_column:
        yield TenantLookup(
            label=owned.column, kind=PathKind.GIVEN, columns=(owned.column,), target=tenant.name,
            target_columns=(tenant.key,), operators=(tenant.key_operator,),
        )  # fmt: skip
    for path in owned.paths:
        if not (owned.has_own_column and path.target == tenant.name and path.columns == (owned.column,)):
            yield _along(path, PathKind.PATH, ownership.heirs)
    for child in owned.children:
        yield _upwards(child, ownership.heirs)
    known = {(path.columns, path.hops[0].parent) for path in owned.paths}
    for key in foreign_keys(schema, schema.tables[owned.table]):
        given = owned.has_own_column and owned.column in key.columns
        if given or not key.enforced or ownership.crosses(owned.table, key.columns):
            continue
        if (key.columns, key.parent) not in known and ownership.of(key.parent) is not None:
            yield _along(Path(hops=(_hop(key),)), PathKind.REFERENCE, ownership.heirs)


def restriction(schema: Schema, referenced: Name | None, mapped: Name) -> tuple[Name, ...]:
    """The relations that a foreign key to `referenced` can match in the tenant map of `mapped`; none means all.

    A key to a partition matches that partition, and one to a table with inheritance children matches the table alone.
    """
    if referenced is None or referenced not in schema.tables:
        return ()
    if schema.tables[referenced].kind is Kind.PARTITIONED:
        return tuple(table.name for table in schema.tree(referenced)) if referenced != mapped else ()
    alone = referenced == mapped and next(schema.heirs(referenced), None) is None
    return () if alone else (referenced,)


def _along(path: Path, kind: PathKind, heirs: Mapping[Name, Name]) -> TenantLookup:
    first, last = path.hops[0], path.hops[-1]
    return TenantLookup(
        label=str(path), kind=kind, columns=first.columns, target=heirs.get(path.target, path.target),
        target_columns=last.parent_columns, operators=first.operators, path=path, referenced=path.target,
    )  # fmt: skip


def _upwards(child: Child, heirs: Mapping[Name, Name]) -> TenantLookup:
    return TenantLookup(
        label=str(child), kind=PathKind.CHILD, columns=child.own_columns,
        target=heirs.get(child.table, child.table), target_columns=child.columns, operators=child.operators,
        referenced=child.table if child.table in heirs else None,
    )  # fmt: skip


def _hop(key: ForeignKey) -> Hop:
    return Hop(columns=key.columns, parent=key.parent, parent_columns=key.parent_columns, operators=key.operators)


def _chain(hops: Sequence[Hop], target: Name, schema: Schema, tenant_maps: TenantMaps) -> sql.Composed:
    """The tables between the row and the last hop, and the tenant map at its end."""
    places: list[sql.Composable] = [sql.SQL("{} AS h0").format(schema.as_referenced(hops[0].parent))]
    for number, hop in enumerate(hops[1:], start=1):
        last = number == len(hops) - 1
        alias = "x" if last else f"h{number}"
        columns = [tenant_maps.column(target, name) if last else sql.Identifier(name) for name in hop.parent_columns]
        places.append(
            sql.SQL("{} AS {} ON {}").format(
                tenant_maps.source(target) if last else schema.as_referenced(hop.parent),
                sql.Identifier(alias),
                sql.SQL(" AND ").join(
                    compared(
                        sql.SQL("{}.{}").format(sql.Identifier(alias), column),
                        sql.Identifier(f"h{number - 1}", mine),
                        operator,
                    )
                    for column, mine, operator in zip(columns, hop.columns, hop.operators, strict=True)
                ),
            )
        )
    return sql.SQL(" JOIN ").join(places)
