"""SQLAlchemy 2: transactions of Engine, AsyncEngine, Session and SQLModel that are those of the running task's tenant.

    engine = use_tenants(create_engine("postgresql+psycopg://…"))
    with tenant("acme"), Session(engine) as session:
        session.scalars(select(Order)).all()

The setting is sent when a transaction begins: on psycopg in one message with BEGIN, which the driver sends before the
first statement; on other drivers as one additional statement. SQLAlchemy handles errors and cancellations as for any
statement. A transaction has one tenant. A savepoint that begins in another tenant's block belongs to that tenant until
it ends. A statement raises TenantRequired outside of any block, and TenantChanged in a block of another tenant than
that of its transaction or savepoint; it has not been sent then. AUTOCOMMIT and two-phase transactions are refused.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast
from weakref import WeakSet

from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.sql.elements import ReleaseSavepointClause, RollbackToSavepointClause, SavepointClause

from tenantry_app.context import EnteredBlock, innermost, required_block, setting
from tenantry_app.errors import StatementRefused, TenantChanged
from tenantry_app.statements import Kind, kind

_E = TypeVar("_E", Engine, AsyncEngine)
_INFO = "tenantry_app"
_SAVEPOINTS = (SavepointClause, RollbackToSavepointClause, ReleaseSavepointClause)
_SET = text("SELECT pg_catalog.set_config(:name, :value, true) IS NULL")
_SET_READ_ONLY = text(
    "SELECT pg_catalog.set_config(:name, :value, true) IS NULL,"
    " pg_catalog.set_config('transaction_read_only', 'on', true) IS NULL"
)
_PSYCOPG = ("psycopg", "psycopg_async")
_engines: WeakSet[Engine] = WeakSet()


@dataclass
class _Transaction:
    """The tenant of an open transaction, as set on the server."""

    value: str | None
    """None: it began outside of any block, and accepts no statement."""
    automatic: bool = False
    """AUTOCOMMIT: there is no transaction."""
    savepoints: list[tuple[str, str | None]] = field(default_factory=list)
    """Their names, and the tenant that the server restores when they are rolled back."""

    def back_to(self, name: str) -> str | None:
        """The tenant from before a savepoint, which ends with all savepoints inside of it."""
        while self.savepoints:
            found, before = self.savepoints.pop()
            if found == name:
                return before
        raise StatementRefused(f"savepoint {name} is not one of this transaction")


def use_tenants(engine: _E) -> _E:
    """Set the tenant in each transaction of `engine`, which is returned. To be called once, before its first
    connection."""
    sync = cast("Engine", getattr(cast("Any", engine), "sync_engine", engine))
    if sync not in _engines:
        _engines.add(sync)
        event.listen(sync, "begin", _begin)
        event.listen(sync, "commit", _forget)
        event.listen(sync, "rollback", _forget)
        event.listen(sync, "begin_twophase", _refuse_twophase)
        event.listen(sync, "before_cursor_execute", _check)
        event.listen(sync, "after_cursor_execute", _after)
        if not event.contains(Session, "after_begin", _session_begins):
            event.listen(Session, "after_begin", _session_begins)
    return engine


def _begin(connection: Connection) -> None:
    """Raises no error of its own: SQLAlchemy would consider the transaction begun. The first statement raises it."""
    block = innermost()
    automatic = getattr(connection.connection.dbapi_connection, "autocommit", False)
    if block is None or block.refusal is not None or automatic:
        connection.info[_INFO] = _Transaction(None, automatic)
        return
    connection.info[_INFO] = _Transaction(block.value)
    if connection.dialect.driver in _PSYCOPG:
        _begin_with(connection, block)
    else:
        _send(connection, block.value, read_only=block.read_only)


def _begin_with(connection: Connection, block: EnteredBlock) -> None:
    """Send the driver's next BEGIN, and no other, in one message with the setting."""
    from tenantry_app.psycopg import begin_with

    driver = cast("Any", connection.connection.driver_connection)

    def exec_command(command: Any, *options: Any) -> Generator[Any, Any, Any]:
        if command != driver._get_tx_start_command():
            return (yield from type(driver)._exec_command(driver, command, *options))
        _forget(connection)
        if driver._pipeline is None:
            return (yield from begin_with(driver, command, block))
        # executemany() is a pipeline of psycopg's own, with one statement in each message.
        found = yield from driver._exec_command(command)
        yield from driver._exec_command(block.select.encode())
        return found

    driver._exec_command = exec_command


