"""Which errors of drivers say that the database is away, and which that a statement is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import ConnectionPool
from sqlalchemy import create_engine, text

from servers import Database
from tenantry_app.problems import is_unavailable

pytestmark = pytest.mark.server

AWAY = "host=127.0.0.1 port=1 user=x dbname=x connect_timeout=2"


def raised(work: Callable[[], Any]) -> BaseException:
    try:
        work()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


@contextmanager
def ended(database: Database) -> Iterator[psycopg.Connection[Any]]:
    """A connection whose server process is ended."""
    with psycopg.connect(database.dsn) as connection, database.connect() as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [connection.info.backend_pid])
        yield connection


def test_psycopg(shop: Database) -> None:
    assert is_unavailable(raised(lambda: psycopg.connect(AWAY)))
    with ended(shop) as connection:
        assert is_unavailable(raised(lambda: connection.execute("SELECT 1")))
        assert is_unavailable(raised(lambda: connection.execute("SELECT 1")))
    with ConnectionPool(AWAY, min_size=0, max_size=1, timeout=0.2, reconnect_timeout=0.2) as pool:
        assert is_unavailable(raised(lambda: pool.getconn()))
    assert is_unavailable(raised(lambda: pool.getconn()))
    with psycopg.connect(shop.dsn, autocommit=True) as connection:
        for statement in (
            "SELECT * FROM nowhere",
            "SELECT 1/0",
            "SELEC",
            "SET statement_timeout = 1; SELECT pg_sleep(1)",
        ):
            assert not is_unavailable(raised(lambda: connection.execute(statement)))  # noqa: B023
        connection.execute("SET statement_timeout = 0; SET lock_timeout = '10ms'")
        with shop.connect() as holding:
            holding.execute("LOCK TABLE orders")
            assert not is_unavailable(raised(lambda: connection.execute("SELECT * FROM orders")))
        assert not is_unavailable(raised(lambda: connection.execute("SELECT %s", [object()])))
        cursor = connection.cursor()
        cursor.close()
        assert not is_unavailable(raised(lambda: cursor.execute("SELECT 1")))


def test_sqlalchemy(shop: Database) -> None:
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(shop.dsn))
    with engine.connect() as connection, shop.connect() as other:
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        assert is_unavailable(raised(lambda: connection.execute(text("SELECT 1"))))
    with engine.connect() as connection:
        assert not is_unavailable(raised(lambda: connection.execute(text("SELECT * FROM nowhere"))))
    engine.dispose()
    gone = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(AWAY))
    assert is_unavailable(raised(gone.connect))


def test_asyncpg(shop: Database) -> None:
    options = conninfo_to_dict(shop.dsn)
    place = {
        "host": options["host"],
        "port": int(options.get("port") or 5432),
        "user": "postgres",
        "database": options["dbname"],
    }

    async def errors() -> tuple[list[BaseException], list[BaseException]]:
        away, wrong = [], []

        async def collect(into: list[BaseException], work: Any) -> None:
            try:
                await work
            except Exception as error:
                into.append(error)

        await collect(away, asyncpg.connect(host="127.0.0.1", port=1, user="x"))
        connection = await asyncpg.connect(**place)
        await collect(wrong, connection.fetch("SELECT * FROM nowhere"))
        await collect(wrong, connection.fetch("SELECT $1::int", "x"))
        with shop.connect() as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [connection.get_server_pid()])
        await asyncio.sleep(0.1)
        await collect(away, connection.fetch("SELECT 1"))
        await connection.close()
        await collect(away, connection.fetch("SELECT 1"))
        return away, wrong

    away, wrong = asyncio.run(errors())
    assert len(away) == 3
    assert len(wrong) == 2
    assert all(map(is_unavailable, away)), away
    assert not any(map(is_unavailable, wrong)), wrong


def test_others() -> None:
    assert is_unavailable(ConnectionResetError())
    assert not any(map(is_unavailable, (ValueError(), TimeoutError(), FileNotFoundError(), ZeroDivisionError())))
