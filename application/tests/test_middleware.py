"""The block spans what a request sets off: streamed bodies, background tasks, WebSockets, clients that go away; with
FastAPI under uvicorn and without a server, Flask and Django under WSGI, Django under ASGI."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.validate import validator

import httpx
import psycopg
import pytest
import uvicorn
from django.http import HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import path
from fastapi import BackgroundTasks, FastAPI, WebSocket
from fastapi.responses import StreamingResponse
from flask import Flask, request, stream_with_context
from flask import Response as FlaskResponse
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

import django_shop
from requesting import key_in_block, make_key, stored
from shop import NORTH, SOUTH
from tenantry_app import ApiKey, FixedDirectory, Problem, Resolution, Tenant
from tenantry_app.asgi import TenantMiddleware as Asgi
from tenantry_app.fastapi import CurrentTenant, RequestOf, use_tenants
from tenantry_app.flask import use_tenants as use_tenants_of_flask
from tenantry_app.psycopg import AsyncTenantConnection, TenantConnection

pytestmark = pytest.mark.server

KEYS = {tenant: make_key(f"key{tenant}") for tenant in (NORTH, SOUTH)}
READER = make_key("reader")
STORED = {
    key[3:11]: one
    for key, one in [stored(key, tenant) for tenant, key in KEYS.items()] + [stored(READER, NORTH, ["read"])]
}
RESOLUTION = Resolution(
    ApiKey(lambda lookup, presented: STORED.get(lookup)),
    directory=FixedDirectory(Tenant(NORTH, "north"), Tenant(SOUTH, "south")), open=["/open"],
)  # fmt: skip
COUNT = "SELECT count(*) FROM orders"
ORDERS = {NORTH: 3, SOUTH: 2}


def headers(tenant: str) -> dict[str, str]:
    return {"X-API-Key": KEYS.get(tenant, tenant)}


class Lost(psycopg.OperationalError):
    """What a driver raises where the server is away."""


# -- FastAPI


def make_app(dsn: str, tenants_seen: list[Any]) -> FastAPI:
    pool = AsyncConnectionPool(dsn, connection_class=AsyncTenantConnection, open=False, min_size=1, max_size=2)

    async def count() -> int:
        async with pool.connection() as connection:
            row = await (await connection.execute(COUNT)).fetchone()
        assert row is not None
        return int(row[0])

    async def lifespan(app: Any) -> AsyncIterator[None]:
        async with pool:
            yield

    from contextlib import asynccontextmanager

    app = FastAPI(lifespan=asynccontextmanager(lifespan))
    use_tenants(app, RESOLUTION)

    @app.get("/plain")
    async def plain(tenant: CurrentTenant, of: RequestOf) -> dict[str, Any]:
        return {"tenant": tenant.key, "count": await count(), "subject": of.subject}

    @app.get("/thread")
    def in_a_thread() -> str:
        return key_in_block()

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def parts() -> AsyncIterator[str]:
            try:
                for _ in range(3):
                    yield f"{await count()} "
                    await asyncio.sleep(0)
            finally:
                tenants_seen.append(("stream", key_in_block()))

        return StreamingResponse(parts())

    @app.get("/slow")
    async def slow() -> StreamingResponse:
        async def parts() -> AsyncIterator[str]:
            try:
                while True:
                    yield f"{await count()} "
                    await asyncio.sleep(0.02)
            finally:
                tenants_seen.append(("slow", key_in_block()))

        return StreamingResponse(parts())

    @app.get("/sync-stream")
    def sync_stream() -> StreamingResponse:
        return StreamingResponse(f"{key_in_block()} " for _ in range(3))

    @app.get("/background")
    async def background(tasks: BackgroundTasks) -> str:
        async def later() -> None:
            await asyncio.sleep(0.05)
            tenants_seen.append(("background", await count()))

        tasks.add_task(later)
        tasks.add_task(lambda: tenants_seen.append(("thread", key_in_block())))
        return "ok"

    @app.get("/open")
    async def opened() -> str:
        return str(await count())

    @app.post("/write")
    @app.get("/write")
    async def write() -> str:
        async with pool.connection() as connection:
            await connection.execute("INSERT INTO orders (customer_id, note) SELECT id, 'x' FROM customers LIMIT 1")
            await connection.rollback()
        return "written"

    @app.get("/sleep")
    async def sleep() -> int:
        async with pool.connection() as connection:
            tenants_seen.append("asleep")
            row = await (await connection.execute("SELECT count(*) FROM orders, pg_sleep(30)")).fetchone()
        assert row is not None
        return int(row[0])

    @app.get("/problem")
    async def problem() -> None:
        raise Problem(409, "conflict", "Not now.", {"x-more": "1"})

    @app.get("/lost")
    async def lost() -> None:
        raise Lost("the connection is lost")

    @app.get("/wrong")
    async def wrong() -> None:
        raise psycopg.errors.UndefinedTable("no such table")

    @app.websocket("/ws")
    async def ws(socket: WebSocket) -> None:
        await socket.accept()
        try:
            while True:
                await socket.receive_text()
                await socket.send_text(f"{key_in_block()} {await count()}")
        finally:
            tenants_seen.append(("ws", key_in_block()))

    return app


@contextmanager
def running(app: Any) -> Iterator[str]:
    """A real uvicorn in a thread."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", ws="websockets-sansio"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)


