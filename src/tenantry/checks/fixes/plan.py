"""A repair as a value: which rows of a table are corrected, how, and what is stored of them before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from psycopg import sql

from tenantry.checks.base import ROW, Check, CheckContext, Rows, column
from tenantry.checks.scan import leaves
from tenantry.model.name import JOURNAL_SCHEMA, Name
from tenantry.model.ownership import Owned
from tenantry.model.schema import Schema
from tenantry.steps.derivation import ByChildren, BySlug, Source, derived, equal
from tenantry.steps.introspection import raw

FIXED_ROWS = Name(JOURNAL_SCHEMA, "fixed_rows")
FROM_PATHS, OF_ORPHANS = "tenant-from-paths", "tenant-of-orphans"
THESE = sql.SQL("t.tableoid = $2::text::pg_catalog.regclass AND t.ctid = ANY ($1::tid[])")
"""The rows at the addresses $1 of the relation $2, as a condition over `t`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """The stored values of a table's rows: all as text, except for generated ones, and the primary key by itself."""

    target: sql.Composable
    keys: tuple[str, ...]
    key_types: tuple[str, ...]
    columns: tuple[str, ...]

    @property
    def key(self) -> sql.Composed:
        return _texts(self.keys)

    @property
    def match(self) -> sql.Composed:
        """The condition that `t` is the row of an image `i`, in a form that uses the primary key's index."""
        return matching(dict(zip(self.keys, self.key_types, strict=True)))

    @property
    def values(self) -> sql.Composed:
        return _texts(self.columns)


def matching(types: Mapping[str, str]) -> sql.Composed:
    """The condition that the row `t` has the key of the image `i`, whose columns have these types."""
    return sql.SQL(" AND ").join(
        sql.SQL("{} = CAST(i.key ->> {} AS {})").format(column(name), sql.Literal(name), raw(kind))
        for name, kind in types.items()
    )


def _texts(names: tuple[str, ...]) -> sql.Composed:
    """A JSON object of the row's values; built from arrays, because a function takes at most a hundred arguments."""
    return sql.SQL("pg_catalog.jsonb_object(ARRAY[{}]::text[], ARRAY[{}]::text[])").format(
        sql.SQL(", ").join(map(sql.Literal, names)),
        sql.SQL(", ").join(sql.SQL("{}::text").format(column(name)) for name in names),
    )


def difference(one: sql.Composable, other: sql.Composable) -> sql.Composed:
    """The part of one image that differs from the other."""
    return sql.SQL(
        "(SELECT pg_catalog.jsonb_object_agg(each.key, each.value) FROM pg_catalog.jsonb_each({one}) AS each"
        " WHERE each.value IS DISTINCT FROM {other} -> each.key)"
    ).format(one=one, other=other)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """The rows `t` of `table` for which `violates` is true get `values`, column by column.

    `name` is the check's. `relations` contain the rows; `through` is the relation that is updated, so that rows can
    move between partitions. `filling`: only the tenant is set, whatever the user's triggers do.
    """

    name: str
    table: Name
    relations: tuple[Name, ...]
    image: Image
    values: tuple[tuple[str, sql.Composable], ...]
    violates: sql.Composable
    why: str
    filling: bool = False

    @property
    def _set(self) -> sql.Composed:
        return sql.SQL(", ").join(
            sql.SQL("{} = ({})").format(sql.Identifier(name), value) for name, value in self.values
        )

    @property
    def statement(self) -> sql.Composed:
        """The repair as one statement, for users."""
        return sql.SQL("UPDATE {} AS t SET {} WHERE ({})").format(self.image.target, self._set, self.violates)

    def count(self) -> sql.Composed:
        """The number of rows to repair."""
        return sql.SQL("SELECT pg_catalog.count(*) FROM {} AS t WHERE ({})").format(self.image.target, self.violates)

    def lock(self, relation: Name) -> sql.Composed:
        """Lock unlocked rows in the pages from $1 to $2, at most $3; returns their addresses.

        FOR UPDATE, since the columns may be part of a key; SKIP LOCKED, so that there can be no deadlock with the
        application: skipped rows are come back for.
        """
        return sql.SQL(
            "SELECT t.ctid::text FROM ONLY {} AS t WHERE t.ctid >= $1::tid AND t.ctid < $2::tid AND ({})"
            " LIMIT $3::bigint FOR UPDATE OF t SKIP LOCKED"
        ).format(relation.identifier, self.violates)

    def lock_these(self, relation: Name) -> sql.Composed:
        """The same for given addresses, $1."""
        return sql.SQL(
            "SELECT t.ctid::text FROM ONLY {} AS t WHERE t.ctid = ANY ($1::tid[]) AND ({}) FOR UPDATE OF t SKIP LOCKED"
        ).format(relation.identifier, self.violates)

    def change(self) -> sql.Composed:
        """Correct locked rows, at the addresses $1 of the relation $2.

        A separate statement, so that it sees what was committed before the lock; the condition is checked again.
        Returns the new addresses, and, for changed rows, their images as texts: key, before and after.
        """
        return sql.SQL(
            'WITH "~before" AS MATERIALIZED ('
            'SELECT t.ctid AS "~address", {image} AS "~image" FROM {target} AS t WHERE {these} AND ({violates})),'
            ' "~changed" AS (UPDATE {target} AS t SET {set} FROM "~before"'
            ' WHERE {these} AND t.ctid = "~before"."~address"'
            ' RETURNING t.ctid AS address, {key} AS key, "~before"."~image" AS before, {image} AS after)'
            " SELECT changed.address::text, CASE WHEN changed.before <> changed.after THEN changed.key::text END,"
            ' {before}::text, {after}::text FROM "~changed" AS changed'
        ).format(
            image=self.image.values, target=self.image.target, these=THESE, violates=self.violates,
            set=self._set, key=self.image.key,
            before=difference(sql.SQL("changed.before"), sql.SQL("changed.after")),
            after=difference(sql.SQL("changed.after"), sql.SQL("changed.before")),
        )  # fmt: skip

    def wrong(self) -> sql.Composed:
        """Whether any of the rows at the addresses $1 of the relation $2 still violates the check."""
        return sql.SQL("SELECT EXISTS (SELECT FROM {} AS t WHERE {} AND ({}))").format(
            self.image.target, THESE, self.violates
        )