def _forget(connection: Connection) -> None:
    """A transaction that has sent nothing leaves nothing on the connection, which is returned to its pool."""
    if connection.dialect.driver in _PSYCOPG and not connection.invalidated:
        vars(connection.connection.driver_connection).pop("_exec_command", None)


def _refuse_twophase(connection: Connection, xid: object) -> None:
    raise StatementRefused("two-phase transactions: drivers begin them, so that the tenant cannot be set first")


def _send(connection: Connection, value: str, *, read_only: bool = False) -> None:
    # With parameters it is one statement for all tenants, for drivers that prepare repeated statements.
    connection.execute(
        _SET_READ_ONLY if read_only else _SET,
        {"name": setting().name, "value": value},
        execution_options={"stream_results": False, "tenantry_app": True},
    )


def _check(
    connection: Connection, cursor: object, statement: str, parameters: object, context: Any, many: bool
) -> None:
    """Sends nothing: what is sent in this event is left open if the request is cancelled."""
    if _is_own_statement(context) or not getattr(
        connection, "_allow_autobegin", True
    ):  # what the dialect asks a new connection
        return
    found = kind(statement)
    if _savepoint(context) is not None or found is Kind.EMPTY:
        return
    if found is Kind.CONTROL:
        raise StatementRefused(
            "a transaction or savepoint by text: use begin(), begin_nested(), commit() and rollback()"
        )
    block = required_block()
    if not connection.in_transaction():
        raise StatementRefused("the transaction could not begin: close this connection")
    transaction: _Transaction = connection.info[_INFO]
    if transaction.automatic:
        raise StatementRefused("AUTOCOMMIT: the tenant is set for a transaction, so one is needed")
    if block.value != transaction.value:
        raise TenantChanged(
            "the transaction",
            transaction.value or "",
            block.value,
            "begin a transaction, or a savepoint, inside of the block",
        )


def _after(
    connection: Connection, cursor: object, statement: str, parameters: object, context: Any, many: bool
) -> None:
    clause = _savepoint(context)
    if clause is None:
        return
    transaction: _Transaction = connection.info[_INFO]
    if isinstance(clause, SavepointClause):
        transaction.savepoints.append((clause.ident, transaction.value))
        block = innermost()
        if block is not None and block.refusal is None and block.value != transaction.value:
            _send(connection, block.value, read_only=block.read_only)
            transaction.value = block.value
    elif isinstance(clause, RollbackToSavepointClause):
        transaction.value = transaction.back_to(clause.ident)
    else:
        before = transaction.back_to(clause.ident)
        if before != transaction.value:
            _send(connection, before or "")
            transaction.value = before


def _is_own_statement(context: Any) -> bool:
    return context is not None and "tenantry_app" in context.execution_options


def _savepoint(context: Any) -> Any:
    statement = getattr(getattr(context, "compiled", None), "statement", None)
    return statement if isinstance(statement, _SAVEPOINTS) else None


def _session_begins(session: Session, transaction: SessionTransaction, connection: Connection) -> None:
    """A session caches the objects that it has read; it must not return those of one tenant to another."""
    if connection.engine not in _engines or transaction.nested:
        return
    block, before = innermost(), session.info.get(_INFO)
    if block is None:
        return
    value = block.value
    if before not in (None, value) and len(session.identity_map) > 0:
        raise TenantChanged("the session", before, value, "use a session for each tenant, or expunge_all() in between")
    session.info[_INFO] = value