@pytest.fixture(scope="module")
def tenants_seen() -> list[Any]:
    return []


@pytest.fixture(scope="module")
def base(request: pytest.FixtureRequest, tenants_seen: list[Any]) -> Iterator[str]:
    with running(make_app(request.getfixturevalue("dsn"), tenants_seen)) as address:
        yield address


def until(condition: Callable[[], bool]) -> bool:
    return any(condition() or time.sleep(0.02) for _ in range(500))


@pytest.mark.parametrize("tenant", [NORTH, SOUTH])
def test_uvicorn(base: str, tenants_seen: list[Any], tenant: str) -> None:
    """Plain, in a thread, streamed, in the background, on a socket: all in the tenant's block."""
    count = ORDERS[tenant]
    tenants_seen.clear()
    with httpx.Client(base_url=base, headers=headers(tenant)) as client:
        plain = client.get("/plain").json()
        assert plain == {"tenant": tenant, "count": count, "subject": KEYS[tenant][3:11]}
        assert client.get("/thread").json() == tenant
        assert client.get("/stream").text.split() == [str(count)] * 3
        assert client.get("/sync-stream").text.split() == [tenant] * 3
        assert client.get("/background").json() == "ok"
        assert client.get("/open").json() == "0"  # no tenant on purpose: no owned row
    assert until(lambda: len(tenants_seen) == 3)
    assert sorted(tenants_seen, key=str) == [("background", count), ("stream", tenant), ("thread", tenant)]
    with connect(base.replace("http", "ws") + "/ws", additional_headers=headers(tenant)) as ws:
        for _ in range(3):
            ws.send("?")
            assert ws.recv() == f"{tenant} {count}"
    assert until(lambda: ("ws", tenant) in tenants_seen)


def test_a_client_that_goes_away(base: str, tenants_seen: list[Any]) -> None:
    """What its stream still does is in its block, and the connections have nobody's tenant afterwards."""
    for tenant in (NORTH, SOUTH, NORTH):
        tenants_seen.clear()
        with httpx.stream("GET", base + "/slow", headers=headers(tenant)) as answer:
            assert next(answer.iter_text()).split()[0] == str(ORDERS[tenant])
        assert until(lambda: bool(tenants_seen))
        assert tenants_seen == [("slow", tenant)]
    for tenant in (SOUTH, NORTH):
        assert httpx.get(base + "/plain", headers=headers(tenant)).json()["count"] == ORDERS[tenant]


@pytest.mark.parametrize(
    ("more", "status"), [({}, 401), ({"X-API-Key": make_key("nobody")}, 401), ({"X-API-Key": "tk_"}, 401)]
)
def test_a_websocket_that_is_not_accepted(base: str, more: dict[str, str], status: int) -> None:
    """With the problem as its answer, before anything of the application runs."""
    with pytest.raises(InvalidStatus) as refused:
        connect(base.replace("http", "ws") + "/ws", additional_headers=more)
    assert refused.value.response.status_code == status
    assert refused.value.response.headers["content-type"] == "application/problem+json"


def test_a_websocket_where_the_server_cannot_say_why() -> None:
    async def main() -> list[Any]:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "websocket", "path": "/ws", "headers": [], "client": None}
        await Asgi(make_app("", []), RESOLUTION)(scope, receive, send)
        return sent

    assert asyncio.run(main()) == [{"type": "websocket.close", "code": 1008, "reason": "no-credential"}]


def test_keep_alive_does_not_keep_a_tenant(base: str) -> None:
    """One connection of a client, or of a proxy, brings requests of many."""
    with httpx.Client(base_url=base) as client:
        for tenant in (NORTH, SOUTH, NORTH):
            assert client.get("/plain", headers=headers(tenant)).json()["tenant"] == tenant
            assert client.get("/plain").status_code == 401


