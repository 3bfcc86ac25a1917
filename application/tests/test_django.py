"""Django: each statement is its block's tenant's, in autocommit and transactions, pools and both kinds of binding."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar

import pytest
from django.core.checks import run_checks
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connections, transaction
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.test import AsyncRequestFactory, Client, RequestFactory, override_settings
from django.urls import path

from conftest import application
from django_shop import ALIASES, Customer, Order, Unit, close, point
from servers import Database
from shop import EAST, NORTH, SOUTH
from tenantry_app import (
    FixedDirectory,
    StatementRefused,
    Tenant,
    TenantChanged,
    TenantRequired,
    configure,
    current,
    tenant,
    without_tenant,
)
from tenantry_app.django.middleware import tenant_middleware
from tenantry_app.django.storage import TenantFileSystemStorage
from wire import wire

pytestmark = pytest.mark.server

ORDERS = {NORTH: 3, SOUTH: 2, EAST: 0}


@pytest.fixture(params=ALIASES)
def alias(request: pytest.FixtureRequest, dsn: str) -> Iterator[str]:
    point(request.param, dsn)
    connections[request.param].ensure_connection()
    yield request.param
    assert setting_of(request.param) == ""
    close()


@pytest.fixture
def default(dsn: str) -> Iterator[None]:
    point("default", dsn)
    yield
    assert setting_of("default") == ""
    close()


def setting_of(alias: str) -> str:
    """The setting as the session has it now, asked for behind our back."""
    connections[alias].ensure_connection()
    result = connections[alias].connection.pgconn.exec_(b"SELECT current_setting('app.tenant_id', true)")
    return (result.get_value(0, 0) or b"").decode()


def test_each_statement_is_the_tenants(alias: str) -> None:
    orders = Order.objects.using(alias)
    for key, count in ORDERS.items():
        with tenant(key):
            assert orders.count() == len(orders.all()) == count
            assert setting_of(alias) == ""
            with transaction.atomic(using=alias):
                assert orders.filter(note__contains="1").count() == min(count, 1)
                with tenant(SOUTH), transaction.atomic(using=alias):
                    assert orders.count() == 2
                assert orders.count() == count
            assert sum(1 for _ in orders.iterator()) == count
            with connections[alias].cursor() as cursor:
                cursor.execute("SELECT count(*), '%' FROM orders")
                assert cursor.fetchone() == (count, "%")
                cursor.execute("SELECT count(*), '%%' FROM orders WHERE id > %s", [0])
                assert (cursor.fetchone(), cursor.rowcount) == ((count, "%"), 1)
    with without_tenant():
        assert (orders.count(), Unit.objects.using(alias).count()) == (0, 1)


def test_strict(alias: str) -> None:
    orders = Order.objects.using(alias)
    with pytest.raises(TenantRequired):
        orders.count()
    with tenant(NORTH):
        lazy = orders.all()
        iterator = orders.iterator(chunk_size=1)
        customer = Customer.objects.using(alias).get()
    with pytest.raises(TenantRequired):
        list(lazy)
    with pytest.raises(TenantRequired):
        next(iterator)
    with pytest.raises(TenantRequired), transaction.atomic(using=alias):
        customer.order_set.count()
    with tenant(SOUTH):
        assert len(list(lazy)) == 2


def test_iterators_keep_their_tenant(alias: str) -> None:
    """In and outside of a transaction, whatever is asked in between."""
    for atomic in (False, True):
        with tenant(NORTH), transaction.atomic(using=alias) if atomic else nullcontext():
            found = []
            for order in Order.objects.using(alias).iterator(chunk_size=1):
                with tenant(SOUTH):
                    assert Order.objects.using(alias).count() == 2
                found.append(order.note)
            assert found == ["n1", "n2", "n3"]
            iterator = Order.objects.using(alias).iterator(chunk_size=1)
            next(iterator)
            with tenant(SOUTH), pytest.raises(TenantChanged):
                list(iterator)


def test_the_first_fetch_is_the_tenants(default: None) -> None:
    """A cursor is declared for north; then south asks something; PostgreSQL looks at the setting only after that."""
    with tenant(NORTH), transaction.atomic():
        cursor = connections["default"].chunked_cursor()
        cursor.execute("SELECT count(*) FROM orders")
        with tenant(SOUTH):
            assert Order.objects.count() == 2
        assert cursor.fetchone() == (3,)
        cursor.close()


def test_savepoints_and_errors(alias: str) -> None:
    orders = Order.objects.using(alias)
    with tenant(NORTH), transaction.atomic(using=alias):
        for error in (False, True):
            with tenant(SOUTH):
                try:
                    with transaction.atomic(using=alias):
                        assert orders.count() == 2
                        if error:
                            with connections[alias].cursor() as cursor:
                                cursor.execute("SELECT 1 / %s", [0])
                except DatabaseError:
                    pass
            assert orders.count() == 3
    with tenant(NORTH), pytest.raises(DatabaseError), connections[alias].cursor() as cursor:
        cursor.execute("nonsense %s", [1])
    with tenant(SOUTH):
        assert orders.count() == 2


def test_what_goes_past_the_wrappers(default: None) -> None:
    """COPY and the like have their tenant in a transaction, and are refused outside of one."""
    query = "COPY (SELECT * FROM orders) TO STDOUT"
    with tenant(NORTH), connections["default"].cursor() as cursor:
        with pytest.raises(StatementRefused, match=r"atomic\(\)"), cursor.copy(query):
            pass
        with transaction.atomic():
            assert Order.objects.count() == 3
            with tenant(SOUTH), cursor.copy(query) as copy:
                assert len(list(copy.rows())) == 2
            assert len(list(cursor.stream("SELECT * FROM orders"))) == 3
    with pytest.raises(TenantRequired), connections["default"].cursor() as cursor, cursor.copy(query):
        pass


def test_writes(shop: Database, dsn: str) -> None:
    from conftest import application

    point("default", application(shop))
    with tenant(NORTH):
        Order.objects.bulk_create([Order(customer_id=1, note=f"new {number}") for number in range(5)])
        Order.objects.create(customer_id=1)
        with pytest.raises(DatabaseError):
            Order.objects.create(customer_id=2)
        with connections["default"].cursor() as cursor:
            cursor.executemany("UPDATE orders SET note = %s WHERE id = %s", [["x", 1], ["y", 4]])
            cursor.execute("UPDATE orders SET note = 'z' WHERE note IS NULL")
            assert cursor.rowcount == 1
    with tenant(SOUTH):
        assert Order.objects.update(note="mine") == 2
    close()
    assert shop.rows("SELECT tenant_id, count(*) FROM orders GROUP BY 1 ORDER BY 1") == [(1, 9), (2, 2)]
    assert shop.rows("SELECT note FROM orders WHERE id IN (1, 4) ORDER BY id") == [("x",), ("mine",)]


def test_read_only_and_hostile_keys(default: None) -> None:
    with tenant(NORTH, read_only=True), pytest.raises(DatabaseError, match="read-only"):
        Order.objects.update(note="new")
    for key in ("o'neil", "%s", "100%", "\\'; ROLLBACK; --"):
        with tenant(key), connections["default"].cursor() as cursor:
            for parameters in (None, [], [key]):
                cursor.execute(f"SELECT current_setting('app.tenant_id'){', %s' if parameters else ''}", parameters)
                assert cursor.fetchone()[0] == key


def test_asynchronously(default: None) -> None:
    async def main() -> None:
        for key, count in ORDERS.items():
            async with tenant(key):
                assert await Order.objects.acount() == count
                assert len([order async for order in Order.objects.all()]) == count
        with pytest.raises(TenantRequired):
            await Order.objects.acount()

    asyncio.run(main())


def test_no_round_trip_more(dsn: str) -> None:
    def work() -> None:
        Order.objects.using(name).filter(id__gt=0).count()
        with transaction.atomic(using=name):
            Order.objects.using(name).filter(id__gt=0).count()
            list(Order.objects.using(name).all())

    counted = {}
    with wire(dsn) as network:
        for name in ("operator", "default"):
            point(name, network.dsn)
            with tenant(NORTH):
                connections[name].ensure_connection()
                network.reset()
                work()
                counted[name] = network.round_trips
            close()
    assert counted["default"] == counted["operator"]


def test_threads(dsn: str) -> None:
    rng = random.Random(9)
    point("pooled", dsn)

    def work(job: tuple[str, float]) -> None:
        key, chance = job
        orders = Order.objects.using("pooled")
        try:
            with tenant(key):
                assert setting_of("pooled") == ""
                with transaction.atomic(using="pooled") if chance < 0.5 else nullcontext():
                    assert orders.count() == ORDERS[key]
                    if chance < 0.2:
                        raise ZeroDivisionError
                    assert orders.count() == ORDERS[key]
        except ZeroDivisionError:
            pass
        finally:
            connections["pooled"].close()

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(work, [(rng.choice([NORTH, SOUTH, EAST]), rng.random()) for _ in range(100)]))
    close()


# -- Requests


@pytest.fixture
def directory() -> None:
    configure(
        directory=FixedDirectory(Tenant(NORTH, "north"), Tenant(SOUTH, "south"), Tenant("9", "gone", status="closed"))
    )


def counts(request: Any) -> HttpResponse:
    return HttpResponse(f"{current().slug} {Order.objects.count()}")


def streams(request: Any) -> StreamingHttpResponse:
    return StreamingHttpResponse(f"{order.note} " for order in Order.objects.iterator(chunk_size=1))


def test_requests(default: None, directory: None) -> None:
    factory = RequestFactory()
    for host, answer in (("north.shop.test", b"north 3"), ("SOUTH.shop.test:80", b"south 2")):
        assert tenant_middleware(counts)(factory.get("/", headers={"host": host})).content == answer
    for host in ("gone.shop.test", "nobody.shop.test"):
        with pytest.raises(Http404):
            tenant_middleware(counts)(factory.get("/", headers={"host": host}))
    with pytest.raises(TenantRequired):
        tenant_middleware(counts)(factory.get("/", headers={"host": "shop.test"}))
    streamed = tenant_middleware(streams)(factory.get("/", headers={"host": "north.shop.test"}))
    with tenant(SOUTH):
        assert b"".join(streamed) == b"n1 n2 n3 "


def adds(request: Any) -> HttpResponse:
    Order.objects.create(customer_id=1, note=str(connections["default"].in_atomic_block))
    if "fail" in request.GET:
        raise ZeroDivisionError
    return counts(request)


class Urls:
    urlpatterns: ClassVar = [path("add", adds)]


@pytest.mark.parametrize("atomic", [True, False])
def test_atomic_requests(atomic: bool, shop: Database, directory: None) -> None:
    """Through Django's own handler: a request that fails leaves nothing, or what it has done until then."""
    point("default", application(shop))
    connections["default"].settings_dict["ATOMIC_REQUESTS"] = atomic
    middleware = ["tenantry_app.django.middleware.tenant_middleware"]
    try:
        with override_settings(ROOT_URLCONF=Urls, MIDDLEWARE=middleware, ALLOWED_HOSTS=["*"]):
            client = Client(raise_request_exception=False, headers={"host": "north.shop.test"})
            assert client.get("/add").content == b"north 4"
            assert client.get("/add?fail").status_code == 500
            assert client.get("/add").content == (b"north 5" if atomic else b"north 6")
    finally:
        connections["default"].settings_dict["ATOMIC_REQUESTS"] = False
        close()
    notes = shop.rows("SELECT tenant_id, note FROM orders WHERE id > 5")
    assert notes == [(1, str(atomic))] * (2 if atomic else 3)


