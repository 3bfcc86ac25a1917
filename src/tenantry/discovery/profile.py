"""The census: how many rows find a tenant along which path, how many find none, and how many find several.

A tenant map is a temporary table of a table's rows: the address of each, its tenant's number, and the columns by which
others refer to it. Tenant maps are made in the order of derivation, from the user's own columns alone, so that the
result is the same before a migration and in the middle of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

from psycopg import sql

from tenantry.discovery.lookups import TenantLookup, lookups
from tenantry.discovery.tenant_map import TenantMap
from tenantry.discovery.tenants import TENANTS, tenants
from tenantry.model.evidence import Census, CensusQuestion, PathKind, Repeat, TableEvidence
from tenantry.model.name import Name
from tenantry.model.ownership import Owned, Ownership
from tenantry.model.schema import Schema

SAMPLES = 20
NEVER = sql.SQL("false")


def census(
    ownership: Ownership, schema: Schema, *, samples: int | None = SAMPLES, filled: bool = False,
    earlier: Mapping[Name, sql.Composable] | None = None, known: Mapping[Name, TableEvidence] | None = None,
) -> Census:  # fmt: skip
    """The queries of the census about each owned table; `samples` limits the rows shown of each kind, None does not.

    `filled`: since the fill, sessions name the tenant of the rows that they write; a row that has one by now is no
    orphan. `earlier`: by table, which rows `e` have a tenant from an earlier spec and keep it. `known`: tables whose
    evidence exists already and which are not queried.
    """
    drawn, known = _Census.draw(ownership, schema), known or {}
    queried = [
        tenant_map
        for tenant_map in drawn.tenant_maps.values()
        if not tenant_map.constant and tenant_map.owned.table not in known
    ]
    needed = drawn.needed(tenant_map.owned.table for tenant_map in queried)
    work: list[sql.Composed | Repeat] = [*tenants(ownership, schema, drawn.tenant_columns)]
    for component in ownership.components:
        members = [drawn.tenant_maps[owned.table] for owned in component if owned.table in needed]
        work += [statement for tenant_map in members for statement in tenant_map.setup()]
        materialized = [tenant_map for tenant_map in members if tenant_map.materialized]
        for tenant_map in materialized:
            work += tenant_map.create(schema, drawn)
        work += _rounds(drawn, materialized)
    return Census(
        tenant_maps=tuple(work),
        questions=tuple(
            _question(
                drawn, tenant_map, samples, filled=filled, earlier=(earlier or {}).get(tenant_map.owned.table, NEVER)
            )
            for tenant_map in queried
        ),
        known=tuple(
            TableEvidence(table=name, rows=_estimate(schema, name), policy=tenant_map.owned.orphans, counted=False)
            if tenant_map.constant
            else known[name]
            for name, tenant_map in drawn.tenant_maps.items()
            if tenant_map.constant or name in known
        ),
        order=tuple(drawn.tenant_maps),
    )


def unchanged(now: Ownership, before: Ownership, schema: Schema) -> frozenset[Name]:
    """The tables of which a census would find the same as `before`: they have the same paths, and so has every table to
    which these lead."""
    drawn, earlier = _Census.draw(now, schema), _Census.draw(before, schema)
    others = {
        name for name, tenant_map in drawn.tenant_maps.items() if not tenant_map.asks_as(earlier.tenant_maps.get(name))
    }
    leading: dict[Name, list[Name]] = {}
    for name, tenant_map in drawn.tenant_maps.items():
        for lookup in (*tenant_map.early, *tenant_map.late):
            leading.setdefault(lookup.target, []).append(name)
    waiting = list(others)
    while waiting:
        for name in leading.get(waiting.pop(), ()):
            if name not in others:
                others.add(name)
                waiting.append(name)
    return frozenset(drawn.tenant_maps.keys() - others)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Census:
    ownership: Ownership
    schema: Schema
    tenant_maps: dict[Name, TenantMap]
    tenant_columns: tuple[str, ...]

    @classmethod
    def draw(cls, ownership: Ownership, schema: Schema) -> _Census:
        """Decide which tenant maps are stored, and with which columns."""
        every = {owned.table: tuple(lookups(owned, ownership, schema)) for owned in ownership.owned}
        every = {name: _telling(name, found, ownership) for name, found in every.items()}
        referenced: dict[Name, dict[str, None]] = {}
        for lookup in chain.from_iterable(every.values()):
            referenced.setdefault(lookup.target, {}).update(dict.fromkeys(lookup.target_columns))
        ready = {ownership.tenant.name}
        tenant_maps: dict[Name, TenantMap] = {}
        for component in ownership.components:
            for owned in component:
                late = tuple(lookup for lookup in every[owned.table] if lookup.target not in ready)
                early = tuple(lookup for lookup in every[owned.table] if lookup.target in ready)
                stored = dict(referenced.get(owned.table, {}))
                stored |= dict.fromkeys(column for lookup in late for column in lookup.columns)
                tenant_maps[owned.table] = TenantMap(
                    number=len(tenant_maps), owned=owned, early=early, late=late, stored=tuple(stored),
                    tenant=ownership.tenant, referenced=owned.table in referenced,
                )  # fmt: skip
            ready.update(owned.table for owned in component)
        return cls(
            ownership=ownership, schema=schema, tenant_maps=tenant_maps,
            tenant_columns=tuple(referenced.get(ownership.tenant.name, ())),
        )  # fmt: skip

    def needed(self, tables: Iterable[Name]) -> frozenset[Name]:
        """These tables, and those to which their paths lead."""
        found, waiting = set[Name](), list(tables)
        while waiting:
            name = waiting.pop()
            if name in found or name not in self.tenant_maps:
                continue
            found.add(name)
            tenant_map = self.tenant_maps[name]
            waiting += [lookup.target for lookup in (*tenant_map.early, *tenant_map.late)]
        return frozenset(found)

    def source(self, table: Name) -> sql.Composable:
        """The relation that holds the rows of a table with their tenants."""
        return TENANTS if table == self.ownership.tenant.name else self.tenant_maps[table].source()

    def column(self, table: Name, column: str) -> sql.Identifier:
        """The name of a column in a tenant map."""
        columns = self.tenant_columns if table == self.ownership.tenant.name else self.tenant_maps[table].stored
        return sql.Identifier(f"c{columns.index(column)}")


def _telling(table: Name, found: Sequence[TenantLookup], ownership: Ownership) -> tuple[TenantLookup, ...]:
    """Without the references between two tables whose rows all belong to the same single tenant."""
    tenant = _constant(ownership.of(table))
    return tuple(
        lookup
        for lookup in found
        if lookup.kind is not PathKind.REFERENCE or tenant is None or _constant(ownership.of(lookup.target)) != tenant
    )


def _constant(owned: Owned | None) -> str | None:
    return owned.assignment.tenant if owned and owned.assignment and not owned.has_own_column else None


def _rounds(drawn: _Census, members: Sequence[TenantMap]) -> list[sql.Composed | Repeat]:
    """Rounds over tables that depend on each other, and again after orphans got a tenant that other rows can derive."""
    fills = tuple(
        tenant_map.fill(lookup, drawn.schema, drawn)
        for tenant_map in members
        for lookup in tenant_map.late
        if lookup.gives_tenant
    )
    if not fills:
        return []
    adopted = [statement for tenant_map in members for statement in tenant_map.adopt()]
    rounds = Repeat(statements=fills)
    return [rounds, *adopted, rounds] if adopted else [rounds]


def _question(
    drawn: _Census, tenant_map: TenantMap, samples: int | None, *, filled: bool, earlier: sql.Composable
) -> CensusQuestion:
    owned, orphan, tenant = (
        tenant_map.owned,
        sql.SQL("e.orphan").format(),
        sql.Composed([sql.Identifier("e", "tenant")]),
    )
    if filled and not owned.has_own_column:
        # Only looked for if no source gives a row its tenant.
        tenant = sql.SQL(
            "coalesce(e.tenant, (SELECT t.tenant FROM {} AS r JOIN {} AS t ON t.key = r.{}::text"
            " WHERE r.ctid = e.address AND r.tableoid = e.relation))"
        ).format(owned.table.identifier, TENANTS, sql.Identifier(owned.column))
        orphan = sql.SQL(
            "(e.orphan AND NOT EXISTS (SELECT FROM {} AS r WHERE r.ctid = e.address AND r.tableoid = e.relation"
            " AND r.{} IS NOT NULL))"
        ).format(owned.table.identifier, sql.Identifier(owned.column))
    numbers = range(len(tenant_map.labels))
    lows = [sql.Identifier("e", f"low{number}") for number in numbers]
    highs = [sql.Identifier("e", f"high{number}") for number in numbers]
    kinds = [kind for _, kind in tenant_map.labels]
    giving = [number for number in numbers if kinds[number] is not PathKind.REFERENCE]
    referring = [low for low, kind in zip(lows, kinds, strict=True) if kind is PathKind.REFERENCE]
    conflict = _disagree(tenant, lows, highs)
    if owned.mixed and referring:
        # A shared row must not refer to a row of one tenant.
        conflict = sql.SQL("(coalesce({}, false) OR {} IS NULL AND coalesce({}) IS NOT NULL)").format(
            conflict, tenant, sql.SQL(", ").join(referring)
        )
    given = _disagree(tenant, [lows[number] for number in giving], [highs[number] for number in giving])
    figures: list[sql.Composable] = [
        sql.SQL(
            "count(*), count(*) FILTER (WHERE {}), count(*) FILTER (WHERE {}),"
            " coalesce(min(e.tenant) <> max(e.tenant), false), count(*) FILTER (WHERE {}),"
            " count(*) FILTER (WHERE {} AND {} IS NOT TRUE)"
        ).format(orphan, conflict, earlier, conflict, given)
    ]
    for low, high, kind in zip(lows, highs, kinds, strict=True):
        alone = [sql.SQL("NULL")] if kind is PathKind.REFERENCE else [lows[number] for number in giving]
        figures.append(
            sql.SQL(
                "count({low}), count({low}) FILTER (WHERE num_nonnulls({giving}) = 1),"
                " count(*) FILTER (WHERE {low} <> e.tenant OR {high} <> e.tenant)"
            ).format(low=low, high=high, giving=sql.SQL(", ").join(alone))
        )
    evaluated = tenant_map.evaluated(drawn.schema, drawn)
    return CensusQuestion(
        table=tenant_map.owned.table,
        policy=tenant_map.owned.orphans,
        paths=tenant_map.labels,
        counts=sql.SQL("SELECT {} FROM ({}) AS e").format(sql.SQL(", ").join(figures), evaluated),
        orphans=partial(_sample, drawn, tenant_map, evaluated, orphan, samples),
        conflicts=partial(_sample, drawn, tenant_map, evaluated, conflict, samples),
        pairs=partial(_pairs, tenant_map, evaluated),
    )


def _disagree(
    tenant: sql.Composable, lows: Sequence[sql.Composable], highs: Sequence[sql.Composable]
) -> sql.Composed:  # fmt: skip
    """NULL if a path gives no tenant."""
    return sql.SQL("least({}) <> greatest({})").format(*(sql.SQL(", ").join([tenant, *ends]) for ends in (lows, highs)))


def _sample(
    drawn: _Census, tenant_map: TenantMap, evaluated: sql.Composable, which: sql.Composable, samples: int | None
) -> sql.Composed:
    """The first rows of a kind: the key as JSON, and for each path an array of its tenants."""
    table = drawn.schema.tables[tenant_map.owned.table]
    key: sql.Composable = sql.SQL("json_build_object('ctid', r.ctid::text, 'table', r.tableoid::regclass::text)")
    if table.primary_key:
        key = sql.SQL("json_build_object({})").format(
            sql.SQL(", ").join(
                sql.SQL("{}, {}").format(sql.Literal(column), sql.Identifier("r", column))
                for column in table.primary_key
            )
        )
    ends = [
        (sql.Identifier("e", f"low{number}"), sql.Identifier("e", f"high{number}"))
        for number in range(len(tenant_map.labels))
    ]
    columns = [
        sql.SQL("ARRAY(SELECT t.label FROM {} AS t WHERE t.tenant IN ({}, {}) ORDER BY t.tenant)").format(
            TENANTS, low, high
        )
        for low, high in ends
    ]
    # The rows themselves are fetched by their ctid, not by a scan of the table.
    return sql.SQL(
        "WITH e AS MATERIALIZED (SELECT * FROM ({evaluated}) AS e WHERE {which}"
        " ORDER BY e.relation, e.address LIMIT {samples})"
        " SELECT {shown} FROM e JOIN {table} AS r ON r.ctid = e.address AND r.tableoid = e.relation"
        " AND r.ctid = ANY (ARRAY(SELECT p.address FROM e AS p)) ORDER BY e.relation, e.address"
    ).format(
        shown=sql.SQL(", ").join([key, *columns]),
        evaluated=evaluated,
        which=which,
        samples=sql.Literal(samples),
        table=tenant_map.owned.table.identifier,
    )


def _pairs(tenant_map: TenantMap, evaluated: sql.Composable) -> sql.Composed:
    """For each two paths that disagree, and each that disagrees with itself, how many rows have which two tenants."""
    numbers = range(len(tenant_map.labels))
    parts = [
        sql.SQL(
            "SELECT {one} AS one, {other} AS other, e.{low} AS mine, e.{high} AS theirs, count(*) AS rows FROM e"
            " WHERE e.{low} <> e.{high} GROUP BY e.{low}, e.{high}"
        ).format(
            one=sql.Literal(one),
            other=sql.Literal(other),
            low=sql.Identifier(f"low{one}"),
            high=sql.Identifier(f"{'high' if one == other else 'low'}{other}"),
        )
        for one in numbers
        for other in numbers
        if one <= other
    ]
    label = sql.SQL("(SELECT t.label FROM {} AS t WHERE t.tenant = p.{})")
    return sql.SQL(
        "WITH e AS MATERIALIZED ({evaluated}) SELECT p.one, p.other, {mine}, {theirs}, p.rows FROM ({parts}) AS p"
        " ORDER BY p.one, p.other, p.rows DESC, 3, 4"
    ).format(
        evaluated=evaluated, parts=sql.SQL(" UNION ALL ").join(parts),
        mine=label.format(TENANTS, sql.Identifier("mine")), theirs=label.format(TENANTS, sql.Identifier("theirs")),
    )  # fmt: skip


def _estimate(schema: Schema, table: Name) -> int:
    return max(0, round(schema.tables[table].rows))
