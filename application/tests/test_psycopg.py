"""psycopg: every statement is the block's tenant's, at no round trip more, and nothing is left on a connection."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from conftest import application
from servers import Database
from shop import EAST, NORTH, SOUTH
from tenantry_app import StatementRefused, TenantChanged, TenantError, TenantRequired, tenant, without_tenant
from tenantry_app.psycopg import (
    AsyncClientCursor,
    AsyncRawCursor,
    AsyncTenantConnection,
    ClientCursor,
    RawCursor,
    TenantConnection,
)
from wire import Wire, wire

pytestmark = pytest.mark.server

ORDERS = {NORTH: 3, SOUTH: 2, EAST: 0}
COUNT = "SELECT count(*) FROM orders WHERE id > %s"


def setting_of(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> str:
    """The setting as the session has it now, asked for behind our back."""
    result = connection.pgconn.exec_(b"SELECT pg_catalog.current_setting('app.tenant_id', true)")
    return (result.get_value(0, 0) or b"").decode()


@pytest.fixture(params=[True, False], ids=["autocommit", "transactions"])
def connection(dsn: str, request: pytest.FixtureRequest) -> Iterator[TenantConnection[Any]]:
    with TenantConnection.connect(dsn, autocommit=request.param) as made:
        yield made
        made.rollback()
        assert setting_of(made) == ""


@pytest.fixture
def automatic(dsn: str) -> Iterator[TenantConnection[Any]]:
    with TenantConnection.connect(dsn, autocommit=True) as made:
        yield made
        assert setting_of(made) == ""


# -- Ways of asking


def plain(connection: TenantConnection[Any]) -> int:
    return connection.execute("SELECT count(*) FROM orders").fetchone()[0]


def parameters(connection: TenantConnection[Any]) -> int:
    return connection.execute(COUNT, [0]).fetchone()[0]


def composed(connection: TenantConnection[Any]) -> int:
    query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier("orders"))
    return connection.execute(query).fetchone()[0]


def as_bytes(connection: TenantConnection[Any]) -> int:
    return connection.execute(b"SELECT count(*) FROM orders").fetchone()[0]


def prepared(connection: TenantConnection[Any]) -> int:
    return connection.execute(COUNT, [0], prepare=True).fetchone()[0]


def binary(connection: TenantConnection[Any]) -> int:
    with connection.cursor(binary=True) as cursor:
        return cursor.execute(COUNT, [0]).fetchone()[0]


def client(connection: TenantConnection[Any]) -> int:
    return ClientCursor(connection).execute(COUNT, [0]).fetchone()[0]


def raw(connection: TenantConnection[Any]) -> int:
    return RawCursor(connection).execute(COUNT.replace("%s", "$1"), [0]).fetchone()[0]


def many(connection: TenantConnection[Any]) -> int:
    cursor = connection.cursor()
    cursor.executemany(COUNT, [[0], [0]], returning=True)
    counts = []
    while True:
        counts.append(cursor.fetchone()[0])
        if not cursor.nextset():
            break
    assert counts[0] == counts[1]
    return counts[0]


def in_transaction(connection: TenantConnection[Any]) -> int:
    with connection.transaction():
        return plain(connection)


def rows(connection: TenantConnection[Any]) -> int:
    return len(connection.execute("SELECT * FROM orders").fetchall())


def pipelined(connection: TenantConnection[Any]) -> int:
    with connection.pipeline():
        one, two = connection.execute(COUNT, [0]), connection.execute("SELECT count(*) FROM orders")
        counts = one.fetchone()[0], two.fetchone()[0]
    assert counts[0] == counts[1]
    return counts[0]


def pipelined_transaction(connection: TenantConnection[Any]) -> int:
    with connection.pipeline(), connection.transaction():
        return plain(connection)


def stream(connection: TenantConnection[Any]) -> int:
    with connection.transaction():
        return len(list(connection.cursor().stream("SELECT * FROM orders")))


def copy(connection: TenantConnection[Any]) -> int:
    with connection.transaction(), connection.cursor().copy("COPY (SELECT * FROM orders) TO STDOUT") as data:
        return len(list(data.rows()))


def server_side(connection: TenantConnection[Any], *, in_transaction: bool = True) -> int:
    with connection.transaction() if in_transaction else nullcontext(), connection.cursor("named") as cursor:
        return len(cursor.execute("SELECT * FROM orders").fetchmany(10))


def foreign_cursor(connection: TenantConnection[Any]) -> int:
    with connection.transaction():
        return psycopg.ClientCursor(connection).execute(COUNT, [0]).fetchone()[0]


def several(connection: TenantConnection[Any]) -> int:
    with connection.transaction():
        cursor = connection.execute("SELECT count(*) FROM units; SELECT count(*) FROM orders;")
        assert cursor.nextset()
        return cursor.fetchone()[0]


def two_phase(connection: TenantConnection[Any]) -> int:
    if connection.autocommit:
        return in_transaction(connection)
    connection.rollback()
    connection.tpc_begin("one")
    try:
        return plain(connection)
    finally:
        connection.tpc_rollback()


def raw_transaction(connection: TenantConnection[Any]) -> int:
    connection.rollback()
    if connection.autocommit:
        connection.execute("BEGIN")
    found = plain(connection)
    connection.execute("-- the end\nCOMMIT")
    return found


WAYS = [
    plain, parameters, composed, as_bytes, prepared, binary, client, raw, many, in_transaction, rows, pipelined,
    pipelined_transaction, stream, copy, server_side, foreign_cursor, several, two_phase, raw_transaction,
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_each_way_is_the_tenants(
    way: Callable[[TenantConnection[Any]], int], connection: TenantConnection[Any]
) -> None:
    """Without a commit in between as well, and seven times, so that statements get prepared."""
    for number in range(7):
        for key, orders in ORDERS.items():
            with tenant(key):
                assert way(connection) == orders
        with without_tenant():
            assert way(connection) == 0
        if number % 2:
            connection.rollback()
            assert setting_of(connection) == ""


@pytest.mark.parametrize("way", WAYS)
def test_each_way_needs_a_tenant(
    way: Callable[[TenantConnection[Any]], int], connection: TenantConnection[Any]
) -> None:
    with pytest.raises(TenantRequired):
        way(connection)
    connection.rollback()
    assert connection.info.transaction_status == TransactionStatus.IDLE
    with tenant(NORTH):
        assert way(connection) == 3
    with pytest.raises(TenantRequired):
        way(connection)


def test_nothing_leaves_without_a_tenant(dsn: str) -> None:
    with wire(dsn) as network, TenantConnection.connect(network.dsn) as connection:
        network.reset()
        with pytest.raises(TenantRequired):
            connection.execute("SELECT 1")
        assert bytes(network.sent) == b""


def test_asynchronously(dsn: str) -> None:
    async def counts(connection: AsyncTenantConnection[Any]) -> set[int]:
        found = []
        cursor = await connection.execute("SELECT count(*) FROM orders")
        found.append(await cursor.fetchone())
        for kind, query in (
            (AsyncClientCursor, COUNT),
            (AsyncRawCursor, COUNT.replace("%s", "$1")),
            (psycopg.AsyncCursor, COUNT) if not connection.autocommit else (AsyncClientCursor, COUNT),
        ):
            found.append(await (await kind(connection).execute(query, [0])).fetchone())
        cursor = connection.cursor()
        await cursor.executemany(COUNT, [[0], [0]], returning=True)
        found.append(await cursor.fetchone())
        async with connection.transaction():
            async with connection.cursor("named") as cursor:
                found.append((len(await (await cursor.execute("SELECT * FROM orders")).fetchall()),))
            found.append((len([row async for row in connection.cursor().stream("SELECT * FROM orders")]),))
            async with connection.cursor().copy("COPY (SELECT * FROM orders) TO STDOUT") as data:
                found.append((len([row async for row in data.rows()]),))
        async with connection.pipeline():
            cursor = await connection.execute(COUNT, [0])
            found.append(await cursor.fetchone())
        return {count for (count,) in found}

    async def main() -> None:
        for autocommit in (True, False):
            async with await AsyncTenantConnection.connect(dsn, autocommit=autocommit) as connection:
                for _ in range(7):
                    for key, orders in ORDERS.items():
                        async with tenant(key):
                            assert await counts(connection) == {orders}
                with pytest.raises(TenantRequired):
                    await connection.execute("SELECT 1")
                await connection.rollback()
                assert setting_of(connection) == ""

    asyncio.run(main())


# -- Transactions


def test_commit_commit_read(connection: TenantConnection[Any]) -> None:
    with tenant(NORTH):
        for _ in range(3):
            assert rows(connection) == 3
            connection.commit()
            assert setting_of(connection) == ""


def test_a_savepoint_of_another_tenant_and_back(connection: TenantConnection[Any]) -> None:
    """However the savepoint ends, and however it was made."""
    with tenant(NORTH), connection.transaction():
        assert rows(connection) == 3
        for end in (None, psycopg.Rollback):
            with connection.transaction(), tenant(SOUTH):
                assert rows(connection) == 2
                if end is not None:
                    raise end
            assert rows(connection) == 3
        connection.execute("SAVEPOINT one")
        with tenant(SOUTH):
            assert rows(connection) == 2
            connection.execute(sql.SQL("ROLLBACK TO {}").format(sql.Identifier("one")))  # the server has north again
            assert rows(connection) == 2
            connection.execute("RELEASE one")
        assert rows(connection) == 3


def test_a_savepoint_after_an_error(connection: TenantConnection[Any]) -> None:
    with tenant(NORTH), connection.transaction():
        assert rows(connection) == 3
        with tenant(SOUTH), pytest.raises(psycopg.errors.DivisionByZero), connection.transaction():
            assert rows(connection) == 2
            connection.execute("SELECT 1 / %s", [0])
        with tenant(SOUTH):
            assert rows(connection) == 2
        assert rows(connection) == 3


@pytest.mark.parametrize("statement", ["SELECT 1 / %s", "SELECT count(*) FROM orders WHERE id = 1 / %s", "nonsense %s"])
def test_an_error_in_the_middle(statement: str, connection: TenantConnection[Any]) -> None:
    with tenant(NORTH):
        with pytest.raises((psycopg.errors.DivisionByZero, psycopg.errors.SyntaxError)):
            connection.execute(statement, [0])
        connection.rollback()
        assert setting_of(connection) == ""
    with tenant(SOUTH):
        assert rows(connection) == 2


def test_the_setting_is_prepared_as_a_statement_is(automatic: TenantConnection[Any]) -> None:
    with tenant(NORTH):
        statement = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE %s"
        found = [automatic.execute(statement, ["%set_config($1%"]).fetchone() for _ in range(8)]
        assert (found[0], found[-1]) == ((0,), (1,))
    for key in (SOUTH, "4é", NORTH, EAST) * 2:
        with tenant(key) if key in ORDERS else without_tenant():
            assert rows(automatic) == ORDERS.get(key, 0)
    with tenant(NORTH):
        automatic.execute("DEALLOCATE ALL")
        with suppress(psycopg.errors.InvalidSqlStatementName):  # psycopg before 3.3
            rows(automatic)
        assert [rows(automatic) for _ in range(7)] == [3] * 7


def test_prepared_statements_that_others_deallocate(dsn: str) -> None:
    """By a pooler's DISCARD ALL, say: one statement fails, and those after it are prepared again."""
    for threshold in (0, 1):
        with TenantConnection.connect(dsn, autocommit=True, prepare_threshold=threshold) as connection, tenant(NORTH):
            assert [rows(connection) for _ in range(3)] == [3] * 3
            connection.execute("DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$")
            with pytest.raises(psycopg.errors.InvalidSqlStatementName):
                rows(connection)
            assert [rows(connection) for _ in range(7)] == [3] * 7


