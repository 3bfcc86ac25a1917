"""Combines checks: all row checks of a relation in one scan, all along one path in one join."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from psycopg import sql

from tenantry.checks.base import PARENT, ROW, Check, CheckContext, QueryCheck, ReferenceCheck, Rows
from tenantry.model.name import Name
from tenantry.model.ownership import Path
from tenantry.model.schema import Kind, Schema, Table
from tenantry.steps.derivation import equal

LONGEST_VALUE = 200
"""The largest number of characters of a value in a sample."""

Slice = tuple[int, int | None]
"""Pages of a relation: the first, and the first after the slice; None for the end of the relation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """One scan of a relation with rows of `table`, for all of `checks`.

    With a `path` it is joined to the rows at its end. `tenant` is the column that rows are grouped by, if any.
    """

    table: Name
    relation: Name
    source: sql.Composed
    checks: tuple[Check, ...]
    tenant: str | None = None
    joined: bool = False

    @property
    def title(self) -> str:
        """What is read, for users."""
        first = self.checks[0].question if self.checks else None
        along = f" along ({first.path})" if isinstance(first, ReferenceCheck) else ""
        return f"the rows of {self.relation}{along}"

    def counts(self, part: Slice | None = None, since: str | None = None) -> sql.Composed:
        """For each tenant: the tenant as text, the number of rows, and for each check the number of violations. A join
        only reads rows that violate some check.

        `since` is a transaction: then only rows written by it or later ones.
        """
        column = sql.Identifier("t", self.tenant) if self.tenant is not None else None
        figures = [sql.SQL("count(*)"), *map(self._figure, self.checks)]
        only = [_within(part)] if part is not None else []
        if since is not None:
            only.append(
                sql.SQL("pg_catalog.age(t.xmin) <= pg_catalog.age({}::pg_catalog.xid)").format(sql.Literal(since))
            )
        if self.joined:
            only.append(sql.SQL("({})").format(sql.SQL(" OR ").join(map(condition, self.checks))))
        return sql.SQL("SELECT {tenant}, {figures} {source}{where}{group}").format(
            tenant=sql.SQL("{}::text").format(column) if column is not None else sql.SQL("NULL::text"),
            figures=sql.SQL(", ").join(figures), source=self.source,
            where=sql.SQL(" WHERE {}").format(sql.SQL(" AND ").join(only)) if only else sql.SQL(""),
            group=sql.SQL(" GROUP BY {}").format(column) if column is not None else sql.SQL(""),
        )  # fmt: skip

    def _figure(self, check: Check) -> sql.Composed:
        if isinstance(check.question, Rows) and check.question.by_tenant and self.tenant is not None:
            return sql.SQL("CASE WHEN {} THEN count(*) ELSE 0 END").format(condition(check))
        return sql.SQL("count(*) FILTER (WHERE {})").format(condition(check))

    def samples(self, check: Check, key: tuple[str, ...], part: Slice | None, limit: int) -> sql.Composed:
        """Some of the rows that violate a check: their keys and what the check shows, as texts."""
        shown: dict[str, sql.Composable] = {name: sql.Identifier("t", name) for name in key}
        if not key:
            shown = {"table": sql.SQL("t.tableoid::regclass"), "ctid": sql.SQL("t.ctid")}
        named = {**shown, **{name: value for name, value in check.shows if name not in key}}
        where = condition(check)
        if part is not None:
            where = sql.SQL("{} AND ({})").format(_within(part), where)
        return sql.SQL("SELECT {} {} WHERE {} LIMIT {}").format(
            sql.SQL(", ").join(_text(value, name) for name, value in named.items()), self.source, where,
            sql.Literal(limit),
        )  # fmt: skip


def condition(check: Check) -> sql.Composed:
    """The condition that a row violates the check, over the aliases of `source`."""
    question = check.question
    assert not isinstance(question, QueryCheck), check.name
    return sql.SQL("({})").format(question.violates)


