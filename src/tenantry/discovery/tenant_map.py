"""A tenant map: the rows of an owned table with the tenants that its paths give, in a temporary table or a subquery."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from psycopg import sql

from tenantry.discovery.lookups import TenantLookup, TenantMaps
from tenantry.discovery.tenants import WORDS, numbered
from tenantry.model.evidence import PathKind
from tenantry.model.ownership import Owned, TenantTable
from tenantry.model.schema import Schema


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantMap:
    """`early` lookups lead to tenant maps made before it, `late` ones to itself, its component or later tables.

    `stored` columns are kept for the late lookups and for the tables that refer to this one, as `referenced` states.
    Alternatives (the assignment, early lookups, late lookups) are numbered: the tenant that one gives is lowN and, if
    it can match several rows, highN, so that all of them agree if the least equals the greatest.
    """

    number: int
    owned: Owned
    tenant: TenantTable
    early: tuple[TenantLookup, ...]
    late: tuple[TenantLookup, ...]
    stored: tuple[str, ...]
    referenced: bool

    @property
    def slug(self) -> str | None:
        """The one tenant that all rows are assigned to."""
        return self.owned.assignment.tenant if self.owned.assignment and not self.owned.has_own_column else None

    @property
    def constant(self) -> bool:
        """Nothing can contradict the single tenant of all rows: they need not be read."""
        return self.slug is not None and not self.early and not self.late

    @property
    def materialized(self) -> bool:
        """Whether it is a temporary table; a table to which none refers is counted without one."""
        return not self.constant and (self.referenced or bool(self.late))

    @property
    def labels(self) -> tuple[tuple[str, PathKind], ...]:
        """The alternatives by number, for people."""
        assigned = [("assign", PathKind.ASSIGNED)] if self._assigned else []
        return (*assigned, *((lookup.label, lookup.kind) for lookup in (*self.early, *self.late)))

    @property
    def _assigned(self) -> int:
        return int(self.owned.assignment is not None)

    @property
    def _early(self) -> list[tuple[int, TenantLookup]]:
        return list(enumerate(self.early, start=self._assigned))

    @property
    def _late(self) -> list[tuple[int, TenantLookup]]:
        return list(enumerate(self.late, start=self._assigned + len(self.early)))

    @property
    def _many(self) -> frozenset[int]:
        return frozenset(number for number, lookup in (*self._early, *self._late) if lookup.many)

    def asks_as(self, other: TenantMap | None) -> bool:
        """Whether both query the same of their table, apart from what is stored for tables that refer to it."""
        return other is not None and (self.owned, {*self.early, *self.late}) == (
            other.owned, {*other.early, *other.late}
        )  # fmt: skip

    def source(self) -> sql.Composed:
        """A query with relation, address, tenant and the stored columns."""
        if not self.constant or self.slug is None:
            return sql.SQL("{}").format(sql.Identifier("pg_temp", f"tenantry_map_{self.number}"))
        return sql.SQL("(SELECT {} FROM {} AS t)").format(
            sql.SQL(", ").join(
                [
                    sql.SQL("t.tableoid AS relation, t.ctid AS address, {} AS tenant").format(numbered(self.slug)),
                    *(_named(sql.Identifier("t", name), f"c{at}") for at, name in enumerate(self.stored)),
                ]
            ),
            self.owned.table.identifier,
        )

    def setup(self) -> Iterator[sql.Composed]:
        """The rows of an assignment's file, as a temporary table."""
        rows = self.owned.assignment.rows if self.owned.assignment is not None else None
        if not rows:
            return
        width = len(rows[0])
        columns = [[row[at] for row in rows] for at in range(width)]
        yield sql.SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT * FROM ROWS FROM ({}) AS f ({})").format(
            sql.Identifier(f"tenantry_file_{self.number}"),
            sql.SQL(", ").join(sql.SQL("unnest({}::text[])").format(sql.Literal(column)) for column in columns),
            sql.SQL(", ").join([*(sql.Identifier(f"k{at}") for at in range(width - 1)), sql.Identifier("word")]),
        )

    def create(self, schema: Schema, tenant_maps: TenantMaps) -> Iterator[sql.Composed]:
        """Create the tenant map and its statistics, without which the planner would guess the sizes of joins."""
        name = f"tenantry_map_{self.number}"
        yield sql.SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS {}").format(
            sql.Identifier(name), self._derived(schema, tenant_maps)
        )
        yield sql.SQL("ANALYZE {}").format(sql.Identifier("pg_temp", name))

    def fill(self, lookup: TenantLookup, schema: Schema, tenant_maps: TenantMaps) -> sql.Composed:
        """Give rows without a tenant that of a late lookup, as far as it is known by now."""
        return sql.SQL("UPDATE {} AS s SET tenant = w.low FROM {} AS w WHERE s.tenant IS NULL AND {}").format(
            self.source(), lookup.relation(schema, tenant_maps), lookup.condition("w", self._stored_columns(lookup))
        )

    def adopt(self) -> Iterator[sql.Composed]:
        """Give the orphans of the rounds the tenant that the spec names for them."""
        if self._fallback is not None and any(lookup.gives_tenant for lookup in self.late):
            yield sql.SQL("UPDATE {} SET tenant = {}, orphan = true WHERE tenant IS NULL").format(
                self.source(), numbered(self._fallback)
            )

    def evaluated(self, schema: Schema, tenant_maps: TenantMaps) -> sql.Composed:
        """A query of relation, address, tenant, orphan, and lowN and highN of every alternative."""
        if not self.materialized:
            return sql.SQL("SELECT {} FROM ({}) AS s").format(
                sql.SQL(", ").join([sql.SQL("s.relation, s.address, s.tenant, s.orphan"), *self._early_tenants("s")]),
                self._derived(schema, tenant_maps),
            )
        shown: list[sql.Composable] = [
            sql.SQL("s.relation, s.address, s.tenant, (s.orphan OR s.tenant IS NULL) AS orphan"),
            *self._early_tenants("s"),
        ]
        joined = [sql.SQL("{} AS s").format(self.source())]
        for number, lookup in self._late:
            alias = f"w{number}"
            joined.append(
                _joined(
                    lookup.relation(schema, tenant_maps), alias, lookup.condition(alias, self._stored_columns(lookup))
                )
            )
            shown.append(_named(sql.Identifier(alias, "low"), f"low{number}"))
            shown.append(_named(sql.Identifier(alias, "high" if lookup.many else "low"), f"high{number}"))
        return sql.SQL("SELECT {} FROM {}").format(sql.SQL(", ").join(shown), sql.SQL(" ").join(joined))

    @property
    def _fallback(self) -> str | None:
        return self.tenant.fallback(self.owned.orphans)

    def _early_tenants(self, alias: str) -> list[sql.Composable]:
        """The tenants from assignment and early lookups, of the derived rows."""
        columns: list[sql.Composable] = []
        for number in range(self._assigned + len(self.early)):
            columns.append(sql.Identifier(alias, f"low{number}"))
            high = f"high{number}" if number in self._many else f"low{number}"
            columns.append(_named(sql.Identifier(alias, high), f"high{number}"))
        return columns

    def _stored_columns(self, lookup: TenantLookup) -> list[sql.Composable]:
        return [sql.Identifier("s", f"c{self.stored.index(column)}") for column in lookup.columns]

    def _derived(self, schema: Schema, tenant_maps: TenantMaps) -> sql.Composed:
        """Every row, joined to the assignment and to the ends of the early lookups."""
        read = {name: sql.Identifier("r", f"u{at}") for at, name in enumerate(self._read(schema))}
        shown: list[sql.Composable] = [sql.SQL("r.relation, r.address")]
        shown += [_named(read[name], f"c{at}") for at, name in enumerate(self.stored)]
        lows: list[sql.Composable] = []
        joined: list[sql.Composable] = [sql.SQL("({}) AS r").format(self._rows(tuple(read)))]
        for number, lookup in self._early:
            alias = f"w{number}"
            condition = lookup.condition(alias, [read[column] for column in lookup.columns])
            joined.append(_joined(lookup.relation(schema, tenant_maps), alias, condition))
            low: sql.Composable = sql.Identifier(alias, "low")
            shown.append(_named(low, f"low{number}"))
            shown += [_named(sql.Identifier(alias, "high"), f"high{number}")] if lookup.many else []
            lows += [low] if lookup.gives_tenant else []
        if self._assigned:
            low, join = self._assignment(schema, read)
            shown.append(_named(low, "low0"))
            joined += join
            lows.append(low)
        # A late lookup may still find a tenant for an orphan: no fallback yet.
        waits = any(lookup.gives_tenant for lookup in self.late)
        fallback = None if waits else self._fallback
        found = sql.SQL("coalesce({})").format(sql.SQL(", ").join([*lows, sql.SQL("NULL::integer")]))
        tenant = found if fallback is None else sql.SQL("coalesce({}, {})").format(found, numbered(fallback))
        orphan = sql.SQL("false").format() if waits else sql.SQL("{} IS NULL").format(found)
        shown += [_named(tenant, "tenant"), _named(orphan, "orphan")]
        return sql.SQL("SELECT {} FROM {}").format(sql.SQL(", ").join(shown), sql.SQL(" ").join(joined))

    def _read(self, schema: Schema) -> dict[str, None]:
        """The columns that are read, each once."""
        read = dict.fromkeys(self.stored)
        read |= dict.fromkeys(column for lookup in self.early for column in lookup.columns)
        assignment = self.owned.assignment
        if assignment is not None and assignment.column is not None:
            read[assignment.column] = None
        if assignment is not None and assignment.rows:
            read |= dict.fromkeys(schema.tables[self.owned.table].primary_key)
        return read

    def _rows(self, read: tuple[str, ...]) -> sql.Composed:
        """The table's rows in a subquery, so that an assignment's SQL sees only the names of its own table."""
        shown: list[sql.Composable] = [sql.SQL("tableoid AS relation, ctid AS address")]
        shown += [_named(sql.Identifier(name), f"u{at}") for at, name in enumerate(read)]
        if self.owned.assignment is not None and self.owned.assignment.expression is not None:
            shown.append(sql.SQL("({})::text AS word").format(sql.SQL(self.owned.assignment.expression)))
        return sql.SQL("SELECT {} FROM {}").format(sql.SQL(", ").join(shown), self.owned.table.identifier)

    def _assignment(
        self, schema: Schema, read: dict[str, sql.Identifier]
    ) -> tuple[sql.Composable, list[sql.Composable]]:
        """The tenant from the assignment, and the join that it needs."""
        assignment = self.owned.assignment
        assert assignment is not None
        if assignment.tenant is not None:
            return numbered(assignment.tenant), []
        if assignment.rows == ():
            return sql.SQL("NULL::integer"), []
        if assignment.rows is not None:
            return sql.SQL("a.tenant"), [self._from_file(schema, read)]
        word = sql.Identifier("r", "word") if assignment.column is None else read[assignment.column]
        return sql.SQL("a.tenant"), [_joined(WORDS, "a", sql.SQL("a.word = {}::text").format(word))]

    def _from_file(self, schema: Schema, read: dict[str, sql.Identifier]) -> sql.Composed:
        """Keys are compared as text, as the fill does."""
        key = schema.tables[self.owned.table].primary_key
        relation = sql.SQL("(SELECT f.*, w.tenant FROM {} AS f JOIN {} AS w ON w.word = f.word)").format(
            sql.Identifier("pg_temp", f"tenantry_file_{self.number}"), WORDS
        )
        condition = sql.SQL(" AND ").join(
            sql.SQL("{} = {}::text").format(sql.Identifier("a", f"k{at}"), read[name]) for at, name in enumerate(key)
        )
        return _joined(relation, "a", condition)


def _named(value: sql.Composable, name: str) -> sql.Composed:
    return sql.SQL("{} AS {}").format(value, sql.Identifier(name))


def _joined(relation: sql.Composable, alias: str, condition: sql.Composable) -> sql.Composed:
    return sql.SQL("LEFT JOIN {} AS {} ON {}").format(relation, sql.Identifier(alias), condition)