def test_a_session_that_is_terminated(shop: Database) -> None:
    """Its last statement raises what the server has said."""
    with TenantConnection.connect(application(shop), autocommit=True) as connection, tenant(NORTH):
        pid = connection.info.backend_pid
        shop.execute(f"SELECT pg_terminate_backend({pid}, 10000)")
        with pytest.raises(psycopg.errors.AdminShutdown):
            rows(connection)
        assert connection.broken


def test_statements_that_fail_leave_none_prepared(automatic: TenantConnection[Any]) -> None:
    with tenant(NORTH):
        for divisor in [1] * 5 + [0] * 10:
            with suppress(psycopg.errors.DivisionByZero):
                automatic.execute("SELECT 1 / %s::int", [divisor])
        for _ in range(10):
            with suppress(psycopg.errors.UndefinedTable):
                automatic.execute("SELECT %s FROM nowhere", [1], prepare=True)
        found = automatic.execute("SELECT statement FROM pg_prepared_statements WHERE statement ~ 'SELECT (1 /|.1 F)'")
        assert len(found.fetchall()) == 1


def test_a_pipeline_with_an_error(automatic: TenantConnection[Any]) -> None:
    with tenant(NORTH), pytest.raises(psycopg.errors.DivisionByZero), automatic.pipeline():
        automatic.execute(COUNT, [0])
        automatic.execute("SELECT 1 / %s", [0])
        automatic.execute(COUNT, [0])
    assert setting_of(automatic) == ""
    with tenant(SOUTH):
        assert rows(automatic) == 2