def test_headers_that_only_a_socket_can_send(base: str) -> None:
    """Doubled, folded and half ones, as they stand."""
    host, port = base.removeprefix("http://").split(":")
    for lines in (
        [f"X-API-Key: {KEYS[NORTH]}", f"X-API-Key: {KEYS[SOUTH]}"],
        [f"X-API-Key: {KEYS[NORTH]}", f" {KEYS[SOUTH]}"],
        [f"X-API-Key: {KEYS[NORTH]},{KEYS[SOUTH]}"],
        [f"X-API-Key : {KEYS[NORTH]}"],
        [f"X-API-Key: {KEYS[NORTH]}\0"],
    ):
        with socket.create_connection((host, int(port)), timeout=10) as raw:
            raw.sendall("\r\n".join(["GET /plain HTTP/1.1", "Host: x", *lines, "Connection: close", "", ""]).encode())
            assert b" 40" in raw.makefile("rb").readline()


def in_process(dsn: str, tenants_seen: list[Any], method: str, path: str, tenant: str) -> httpx.Response:
    app = make_app(dsn, tenants_seen)

    async def main() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with app.router.lifespan_context(app):
            async with httpx.AsyncClient(transport=transport, base_url="http://x", headers=headers(tenant)) as client:
                return await client.request(method, path)

    return asyncio.run(main())


def test_without_a_server(dsn: str) -> None:
    """httpx's ASGITransport; problems that routes raise, a database that is away, and one that is not."""
    tenants_seen: list[Any] = []
    assert in_process(dsn, tenants_seen, "GET", "/plain", SOUTH).json()["count"] == 2
    assert in_process(dsn, tenants_seen, "GET", "/stream", NORTH).text.split() == ["3"] * 3
    assert in_process(dsn, tenants_seen, "GET", "/background", NORTH).status_code == 200
    assert sorted(tenants_seen, key=str) == [("background", 3), ("stream", NORTH), ("thread", NORTH)]
    problem = in_process(dsn, tenants_seen, "GET", "/problem", NORTH)
    assert (problem.status_code, problem.headers["x-more"], problem.json()["detail"]) == (409, "1", "Not now.")
    lost = in_process(dsn, tenants_seen, "GET", "/lost", NORTH)
    assert (lost.status_code, int(lost.headers["retry-after"]) > 0) == (503, True)
    assert in_process(dsn, tenants_seen, "GET", "/wrong", NORTH).status_code == 500
    assert in_process(dsn, tenants_seen, "GET", "/none", NORTH).status_code == 404


def test_a_request_that_is_cancelled(dsn: str) -> None:
    """In the middle of its statement: its connections go back to the pool without its tenant, and the server works on for
    nobody."""
    tenants_seen: list[Any] = []
    app = make_app(dsn, tenants_seen)

    async def main() -> list[Any]:
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://x") as client,
        ):
            tasks = [asyncio.create_task(client.get("/sleep", headers=headers(NORTH))) for _ in range(2)]
            while len(tenants_seen) < 2:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            for task in tasks:
                task.cancel()
            assert all(
                isinstance(one, asyncio.CancelledError) for one in await asyncio.gather(*tasks, return_exceptions=True)
            )
            return [
                (await client.get("/plain", headers=headers(tenant))).json()["count"]
                for tenant in (SOUTH, NORTH, SOUTH)
            ]

    begun = time.monotonic()
    assert asyncio.run(main()) == [2, 3, 2]
    assert time.monotonic() - begun < 25


def test_who_may_only_read_cannot_write(dsn: str) -> None:
    """By the method; and by a method that should not write, which PostgreSQL refuses."""
    tenants_seen: list[Any] = []
    assert in_process(dsn, tenants_seen, "POST", "/write", READER).status_code == 403
    assert in_process(dsn, tenants_seen, "GET", "/write", READER).status_code == 500
    assert in_process(dsn, tenants_seen, "GET", "/plain", READER).json()["count"] == 3
    assert in_process(dsn, tenants_seen, "GET", "/write", NORTH).status_code == 200


# -- Flask


