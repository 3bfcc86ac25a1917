"""SQLAlchemy: a transaction is one tenant's, a savepoint may be another's, and nothing outlives either."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import create_engine, select, text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from conftest import application
from servers import Database
from shop import EAST, NORTH, SOUTH
from sqlalchemy_shop import COUNT, Customer, Order, url
from tenantry_app import StatementRefused, TenantChanged, TenantRequired, check, check_async, tenant, without_tenant
from tenantry_app.sqlalchemy import use_tenants
from wire import wire

pytestmark = pytest.mark.server

ORDERS = {NORTH: 3, SOUTH: 2, EAST: 0}


@pytest.fixture
def engine(dsn: str) -> Iterator[Engine]:
    made = use_tenants(create_engine(url(dsn, "psycopg"), pool_size=2, max_overflow=0))
    yield made
    with made.connect() as connection, without_tenant():
        raw = connection.connection.dbapi_connection
        assert raw is not None
        connection.rollback()
        with raw.cursor() as cursor:
            cursor.execute("SELECT current_setting('app.tenant_id', true)")
            assert cursor.fetchone()[0] in (None, "")
    made.dispose()


def test_each_transaction_is_the_tenants(engine: Engine) -> None:
    for _ in range(3):
        for key, orders in ORDERS.items():
            with tenant(key):
                with engine.connect() as connection:
                    for _ in range(2):
                        assert connection.scalar(COUNT) == orders
                        connection.commit()
                with engine.begin() as connection:
                    assert connection.scalar(COUNT) == orders
                with Session(engine) as session:
                    for _ in range(2):
                        assert len(session.scalars(select(Order)).all()) == orders
                        session.commit()
                with engine.connect().execution_options(stream_results=True) as connection:
                    assert len(connection.execute(select(Order)).all()) == orders
        with without_tenant(), engine.connect() as connection:
            assert connection.scalar(COUNT) == 0


def test_strict(engine: Engine) -> None:
    with engine.connect() as connection:
        with pytest.raises(TenantRequired):
            connection.scalar(COUNT)
        with tenant(NORTH), pytest.raises(TenantChanged, match="opened for no tenant"):
            connection.scalar(COUNT)
        connection.rollback()
        with tenant(NORTH):
            assert connection.scalar(COUNT) == 3
        with pytest.raises(TenantRequired):
            connection.scalar(COUNT)
        with tenant(SOUTH), pytest.raises(TenantChanged, match="savepoint"):
            connection.scalar(COUNT)
        with tenant(NORTH):
            assert connection.scalar(COUNT) == 3
        connection.commit()
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]


def test_lazy_loading_outside_of_the_block(engine: Engine) -> None:
    with Session(engine) as session:
        with tenant(NORTH):
            customer = session.scalars(select(Customer)).one()
            query = session.scalars(select(Order))
        with pytest.raises(TenantRequired):
            _ = customer.orders
        session.commit()
        with pytest.raises(TenantRequired):
            _ = customer.name
        session.rollback()
        with tenant(NORTH):
            assert len(customer.orders) == 3
        query.close()


@pytest.mark.parametrize("end", ["release", "rollback", "error"])
def test_a_savepoint_of_another_tenant_and_back(end: str, engine: Engine) -> None:
    with tenant(NORTH), engine.begin() as connection:
        assert connection.scalar(COUNT) == 3
        with tenant(SOUTH):
            savepoint = connection.begin_nested()
            assert connection.scalar(COUNT) == 2
            with tenant(EAST), connection.begin_nested():
                assert connection.scalar(COUNT) == 0
            assert connection.scalar(COUNT) == 2
            if end == "error":
                with pytest.raises(DBAPIError):
                    connection.execute(text("SELECT 1/0"))
            if end == "release":
                savepoint.commit()
            else:
                savepoint.rollback()
        assert connection.scalar(COUNT) == 3
        with connection.begin_nested():
            assert connection.scalar(COUNT) == 3
        assert connection.scalar(COUNT) == 3


def test_sessions_are_one_tenants(engine: Engine) -> None:
    """What a session has read stays in its identity map."""
    with Session(engine, expire_on_commit=False) as session:
        with tenant(NORTH):
            order = session.get(Order, 1)
            assert order is not None
            with tenant(SOUTH), session.begin_nested():
                assert session.scalar(COUNT) == 2
            session.commit()
        with tenant(SOUTH):
            with pytest.raises(TenantChanged, match="expunge_all"):
                session.scalar(COUNT)
            session.rollback()
            session.expunge_all()
            assert session.scalar(COUNT) == 2
            assert session.get(Order, 1) is None


@pytest.mark.parametrize(
    "statement", ["COMMIT", "SAVEPOINT a", "ROLLBACK TO a", "BEGIN", "SET app.tenant_id = '2'", "SELECT 1; COMMIT"]
)
def test_refused_statements(statement: str, engine: Engine) -> None:
    with tenant(NORTH), engine.connect() as connection, pytest.raises(StatementRefused):
        connection.execute(text(statement))


def test_autocommit_is_refused(dsn: str, engine: Engine) -> None:
    with tenant(NORTH), engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        with pytest.raises(StatementRefused, match="AUTOCOMMIT"):
            connection.scalar(COUNT)
    automatic = use_tenants(create_engine(url(dsn, "psycopg"), isolation_level="AUTOCOMMIT"))
    with tenant(NORTH), automatic.connect() as connection, pytest.raises(StatementRefused, match="AUTOCOMMIT"):
        connection.scalar(COUNT)
    automatic.dispose()


def test_read_only_and_hostile_keys(engine: Engine) -> None:
    with tenant(NORTH, read_only=True), Session(engine) as session, pytest.raises(DBAPIError, match="read-only"):
        session.execute(text("UPDATE orders SET note = 'new'"))
    for key in ("o'neil", "%s", ":x", "\\'; ROLLBACK; --"):
        with tenant(key), engine.connect() as connection:
            assert connection.scalar(text("SELECT current_setting('app.tenant_id')")) == key


def test_writes_and_two_phases(shop: Database) -> None:
    engine = use_tenants(create_engine(url(application(shop), "psycopg")))
    with tenant(NORTH), Session(engine) as session:
        session.add_all([Order(customer_id=1, note=f"new {number}") for number in range(10)])
        session.commit()
        session.add(Order(customer_id=2))
        with pytest.raises(DBAPIError):
            session.flush()
    with tenant(SOUTH), engine.begin() as connection:
        connection.execute(text("UPDATE orders SET note = 'mine'"))
    with tenant(SOUTH), engine.connect() as connection, pytest.raises(StatementRefused, match="two-phase transactions"):
        connection.begin_twophase()
    engine.dispose()
    assert shop.rows("SELECT tenant_id, count(*) FROM orders GROUP BY 1 ORDER BY 1") == [(1, 13), (2, 2)]


def test_the_role_is_checked(dsn: str, engine: Engine) -> None:
    with engine.connect() as connection:
        check(connection)
        assert not connection.in_transaction()

    async def main() -> None:
        other = use_tenants(create_async_engine(url(dsn, "asyncpg")))
        async with other.connect() as connection:
            await check_async(connection)
        await other.dispose()

    asyncio.run(main())


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_round_trips_of_a_transaction(driver: str, dsn: str) -> None:
    with wire(dsn) as network:
        counted = []

        async def main(enable: bool) -> None:
            engine = create_async_engine(
                url(network.dsn, driver), connect_args={"ssl": False} if driver == "asyncpg" else {}
            )
            if enable:
                use_tenants(engine)
            for measured in (False, True):
                with tenant(NORTH):
                    async with engine.connect() as connection:
                        for _ in range(9):  # so that what is prepared is so in both
                            network.reset()
                            await connection.scalar(COUNT)
                            await connection.scalar(COUNT)
                            await connection.commit()
                        if measured:
                            counted.append(network.round_trips)
            await engine.dispose()

        for enable in (False, True):
            asyncio.run(main(enable))
    assert counted[1] <= counted[0] + (driver == "asyncpg")


def test_threads(engine: Engine) -> None:
    rng = random.Random(3)

    def work(job: tuple[str, float]) -> None:
        key, chance = job
        with tenant(key), Session(engine) as session:
            assert session.scalar(COUNT) == ORDERS[key]
            if chance < 0.3:
                with pytest.raises(DBAPIError):
                    session.execute(text("SELECT 1/0"))
                session.rollback()
            elif chance < 0.6:
                session.commit()
            assert session.scalar(COUNT) == ORDERS[key]

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(work, [(rng.choice([NORTH, SOUTH, EAST]), rng.random()) for _ in range(150)]))


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_tasks_that_are_cancelled(driver: str, shop: Database) -> None:
    """No foreign row, and no transaction stays open on the server."""
    rng = random.Random(5)

    async def request(engine: AsyncEngine, key: str) -> tuple[str, int | None]:
        async with tenant(key), AsyncSession(engine) as session:
            await session.execute(text(f"SELECT pg_sleep({rng.uniform(0, 0.004)})"))
            return key, await session.scalar(COUNT)

    async def main() -> int:
        engine = use_tenants(create_async_engine(url(application(shop), driver), pool_size=2, max_overflow=0))
        cancelled = 0
        for _ in range(25):
            tasks = [asyncio.create_task(request(engine, rng.choice([NORTH, SOUTH, EAST]))) for _ in range(4)]
            await asyncio.sleep(rng.uniform(0, 0.015))
            tasks[0].cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(result, asyncio.CancelledError):
                    cancelled += 1
                else:
                    assert not isinstance(result, BaseException), result
                    assert result[1] == ORDERS[result[0]]
        query = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'shop_app' AND datname = current_database() AND state <> 'idle'"
        assert shop.rows(query) == [(0,)]
        await engine.dispose()
        return cancelled

    assert asyncio.run(main()) > 2


def test_a_transaction_that_sent_nothing_leaves_nothing(dsn: str) -> None:
    """Its BEGIN, with the setting, was never sent: the next one of the same session is without, also by raw_connection()."""
    engine = use_tenants(create_engine(url(dsn, "psycopg"), pool_size=1, max_overflow=0))
    for end in ("commit", "rollback", "close"):
        with tenant(NORTH):
            connection = engine.connect()
            connection.begin()
            getattr(connection, end)()
            connection.close()
        raw = engine.raw_connection()
        with raw.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM orders")
            assert cursor.fetchone() == (0,)
        raw.close()
    with pytest.raises(TenantRequired), engine.connect() as connection:
        connection.scalar(COUNT)
    engine.dispose()


def test_many_at_once_begin_a_transaction(shop: Database) -> None:
    """executemany(), which psycopg sends as a pipeline, is the tenant's as the first of its transaction."""
    engine = use_tenants(create_engine(url(application(shop), "psycopg")))
    for read_only in (False, True):
        with tenant(NORTH, read_only=read_only), engine.connect() as connection:
            change = text("UPDATE orders SET note = :note WHERE id = :id")
            many = [{"id": 1, "note": "a"}, {"id": 4, "note": "b"}]
            if read_only:
                with pytest.raises(DBAPIError, match="read-only"):
                    connection.execute(change, many)
            else:
                connection.execute(change, many)
                connection.commit()
    engine.dispose()
    assert shop.rows("SELECT note FROM orders WHERE id IN (1, 4) ORDER BY id") == [("a",), ("s1",)]
