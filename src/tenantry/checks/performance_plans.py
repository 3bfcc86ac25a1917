"""Whether an index supports the application's queries, by PostgreSQL's plans with the policies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tenantry.checks.base import CheckContext
from tenantry.checks.isolation.probes import become
from tenantry.model.finding import Family, Finding, Severity
from tenantry.model.name import Name
from tenantry.model.schema import Table
from tenantry.postgres.queries import read_queries
from tenantry.steps.introspection import raw

_QUERIES = read_queries(Path(__file__).with_name("sql") / "performance.sql")
LARGE = 512 * 1024
"""In bytes: a sequential scan of smaller tables is as fast as an index."""
TIMES = ("timestamp", "date")
_warning = partial(Finding, family=Family.PERFORMANCE, severity=Severity.WARNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """A typical query of a table, with the types of its parameters. It is supported if one of the `queries` is."""

    what: str
    queries: tuple[sql.Composed, ...]
    types: tuple[str, ...] = ()


def plans(context: CheckContext) -> Iterator[Finding]:
    """Large tables of which all pages would be read for a few rows of one tenant. Whether PostgreSQL then uses an
    existing index is its own decision: it knows how many rows a tenant has."""
    with context.session("plans") as connection:
        for owned in context.owned():
            table = context.live.tables[owned.table]
            large = large_parts(context, owned.table)  # Nothing where another session has locked the table.
            if not large or not context.tenanted(owned):
                continue
            context.looking(f"the plans for {table.name}")
            asked = _Asked(connection=connection, role=context.spec.application.role, large=large)
            unserved = [question.what for question in _questions(table) if not asked.served(question)]
            if unserved:
                pages = sum(large.values()) // 8192
                yield _warning(
                    name="query-without-index", table=table.name, count=len(unserved),
                    message=f"No index supports reading one tenant's rows of {table.name} {', '.join(unserved)}:"
                    f" all its {pages:,} pages are read",
                    remedy="Run `tenantry migrate`, which creates missing indexes on the tenant column; for other"
                    " columns, CREATE INDEX CONCURRENTLY.",
                    samples=tuple({"query": what} for what in unserved),
                )  # fmt: skip


def soon(context: CheckContext, query: bytes | sql.Composed, **parameters: Any) -> list[tuple[Any, ...]]:
    """The result of the operator's query; empty if a lock would take longer than a second."""
    try:
        with context.connection.transaction():
            context.connection.execute(_QUERIES["patience"])
            return context.connection.execute(query, parameters or None).fetchall()
    except psycopg.errors.LockNotAvailable:
        return []


def large_parts(context: CheckContext, name: Name, *, least: int = LARGE) -> Mapping[Name, int]:
    """The relations with the table's rows that have at least so many bytes, with their sizes."""
    tree = (*context.live.tree(name), *context.live.heirs(name))
    names = [table.name.identifier.as_string(None) for table in tree if table.bytes >= least]
    rows = soon(context, _QUERIES["sizes"], names=names) if names else []
    return {Name(schema, relation): size for schema, relation, size in rows if size >= least}


def _questions(table: Table) -> Iterator[_Question]:
    relation = table.name.identifier
    whole = sql.SQL("SELECT * FROM {}").format(relation)
    newest = _newest(table)
    if newest is None:
        yield _Question(what="all together", queries=(whole,))
    else:
        # PostgreSQL may prefer to read an index on the time backwards, and to skip other tenants.
        ordered = sql.SQL("{} ORDER BY {} DESC LIMIT 20").format(whole, sql.Identifier(newest))
        yield _Question(what="newest first", queries=(ordered, whole))
    if table.primary_key:
        yield _by(table, table.primary_key, "by key")
    for columns in sorted({key.columns for key in table.foreign_keys}):
        yield _by(table, columns, f"by {', '.join(columns)}")


def _newest(table: Table) -> str | None:
    """The first column with a time, or else a growing key."""
    times = [column.name for column in table.columns if column.base_type.startswith(TIMES)]
    return next(iter((*times, *table.primary_key[:1])), None)


def _by(table: Table, columns: Sequence[str], what: str) -> _Question:
    types = tuple(found.type for name in columns if (found := table.column(name)) is not None)
    conditions = sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(sql.Identifier(name), raw(f"${number}")) for number, name in enumerate(columns, 1)
    )
    query = sql.SQL("SELECT * FROM {} WHERE {}").format(table.name.identifier, conditions)
    return _Question(what=what, queries=(query,), types=types)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """Reads plans as the application role."""

    connection: psycopg.Connection[Any]
    role: str
    large: Mapping[Name, int]

    def served(self, question: _Question) -> bool:
        """Whether an index is used for each large part. Where that is not known, it counts as used."""
        return any(self._served(query, question.types) for query in question.queries)

    def _served(self, query: sql.Composed, types: Sequence[str]) -> bool:
        nodes = self._scans(query, types)
        return nodes is None or all(_by_index(node) for node in nodes)

    def _scans(self, query: sql.Composed, types: Sequence[str]) -> list[Mapping[str, Any]] | None:
        """The nodes that read large parts, with enable_seqscan off; None if the query is refused."""
        listed = sql.SQL("({})").format(raw(", ".join(types))) if types else sql.SQL("")
        values = sql.SQL("({})").format(sql.SQL(", ").join([sql.NULL] * len(types))) if types else sql.SQL("")
        prepare = sql.SQL("PREPARE tenantry_question{} AS {}").format(listed, query)
        explain = sql.SQL("EXPLAIN (VERBOSE, FORMAT JSON) EXECUTE tenantry_question{}").format(values)
        with self.connection.transaction(force_rollback=True):
            self.connection.execute(_QUERIES["bounded"])
            self.connection.execute(_QUERIES["as_applications_do"])
            become(self.connection, self.role)
            try:
                with self.connection.transaction(force_rollback=True):
                    self.connection.execute(prepare)
                    row = self.connection.execute(explain).fetchone()
            except (psycopg.errors.ProgrammingError, psycopg.errors.LockNotAvailable):
                return None
            finally:
                self.connection.execute("DEALLOCATE ALL")
        assert row is not None
        return [node for node in _nodes(row[0][0]["Plan"]) if self._reads_large(node)]

    def _reads_large(self, node: Mapping[str, Any]) -> bool:
        return "Relation Name" in node and Name(node["Schema"], node["Relation Name"]) in self.large


def _nodes(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


def _by_index(scan: Mapping[str, Any]) -> bool:
    """Whether an index narrows the scan; a bitmap scan's stands below it."""
    return any("Index Cond" in node for node in _nodes(scan))