def test_tenants_within_one_pipeline(connection: TenantConnection[Any]) -> None:
    with connection.pipeline():
        found = []
        for key in (NORTH, SOUTH, EAST, NORTH):
            with tenant(key):
                found.append(connection.execute("SELECT count(*) FROM orders"))
        assert [cursor.fetchone()[0] for cursor in found] == [3, 2, 0, 3]


def test_writes_are_the_tenants(shop: Database) -> None:
    with TenantConnection.connect(application(shop), autocommit=True) as connection:
        with tenant(NORTH):
            connection.execute("INSERT INTO orders (customer_id, note) VALUES (1, 'new')")
            with pytest.raises(psycopg.Error):
                connection.execute("INSERT INTO orders (customer_id, note) VALUES (2, 'theirs')")
            connection.cursor().executemany("INSERT INTO orders (customer_id) VALUES (%s)", [[1], [1]])
        with tenant(SOUTH):
            assert connection.execute("UPDATE orders SET note = 'mine'").rowcount == 2
    assert shop.rows("SELECT tenant_id, count(*) FROM orders GROUP BY 1 ORDER BY 1") == [(1, 6), (2, 2)]


def test_read_only(shop: Database) -> None:
    for autocommit in (True, False):
        with TenantConnection.connect(application(shop), autocommit=autocommit) as connection:
            with tenant(NORTH, read_only=True):
                for write in ("UPDATE orders SET note = 'new'", "UPDATE orders SET note = %s"):
                    assert rows(connection) == 3
                    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                        connection.execute(write, ["new"] if "%s" in write else None)
                    connection.rollback()
            with tenant(NORTH):
                assert connection.execute("UPDATE orders SET note = 'new'").rowcount == 3
                with tenant(NORTH, read_only=True), pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                    connection.execute("UPDATE orders SET note = 'new'")
                connection.rollback()


