"""The global unique constraint or index that a per-tenant one has replaced goes, in contract."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from psycopg import sql

from tenantry.model.name import Name
from tenantry.model.plan import ExecutionMode, Lock, LockMode, Statement
from tenantry.model.schema import Table, Unique
from tenantry.steps.introspection import identifiers, raw
from tenantry.steps.step import Before, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class DropGlobalUnique(Step):
    """Drops the index, and the constraint of the same name if there is one; everything that pg_dump shows of
    it is recorded, and put back without stopping writers: the index CONCURRENTLY, then the constraint upon it."""

    kind: Literal["global_unique"] = "global_unique"
    unique: Unique
    """The index as it was found: it is part of the user's schema even after it was dropped."""
    replaced_by: Name
    mixed: bool = False
    """Whether rows of the table may have no tenant."""

    @property
    def index(self) -> Name:
        return Name(self.table.schema, self.unique.name)

    @property
    def key(self) -> str:
        return f"global_unique:{self.index}"

    @property
    def title(self) -> str:
        return f"drop {self.index.name}, which {self.replaced_by.name} replaces within each tenant"

    @property
    def locks(self) -> tuple[Lock, ...]:
        return (Lock(self.table, LockMode.ACCESS_EXCLUSIVE),)

    @property
    def subject(self) -> str:
        return f"The replacement of the unique index {self.index} by {self.replaced_by}"

    def as_found(self, table: Table, before: Before) -> Table:
        if any(unique.name == self.unique.name for unique in table.uniques):
            return table
        return replace(table, uniques=(*table.uniques, self.unique))

    def definition(self) -> sql.Composable:
        return sql.SQL("SELECT 'replaced' WHERE {} IS NULL AND {} IS NOT NULL").format(
            self.index.oid, self.replaced_by.oid
        )

    def record(self) -> sql.Composable:
        return sql.SQL(
            "SELECT pg_catalog.jsonb_build_object("
            "'index', pg_catalog.pg_get_indexdef(i.indexrelid), 'constraint', pg_catalog.pg_get_constraintdef(c.oid),"
            "'deferrable', c.condeferrable, 'deferred', c.condeferred,"
            "'index_comment', pg_catalog.obj_description(i.indexrelid, 'pg_class'),"
            "'constraint_comment', pg_catalog.obj_description(c.oid, 'pg_constraint'),"
            "'clustered', i.indisclustered, 'identity', i.indisreplident,"
            "'statistics', (SELECT pg_catalog.jsonb_object_agg(a.attnum, a.attstattarget)"
            " FROM pg_catalog.pg_attribute a"
            " WHERE a.attrelid = i.indexrelid AND a.attstattarget >= 0))"
            " FROM pg_catalog.pg_index i LEFT JOIN pg_catalog.pg_constraint c"
            " ON c.conindid = i.indexrelid AND c.conrelid = i.indrelid AND c.contype IN ('u', 'x')"
            " WHERE i.indexrelid = {}"
        ).format(self.index.oid)

    def stood_in(self, before: Before) -> Name | None:
        return self.replaced_by if before.get("identity") else None

    def clashes(self) -> tuple[str, sql.Composable] | None:
        """Values that more than one row has; none are known where the index is not over columns, or over some rows."""
        if not self.unique.columns or self.unique.partial:
            return None
        columns = identifiers(self.unique.columns)
        present = sql.SQL(" AND ").join(
            sql.SQL("{} IS NOT NULL").format(sql.Identifier(name)) for name in self.unique.columns
        )
        return self.index.name, sql.SQL(
            "SELECT pg_catalog.count(*), pg_catalog.min(found.value) FROM (SELECT ROW({0})::text AS value FROM {1}"
            " WHERE {2} GROUP BY {0} HAVING pg_catalog.count(*) > 1) AS found"
        ).format(columns, self.table.identifier, present)

    def apply(self) -> tuple[Statement, ...]:
        if not self.unique.identity:
            return (self._drop,)
        # Every update of a published table would fail without it. Where the tenant may be NULL, no index can be it.
        form = (
            sql.SQL("FULL") if self.mixed else sql.SQL("USING INDEX {}").format(sql.Identifier(self.replaced_by.name))
        )
        identity = sql.SQL("ALTER TABLE {} REPLICA IDENTITY {}").format(self.table.identifier, form)
        return Statement(sql=identity, locks=self.locks), self._drop

    @property
    def _drop(self) -> Statement:
        if self.unique.constraint:
            drop = sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(
                self.table.identifier, sql.Identifier(self.index.name)
            )
        else:
            drop = sql.SQL("DROP INDEX {}").format(self.index.identifier)
        return Statement(sql=drop, locks=self.locks)

    def revert(self, before: Before) -> tuple[Statement, ...]:
        if not before.get("index"):
            return ()
        table, index = self.table.identifier, sql.Identifier(self.index.name)
        missing = sql.SQL("SELECT {} IS NULL").format(self.index.oid)
        invalid = sql.SQL(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indexrelid = {} AND NOT i.indisvalid)"
        ).format(self.index.oid)
        build = before["index"].replace("CREATE UNIQUE INDEX ", "CREATE UNIQUE INDEX CONCURRENTLY ", 1)
        statements = [
            Statement(
                sql=sql.SQL("DROP INDEX CONCURRENTLY {}").format(self.index.identifier),
                manner=ExecutionMode.CONCURRENT,
                when=invalid,
            ),
            Statement(sql=raw(build), manner=ExecutionMode.CONCURRENT, when=missing),
        ]
        if before.get("constraint"):
            timing = ""
            if before.get("deferrable"):
                timing = " DEFERRABLE INITIALLY DEFERRED" if before.get("deferred") else " DEFERRABLE"
            attach = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} UNIQUE USING INDEX {}{}").format(
                table, index, index, raw(timing)
            )
            alone = sql.SQL(
                "SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_constraint c WHERE c.conrelid = {} AND c.conname = {})"
            ).format(self.table.oid, sql.Literal(self.index.name))
            statements.append(Statement(sql=attach, locks=self.locks, when=alone))
        return (*statements, *self._ornaments(before))

    def _ornaments(self, before: Before) -> tuple[Statement, ...]:
        table, index = self.table.identifier, sql.Identifier(self.index.name)
        found: list[sql.Composable] = []
        if before.get("index_comment") is not None:
            found.append(
                sql.SQL("COMMENT ON INDEX {} IS {}").format(self.index.identifier, sql.Literal(before["index_comment"]))
            )
        if before.get("constraint_comment") is not None:
            found.append(
                sql.SQL("COMMENT ON CONSTRAINT {} ON {} IS {}").format(
                    index, table, sql.Literal(before["constraint_comment"])
                )
            )
        if before.get("clustered"):
            found.append(sql.SQL("ALTER TABLE {} CLUSTER ON {}").format(table, index))
        if before.get("identity"):
            found.append(sql.SQL("ALTER TABLE {} REPLICA IDENTITY USING INDEX {}").format(table, index))
        for number, target in (before.get("statistics") or {}).items():
            found.append(
                sql.SQL("ALTER INDEX {} ALTER COLUMN {} SET STATISTICS {}").format(
                    self.index.identifier, sql.Literal(int(number)), sql.Literal(int(target))
                )
            )
        return tuple(Statement(sql=statement, locks=self.locks) for statement in found)
