"""asyncpg: every statement of a transaction is the block's tenant's, and nothing is left on a connection."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from psycopg.conninfo import conninfo_to_dict

from shop import EAST, NORTH, SOUTH
from tenantry_app import StatementRefused, TenantChanged, TenantRequired, check_async, tenant, without_tenant
from tenantry_app.asyncpg import TenantConnection
from wire import wire

pytestmark = pytest.mark.server

ORDERS = {NORTH: 3, SOUTH: 2, EAST: 0}
COUNT = "SELECT count(*) FROM orders"


def place(dsn: str) -> dict[str, Any]:
    options = conninfo_to_dict(dsn)
    return {
        "host": options["host"], "port": int(str(options.get("port") or 5432)), "user": options["user"],
        "database": options["dbname"], "ssl": False,
    }  # fmt: skip


def run(dsn: str, test: Callable[[Any], Awaitable[None]]) -> None:
    """Runs it with one connection, which has no tenant afterwards."""

    async def main() -> None:
        connection = await asyncpg.connect(**place(dsn), connection_class=TenantConnection)
        try:
            await test(connection)
            left = await connection._protocol._protocol.query(
                "SELECT 1 / (current_setting('app.tenant_id', true) = '')::int", None
            )
            assert left == "SELECT 1"
        finally:
            await connection.close()

    asyncio.run(main())


async def counts_by_every_method(connection: Any) -> set[int]:
    """How many orders there are, asked for in each way."""
    prepared = await connection.prepare("SELECT count(*) FROM orders WHERE id > $1")
    found = [
        await connection.fetchval(COUNT),
        await prepared.fetchval(0),
        len(await connection.fetch("SELECT * FROM orders")),
    ]
    found.append((await connection.fetchrow(COUNT))[0])
    found.append(len([row async for row in connection.cursor("SELECT * FROM orders", prefetch=1)]))
    cursor = await connection.cursor("SELECT * FROM orders")
    found.append(len(await cursor.fetch(10)))
    rows: list[bytes] = []

    async def take(data: bytes) -> None:
        rows.append(data)

    await connection.copy_from_query("SELECT * FROM orders", output=take)
    found.append(b"".join(rows).count(b"\n"))
    return set(found)


def test_each_way_is_the_tenants(dsn: str) -> None:
    async def test(connection: Any) -> None:
        for _ in range(3):
            for key, orders in ORDERS.items():
                async with tenant(key), connection.transaction():
                    assert await counts_by_every_method(connection) == {orders}
                    async with tenant(SOUTH):
                        assert await counts_by_every_method(connection) == {2}
            with without_tenant():
                async with connection.transaction():
                    assert await counts_by_every_method(connection) == {0}

    run(dsn, test)


def test_strict(dsn: str) -> None:
    async def test(connection: Any) -> None:
        for use in (connection.fetch, connection.execute):
            with pytest.raises(TenantRequired):
                await use("SELECT 1")
        with tenant(NORTH):
            with pytest.raises(StatementRefused, match="transaction"):
                await connection.fetch("SELECT 1")
            assert await connection.execute("SELECT * FROM orders") == "SELECT 3"
            assert await connection.execute("SELECT 1; SELECT * FROM orders") == "SELECT 3"
            with pytest.raises(StatementRefused):
                await connection.execute("SET app.tenant_id = '2'")
        async with connection.transaction():
            prepared = None
            with tenant(NORTH):
                prepared = await connection.prepare(COUNT)
                assert await prepared.fetchval() == 3
            with pytest.raises(TenantRequired):
                await prepared.fetchval()
            with tenant(SOUTH):
                assert await prepared.fetchval() == 2

    run(dsn, test)


def test_cursors_keep_their_tenant(dsn: str) -> None:
    """PostgreSQL looks at the setting when the first row is fetched."""

    async def test(connection: Any) -> None:
        async with connection.transaction():
            with tenant(NORTH):
                cursor = await connection.cursor("SELECT * FROM orders")
            with tenant(SOUTH):
                assert await connection.fetchval(COUNT) == 2
                with pytest.raises(TenantChanged):
                    await cursor.fetch(1)
            with tenant(NORTH):
                assert len(await cursor.fetch(10)) == 3

    run(dsn, test)


def test_a_savepoint_of_another_tenant_and_back(dsn: str) -> None:
    async def test(connection: Any) -> None:
        with tenant(NORTH):
            async with connection.transaction():
                assert await connection.fetchval(COUNT) == 3
                for error in (None, ZeroDivisionError, asyncpg.DivisionByZeroError):
                    with tenant(SOUTH):
                        try:
                            async with connection.transaction():
                                assert await connection.fetchval(COUNT) == 2
                                if error is ZeroDivisionError:
                                    raise ZeroDivisionError
                                if error:
                                    await connection.fetchval("SELECT 1 / $1::int", 0)
                        except (ZeroDivisionError, asyncpg.DivisionByZeroError):
                            pass
                        assert await connection.fetchval(COUNT) == 2
                    assert await connection.fetchval(COUNT) == 3

    run(dsn, test)


def test_read_only(dsn: str) -> None:
    async def test(connection: Any) -> None:
        with tenant(NORTH, read_only=True), pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            async with connection.transaction():
                await connection.execute("UPDATE orders SET note = 'new'")

    run(dsn, test)


def test_the_role_is_checked(dsn: str) -> None:
    async def test(connection: Any) -> None:
        await check_async(connection)
        async with tenant(NORTH), connection.transaction():
            await check_async(connection)
            assert await connection.fetchval(COUNT) == 3

    run(dsn, test)


def test_no_round_trip_more(dsn: str) -> None:
    counted = []

    async def main(kind: type[Any]) -> None:
        with wire(dsn) as network:
            connection = await asyncpg.connect(**place(network.dsn), connection_class=kind)
            for _ in range(2):
                network.reset()
                async with tenant(NORTH), connection.transaction():
                    assert await connection.fetchval(COUNT) in (0, 3)
                    assert await connection.fetchval(COUNT) in (0, 3)
            counted.append(network.round_trips)
            await connection.close()

    for kind in (asyncpg.Connection, TenantConnection):
        asyncio.run(main(kind))
    assert counted[0] == counted[1]


def test_pools_and_cancellations(dsn: str) -> None:
    rng = random.Random(13)

    async def request(pool: Any, key: str, seconds: float) -> tuple[str, int]:
        async with tenant(key), pool.acquire() as connection, connection.transaction():
            await connection.execute(f"SELECT pg_sleep({seconds})")
            return key, await connection.fetchval(COUNT)

    async def main() -> int:
        cancelled = 0
        async with asyncpg.create_pool(**place(dsn), connection_class=TenantConnection, min_size=2, max_size=2) as pool:
            for _ in range(30):
                tasks = [
                    asyncio.create_task(request(pool, rng.choice([NORTH, SOUTH, EAST]), rng.uniform(0, 0.005)))
                    for _ in range(4)
                ]
                await asyncio.sleep(rng.uniform(0, 0.01))
                tasks[0].cancel()
                for result in await asyncio.gather(*tasks, return_exceptions=True):
                    if isinstance(result, asyncio.CancelledError):
                        cancelled += 1
                    else:
                        assert not isinstance(result, BaseException), result
                        assert result[1] == ORDERS[result[0]]
        return cancelled

    assert asyncio.run(main()) > 2
