"""The sentinel tenant: in the phase distribute it takes the place of NULL in mixed tables, whose rows without a tenant
belong to all tenants. A distributed table cannot have a row without a tenant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from psycopg import sql

from tenantry.model.name import Name, quoted
from tenantry.model.plan import ExecutionMode, Lock, LockMode, Statement
from tenantry.steps.column import ContextDefault
from tenantry.steps.derivation import ByKey, literal_key
from tenantry.steps.fill import Backfill, RelationFill
from tenantry.steps.index import AttachPartitionIndex, IndexStep, PartitionedIndex, TenantIndex, index_with_columns
from tenantry.steps.introspection import INDEX_TEXT, column_definition, exists, is_partition, raw, with_search_path
from tenantry.steps.naming import StaticNames
from tenantry.steps.row_security import DirectPolicies
from tenantry.steps.step import Before, Step
from tenantry.steps.tenant_setting import current_tenant_value
from tenantry.steps.tenants import TenantRow

SENTINEL = "tenantry-everybody"
"""The slug of the sentinel tenant."""
SENTINEL_NAME = "rows of all tenants"


@dataclass(frozen=True, slots=True, kw_only=True)
class SentinelRow(TenantRow):
    """The row of the sentinel tenant. `shared` are the mixed tables, with their tenant columns. The way back sets the
    sentinel's key in them to NULL once more, after it has locked the sentinel's row: foreign keys then keep others from
    writing that key, so that no row is left with it."""

    kind: Literal["sentinel_row"] = "sentinel_row"  # type: ignore[assignment]
    value: str
    """Its key, as text."""
    type: str
    shared: tuple[tuple[Name, str], ...]
    preserved = False
    in_place = True
    _overriding = sql.SQL(" OVERRIDING SYSTEM VALUE")

    @property
    def key(self) -> str:
        return f"sentinel_row:{self.table}"

    @property
    def title(self) -> str:
        return f"add the tenant {self.slug!r}, to which rows of all tenants belong"

    @property
    def remedy(self) -> str:
        return (
            f"Let {self.table} accept a row with the key {self.value!r} and the slug {self.slug!r}; for a rollback,"
            " give rows of other tables that have this key another tenant."
        )

    @property
    def spared(self) -> tuple[tuple[Name, str], ...]:
        return (*self.referenced_by, *self.shared)

    @property
    def _literal(self) -> sql.Composed:
        return literal_key(self.value, self.type)

    def definition(self) -> sql.Composable:
        return sql.SQL(
            "SELECT tenant.{}::pg_catalog.text FROM {} AS tenant WHERE tenant.{} = {}"
            " AND tenant.{}::pg_catalog.text OPERATOR(pg_catalog.=) {}"
        ).format(
            sql.Identifier(self.tenant.key), self.table.identifier, sql.Identifier(self.tenant.key), self._literal,
            sql.Identifier(self.tenant.slug), sql.Literal(self.slug),
        )  # fmt: skip

    def wants(self) -> str:
        return " ".join((self.key, self.value, *(f"{table} {column}" for table, column in self.shared)))

    def apply(self) -> tuple[Statement, ...]:
        """Only if it is not there: another mixed table is a change of what the way back does."""
        missing = sql.SQL("SELECT NOT EXISTS ({})").format(self.definition())
        return tuple(replace(one, when=missing) for one in TenantRow.apply(self))

    def row_values(self) -> dict[str, str]:
        return TenantRow.row_values(self) | {self.tenant.key: self.value}

    def _values(self) -> dict[str, sql.Composable]:
        values = TenantRow._values(self)
        return values | {self.tenant.key: self._literal}

    def revert(self, before: Before) -> tuple[Statement, ...]:
        held = sql.SQL(
            "WITH held AS MATERIALIZED (SELECT FROM {} AS tenant WHERE tenant.{} = {} FOR UPDATE)"
            " SELECT pg_catalog.count(*) FROM held"
        ).format(self.table.identifier, sql.Identifier(self.tenant.key), self._literal)
        found = [
            Statement(sql=held, manner=ExecutionMode.VALIDATION, locks=(Lock(self.table, LockMode.ROW_SHARE),))
        ]  # fmt: skip
        for table, column in self.shared:
            update = sql.SQL("UPDATE {} AS row SET {} = NULL WHERE row.{} = {} AND {}").format(
                table.identifier, sql.Identifier(column), sql.Identifier(column), self._literal,
                with_search_path(self.search_path),
            )  # fmt: skip
            locks = (Lock(table, LockMode.ROW_EXCLUSIVE),)
            there = exists(column_definition(table, column))
            found.append(Statement(sql=update, manner=ExecutionMode.VALIDATION, locks=locks, when=there))
        last = TenantRow.revert(self, before)
        return (*found, *(replace(one, manner=ExecutionMode.VALIDATION) for one in last))


@dataclass(frozen=True, slots=True, kw_only=True)
class RelationRelease(RelationFill):
    """The opposite of a fill with the sentinel tenant: its rows get NULL again, those written meanwhile included."""

    def _pending(self, *, batch: bool, since: str | None = None) -> sql.Composed:
        (source,) = self.sources
        assert isinstance(source, ByKey)
        pages = sql.SQL(
            " AND row.ctid >= $1::tid AND row.ctid < $2::tid"
            " AND ($3::int = 1 OR pg_catalog.get_byte(pg_catalog.tidsend(row.ctid), 5) % $3::int = $4::int)"
        )
        # Rows that are written with that key all the time are left to the last statement of SentinelRow.
        before = sql.SQL(" AND pg_catalog.age(row.xmin) OPERATOR(pg_catalog.>) pg_catalog.age({}::xid)").format(
            sql.Literal(since)
        )
        rows = sql.SQL("SELECT row.ctid AS address, NULL::{} AS tenant FROM ONLY {} AS row WHERE row.{} = {}").format(
            raw(source.type), self.relation.identifier, sql.Identifier(self.column),
            source.expression(sql.Identifier("row")),
        )  # fmt: skip
        return sql.Composed([rows, pages if batch else sql.SQL(""), before if since else sql.SQL("")])

    def empty(self) -> sql.Composed:
        return self.count()


@dataclass(frozen=True, slots=True, kw_only=True)
class SentinelFill(Backfill):
    """Gives the rows without a tenant of a mixed table to the sentinel tenant, in batches while writers go on. A
    rollback reverts it in batches as well."""

    kind: Literal["sentinel_fill"] = "sentinel_fill"  # type: ignore[assignment]
    purpose: Literal["everybody", "everybody_sweep"] = "everybody"  # type: ignore[assignment]
    preserved = False
    restores = False

    @property
    def title(self) -> str:
        if self.purpose == "everybody":
            return f"give the rows of {self.table} that belong to all tenants to the tenant {SENTINEL!r}"
        return f"give it the rows of {self.table} that were written without a tenant meanwhile"

    @property
    def allotted(self) -> tuple[Name, ...]:
        """None: no tenant must be found for these rows."""
        return ()

    @property
    def undoing(self) -> Backfill | None:
        """The batches that revert it. Not for the sweep: while it is reverted, rows without a tenant are refused."""
        if self.purpose != "everybody":
            return None
        fills = tuple(
            RelationRelease(
                relation=fill.relation, column=fill.column, sources=fill.sources, overrides=False, keyed=True,
                search_path=fill.search_path,
            )
            for fill in self.fills
        )  # fmt: skip
        return Backfill(phase=self.phase, table=self.table, purpose="sweep", fills=fills)

    def over(self, earlier: object, under_way: Backfill | None = None) -> SentinelFill:
        """Itself: it only fills rows without a tenant, whatever other fills have done."""
        return self

    def values(self) -> sql.Composable | None:
        """None: the rows are told from others by the sentinel's key."""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class SentinelDefault(ContextDefault):
    """The default of a mixed table's tenant column: the tenant of the session, or else the sentinel tenant. So an
    operator that names no tenant still writes a row of all tenants."""

    kind: Literal["sentinel_default"] = "sentinel_default"  # type: ignore[assignment]
    value: str
    """The sentinel tenant's key, as text."""

    @property
    def key(self) -> str:
        return f"sentinel_default:{self.table}:{self.column}"

    @property
    def title(self) -> str:
        return f"set the default of {self.column} to the setting {self.setting}, or else to the tenant {SENTINEL!r}"

    @property
    def subject(self) -> str:
        return f"The default of {quoted(self.column)} of {self.table} with the tenant {SENTINEL!r}"

    @property
    def ends(self) -> tuple[str, ...]:
        return (f"context_default:{self.table}:{self.column}",)

    @property
    def supersedes(self) -> bool:
        return True

    def definition(self) -> sql.Composable:
        return sql.SQL("SELECT found.* FROM ({}) AS found(text) WHERE pg_catalog.strpos(found.text, {}) = 1").format(
            ContextDefault.definition(self), sql.Literal("COALESCE(")
        )

    def apply(self) -> tuple[Statement, ...]:
        value = sql.SQL("COALESCE({}, {})").format(
            current_tenant_value(self.setting, self.type), literal_key(self.value, self.type)
        )
        return (self._set(value),)