def test_hostile_keys(shop: Database) -> None:
    """A key is a literal, whatever it holds and however the session reads literals."""
    shop.execute("CREATE TABLE seen (value text); GRANT SELECT, INSERT ON seen TO PUBLIC")
    keys = ["o'neil", "\\", "\\'; DROP TABLE seen; --", "'; RESET ROLE; --", "é¥\U0001f600", '"', "a;b", "%s", "$1"]
    for setting in ("on", "off"):
        options = f"-c standard_conforming_strings={setting} -c escape_string_warning=off"
        for encoding, threshold in (("UTF8", 0), ("SJIS", 0), ("UTF8", None), ("SJIS", None)):
            with TenantConnection.connect(
                application(shop), options=options, client_encoding=encoding, prepare_threshold=threshold
            ) as connection:
                for key in keys:
                    with tenant(key):
                        query = "SELECT current_setting('app.tenant_id') = convert_from(%b, 'UTF8')"
                        assert connection.execute(query, [key.encode()]).fetchone() == (True,)
                        connection.commit()
                        connection.autocommit = True
                        assert connection.execute(query, [key.encode()]).fetchone() == (True,)
                        connection.autocommit = False


# -- Refused


@pytest.mark.parametrize(
    "statement",
    ["DECLARE c CURSOR FOR SELECT 1", "FETCH ALL FROM c", "/* */ move c", "SELECT 1; COMMIT", "COMMIT; SELECT 1",
     "SELECT 1; ROLLBACK TO one", "BEGIN; SELECT ';'", "SET app.tenant_id = '1'", "RESET App.Tenant_ID",
     "SELECT set_config('app.tenant_id', '1', false)"],
)  # fmt: skip
def test_refused_statements(statement: str, connection: TenantConnection[Any]) -> None:
    with tenant(NORTH), pytest.raises(StatementRefused):
        connection.execute(statement)