def test_asynchronous_requests(default: None, directory: None) -> None:
    async def view(request: Any) -> HttpResponse:
        return HttpResponse(f"{current().slug} {await Order.objects.acount()}")

    async def stream(request: Any) -> StreamingHttpResponse:
        async def parts() -> Any:
            async for order in Order.objects.all():
                yield f"{order.note} "

        return StreamingHttpResponse(parts())

    def at(host: str) -> Any:
        request = AsyncRequestFactory().get("/")
        request.META["HTTP_HOST"] = host
        return request

    async def main() -> None:
        responses = await asyncio.gather(
            *(tenant_middleware(view)(at(f"{name}.shop.test")) for name in ("north", "south") * 5)
        )
        assert [response.content for response in responses] == [b"north 3", b"south 2"] * 5
        streamed = await tenant_middleware(stream)(at("north.shop.test"))
        assert [part async for part in streamed] == [b"n1 ", b"n2 ", b"n3 "]

    asyncio.run(main())


# -- Cache, files, commands, checks


def test_the_cache() -> None:
    from django.core.cache import cache

    with tenant("a"):
        cache.set("key", "of a")
    with tenant("a:b"):
        assert cache.get("key") is None
    with tenant("a"):
        assert cache.get("key") == "of a"
    for use in (lambda: cache.get("key"), lambda: cache.set("key", 1)):
        with pytest.raises(TenantRequired):
            use()


