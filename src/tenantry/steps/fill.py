"""The tenant of every existing row, set in batches by page range, and later once more as a sweep."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from psycopg import sql

from tenantry.model.name import JOURNAL_SCHEMA, Name
from tenantry.model.plan import ExecutionMode, Lock, LockMode, Statement
from tenantry.steps.derivation import ByRows, BySlug, ByText, Source, TenantReference, derived
from tenantry.steps.introspection import count_without_tenant, exists, revoke_default_privileges, with_search_path
from tenantry.steps.naming import StaticNames, source_of
from tenantry.steps.step import Before, Step

PARAMETERS = ("first", "past", "stripes", "stripe")
IMAGES = Name(JOURNAL_SCHEMA, "filled")
FILLING_NOW = sql.SQL("SET LOCAL tenantry.filling = 'on'")
STEADY = sql.SQL("SET LOCAL TimeZone = 'UTC'; SET LOCAL extra_float_digits = 3; SET LOCAL lc_monetary = 'C'")
"""The text of a key is the same in the fill that records it and in the rollback that looks for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelationFill:
    """The fill of one relation that holds rows: a plain table, a partition, or the ONLY part of an inheritance parent.

    `overrides`: a tenant that differs from the derived one is corrected; otherwise only NULLs are filled. `identity` is
    the primary key if the column is the user's own: a rollback has to restore its NULLs. `keyed`: the column is part of
    a unique index, so that changing it waits for all sessions that have inserted a child.
    """

    relation: Name
    column: str
    sources: tuple[Source, ...]
    overrides: bool
    identity: tuple[str, ...] = ()
    keyed: bool = False
    search_path: tuple[str, ...] = ()

    @property
    def wants(self) -> str:
        """The column, and the tenant that a row gets in it: by which expression, from the rows of which file."""
        tenant = derived(self.sources, sql.Identifier("row"))
        text = sql.SQL("{} = {}").format(sql.Identifier(self.column), tenant).as_string(None)
        return " ".join((text, *(source.digest for source in self.sources if isinstance(source, ByRows))))

    @property
    def lock(self) -> sql.SQL:
        """As strong as the lock of the update, so that the update does not wait for a row that this lock does not
        skip."""
        return sql.SQL("FOR UPDATE" if self.keyed else "FOR NO KEY UPDATE")

    def _pending(self, *, batch: bool, since: str | None = None) -> sql.Composed:
        """Rows whose tenant has to be set, with the tenant that they get; without rows that have a tenant and were
        written by transaction `since` or a later one.

        OFFSET 0 prevents the derivation from being evaluated twice.
        """
        row, column = sql.Identifier("row"), sql.Identifier(self.column)
        wanting = (
            sql.SQL("row.{0} IS DISTINCT FROM derived.tenant").format(column)
            if self.overrides
            else sql.SQL("row.{} IS NULL").format(column)
        )
        # A row's number on its page decides its stripe: once a page's first stripe has moved away and is pruned, the
        # other stripes find room on the page, and their updates are HOT: no index is touched. The number's low byte is
        # the last byte of a tid on the wire, which is cheaper to read than its text.
        pages = sql.SQL(
            " AND row.ctid >= $1::tid AND row.ctid < $2::tid"
            " AND ($3::int = 1 OR pg_catalog.get_byte(pg_catalog.tidsend(row.ctid), 5) % $3::int = $4::int)"
        )
        before = sql.SQL(
            " AND (row.{} IS NULL OR pg_catalog.age(row.xmin) OPERATOR(pg_catalog.>) pg_catalog.age({}::xid))"
        ).format(column, sql.Literal(since))
        narrower = sql.Composed([pages if batch else sql.SQL(""), before if since else sql.SQL("")])
        return sql.SQL(
            "SELECT row.ctid AS address, derived.tenant FROM ONLY {} AS row"
            " CROSS JOIN LATERAL (SELECT {} AS tenant OFFSET 0) AS derived"
            " WHERE derived.tenant IS NOT NULL AND {}{}"
        ).format(self.relation.identifier, derived(self.sources, row), wanting, narrower)

    def batch(self, step: str) -> Statement:
        """Fill the rows of one page range that no other session has locked; parameters $1 to $4 as in PARAMETERS.

        SKIP LOCKED: locked rows are left for the next pass, so a fill never causes a deadlock with the application.
        """
        update = sql.SQL(
            "WITH batch AS MATERIALIZED ({} {} OF row SKIP LOCKED)"
            " UPDATE ONLY {} AS row SET {} = batch.tenant FROM batch WHERE row.ctid = batch.address"
            # Even if the planner prefers a hash join, it must read these pages and not the entire table.
            " AND row.ctid >= $1::tid AND row.ctid < $2::tid AND {}"
        ).format(
            self._pending(batch=True), self.lock, self.relation.identifier, sql.Identifier(self.column),
            with_search_path(self.search_path),
        )  # fmt: skip
        if self.identity:
            keys = sql.SQL(", ").join(
                sql.SQL("{}, row.{}::text").format(sql.Literal(name), sql.Identifier(name)) for name in self.identity
            )
            update = sql.SQL(
                "WITH changed AS ({} RETURNING pg_catalog.jsonb_build_object({}) AS key, batch.tenant::text AS tenant)"
                " INSERT INTO {} (step, key, tenant) SELECT {}, changed.key, changed.tenant FROM changed"
            ).format(update, keys, IMAGES.identifier, sql.Literal(step))
        return Statement(
            sql=update,
            manner=ExecutionMode.BATCHES,
            locks=(Lock(self.relation, LockMode.ROW_EXCLUSIVE),),
            parameters=PARAMETERS,
        )

    def pending(self, since: str | None = None) -> sql.Composed:
        """True if rows have yet to be filled; with `since`, a transaction id, as for `count`."""
        return exists(self._pending(batch=False, since=since))

    def count(self, since: str | None = None) -> sql.Composed:
        """How many rows have yet to be filled; with `since`, a transaction id, those that have no tenant or that no
        transaction has written from that one on."""
        return sql.SQL("SELECT pg_catalog.count(*) FROM ({}) AS left_over").format(
            self._pending(batch=False, since=since)
        )

    def empty(self) -> sql.Composed:
        """How many rows have no tenant, whether or not one can be derived: each row that is filled lowers it by one."""
        return count_without_tenant(self.relation, self.column)

    def has_derived_tenant(self) -> sql.Composed:
        """How many rows have the tenant that its sources give."""
        row = sql.Identifier("row")
        return sql.SQL("SELECT pg_catalog.count(*) FROM ONLY {} AS row WHERE row.{} = {}").format(
            self.relation.identifier, sql.Identifier(self.column), derived(self.sources, row)
        )

    def images(self, step: str) -> sql.Composed:
        """How many NULLs of the user's own column the step of this key has filled."""
        return sql.SQL("SELECT pg_catalog.count(*) FROM {} AS image WHERE image.step = {}").format(
            IMAGES.identifier, sql.Literal(step)
        )

    def undone(self) -> sql.Composed:
        """True if a row that this transaction has filled still has to be filled."""
        ours = sql.SQL("{} AND row.xmin = pg_catalog.pg_current_xact_id()::xid").format(self._pending(batch=False))
        return exists(ours)

    def free(self, since: str | None = None) -> sql.Composed:
        """Lock one of the rows that `count` counts, if no other session has locked it; returns its address as text, or
        no row."""
        return sql.SQL(
            "WITH free AS MATERIALIZED ({} LIMIT 1 {} OF row SKIP LOCKED) SELECT free.address::text FROM free"
        ).format(self._pending(batch=False, since=since), self.lock)

    def wait(self) -> sql.Composed:
        """Lock one of the rows, waiting for the session that holds it, so that the server reports which session that
        is."""
        return sql.SQL("WITH held AS MATERIALIZED ({} LIMIT 1 {} OF row) SELECT held.address::text FROM held").format(
            self._pending(batch=False), self.lock
        )

    def restore(self, step: str) -> Statement:
        """Restore the NULLs of the user's own column, in rows that still have the tenant that the fill set."""
        match = sql.SQL(" AND ").join(
            sql.SQL("row.{0}::text = (image.key ->> {1})").format(sql.Identifier(name), sql.Literal(name))
            for name in self.identity
        )
        update = sql.SQL(
            "UPDATE ONLY {table} AS row SET {column} = NULL FROM {images} AS image"
            " WHERE image.step = {step} AND {match} AND row.{column}::text = image.tenant AND {along}"
        ).format(
            table=self.relation.identifier, column=sql.Identifier(self.column), images=IMAGES.identifier,
            step=sql.Literal(step), match=match, along=with_search_path(self.search_path),
        )  # fmt: skip
        return Statement(
            sql=update, manner=ExecutionMode.VALIDATION, locks=(Lock(self.relation, LockMode.ROW_EXCLUSIVE),)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Backfill(Step):
    """Fills of tables that derive from each other, repeated until a round fills nothing; most have one table and one
    round. `purpose`: "fill", then "default" for rows that no path reaches, then "sweep" after the constraints exist."""

    kind: Literal["fill"] = "fill"
    purpose: Literal["fill", "default", "sweep", "rest"] = "fill"
    fills: tuple[RelationFill, ...]
    complete: tuple[tuple[Name, str], ...] = ()
    """Relations and columns that hold no NULL when it is done."""
    preserved = True
    journaled = True
    in_place = True
    of_owned = True
    noted_besides = True
    restores = True

    @property
    def key(self) -> str:
        return f"{self.phase}_{self.purpose}:{self.table}"

    @property
    def title(self) -> str:
        tables = ", ".join(str(fill.relation) for fill in self.fills)
        match self.purpose:
            case "fill":
                return f"fill the tenant of every row of {tables}"
            case "default":
                return f"give a tenant to the rows of {tables} that no path reaches"
            case "sweep":
                return f"correct what was written meanwhile in {tables}"
            case "rest":
                return f"fill the remaining rows of {tables}"

    @property
    def filling(self) -> Backfill:
        return self

    @property
    def filled(self) -> tuple[Name, ...]:
        return tuple(fill.relation for fill in self.fills)

    @property
    def derives(self) -> tuple[tuple[Name, tuple[Source, ...]], ...]:
        return tuple((fill.relation, fill.sources) for fill in self.fills)

    @property
    def slugs(self) -> tuple[TenantReference, ...]:
        sources = (source for fill in self.fills for source in fill.sources)
        return tuple(source.tenant for source in sources if isinstance(source, BySlug | ByText | ByRows))

    def renamed(self, names: StaticNames) -> Backfill:
        fills = tuple(
            replace(
                fill, column=names.column(fill.relation, fill.column),
                sources=tuple(source_of(names, fill.relation, source) for source in fill.sources),
                identity=names.columns(fill.relation, fill.identity),
            )
            for fill in self.fills
        )  # fmt: skip
        return replace(self, fills=fills)

    def definition(self) -> sql.Composable:
        checks: list[sql.Composable] = [sql.SQL("true")]
        for relation, column in self.complete:
            # A column that is NOT NULL needs no query of its rows.
            checks.append(
                sql.SQL(
                    "((SELECT a.attnotnull FROM pg_catalog.pg_attribute a WHERE a.attrelid = {} AND a.attname = {})"
                    " OR NOT EXISTS (SELECT FROM ONLY {} AS row WHERE row.{} IS NULL))"
                ).format(relation.oid, sql.Literal(column), relation.identifier, sql.Identifier(column))
            )
        return sql.SQL("SELECT 'filled' WHERE {}").format(sql.SQL(" AND ").join(checks))

    def wants(self) -> str:
        """The tenants that the rows get, not how they get them: the rows of an added partition are filled by its
        trigger."""
        return ";\n".join(sorted({fill.wants for fill in self.fills}))

    def over(self, earlier: Iterable[Backfill], under_way: Backfill | None = None) -> Backfill:
        """The same, for rows that the `earlier` fills, or the one that is `under_way`, have filled from other sources;
        a column of the user's is not changed again."""
        if self.purpose == "default":
            return self
        others = {
            fill.relation for one in earlier if one.purpose != "default" for fill in one.fills
            if fill.wants not in {own.wants for own in self.fills if own.relation == fill.relation}
        }  # fmt: skip
        others |= {fill.relation for fill in under_way.fills if fill.overrides} if under_way is not None else set()
        fills = (
            replace(fill, overrides=fill.overrides or (fill.relation in others and not fill.identity))
            for fill in self.fills
        )
        return replace(self, fills=tuple(fills))

    def values(self) -> sql.Composable | None:
        """Rows with the default tenant, and values that the user's own column was given: nothing tells them from rows
        that had the same value before."""
        counts = [fill.images(self.key) for fill in self.fills if fill.identity][:1]
        if self.purpose == "default":
            counts = [fill.has_derived_tenant() for fill in self.fills]
        if not counts:
            return None
        return sql.SQL("SELECT {}").format(sql.SQL(" + ").join(sql.SQL("({})").format(count) for count in counts))

    def left_over(self) -> tuple[tuple[Name, sql.Composed], ...]:
        """For each relation that must hold no NULL, a query that counts the NULLs in it."""
        return tuple((relation, count_without_tenant(relation, column)) for relation, column in self.complete)

    def apply(self) -> tuple[Statement, ...]:
        return tuple(fill.batch(self.key) for fill in self.fills)

    def revert(self, before: Before) -> tuple[Statement, ...]:
        restores = tuple(fill.restore(self.key) for fill in self.fills if fill.identity)
        return (Statement(sql=FILLING_NOW), Statement(sql=STEADY), *restores) if restores else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignedRows(Step):
    """The CSV file of a table whose owners cannot be found by foreign keys, as a table of tenantry's."""

    kind: Literal["assigned_rows"] = "assigned_rows"
    name: Name
    owner: str
    rows: tuple[tuple[str, ...], ...]
    carries = True

    @property
    def key(self) -> str:
        return f"assigned_rows:{self.table}"

    @property
    def title(self) -> str:
        return f"load {len(self.rows)} assignments of rows to tenants"

    @property
    def subject(self) -> str:
        return f"The table {self.name}, which assigns tenants to the rows of {self.table},"

    def definition(self) -> sql.Composable:
        return sql.SQL("SELECT 'loaded' WHERE {} IS NOT NULL").format(self.name.oid)

    def apply(self) -> tuple[Statement, ...]:
        width = len(self.rows[0]) - 1 if self.rows else 1
        keys = [sql.Identifier(f"key{number}") for number in range(1, width + 1)]
        create = sql.SQL("CREATE TABLE IF NOT EXISTS {} ({}, tenant text NOT NULL, PRIMARY KEY ({}))").format(
            self.name.identifier,
            sql.SQL(", ").join(sql.SQL("{} text NOT NULL").format(key) for key in keys),
            sql.SQL(", ").join(keys),
        )
        rows = sql.SQL(", ").join(
            sql.SQL("({})").format(sql.SQL(", ").join(map(sql.Literal, row))) for row in self.rows
        )
        insert = sql.SQL("INSERT INTO {} VALUES {}").format(self.name.identifier, rows)
        # The table's triggers read it as the table's owner.
        grant = sql.SQL("GRANT SELECT ON {} TO {}").format(self.name.identifier, sql.Identifier(self.owner))
        empty = Statement(sql=sql.SQL("DELETE FROM {}").format(self.name.identifier))
        shut = Statement(sql=revoke_default_privileges(self.name))
        return (
            Statement(sql=create),
            shut,
            Statement(sql=grant),
            empty,
            *((Statement(sql=insert),) if self.rows else ()),
        )

    def revert(self, before: Before) -> tuple[Statement, ...]:
        return (Statement(sql=sql.SQL("DROP TABLE IF EXISTS {}").format(self.name.identifier)),)
