"""asyncpg: connections whose transactions are those of the running task's tenant.

    pool = await asyncpg.create_pool(dsn, connection_class=TenantConnection)
    async with tenant("acme"), pool.acquire() as connection, connection.transaction():
        await connection.fetch("SELECT * FROM orders")

BEGIN and the setting are one message, so that a transaction needs no additional round trip; if the tenant changes
within it, and after a savepoint, the setting needs one. Outside of a transaction only `execute(text)` without arguments
can be sent together with the setting; everything else raises StatementRefused. No statement is sent without a tenant,
and no setting is left on the connection.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg

from tenantry_app.context import EnteredBlock, innermost, required_block
from tenantry_app.errors import StatementRefused, TenantChanged
from tenantry_app.statements import Kind, kind

_SENDING = ("bind_execute_many", "copy_in", "copy_out")
"""The methods of asyncpg's protocol that send a statement, except for those that _Protocol defines itself."""


class _Protocol:
    """asyncpg's protocol, which sends everything for connections, prepared statements and cursors."""

    def __init__(self, protocol: Any, connection: TenantConnection) -> None:
        self._protocol = protocol
        self._connection = connection
        self._applied_setting: tuple[str, bool] | None = None
        """The setting's value in the open transaction, and whether that is read-only; None: unknown."""
        self._portals: dict[str, str] = {}
        """The tenants of cursors, by the names of their portals."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._protocol, name)
        if name in _SENDING:
            found = self._guarded(found)
        if callable(found):
            self.__dict__[name] = found  # looked up once
        return found

    def _guarded(self, method: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Awaitable[Any]:
            return self._as(required_block(), method, *args, **kwargs)

        return call

    def query(self, text: str, timeout: float | None) -> Awaitable[Any]:
        """A text without arguments, by the simple protocol, which takes several statements."""
        send: Callable[[str, float | None], Awaitable[Any]] = self._protocol.query
        if text == self._connection.get_reset_query():
            return send(text, timeout)
        found, inside = kind(text), self._protocol.is_in_transaction()
        if found is Kind.EMPTY:
            return send(text, timeout)
        if found is Kind.CONTROL:
            self._applied_setting = None
            block = innermost()
            if inside or block is None or block.refusal is not None:
                return send(text, timeout)
            return self._begin(text, block, timeout)
        block = required_block()
        if not inside:
            return send(f"{block.select}; {text}", timeout)
        return self._as(block, self._query, found, text, timeout)

    async def _begin(self, text: str, block: EnteredBlock, timeout: float | None) -> Any:
        result = await self._protocol.query(f"{text.rstrip().rstrip(';')}; {block.set_local}", timeout)
        self._portals.clear()
        self._applied_setting = (block.value, block.read_only)
        return result

    def _query(self, found: Kind, text: str, timeout: float | None) -> Awaitable[Any]:
        if found is not Kind.PLAIN:
            self._applied_setting = None
        query: Awaitable[Any] = self._protocol.query(text, timeout)
        return query

    def bind(self, state: Any, args: Any, portal_name: str, *rest: Any, **named: Any) -> Awaitable[Any]:
        """Open a cursor."""
        block = required_block()
        self._portals[portal_name] = block.value
        return self._as(block, self._protocol.bind, state, args, portal_name, *rest, **named)

    def bind_execute(self, state: Any, args: Any, portal_name: str, *rest: Any, **named: Any) -> Awaitable[Any]:
        """A statement with its arguments, or a cursor's first rows."""
        block = required_block()
        if portal_name:
            self._portals[portal_name] = block.value
        return self._as(block, self._protocol.bind_execute, state, args, portal_name, *rest, **named)

    def execute(self, state: Any, portal_name: str, *rest: Any, **named: Any) -> Awaitable[Any]:
        """The next rows of a cursor, which PostgreSQL reads as the present tenant."""
        block = required_block()
        begun = self._portals.get(portal_name, block.value)
        if begun != block.value:
            raise TenantChanged("the cursor", begun, block.value, "fetch its rows in the block of the first")
        return self._as(block, self._protocol.execute, state, portal_name, *rest, **named)

    def _as(
        self, block: EnteredBlock, method: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any
    ) -> Awaitable[Any]:
        """Call a method of asyncpg's protocol after the tenant is set."""
        if self._is_set(block):
            return method(*args, **kwargs)
        return self._after_setting(block, method, *args, **kwargs)

    async def _after_setting(
        self, block: EnteredBlock, method: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any
    ) -> Any:
        await self._ensure(block)
        return await method(*args, **kwargs)

    def _is_set(self, block: EnteredBlock) -> bool:
        """Whether the tenant is set. Raises StatementRefused outside of a transaction."""
        if not self._protocol.is_in_transaction():
            self._applied_setting = None
            raise StatementRefused("outside of a transaction: the setting needs one, so use connection.transaction()")
        force = self._applied_setting
        return force is not None and force[0] == block.value and force[1] >= block.read_only

    async def _ensure(self, block: EnteredBlock) -> None:
        """Set the tenant if it is not set."""
        while not self._is_set(block):
            self._applied_setting = None
            await self._protocol.query(block.set_local, None)
            self._applied_setting = (block.value, block.read_only)


class TenantConnection(asyncpg.Connection):  # type: ignore[misc]
    """An asyncpg.Connection whose transactions are those of the running task's tenant; a pool's `connection_class`.

    Statements raise TenantRequired outside of any block, StatementRefused outside of any transaction and as
    tenantry_app.statements says, TenantChanged from cursors of another tenant.
    """

    def __init__(self, protocol: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(protocol, *args, **kwargs)
        self._protocol = _Protocol(protocol, self)