def test_files(tmp_path: Path) -> None:
    storage = TenantFileSystemStorage(location=tmp_path)
    for key in ("a", "../b", "..", "a/b"):
        with tenant(key):
            assert storage.save("note.txt", ContentFile(key.encode())) == "note.txt"
    for key in ("a", "../b", "..", "a/b"):
        with tenant(key):
            with storage.open("note.txt") as file:
                assert file.read() == key.encode()
    with tenant("a"):
        assert storage.url("note.txt") == "/media/tenant-a/note.txt"
        with pytest.raises(SuspiciousFileOperation):
            storage.open("../tenant-..%2Fb/note.txt")
    assert {path.name for path in tmp_path.iterdir()} == {"tenant-a", "tenant-..%2Fb", "tenant-..", "tenant-a%2Fb"}
    for use in (lambda: storage.exists("note.txt"), lambda: storage.url("note.txt"), lambda: storage.listdir("")):
        with pytest.raises(TenantRequired):
            use()


def test_for_each_tenant(default: None, directory: None, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str | None, int]] = []

    def handle(self: Any, *args: Any, **options: Any) -> None:
        seen.append((current().slug, Order.objects.count()))

    monkeypatch.setattr("django.core.management.commands.check.Command.handle", handle)
    errors = StringIO()
    call_command("for_each_tenant", "check", stderr=errors)
    assert seen == [("north", 3), ("south", 2)]
    assert "is not active" in errors.getvalue()

    def fail(self: Any, *args: Any, **options: Any) -> None:
        seen.append((current().slug, 0))
        raise CommandError("no")

    monkeypatch.setattr("django.core.management.commands.check.Command.handle", fail)
    with pytest.raises(CommandError, match=r"check failed for north \(1\), south \(2\)"):
        call_command("for_each_tenant", "check", stderr=errors)


def test_system_checks(shop: Database) -> None:
    from conftest import application

    point("default", application(shop))
    assert run_checks(databases=["default"], tags=["database"]) == []
    close()
    shop.execute("ALTER TABLE orders NO FORCE ROW LEVEL SECURITY; ALTER ROLE shop_app BYPASSRLS")
    try:
        found = run_checks(databases=["default"], tags=["database"])
        assert [(message.id, "orders" in message.msg or "BYPASSRLS" in message.msg) for message in found] == [
            ("tenantry_app.E001", True),
            ("tenantry_app.E002", True),
        ]
    finally:
        shop.execute("ALTER ROLE shop_app NOBYPASSRLS")
        close()