@dataclass(frozen=True, slots=True, kw_only=True)
class SentinelPolicies(DirectPolicies):
    """The policies of a mixed table once no row is without a tenant: they no longer show such rows. The way back makes
    those again that do, before there are such rows again."""

    kind: Literal["sentinel_policies"] = "sentinel_policies"  # type: ignore[assignment]

    @property
    def key(self) -> str:
        return f"sentinel_policies:{self.table}"

    @property
    def title(self) -> str:
        return f"make the policies show the rows of the tenant {SENTINEL!r}, and no rows without a tenant"

    @property
    def ends(self) -> tuple[str, ...]:
        return (f"direct_policies:{self.table}",)

    def definition(self) -> sql.Composable:
        """Not of those before, which have the same names."""
        nulls = sql.SQL(
            "SELECT FROM pg_catalog.pg_policy p WHERE p.polrelid = {}"
            " AND pg_catalog.strpos(pg_catalog.pg_get_expr(p.polqual, p.polrelid),"
            " pg_catalog.concat('(', pg_catalog.quote_ident({}), ' IS NULL)')) > 0"
        ).format(self.table.oid, sql.Literal(self.security.column))
        return sql.SQL("SELECT own.* FROM ({}) AS own WHERE NOT EXISTS ({})").format(
            DirectPolicies.definition(self), nulls
        )

    @property
    def subject(self) -> str:
        return f"The policies of {self.table} with the tenant {SENTINEL!r}"

    def revert(self, before: Before) -> tuple[Statement, ...]:
        there = sql.SQL("SELECT {} IS NOT NULL").format(self.table.oid)
        return tuple(replace(one, when=there) for one in replace(self, nulls=True).apply())