def source(check: Check, schema: Schema, relation: Name | None = None) -> sql.Composed:
    """The FROM clause of a check: the row `t`, and for a Reference the rows along its path, with `p` at the end.

    `relation` is the partition that is read, else the partitioned table; `schema` is the current one.
    """
    at = ROW
    found = sql.SQL("FROM {} AS t").format(schema.as_referenced(relation or check.table))
    hops = check.question.path.hops if isinstance(check.question, ReferenceCheck) else ()
    for number, hop in enumerate(hops, start=1):
        alias = PARENT if number == len(hops) else sql.Identifier(f"h{number}")
        found = sql.SQL("{} LEFT JOIN {} AS {} ON {}").format(
            found, schema.as_referenced(hop.parent), alias,
            equal(alias, hop.parent_columns, at, hop.columns, hop.operators),
        )  # fmt: skip
        at = alias
    return found


def fused(context: CheckContext, checks: Iterable[Check]) -> Iterator[Scan]:
    """The scans that run all of these checks, and count the rows of every included owned table by tenant."""
    groups: dict[tuple[Name, Path | None], list[Check]] = {}
    for unit in context.planning.units():
        if context.wants(unit.name) and context.has(unit.name) and unit.name not in context.hidden:
            groups[unit.name, None] = []
    for check in checks:
        match check.question:
            case Rows():
                groups.setdefault((check.table, None), []).append(check)
            case ReferenceCheck(path=along):
                groups.setdefault((check.table, along), []).append(check)
            case QueryCheck():
                pass
    for (table, path), members in groups.items():
        for relation in leaves(context.live, table):
            yield _scan(context, relation, table, members, joined=path is not None)


def _scan(context: CheckContext, relation: Table, table: Name, checks: list[Check], *, joined: bool) -> Scan:
    owned = context.ownership.of(table)
    tenant = owned.column if owned is not None and context.has(relation.name, owned.column) else None
    first = checks[0] if checks else None
    return Scan(
        table=table, relation=relation.name, checks=tuple(checks), joined=joined,
        source=source(first, context.live, relation.name) if first is not None
        else sql.SQL("FROM {} AS t").format(context.live.as_referenced(relation.name)),
        # The results of a join are grouped only if they are to be shown by tenant.
        tenant=tenant if not joined or context.detailed else None,
    )  # fmt: skip


def leaves(schema: Schema, table: Name) -> tuple[Table, ...]:
    """The relations that hold the rows of a table: itself, or its partitions."""
    known = schema.tables.get(table)
    if known is None:
        return ()
    if known.kind is not Kind.PARTITIONED:
        return (known,)
    return tuple(part for part in schema.partitions(table) if part.kind is not Kind.PARTITIONED)


def slices(pages: int, size: int) -> Iterator[Slice | None]:
    """Slices of `size` pages; a smaller relation is read at once, which can run in parallel."""
    if pages <= size:
        yield None
        return
    for first in range(0, pages, size):
        yield first, (first + size if first + size < pages else None)


def _within(part: Slice) -> sql.Composed:
    """A range of pages, read by a TID Range Scan."""
    first, past = part
    found = sql.SQL("t.ctid >= {}::tid").format(sql.Literal(f"({first},0)"))
    if past is not None:
        found = sql.SQL("{} AND t.ctid < {}::tid").format(found, sql.Literal(f"({past},0)"))
    return found


def _text(value: sql.Composable, name: str) -> sql.Composed:
    return sql.SQL("pg_catalog.left(({})::text, {}) AS {}").format(
        value, sql.Literal(LONGEST_VALUE), sql.Identifier(name)
    )


def offenders(check: Check, question: QueryCheck, limit: int) -> tuple[sql.Composed, sql.Composed]:
    """Two queries: the number of rows that violate the check, and some of them, with their values cut in the query."""
    count = sql.SQL("SELECT count(*) FROM ({}) AS found").format(question.query)
    cut = sql.SQL(
        "SELECT (SELECT pg_catalog.json_object_agg(each.key, pg_catalog.left(each.value, {longest}))"
        " FROM pg_catalog.json_each_text(pg_catalog.to_json(found)) AS each) FROM ({query}) AS found LIMIT {limit}"
    ).format(longest=sql.Literal(LONGEST_VALUE), query=question.query, limit=sql.Literal(limit))
    return count, cut
