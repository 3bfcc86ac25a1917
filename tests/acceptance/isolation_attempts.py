"""What tenants see and can write, tried as the application role on every distributed table of any migrated schema."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import psycopg
from psycopg import errors, sql

from acceptance.distributed import Distributed, distributed
from acceptance.general_writers import shapes
from servers import Database
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

TENANTS = 5


class Attempts:
    """Every attempt is rolled back. `sentinel`: the key of the tenant to which rows of all tenants belong."""

    def __init__(self, database: Database, spec: Spec, sentinel: str | None = None) -> None:
        self.database, self.spec, self.sentinel = database, spec, sentinel
        self.tables: Distributed = distributed(Target(database.dsn), spec)
        self.tried = 0

    @contextmanager
    def _as(self, tenant: str) -> Iterator[psycopg.Connection[Any]]:
        with self.database.connect() as connection, connection.transaction(force_rollback=True):
            connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(self.spec.application.role)))
            connection.execute("SELECT set_config(%s, %s, true)", [self.setting, tenant])
            yield connection

    @property
    def setting(self) -> str:
        return self.spec.tenant.setting

    def _seen(self, tenant: str, table: str, column: str) -> dict[str | None, int]:
        query = sql.SQL("SELECT {}::text, count(*) FROM {} GROUP BY 1").format(sql.Identifier(column), sql.SQL(table))
        with self._as(tenant) as connection:
            return dict(connection.execute(query).fetchall())

    def all(self) -> int:
        """Each tenant sees its own rows and those of all tenants, and changes its own alone; the number of tables and
        tenants with rows of their own that were tried."""
        for table, column in self.tables.columns.items():
            whole: dict[str | None, int] = dict(
                self.database.rows(
                    sql.SQL("SELECT {}::text, count(*) FROM {} GROUP BY 1").format(
                        sql.Identifier(column), sql.SQL(table)
                    )  # type: ignore[arg-type]
                )
            )
            shared = {key: rows for key, rows in whole.items() if key is None or key == self.sentinel}
            tenants = [key for key in whole if key is not None and key not in shared]
            assert self._seen("", table, column) == shared, f"{table} without a tenant"
            seen = dict(shared)
            for tenant in tenants:
                own = self._seen(tenant, table, column)
                assert own == shared | {tenant: whole[tenant]}, f"{table} as {tenant}"
                seen |= own
                self.tried += 1
            assert seen == whole, f"{table}: what the tenants see is not all rows"
            for tenant, other in pairwise(tenants[: TENANTS + 1]):
                self._write(table, column, tenant, other)
        self._insert()
        return self.tried

    def _write(self, table: str, column: str, tenant: str, other: str) -> None:
        """Nothing of another tenant's is changed or taken, and nothing of its own is given away."""
        names = {"table": sql.SQL(table), "column": sql.Identifier(column), "other": sql.Literal(other)}
        for statement in (
            "DELETE FROM {table} WHERE {column}::text = {other}",
            "UPDATE {table} SET {column} = {column} WHERE {column}::text = {other}",
        ):
            with self._as(tenant) as connection:
                assert connection.execute(sql.SQL(statement).format(**names)).rowcount == 0, f"{table}: {statement}"
        kind = self.database.rows(
            "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = %s::regclass AND attname = %s",
            [table, column],
        )[0][0]
        give = sql.SQL("UPDATE {table} SET {column} = {other}::{kind}").format(**names, kind=sql.SQL(kind))
        try:
            with self._as(tenant) as connection:
                connection.execute(give)
        except errors.InsufficientPrivilege:
            return
        raise AssertionError(f"{table}: {tenant} gives its rows to {other}")

    def _insert(self) -> None:
        """A row of another tenant's cannot be written."""
        for shape in shapes(self.database, self.tables):
            rows = self.database.rows(
                sql.SQL(
                    "SELECT DISTINCT ON ({0}) {0}::text, {1} FROM {2} WHERE {0} IS NOT NULL ORDER BY {0} LIMIT 2"
                ).format(
                    sql.Identifier(shape.tenant), sql.SQL(", ").join(map(sql.Identifier, shape.primary)), shape.relation
                )  # type: ignore[arg-type]
            )
            rows = [row for row in rows if row[0] != self.sentinel]
            if len(rows) < 2:
                continue
            (tenant, *key), (other, *_) = rows
            statement = shape.copied(named=True, replaced={shape.tenant: sql.Literal(other)})
            try:
                with self._as(tenant) as connection:
                    connection.execute(statement, {"number": 1_234_567_890, **shape.key(key)})
            except errors.InsufficientPrivilege:
                continue
            raise AssertionError(f"{shape.table}: {tenant} writes a row of {other}")