@dataclass(frozen=True, slots=True, kw_only=True)
class DropSharedUnique(Step):
    """Drops the unique index over rows without a tenant: there are none, and the index with the tenant column holds for
    the rows of the sentinel tenant. The way back builds it again while it has no rows."""

    kind: Literal["shared_unique_dropped"] = "shared_unique_dropped"
    index: TenantIndex | PartitionedIndex
    parts: tuple[IndexStep, ...] = ()
    """The steps of a partitioned table's index that concern its partitions."""

    @property
    def key(self) -> str:
        return f"shared_unique_dropped:{self.index.index}"

    @property
    def title(self) -> str:
        return f"drop {self.index.index.name}, the unique index of rows without a tenant"

    @property
    def subject(self) -> str:
        return f"The end of the index {self.index.index} of {self.table}"

    @property
    def ends(self) -> tuple[str, ...]:
        return (*(part.key for part in self.parts), self.index.key)

    @property
    def supersedes(self) -> bool:
        return True

    @property
    def below(self) -> tuple[Name, ...]:
        return self.index.parts if isinstance(self.index, PartitionedIndex) else ()

    def moved_to(self, table: Name) -> DropSharedUnique:
        """On a partition that was detached: as for a table of its own."""
        own = [one for one in self.parts if one.table == table and not isinstance(one, AttachPartitionIndex)]
        return replace(self, table=table, index=replace(own[0], root=None) if own else self.index, parts=())

    def renamed(self, names: StaticNames) -> DropSharedUnique:
        index = replace(self.index, column=names.column(self.table, self.index.column)).renamed(names)
        return replace(self, index=index, parts=tuple(index_with_columns(one, self.table, names) for one in self.parts))

    def definition(self) -> sql.Composable:
        return sql.SQL("SELECT 'gone' WHERE {} IS NOT NULL AND {} IS NULL").format(self.table.oid, self.index.index.oid)

    def record(self) -> sql.Composable:
        """The texts of the indexes, by table: they may have more in them than names of columns, and follow a rename."""
        built = [one for one in (self.index, *self.parts) if not isinstance(one, AttachPartitionIndex)]
        return sql.SQL(
            "SELECT pg_catalog.jsonb_build_object('parts',"
            " pg_catalog.jsonb_object_agg(given.of, pg_catalog.jsonb_build_object('index', {})))"
            " FROM ROWS FROM (pg_catalog.unnest({}::text[]), pg_catalog.unnest({}::text[])) AS given(of, name),"
            " pg_catalog.pg_index i"
            " WHERE i.indexrelid = pg_catalog.to_regclass(given.name)"
        ).format(
            INDEX_TEXT, sql.Literal([str(one.table) for one in built]),
            sql.Literal([one.index.identifier.as_string(None) for one in built]),
        )  # fmt: skip

    def apply(self) -> tuple[Statement, ...]:
        return self.index.revert({})

    def revert(self, before: Before) -> tuple[Statement, ...]:
        last = [one for one in self.parts if isinstance(one, AttachPartitionIndex) and one.whole == self.index.index]
        ordered = (*(one for one in self.parts if one not in last), self.index, *last)
        recorded = before.get("parts") or {}
        texts = {one.key: recorded.get(str(one.table), {}).get("index", "") for one in ordered}
        return tuple(statement for one in ordered for statement in self._again(one, texts[one.key]))

    def _again(self, one: IndexStep, text: str) -> Iterator[Statement]:
        """The statements of a step, each if it is wanted: the table is there, and still a partition of this one. `text`
        is what was recorded of an index."""
        there = sql.SQL("SELECT {} IS NOT NULL").format(one.table.oid)
        if one.table != self.table:
            there = sql.SQL("{} AND {}").format(there, is_partition(one.table, self.table))
        if isinstance(one, AttachPartitionIndex):
            wanted = sql.SQL("{} AND {} IS NOT NULL AND NOT EXISTS ({})").format(there, one.index.oid, one.definition())
        else:
            wanted = sql.SQL("{} AND {} IS NULL").format(there, one.index.oid)
        *dropped, made = one.apply()
        if text and isinstance(one, TenantIndex):
            made = replace(made, sql=raw(text.replace("CREATE UNIQUE INDEX ", "CREATE UNIQUE INDEX CONCURRENTLY ", 1)))
        elif text and isinstance(one, PartitionedIndex):
            made = replace(made, sql=raw(text))
        yield from (replace(statement, when=statement.when or there) for statement in dropped)
        yield replace(made, when=wanted)
