"""How a row finds its tenant, as SQL expressions: the same for fills, sweeps and the assignment trigger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from psycopg import sql
from pydantic import Field

from tenantry.model.name import Name
from tenantry.model.ownership import Hop
from tenantry.steps.introspection import raw


def equal(
    left: sql.Composable, left_columns: tuple[str, ...], right: sql.Composable, right_columns: tuple[str, ...],
    operators: tuple[tuple[str, str], ...],
) -> sql.Composed:  # fmt: skip
    """`left` compared with `right` column by column, by the foreign key's own operators."""
    return sql.SQL(" AND ").join(
        sql.SQL("{}.{} OPERATOR({}.{}) {}.{}").format(
            left, sql.Identifier(here), sql.Identifier(schema), raw(name), right, sql.Identifier(there)
        )
        for here, there, (schema, name) in zip(left_columns, right_columns, operators, strict=True)
    )


def literal_key(value: str, type: str) -> sql.Composed:
    """A tenant's key, given as text, as a constant of its type."""
    return sql.SQL("{}::{}").format(sql.Literal(value), raw(type))


def of_all_tenants(column: sql.Composable, sentinel: str | None, type: str) -> sql.Composed:
    """The condition that a row of a mixed table belongs to all tenants: its tenant column has no tenant, or the
    sentinel tenant, if that has this key of this type."""
    if sentinel is None:
        return sql.SQL("({} IS NULL)").format(column)
    return sql.SQL("({} IS NULL OR {} = {})").format(column, column, literal_key(sentinel, type))


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantReference:
    """The tenant table, with what an expression needs of it."""

    table: Name
    key: str
    slug: str
    type: str

    def key_of(self, slug: str) -> sql.Composed:
        """The key of the tenant with this slug."""
        return sql.SQL("(SELECT tenant.{} FROM {} AS tenant WHERE tenant.{}::text = {})").format(
            sql.Identifier(self.key), self.table.identifier, sql.Identifier(self.slug), sql.Literal(slug)
        )

    def named_by(self, text: sql.Composable) -> sql.Composed:
        """The key of the tenant whose slug, or else whose key, is this text."""
        return sql.SQL(
            "(SELECT tenant.{key} FROM {table} AS tenant, (SELECT ({text})::text AS given) AS said"
            " WHERE tenant.{slug}::text = said.given OR tenant.{key}::text = said.given"
            " ORDER BY tenant.{slug}::text = said.given DESC LIMIT 1)"
        ).format(key=sql.Identifier(self.key), table=self.table.identifier, slug=sql.Identifier(self.slug), text=text)