@pytest.mark.parametrize("statement", ["SELECT ';' FROM units", 'SELECT 1 AS ";"; -- ;', "SELECT $a$;$a$ /* ; */"])
def test_a_semicolon_that_ends_nothing(statement: str, automatic: TenantConnection[Any]) -> None:
    with tenant(NORTH):
        automatic.execute(statement)


@pytest.mark.parametrize(
    "way",
    [
        lambda connection: server_side(connection, in_transaction=False),
        lambda connection: list(connection.cursor().stream("SELECT 1")),
        lambda connection: connection.cursor().copy("COPY (SELECT 1) TO STDOUT").__enter__(),
        lambda connection: psycopg.Cursor(connection).execute("SELECT 1"),
        lambda connection: connection.execute("SELECT 1; SELECT 2"),
    ],
)
def test_what_autocommit_cannot_hold(way: Callable[[Any], Any], automatic: TenantConnection[Any]) -> None:
    with tenant(NORTH), pytest.raises(StatementRefused, match=r"connection.transaction\(\)"):
        way(automatic)


@pytest.mark.parametrize("statement", ["COPY orders TO STDOUT", "COPY orders FROM STDIN"])
def test_copy_by_execute(statement: str, dsn: str) -> None:
    """psycopg refuses it; here it is sent in a pipeline, where libpq has no end of its answers."""
    with TenantConnection.connect(dsn, autocommit=True) as connection, tenant(NORTH):
        with pytest.raises(psycopg.Error):
            connection.execute(statement)
        assert connection.closed or connection.execute("SELECT count(*) FROM orders").fetchone() == (ORDERS[NORTH],)


def test_server_side_cursors_keep_their_tenant(connection: TenantConnection[Any]) -> None:
    """PostgreSQL looks at the setting when the first row is fetched."""
    with connection.transaction():
        with tenant(NORTH):
            cursor = connection.cursor("named", scrollable=True).execute("SELECT * FROM orders")
        with tenant(SOUTH):
            assert rows(connection) == 2
            with pytest.raises(TenantChanged, match="tenant 1, and is used for tenant 2"):
                cursor.fetchone()
            with pytest.raises(TenantChanged):
                cursor.scroll(1)
            for stolen in (connection.cursor("named"), psycopg.ServerCursor(connection, "named")):
                with pytest.raises(StatementRefused):
                    stolen.fetchone()
                psycopg.Cursor.close(stolen)
        with pytest.raises(TenantRequired):
            cursor.fetchone()
        with tenant(NORTH):
            assert len(cursor.fetchall()) == 3
            cursor.close()
        with tenant(NORTH), connection.cursor("held", withhold=True) as held:
            with pytest.raises(StatementRefused, match="WITH HOLD"):
                held.execute("SELECT 1")


def test_empty_statements_and_comments(automatic: TenantConnection[Any]) -> None:
    """Pools send them to see whether a connection lives."""
    automatic.execute("")
    automatic.execute("-- alive?")


# -- Round trips


@pytest.fixture(scope="module")
def network(dsn: str) -> Iterator[Wire]:
    with wire(dsn) as made:
        yield made


def one(connection: psycopg.Connection[Any]) -> None:
    connection.execute(COUNT, [0]).fetchone()


def three_in_transaction(connection: psycopg.Connection[Any]) -> None:
    with connection.transaction():
        for _ in range(3):
            connection.execute(COUNT, [0]).fetchone()


def commit_by_hand(connection: psycopg.Connection[Any]) -> None:
    connection.execute(COUNT, [0]).fetchone()
    connection.commit()


def insert_many(connection: psycopg.Connection[Any]) -> None:
    connection.cursor().executemany(COUNT, [[0]] * 5, returning=True)


def user_pipeline(connection: psycopg.Connection[Any]) -> None:
    with connection.pipeline():
        found = [connection.execute(COUNT, [0]) for _ in range(3)]
    assert len([cursor.fetchone() for cursor in found]) == 3


@pytest.mark.parametrize("way", [one, three_in_transaction, commit_by_hand, insert_many, user_pipeline])
def test_no_round_trip_more(way: Callable[[psycopg.Connection[Any]], None], network: Wire) -> None:
    """Not by statements that are prepared, either, beside a connection that prepares none. The fewest of some, since an
    answer that arrives while psycopg still sends its pipeline counts as one more."""
    counted = []
    for kind, threshold in ((psycopg.Connection, None), (TenantConnection, None), (TenantConnection, 0)):
        for autocommit in (True, False):
            with (
                tenant(NORTH),
                kind.connect(network.dsn, autocommit=autocommit, prepare_threshold=threshold) as connection,
            ):
                trips = []
                for _ in range(5):
                    network.reset()
                    way(connection)
                    trips.append(network.round_trips)
                counted.append(min(trips))
                connection.rollback()
    assert counted == counted[:2] * 3