def noted() -> sql.Composed:
    """Store images for the fix $1: keys $2, values before $3, and after $4, as JSON.

    Not in the statement that changes the rows: code of their owner could add images of its own.
    """
    return sql.SQL(
        "INSERT INTO {} (fix, key, before, after) SELECT $1::bigint, n.key::jsonb, n.before::jsonb, n.after::jsonb"
        " FROM ROWS FROM (pg_catalog.unnest($2::text[]), pg_catalog.unnest($3::text[]), pg_catalog.unnest($4::text[]))"
        " AS n (key, before, after)"
    ).format(FIXED_ROWS.identifier)


def image_of(schema: Schema, table: Name) -> Image:
    """The image of an existing table's rows; without `keys` they could not be found again."""
    known = schema.tables[table]
    types = {one.name: one.type for one in known.columns}
    return Image(
        target=schema.as_referenced(table), keys=known.primary_key,
        columns=tuple(one.name for one in known.columns if not one.generated),
        key_types=tuple(types[name] for name in known.primary_key),
    )  # fmt: skip


def rule_repair(context: CheckContext, check: Check) -> Repair | None:
    """The repair of a check that has a fix."""
    if check.fix is None or not isinstance(check.question, Rows):
        return None
    return Repair(
        name=check.name, table=check.table, image=image_of(context.live, check.table), values=check.fix.values,
        relations=tuple(part.name for part in leaves(context.live, check.table)), violates=check.question.violates,
        why=check.fix.why,
    )  # fmt: skip


def tenant_repairs(context: CheckContext) -> Iterator[Repair]:
    """Repairs of rows whose tenant differs from all their paths, then of rows that no path reaches, in order of
    derivation.

    A table that gets its tenants from its children comes before them.
    """
    for component in context.ownership.components:
        for owned in sorted(component, key=lambda one: not one.children):
            if context.wants(owned.table):
                yield from _owned_repairs(context, owned)


def _owned_repairs(context: CheckContext, owned: Owned) -> Iterator[Repair]:
    planning = context.planning
    sources, slug = planning.sources(owned), planning.fallback(owned)
    own = column(owned.column)
    for unit in planning.units_of(owned):
        if not context.has(unit.name, owned.column):
            continue
        image = image_of(context.live, unit.name)
        relations = tuple(part.name for part in leaves(context.live, unit.name))
        if sources:
            value = derived(sources, ROW)
            overrides = not owned.has_own_column and all(source.kind in ("path", "children") for source in sources)
            wrong = sql.SQL("{} IS DISTINCT FROM d.tenant" if overrides else "{} IS NULL").format(own)
            # OFFSET 0 keeps PostgreSQL from evaluating the derivation several times.
            violates = sql.SQL(
                "(SELECT d.tenant IS NOT NULL AND {} AND {} FROM (SELECT {} AS tenant OFFSET 0) AS d)"
            ).format(wrong, agreeing(sources), value)
            yield Repair(
                name=FROM_PATHS, table=unit.name, relations=relations, image=image, filling=True,
                values=((owned.column, value),), violates=violates, why="all of its paths agree on this tenant",
            )  # fmt: skip
        if slug is not None:
            nowhere = derived(sources, ROW) if sources else raw("NULL")
            yield Repair(
                name=OF_ORPHANS, table=unit.name, relations=relations, image=image, filling=True,
                values=((owned.column, BySlug(tenant=planning.reference, slug=slug).expression(ROW)),),
                violates=sql.SQL("{} IS NULL AND {} IS NULL").format(own, nowhere),
                why=f"no path leads these rows to a tenant, and the spec assigns such rows to {slug!r}",
            )  # fmt: skip


def agreeing(sources: tuple[Source, ...]) -> sql.Composable:
    """The condition that every source that leads to a tenant leads to `d.tenant`, the first one's."""
    agree: list[sql.Composable] = []
    for source in sources:
        if isinstance(source, ByChildren):
            agree.append(_children_agree(source))
        elif len(sources) > 1:
            agree.append(sql.SQL("coalesce({} = d.tenant, true)").format(source.expression(ROW)))
    return sql.SQL(" AND ").join(agree) if agree else raw("true")


def _children_agree(source: ByChildren) -> sql.Composed:
    child = sql.Identifier("child")
    told: sql.Composable = sql.SQL("child.{}").format(sql.Identifier(source.column))
    if source.told:
        told = derived(source.told, child)
    return sql.SQL("NOT EXISTS (SELECT FROM {} AS child WHERE {} AND {} <> d.tenant)").format(
        source.table.identifier, equal(ROW, source.own_columns, child, source.columns, source.operators), told
    )
