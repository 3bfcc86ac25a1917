"""Roles that could pass the policies are refused, and the reason is named."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

import asyncpg
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from psycopg_pool import ConnectionPool
from sqlalchemy import create_engine

from conftest import application
from servers import Database, Server
from shop import APPLICATION, OWNER
from sqlalchemy_shop import url
from tenantry_app import OperatorRequired, RoleRefused, as_operator, check, check_async
from tenantry_app.psycopg import AsyncTenantConnection, TenantConnection

pytestmark = pytest.mark.server


@pytest.fixture
def role(server: Server, dsn: str) -> Iterator[Callable[..., str]]:
    made: list[str] = []

    def make(options: str = "", *, member_of: str = "") -> str:
        made.append(f"role_{len(made)}")
        server.execute(sql.SQL("CREATE ROLE {} LOGIN {}").format(sql.Identifier(made[-1]), sql.SQL(options)))
        if member_of:
            server.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(member_of), sql.Identifier(made[-1])))
        return made[-1]

    yield make
    for name in reversed(made):
        server.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def refusal(dsn: str, user: str) -> str:
    with psycopg.connect(f"{dsn} user={user}".replace(f"user={APPLICATION} ", "")) as connection:
        with pytest.raises(RoleRefused) as refused:
            check(connection)
        assert refused.value.role == user
        assert connection.info.transaction_status == TransactionStatus.IDLE
    return "; ".join(refused.value.reasons)


@pytest.mark.parametrize("autocommit", [True, False])
def test_the_applications_role_passes(autocommit: bool, dsn: str) -> None:
    for kind in (psycopg.Connection, TenantConnection):
        with kind.connect(dsn, autocommit=autocommit) as connection:
            check(connection)
            assert connection.info.transaction_status == TransactionStatus.IDLE
    with ConnectionPool(dsn, connection_class=TenantConnection[Any], min_size=1, configure=check, open=True) as pool:
        pool.wait()

    async def main() -> None:
        for async_kind in (psycopg.AsyncConnection, AsyncTenantConnection):
            async with await async_kind.connect(dsn, autocommit=autocommit) as connection:
                await check_async(connection)
                assert connection.info.transaction_status == TransactionStatus.IDLE

    asyncio.run(main())


def test_a_transaction_that_was_open_stays(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("SELECT 1")
        check(connection)
        assert connection.info.transaction_status == TransactionStatus.INTRANS


def test_who_is_refused(dsn: str, role: Callable[..., str]) -> None:
    assert refusal(dsn, role("SUPERUSER")) == "it is a superuser"
    assert refusal(dsn, role("BYPASSRLS")) == "it has BYPASSRLS"
    assert refusal(dsn, OWNER) == "it owns public.customers and 2 more"
    assert refusal(dsn, role(member_of=OWNER)) == f"it may become {OWNER}, which owns public.customers and 2 more"
    assert refusal(dsn, role("NOINHERIT", member_of=role("BYPASSRLS"))) == "it may become role_3, which has BYPASSRLS"
    assert refusal(dsn, role("SUPERUSER", member_of=OWNER)) == "it is a superuser"
    files = "pg_read_server_files"
    assert refusal(dsn, role(member_of=files)) == f"it is a member of {files}, and reaches the files of the server"


def test_a_role_that_a_policy_shows_everything(shop: Database, role: Callable[..., str]) -> None:
    name = role()
    shop.execute(f"CREATE POLICY everything ON orders FOR SELECT TO {name} USING (true)")
    assert refusal(application(shop), name) == "it sees all rows of public.orders by policy everything"
    shop.execute("DROP POLICY everything ON orders")


def test_a_session_that_has_set_a_role(shop: Database, role: Callable[..., str]) -> None:
    """RESET ROLE goes back to the role that has logged in."""
    with psycopg.connect(shop.dsn) as connection:
        connection.execute(f"SET ROLE {APPLICATION}")
        with pytest.raises(RoleRefused, match="it is a superuser"):
            check(connection)


def test_a_tenant_by_default(shop: Database, role: Callable[..., str]) -> None:
    name = role()
    shop.execute(f"ALTER ROLE {name} IN DATABASE {shop.name} SET app.tenant_id = '1'")
    assert refusal(application(shop), name) == "the role or the database sets app.tenant_id=1 by default"
    shop.execute(
        f"ALTER ROLE {name} IN DATABASE {shop.name} RESET ALL; ALTER DATABASE {shop.name} SET app.tenant_id = '2'"
    )
    assert refusal(application(shop), name) == "the role or the database sets app.tenant_id=2 by default"


def test_a_hostile_search_path(shop: Database, role: Callable[..., str]) -> None:
    """Functions, tables, operators and types of the same names, found first, change nothing."""
    shop.execute(
        "CREATE SCHEMA evil; GRANT USAGE ON SCHEMA evil TO PUBLIC;"
        " CREATE FUNCTION evil.no(name, name) RETURNS boolean LANGUAGE sql AS 'SELECT false';"
        " CREATE FUNCTION evil.no(oid, oid) RETURNS boolean LANGUAGE sql AS 'SELECT false';"
        " CREATE OPERATOR evil.= (LEFTARG = name, RIGHTARG = name, FUNCTION = evil.no);"
        " CREATE OPERATOR evil.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = evil.no);"
        " CREATE VIEW evil.pg_roles AS SELECT * FROM pg_catalog.pg_roles WHERE false;"
        " CREATE FUNCTION evil.concat(VARIADIC text[]) RETURNS text LANGUAGE sql AS 'SELECT NULL';"
        f" ALTER DATABASE {shop.name} SET search_path = evil, pg_catalog; GRANT SELECT ON evil.pg_roles TO PUBLIC"
    )
    assert refusal(application(shop), role("BYPASSRLS")) == "it has BYPASSRLS"


def test_rows_that_are_mappings(dsn: str) -> None:
    """A connection's row factory may make anything of rows."""
    from psycopg.rows import dict_row

    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        check(connection)
    with psycopg.connect(dsn.replace("user=shop_app", "user=postgres"), row_factory=dict_row) as connection:
        with pytest.raises(RoleRefused, match="superuser"):
            check(connection)


