"""Behind PgBouncer in transaction mode, with one session for all: each statement is its tenant's, and nothing stays."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import asyncpg
import psycopg
import pytest
from django.db import connections, transaction
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from conftest import application
from django_shop import Order as DjangoOrder
from django_shop import close, point
from pgbouncer import pgbouncer
from servers import Server
from shop import build
from sqlalchemy_shop import COUNT, url
from tenantry_app import tenant
from tenantry_app.asyncpg import TenantConnection as AsyncpgConnection
from tenantry_app.psycopg import AsyncTenantConnection, TenantConnection
from tenantry_app.sqlalchemy import use_tenants

REQUESTS = int(os.environ.get("TENANTRY_APP_REQUESTS", "60"))
"""Of each kind of client; the nightly run makes 10,000."""
TENANTS = 50
pytestmark = [pytest.mark.pgbouncer, pytest.mark.timeout(300 + REQUESTS / 5)]


@pytest.fixture(scope="module")
def pooled(server: Server) -> Iterator[str]:
    """A session for all, and 50 tenants, of which number n has n orders."""
    database = server.create(f"pooled_{os.getpid()}", server.template("shop", build))
    database.execute(
        "INSERT INTO tenants (id, slug) SELECT n, 'many ' || n FROM generate_series(101, 150) n;"
        "INSERT INTO customers (id, tenant_id, name) SELECT n, n, '' FROM generate_series(101, 150) n;"
        "INSERT INTO orders (customer_id, tenant_id) SELECT n, n FROM generate_series(101, 150) n, generate_series(101, n)"
    )
    with pgbouncer(application(database)) as dsn:
        yield dsn
    server.drop(database)


def requests(seed: int) -> list[tuple[str, int, float]]:
    """Tenants, how many orders each has, and what is to happen."""
    rng = random.Random(seed)
    return [(str(101 + n), n + 1, rng.random()) for n in (rng.randrange(TENANTS) for _ in range(REQUESTS))]


def test_a_control(pooled: str) -> None:
    """All clients have one session, and what is set for the session leaks."""
    with psycopg.connect(pooled, autocommit=True) as one, psycopg.connect(pooled, autocommit=True) as other:
        pids = {session.execute("SELECT pg_backend_pid()").fetchone() for session in (one, other)}
        assert len(pids) == 1
        one.execute("SET app.tenant_id = '101'")
        assert other.execute("SELECT count(*) FROM orders").fetchone() == (1,)
        one.execute("RESET app.tenant_id")
        assert other.execute("SELECT count(*) FROM orders").fetchone() == (0,)


def test_psycopg(pooled: str) -> None:
    def work(job: tuple[str, int, float]) -> None:
        key, orders, chance = job
        options = {"prepare_threshold": None, "autocommit": chance < 0.5}
        with TenantConnection.connect(pooled, **options) as connection, tenant(key):
            with suppress(psycopg.errors.DivisionByZero):
                with connection.transaction():
                    assert connection.execute("SELECT count(*) FROM orders WHERE id > %s", [0]).fetchone() == (orders,)
                    if 0.4 < chance < 0.6:
                        connection.execute("SELECT 1 / %s", [0])
            assert connection.execute("SELECT count(*) FROM orders WHERE id > %s", [0]).fetchone() == (orders,)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, requests(1)))


# A connection that is cancelled while it is made is psycopg's to close, and it leaves that to the collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_psycopg_cancelled(pooled: str) -> None:
    async def request(key: str, orders: int, chance: float) -> None:
        options: dict[str, Any] = {"prepare_threshold": None, "autocommit": chance < 0.5}
        async with await AsyncTenantConnection.connect(pooled, **options) as connection, tenant(key):
            await connection.execute("SELECT pg_sleep(%s)", [chance / 200])
            cursor = await connection.execute("SELECT count(*) FROM orders")
            assert await cursor.fetchone() == (orders,)

    asyncio.run(cancelled_at_random(request, requests(2)))


async def cancelled_at_random(request: Any, jobs: list[tuple[str, int, float]]) -> None:
    """Ten at a time, some of which are cancelled on the way."""
    rng = random.Random(0)
    for start in range(0, len(jobs), 10):
        tasks = [asyncio.create_task(request(*job)) for job in jobs[start : start + 10]]
        await asyncio.sleep(rng.uniform(0, 0.02))
        tasks[0].cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert result is None or isinstance(result, asyncio.CancelledError), result


def test_asyncpg_cancelled(pooled: str) -> None:
    options = conninfo_to_dict(pooled)
    place: dict[str, Any] = {
        "host": options["host"], "port": int(str(options["port"])), "user": options["user"],
        "database": options["dbname"], "ssl": False, "statement_cache_size": 0,
    }  # fmt: skip

    async def request(key: str, orders: int, chance: float) -> None:
        connection = await asyncpg.connect(**place, connection_class=AsyncpgConnection)
        try:
            async with tenant(key):
                with suppress(asyncpg.DivisionByZeroError):
                    async with connection.transaction():
                        assert await connection.fetchval("SELECT count(*) FROM orders WHERE id > $1", 0) == orders
                        if chance < 0.3:
                            await connection.execute("SELECT 1 / 0")
                assert await connection.execute("SELECT FROM orders") == f"SELECT {orders}"
        finally:
            await connection.close(timeout=30)

    asyncio.run(cancelled_at_random(request, requests(6)))


def test_sqlalchemy(pooled: str) -> None:
    engine = use_tenants(
        create_engine(url(pooled, "psycopg"), poolclass=NullPool, connect_args={"prepare_threshold": None})
    )

    def work(job: tuple[str, int, float]) -> None:
        key, orders, chance = job
        with tenant(key), Session(engine) as session:
            assert session.scalar(COUNT) == orders
            if chance < 0.3:
                with suppress(DBAPIError):
                    session.connection().exec_driver_sql("SELECT 1 / 0")
                session.rollback()
            elif chance < 0.6:
                session.commit()
            assert session.scalar(COUNT) == orders

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, requests(3)))


def test_sqlalchemy_with_asyncpg_cancelled(pooled: str) -> None:
    engine = use_tenants(
        create_async_engine(
            url(pooled, "asyncpg"),
            poolclass=NullPool,
            connect_args={
                "statement_cache_size": 0,
                "prepared_statement_cache_size": 0,
                "prepared_statement_name_func": lambda: f"__{random.getrandbits(64)}__",
            },
        )
    )

    async def request(key: str, orders: int, chance: float) -> None:
        with tenant(key):
            async with AsyncSession(engine) as session:
                await session.connection()
                assert await session.scalar(COUNT) == orders

    asyncio.run(cancelled_at_random(request, requests(4)))


def test_django(pooled: str) -> None:
    point("default", pooled)

    def work(job: tuple[str, int, float]) -> None:
        key, orders, chance = job
        try:
            with tenant(key):
                if chance < 0.5:
                    with transaction.atomic():
                        assert DjangoOrder.objects.count() == orders
                        if chance < 0.2:
                            raise ZeroDivisionError
                assert DjangoOrder.objects.count() == orders
                assert sum(1 for _ in DjangoOrder.objects.iterator(chunk_size=20)) == orders or chance >= 0.5
        except ZeroDivisionError:
            pass
        finally:
            connections["default"].close()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, requests(5)))
    close()
