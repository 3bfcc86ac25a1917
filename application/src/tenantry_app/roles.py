"""Whether a role can pass the policies.

pool = ConnectionPool(dsn, connection_class=TenantConnection, configure=check)
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any

from tenantry_app.context import setting, without_tenant
from tenantry_app.errors import OperatorRequired, RoleRefused
from tenantry_app.setting import quoted


def check(connection: Any) -> None:
    """Refuse a connection whose role can bypass the policies, or become a role that can.

    `connection`: of psycopg (3 or 2), SQLAlchemy, Django, or any other of the DB-API; for async ones see check_async.
    If no transaction was open, none is afterwards.

    Raises RoleRefused, which names the role and each reason: a superuser, BYPASSRLS, the owner of a table that has
    row-level security, a role to which a policy shows all rows, one that may read the server's files, a member of any
    of these; or a tenant that the role or the database sets by default. Errors of the driver are not caught.
    """
    _refuse(_fetch(connection, _query()))


async def check_async(connection: Any) -> None:
    """As check, for psycopg's AsyncConnection, asyncpg's connections and SQLAlchemy's AsyncConnection."""
    _refuse(await _fetch_async(connection, _query()))


def check_operator(connection: Any, column: str = "tenant_id") -> None:
    """Refuse a connection whose role sees the rows of one tenant only, or none: a data migration would skip the others
    silently.

    `connection`: as for check. `column`: the tenant column, by which tables of tenants are recognised.

    Raises OperatorRequired, which names the role and the tables.
    """
    _operator(_fetch(connection, _filtered(column)))


def operator(connection: Any, column: str) -> str:
    """The role as which its statements run. As check_operator, and also refuses a role that finds no table with the
    column: one without privileges, or a column of another name."""
    return _operator(_fetch(connection, _filtered(column)), column)


async def operator_async(connection: Any, column: str) -> str:
    """As operator, for the connections of check_async."""
    return _operator(await _fetch_async(connection, _filtered(column)), column)


def _filtered(column: str) -> str:
    return _sql("filtered.sql").replace(":column", quoted(column))


def _operator(rows: list[Any], column: str | None = None) -> str:
    ((role, number, hidden),) = rows
    if hidden or (column is not None and not number):
        raise OperatorRequired(role, hidden or (), column)
    return str(role)


def _fetch(connection: Any, query: str) -> list[Any]:
    opened = _idle(connection)
    with without_tenant():
        if hasattr(connection, "exec_driver_sql"):
            rows = connection.exec_driver_sql(query).fetchall()
        else:
            cursor = connection.cursor()
            try:
                cursor.execute(query)
                rows = cursor.fetchall()
            finally:
                cursor.close()
        if opened:
            connection.rollback()
    return [_as_tuple(row) for row in rows]


async def _fetch_async(connection: Any, query: str) -> list[Any]:
    opened = _idle(connection)
    async with without_tenant():
        if hasattr(connection, "exec_driver_sql"):
            rows = (await connection.exec_driver_sql(query)).fetchall()
        elif hasattr(connection, "is_in_transaction"):
            async with connection.transaction():
                rows = await connection.fetch(query)
        else:
            rows = await (await connection.execute(query)).fetchall()
        if opened:
            await connection.rollback()
    return [_as_tuple(row) for row in rows]


def _as_tuple(row: Any) -> tuple[Any, ...]:
    """A row as a tuple, whatever the connection's row factory returns."""
    return tuple(row.values()) if isinstance(row, Mapping) else tuple(row)


def _idle(connection: Any) -> bool:
    """Whether a transaction that a query begins has to be ended here: not in autocommit, and not if that is unknown."""
    if hasattr(connection, "in_transaction") and hasattr(connection, "exec_driver_sql"):
        return not connection.in_transaction()
    status = getattr(getattr(connection, "info", None), "transaction_status", None)
    return status == 0 and not getattr(connection, "autocommit", True)


def _query() -> str:
    return _sql("roles.sql").replace(":prefix", quoted(setting().name.lower() + "="))


def _sql(name: str) -> str:
    text = resources.files("tenantry_app").joinpath(name).read_text()
    return "\n".join(line for line in text.splitlines() if not line.startswith("--"))


def unsecured(connection: Any, column: str = "tenant_id") -> list[str]:
    """The tables that have the tenant column, but no row-level security that is enabled, forced and has a policy.

    `connection`: as for check. Tables in schemas that the role may not use are left out.
    """
    return [row[0] for row in _fetch(connection, _sql("unsecured.sql").replace(":column", quoted(column)))]


def _refuse(found: list[Any]) -> None:
    reasons = [reason for _, reason in found if reason is not None]
    if reasons:
        raise RoleRefused(found[0][0], reasons)