@dataclass(frozen=True, slots=True, kw_only=True)
class ByPath:
    """The tenant found along foreign keys; `column` holds the tenant in the last table, None if the row's own column is
    the key.

    `certain`: used for a new row whose foreign key is checked with each statement and requires a parent. A row whose
    parent does not exist gets some tenant: then its own key refuses it, as before, and not the NOT NULL of tenantry's;
    or ON CONFLICT drops it, and its tenant is never seen. If foreign keys are not checked, in a session in replica
    mode, it gets none.
    """

    kind: Literal["path"] = "path"
    hops: tuple[Hop, ...]
    column: str | None
    certain: bool = False

    def expression(self, row: sql.Composable) -> sql.Composed:
        first = self.hops[0]
        if self.column is None and len(self.hops) == 1:
            return sql.SQL("{}.{}").format(row, sql.Identifier(first.columns[0]))
        aliases = [sql.Identifier(f"hop{number}") for number in range(1, len(self.hops) + 1)]
        source = sql.SQL("{} AS {}").format(first.parent.identifier, aliases[0])
        for number, hop in enumerate(self.hops[1:], start=1):
            last = number == len(self.hops) - 1
            if last and self.column is None:
                break
            source = sql.SQL("{} JOIN {} AS {} ON {}").format(
                source, hop.parent.identifier, aliases[number],
                equal(aliases[number], hop.parent_columns, aliases[number - 1], hop.columns, hop.operators),
            )  # fmt: skip
        result = (
            sql.SQL("{}.{}").format(aliases[-1], sql.Identifier(self.column))
            if self.column is not None
            else sql.SQL("{}.{}").format(aliases[-2], sql.Identifier(self.hops[-1].columns[0]))
        )
        one = sql.SQL("") if all(hop.unique for hop in self.hops) else sql.SQL(" ORDER BY 1 LIMIT 1")
        condition = equal(aliases[0], first.parent_columns, row, first.columns, first.operators)
        found = sql.SQL("(SELECT {} FROM {} WHERE {}{})").format(result, source, condition, one)
        if not self.certain:
            return found
        return sql.SQL(
            "coalesce({found}, (SELECT {result} FROM {source} WHERE NOT EXISTS (SELECT FROM {parent} AS {alias}"
            " WHERE {condition}) AND pg_catalog.current_setting('session_replication_role') <> 'replica' LIMIT 1))"
        ).format(
            found=found, result=result, source=source, parent=first.parent.identifier, alias=aliases[0],
            condition=condition,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ByChildren:
    """The tenant of a child that has one; all children that have one agree, or the census has refused.

    `told`: how a child gets its tenant without this parent. The child's tenant may have come from the parent itself,
    whose tenant has changed since. Empty if the child has no other path: then its column is used.
    """

    kind: Literal["children"] = "children"
    table: Name
    columns: tuple[str, ...]
    own_columns: tuple[str, ...]
    operators: tuple[tuple[str, str], ...]
    column: str
    told: tuple[ByPath, ...] = ()

    def expression(self, row: sql.Composable) -> sql.Composed:
        child = sql.Identifier("child")
        match = equal(row, self.own_columns, child, self.columns, self.operators)
        if not self.told:
            return sql.SQL(
                "(SELECT child.{tenant} FROM {table} AS child WHERE {match} AND child.{tenant} IS NOT NULL LIMIT 1)"
            ).format(tenant=sql.Identifier(self.column), table=self.table.identifier, match=match)
        return sql.SQL(
            "(SELECT told.tenant FROM {table} AS child CROSS JOIN LATERAL (SELECT {told} AS tenant OFFSET 0) AS told"
            " WHERE {match} AND told.tenant IS NOT NULL LIMIT 1)"
        ).format(table=self.table.identifier, told=derived(self.told, child), match=match)


@dataclass(frozen=True, slots=True, kw_only=True)
class BySlug:
    """One tenant for every row."""

    kind: Literal["slug"] = "slug"
    tenant: TenantReference
    slug: str

    def expression(self, row: sql.Composable) -> sql.Composed:
        return self.tenant.key_of(self.slug)


@dataclass(frozen=True, slots=True, kw_only=True)
class ByKey:
    """One tenant for every row, by its key as text, of this type."""

    kind: Literal["key"] = "key"
    value: str
    type: str

    def expression(self, row: sql.Composable) -> sql.Composed:
        return literal_key(self.value, self.type)


@dataclass(frozen=True, slots=True, kw_only=True)
class ByText:
    """An expression of the user's over the row (its alias is the table's name), or one of its columns."""

    kind: Literal["text"] = "text"
    tenant: TenantReference
    table: Name
    column: str | None = None
    text: str | None = None

    def expression(self, row: sql.Composable) -> sql.Composed:
        if self.column is not None:
            return self.tenant.named_by(sql.SQL("{}.{}").format(row, sql.Identifier(self.column)))
        value = sql.SQL("SELECT ({}) FROM (SELECT {}.*) AS {}").format(
            raw(self.text or "NULL"), row, sql.Identifier(self.table.name)
        )
        return self.tenant.named_by(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class ByRows:
    """The tenant from a table of tenantry's that holds the CSV file: the columns of the primary key as text, then the
    slug."""

    kind: Literal["rows"] = "rows"
    tenant: TenantReference
    assigned: Name
    columns: tuple[str, ...]
    digest: str = ""
    """A digest of the file's rows: other rows give other tenants."""

    def expression(self, row: sql.Composable) -> sql.Composed:
        match = sql.SQL(" AND ").join(
            sql.SQL("assigned.{} = {}.{}::text").format(sql.Identifier(f"key{number}"), row, sql.Identifier(column))
            for number, column in enumerate(self.columns, start=1)
        )
        return self.tenant.named_by(
            sql.SQL("SELECT assigned.tenant FROM {} AS assigned WHERE {}").format(self.assigned.identifier, match)
        )


Source = Annotated[ByPath | ByChildren | BySlug | ByKey | ByText | ByRows, Field(discriminator="kind")]


def derived(sources: tuple[Source, ...], row: sql.Composable) -> sql.Composable:
    """The first source that finds a tenant determines it."""
    expressions = [source.expression(row) for source in sources]
    if len(expressions) == 1:
        return expressions[0]
    return sql.SQL("COALESCE({})").format(sql.SQL(", ").join(expressions))