def test_a_change_of_tenant_is_no_round_trip(network: Wire) -> None:
    with TenantConnection.connect(network.dsn) as connection, connection.transaction():
        network.reset()
        for key in (NORTH, SOUTH, NORTH, NORTH):
            with tenant(key):
                one(connection)
        assert network.round_trips == 4


# -- Pools and concurrency


def test_pools_of_threads(dsn: str) -> None:
    """Random tenants, errors, ends; no foreign row, and no connection has a tenant when it is handed out."""
    rng = random.Random(7)
    jobs = [(rng.choice([NORTH, SOUTH, EAST]), rng.random()) for _ in range(300)]
    with ConnectionPool(dsn, connection_class=TenantConnection[Any], min_size=2, max_size=2, open=True) as pool:

        def work(job: tuple[str, float]) -> list[int]:
            key, chance = job
            with tenant(key), pool.connection() as connection:
                assert setting_of(connection) == ""
                connection.autocommit = chance < 0.5
                try:
                    found = [rows(connection)]
                    if chance < 0.2:
                        connection.execute("SELECT 1 / 0")
                    if 0.4 < chance < 0.6:
                        connection.commit()
                    with connection.transaction(), tenant(SOUTH):
                        assert rows(connection) == 2
                    return [*found, rows(connection)]
                except psycopg.errors.DivisionByZero:
                    return [ORDERS[key]]
                finally:
                    connection.rollback()
                    connection.autocommit = False

        with ThreadPoolExecutor(8) as threads:
            for (key, _), found in zip(jobs, threads.map(work, jobs), strict=True):
                assert set(found) == {ORDERS[key]}


@pytest.mark.parametrize("autocommit", [True, False])
def test_threads_that_share_a_connection(autocommit: bool, dsn: str) -> None:
    with TenantConnection.connect(dsn, autocommit=autocommit) as connection, ThreadPoolExecutor(4) as threads:

        def work(key: str) -> tuple[str, int]:
            with tenant(key):
                return key, rows(connection)

        keys = [NORTH, SOUTH, EAST] * 50
        for key, found in threads.map(work, keys):
            assert found == ORDERS[key]


def test_tasks_that_are_cancelled(dsn: str) -> None:
    """A pool of two, and requests that are cancelled at random instants."""
    rng = random.Random(11)

    async def request(
        pool: AsyncConnectionPool[AsyncTenantConnection[Any]], key: str, seconds: float
    ) -> tuple[str, int]:
        async with tenant(key), pool.connection() as connection:
            assert setting_of(connection) == ""
            await connection.set_autocommit(seconds < 0.004)
            try:
                await connection.execute("SELECT pg_sleep(%s)", [seconds])
                cursor = await connection.execute("SELECT count(*) FROM orders")
                return key, (await cursor.fetchone())[0]
            finally:
                await connection.rollback()
                await connection.set_autocommit(False)

    async def main() -> int:
        cancelled = 0
        async with AsyncConnectionPool(
            dsn, connection_class=AsyncTenantConnection[Any], min_size=2, max_size=2, open=False
        ) as pool:
            for _ in range(30):
                tasks = [
                    asyncio.create_task(request(pool, rng.choice([NORTH, SOUTH, EAST]), rng.uniform(0, 0.008)))
                    for _ in range(5)
                ]
                await asyncio.sleep(rng.uniform(0, 0.01))
                for task in rng.sample(tasks, 2):
                    task.cancel()
                for result in await asyncio.gather(*tasks, return_exceptions=True):
                    if isinstance(result, asyncio.CancelledError):
                        cancelled += 1
                    else:
                        assert not isinstance(result, BaseException), result
                        assert result[1] == ORDERS[result[0]]
        return cancelled

    assert asyncio.run(main()) > 5


def test_errors_have_one_base() -> None:
    for kind in (TenantRequired, TenantChanged, StatementRefused):
        assert issubclass(kind, TenantError)