# -- The operator


def test_each_use_of_the_operator_is_logged(shop: Database, caplog: pytest.LogCaptureFixture) -> None:
    """By whichever driver it connects; the application's role is none, and without a reason nobody works."""
    caplog.set_level(logging.INFO, "tenantry_app.operator")
    count = "SELECT count(*) FROM orders"

    async def asynchronously(user: str) -> None:
        async with await psycopg.AsyncConnection.connect(user) as connection, as_operator(connection, "by psycopg"):
            assert await (await connection.execute(count)).fetchone() == (5,)
        options = conninfo_to_dict(user)
        connection = await asyncpg.connect(
            host=options["host"], port=int(options.get("port") or 5432), user=options["user"],
            database=options["dbname"], ssl=False,
        )  # fmt: skip
        try:
            async with as_operator(connection, "by asyncpg"):
                assert await connection.fetchval(count) == 5
        finally:
            await connection.close()

    with psycopg.connect(shop.dsn) as connection, as_operator(connection, "close the month") as same:
        assert same is connection
        assert connection.info.transaction_status == TransactionStatus.IDLE
        assert connection.execute(count).fetchone() == (5,)
    engine = create_engine(url(shop.dsn, "psycopg"))
    with engine.connect() as orm, as_operator(orm, "by SQLAlchemy"):
        assert orm.exec_driver_sql(count).scalar() == 5
    engine.dispose()
    asyncio.run(asynchronously(shop.dsn))
    reasons = ["close the month", "by SQLAlchemy", "by psycopg", "by asyncpg"]
    assert caplog.messages == [f"postgres works on the rows of all tenants: {reason}" for reason in reasons]
    assert [record.__dict__["reason"] for record in caplog.records] == reasons
    caplog.clear()
    with pytest.raises(OperatorRequired):
        asyncio.run(asynchronously(application(shop)))
    with psycopg.connect(application(shop)) as connection:
        with pytest.raises(OperatorRequired), as_operator(connection, "as the application"):
            pass
        for none in ("", " ", "two\nlines"):
            with pytest.raises(ValueError, match="one line of text"):
                as_operator(connection, none)
    assert not caplog.messages


def test_an_operator_finds_tables_of_tenants(shop: Database) -> None:
    """A role without privileges is none, and a column of another name shows nothing."""
    stranger = f"stranger_{shop.name}"
    shop.execute(f"REVOKE USAGE ON SCHEMA public FROM PUBLIC; CREATE ROLE {stranger} LOGIN")
    try:
        with psycopg.connect(shop.dsn.replace("user=postgres", f"user={stranger}")) as connection:
            with pytest.raises(OperatorRequired, match="finds no table that has the column tenant_id"):
                as_operator(connection, "as a stranger").__enter__()
    finally:
        shop.execute(f"DROP ROLE {stranger}")
    with psycopg.connect(shop.dsn) as connection:
        with pytest.raises(OperatorRequired, match="no table that has the column firm"):
            as_operator(connection, "by another column", column="firm").__enter__()