def make_flask(pool: ConnectionPool[Any], tenants_seen: list[Any]) -> Flask:
    app = Flask("shop")
    use_tenants_of_flask(app, RESOLUTION)

    def count() -> int:
        with pool.connection() as connection:
            return int(connection.execute(COUNT).fetchone()[0])  # type: ignore[index]

    @app.get("/plain")
    def plain() -> dict[str, Any]:
        return {"tenant": key_in_block(), "count": count(), "by": request.environ["tenantry_app.resolved"].by}

    @app.get("/stream")
    def stream() -> FlaskResponse:
        def parts() -> Iterator[str]:
            try:
                for _ in range(3):
                    yield f"{count()} "
            finally:
                tenants_seen.append(key_in_block())

        return FlaskResponse(stream_with_context(parts()))

    @app.get("/open")
    def opened() -> str:
        return key_in_block()

    @app.get("/problem")
    def problem() -> str:
        raise Problem(409, "conflict", "Not now.")

    @app.get("/lost")
    def lost() -> str:
        raise Lost("the connection is lost")

    @app.get("/wrong")
    def wrong() -> str:
        raise ZeroDivisionError

    return app


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def wsgi(application: Any) -> Iterator[str]:
    """A real server of WSGI, which checks that it is spoken to as the standard says."""
    server = make_server("127.0.0.1", 0, validator(application), handler_class=Quiet)
    thread = threading.Thread(target=server.serve_forever, args=[0.02])
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_flask(dsn: str) -> None:
    tenants_seen: list[Any] = []
    with ConnectionPool(dsn, connection_class=TenantConnection, min_size=1, max_size=1) as pool:
        with wsgi(make_flask(pool, tenants_seen)) as base:
            for tenant, count in ORDERS.items():
                with httpx.Client(base_url=base, headers=headers(tenant)) as client:
                    assert client.get("/plain").json() == {"tenant": tenant, "count": count, "by": "the API key"}
                    assert client.get("/stream").text.split() == [str(count)] * 3
                    assert client.get("/open").text == "nobody"
                    assert tenants_seen.pop() == tenant
                    assert client.get("/problem").status_code == 409
                    lost = client.get("/lost")
                    assert (lost.status_code, lost.headers["content-type"]) == (503, "application/problem+json")
                    assert client.get("/wrong").status_code == 500
                    assert client.get("/none").status_code == 404
            refused = httpx.get(base + "/plain")
            assert (refused.status_code, refused.json()["status"]) == (401, 401)
            twice = [("X-API-Key", KEYS[NORTH]), ("X-API-Key", KEYS[SOUTH])]
            assert httpx.get(base + "/plain", headers=twice).status_code == 400


def test_a_body_that_nobody_reads_is_closed_in_its_block(dsn: str) -> None:
    tenants_seen: list[Any] = []
    with ConnectionPool(dsn, connection_class=TenantConnection, min_size=1, max_size=1) as pool:
        answer = make_flask(pool, tenants_seen).test_client().get("/stream", headers=headers(SOUTH), buffered=False)
        assert next(iter(answer.response)) == b"2 "
        assert key_in_block() == "nobody"
        answer.close()
    assert tenants_seen == [SOUTH]


# -- Django


def plain(request: Any) -> HttpResponse:
    return HttpResponse(f"{key_in_block()} {django_shop.Order.objects.count()}")


def stream(request: Any) -> StreamingHttpResponse:
    return StreamingHttpResponse(f"{django_shop.Order.objects.count()} " for _ in range(3))


async def plain_async(request: Any) -> HttpResponse:
    return HttpResponse(f"{key_in_block()} {await django_shop.Order.objects.acount()} {request.tenantry.by}")


def lost(request: Any) -> HttpResponse:
    raise Lost("the connection is lost")


def problem(request: Any) -> HttpResponse:
    raise Problem(409, "conflict", "Not now.")


urlpatterns = [
    path("plain", plain),
    path("stream", stream),
    path("async", plain_async),
    path("lost", lost),
    path("problem", problem),
]
DJANGO = override_settings(
    ROOT_URLCONF=__name__, MIDDLEWARE=["tenantry_app.django.middleware.tenant_middleware"],
    TENANTRY={"DATABASES": ["default"], "RESOLUTION": RESOLUTION},
)  # fmt: skip


def test_django(dsn: str) -> None:
    """Under WSGI and ASGI, as its own middleware."""
    django_shop.point("default", dsn)
    with DJANGO:
        client = Client(raise_request_exception=False)
        for tenant, count in ORDERS.items():
            more = {"headers": headers(tenant)}
            assert client.get("/plain", **more).content == f"{tenant} {count}".encode()
            assert b"".join(client.get("/stream", **more)).split() == [str(count).encode()] * 3
            assert client.get("/lost", **more).status_code == 503
            assert client.get("/problem", **more).json()["detail"] == "Not now."
            found = asyncio.run(AsyncClient().get("/async", **more)).content
            assert found == f"{tenant} {count} the API key".encode()
        assert client.get("/plain").status_code == 401
        assert asyncio.run(AsyncClient().get("/async")).status_code == 401
    django_shop.close()


def test_django_under_the_wsgi_middleware(dsn: str) -> None:
    from django.core.handlers.wsgi import WSGIHandler

    from tenantry_app.wsgi import TenantMiddleware

    django_shop.point("default", dsn)
    with (
        override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=[]),
        wsgi(TenantMiddleware(WSGIHandler(), RESOLUTION)) as base,
    ):
        for tenant, count in ORDERS.items():
            assert httpx.get(base + "/plain", headers=headers(tenant)).text == f"{tenant} {count}"
            assert httpx.get(base + "/stream", headers=headers(tenant)).text.split() == [str(count)] * 3
        assert httpx.get(base + "/plain").status_code == 401
    django_shop.close()
