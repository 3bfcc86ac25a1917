"""Sends the setting in front of each statement of Django.

Each message contains the tenant of its statement, so that the state of the transaction does not matter: autocommit,
atomic(), savepoints, ATOMIC_REQUESTS and pools all work in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import Any

import psycopg
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from psycopg import sql as composing
from psycopg.pq import TransactionStatus

from tenantry_app.context import EnteredBlock, required_block
from tenantry_app.django import options
from tenantry_app.errors import StatementRefused, TenantChanged
from tenantry_app.statements import Kind, kind

_PAST_WRAPPERS = ("copy", "stream", "callproc", "executemany_values")
"""Methods of psycopg's cursors that Django passes on without calling its execute wrappers."""


def take_if_named(connection: Any, **signal: Any) -> None:
    """Receives connection_created."""
    if connection.alias in options()["DATABASES"]:
        take(connection)


def take(connection: Any) -> None:
    """Make every statement of a Django connection run as its tenant. ImproperlyConfigured for another driver."""
    if with_tenant in connection.execute_wrappers:
        return
    if not getattr(connection.Database, "__name__", "") == "psycopg":
        raise ImproperlyConfigured(f"database {connection.alias!r}: tenantry_app.django needs psycopg 3")
    connection.execute_wrappers.append(with_tenant)
    connection.create_cursor = partial(_create_cursor, connection, connection.create_cursor)


def with_tenant(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """An execute wrapper. Raises TenantRequired before anything is sent, and StatementRefused as in
    tenantry_app.statements."""
    connection, cursor = context["connection"], context["cursor"].cursor
    if kind(sql if isinstance(sql, str) else sql.as_string(connection.connection)) in (Kind.CONTROL, Kind.EMPTY):
        return execute(sql, params, many, context)
    block = required_block()
    if isinstance(cursor, psycopg.ServerCursor):
        with transaction.atomic(using=connection.alias, savepoint=False):
            _send(connection, block)
            result = execute(sql, params, many, context)
        _guard_fetches(cursor, block.value)
        return result
    if many:
        with transaction.atomic(using=connection.alias, savepoint=False):
            _send(connection, block)
            return execute(sql, params, many, context)
    if not isinstance(cursor, psycopg.ClientCursor):  # server_side_binding: a message holds one statement
        with connection.wrap_database_errors, connection.connection.pipeline():
            _send(connection, block)
            return execute(sql, params, many, context)
    prefix = f"{block.select}; "
    if params is not None:
        prefix = prefix.replace("%", "%%")
    both = prefix + sql if isinstance(sql, str) else composing.SQL(prefix) + sql
    result = execute(both, params, many, context)
    cursor.nextset()
    return result


def _send(connection: Any, block: EnteredBlock) -> None:
    with connection.wrap_database_errors, connection.connection.cursor() as cursor:
        cursor.execute(block.select)


class _ServerCursor(psycopg.ServerCursor[Any]):
    """psycopg's own, with a `__dict__`, so that attributes can be set."""


def _create_cursor(connection: Any, create: Callable[..., Any], name: str | None = None) -> Any:
    if name:
        connection.connection.server_cursor_factory = _ServerCursor
    cursor = create(name)
    for method in _PAST_WRAPPERS:
        if hasattr(cursor, method):
            setattr(cursor, method, partial(_in_transaction, connection, getattr(cursor, method), method))
    return cursor


def _in_transaction(connection: Any, call: Callable[..., Any], name: str, *args: Any, **kwargs: Any) -> Any:
    block = required_block()
    if not connection.in_atomic_block and connection.get_autocommit():
        raise StatementRefused(f"{name}() in autocommit: the setting needs a transaction, so use atomic()")
    _send(connection, block)
    return call(*args, **kwargs)


def _guard_fetches(cursor: Any, begun: str) -> None:
    """PostgreSQL evaluates the tenant when rows are fetched, and not when the cursor is declared."""
    fetch = type(cursor)._fetch_gen

    def guarded(num: int | None) -> Generator[Any, Any, Any]:
        block = required_block()
        if block.value != begun:
            raise TenantChanged("the iterator", begun, block.value, "iterate over it in the block of its query")
        if cursor.connection.info.transaction_status == TransactionStatus.INTRANS:
            yield from cursor.connection._exec_command(block.set_local.encode())
        return (yield from fetch(cursor, num))

    cursor._fetch_gen = guarded
