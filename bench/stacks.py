"""The shop of bench.application, and what asks it: drivers and frameworks, each plain, with tenantry-app, and by hand.

A request reads one row by its key. `plain` is what a stack does by itself, as a role that no policy holds: asyncpg,
psycopg and Django in autocommit, SQLAlchemy in a transaction. `by hand` has the tenant in WHERE, in a transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

import asyncpg
import django
import psycopg
from django.conf import settings
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import URL, BigInteger, Integer, Text, create_engine, func, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from tenantry_app import tenant
from tenantry_app.asyncpg import TenantConnection as AsyncpgConnection
from tenantry_app.psycopg import TenantConnection
from tenantry_app.sqlalchemy import use_tenants

TENANT = "1"
TENANTS, ROWS = 50, 100_000
ORDERS = ROWS // TENANTS
"""Of each tenant."""
TABLES = """
CREATE TABLE tenants (id integer PRIMARY KEY, slug text NOT NULL UNIQUE);
CREATE TABLE orders (id bigint PRIMARY KEY, tenant_id integer NOT NULL REFERENCES tenants, note text);
"""
DATA = f"""
INSERT INTO tenants SELECT n, 'tenant ' || n FROM generate_series(1, {TENANTS}) n;
INSERT INTO orders (id, tenant_id, note) SELECT n, 1 + n % {TENANTS}, repeat('x', 50) FROM generate_series(1, {ROWS}) n;
"""
QUERY = "SELECT * FROM orders WHERE id = {}"
BY_HAND = QUERY + " AND tenant_id = {}"
COUNT = "SELECT count(*) FROM orders"


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How requests are made."""

    play: Callable[[int], object]
    """Makes so many requests."""
    read_on: Callable[[], list[int]] | None = None
    """Counts the tenant's orders, ends the transaction, and counts them again, as code of one request does."""


Ways = AbstractContextManager[Mapping[str, Way]]


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    tenant_id: Mapped[int] = mapped_column(Integer)
    note: Mapped[str] = mapped_column(Text)


ONE_BY_HAND = select(Order).where(Order.tenant_id == int(TENANT))
ORM_COUNT = select(func.count()).select_from(Order)


def keys(number: int) -> Iterator[int]:
    """Keys of the tenant's rows."""
    return (TENANTS * (1 + one % (ORDERS - 1)) for one in range(number))


def url(dsn: str, driver: str) -> URL:
    """Of SQLAlchemy."""
    parts = conninfo_to_dict(dsn)
    query = {"host": str(parts["host"]), "port": str(parts["port"])}
    return URL.create(f"postgresql+{driver}", parts["user"], database=parts["dbname"], query=query)


# -- Each is given the DSN of the operator and that of the application.


@contextmanager
def with_psycopg(operator: str, application: str) -> Iterator[Mapping[str, Way]]:
    with (
        psycopg.connect(operator, autocommit=True) as bare,
        TenantConnection.connect(application, autocommit=True) as ours,
    ):

        def plain(number: int) -> None:
            for key in keys(number):
                assert bare.execute(QUERY.format("%s"), [key]).fetchone()

        def in_block(number: int) -> None:
            for key in keys(number):
                with tenant(TENANT):
                    assert ours.execute(QUERY.format("%s"), [key]).fetchone()

        def by_hand(number: int) -> None:
            for key in keys(number):
                with bare.transaction():
                    assert bare.execute(BY_HAND.format("%s", "%s"), [key, int(TENANT)]).fetchone()

        def read_on() -> list[int]:
            with tenant(TENANT):
                with ours.transaction():
                    before = ours.execute(COUNT).fetchall()
                return [count for (count,) in before + ours.execute(COUNT).fetchall()]

        yield {
            "plain": Way(play=plain),
            "tenantry-app": Way(play=in_block, read_on=read_on),
            "by hand": Way(play=by_hand),
        }


@contextmanager
def with_asyncpg(operator: str, application: str) -> Iterator[Mapping[str, Way]]:
    with (
        asyncpg_connection(operator) as (run, bare),
        asyncpg_connection(application, AsyncpgConnection, run) as (_, ours),
    ):

        async def plain(number: int) -> None:
            for key in keys(number):
                assert await bare.fetchrow(QUERY.format("$1"), key)

        async def in_block(number: int) -> None:
            for key in keys(number):
                with tenant(TENANT):
                    async with ours.transaction():
                        assert await ours.fetchrow(QUERY.format("$1"), key)

        async def by_hand(number: int) -> None:
            for key in keys(number):
                async with bare.transaction():
                    assert await bare.fetchrow(BY_HAND.format("$1", "$2"), key, int(TENANT))

        async def read_on() -> list[int]:
            found = []
            with tenant(TENANT):
                for _ in range(2):
                    async with ours.transaction():
                        found.append(await ours.fetchval(COUNT))
            return found

        yield {
            "plain": Way(play=lambda number: run(plain(number))),
            "tenantry-app": Way(play=lambda number: run(in_block(number)), read_on=lambda: run(read_on())),
            "by hand": Way(play=lambda number: run(by_hand(number))),
        }


@contextmanager
def asyncpg_connection(
    dsn: str, connection_class: Any = asyncpg.Connection, run: Callable[[Any], Any] | None = None
) -> Iterator[tuple[Callable[[Any], Any], Any]]:
    """A connection, and what runs a coroutine in its loop."""
    parts = conninfo_to_dict(dsn)
    with nullcontext(run) if run is not None else event_loop() as run:
        connection = run(
            asyncpg.connect(host=parts["host"], port=int(parts["port"]), user=parts["user"], database=parts["dbname"],
                            ssl=False, connection_class=connection_class)
        )  # fmt: skip
        try:
            yield run, connection
        finally:
            run(connection.close())


@contextmanager
def event_loop() -> Iterator[Callable[[Any], Any]]:
    """What runs a coroutine in a loop of its own."""
    loop = asyncio.new_event_loop()
    try:
        yield loop.run_until_complete
    finally:
        loop.close()


@contextmanager
def with_sqlalchemy(operator: str, application: str) -> Iterator[Mapping[str, Way]]:
    bare, ours = create_engine(url(operator, "psycopg")), use_tenants(create_engine(url(application, "psycopg")))

    def by_hand(number: int) -> None:
        for key in keys(number):
            with Session(bare) as session:
                assert session.scalars(ONE_BY_HAND.where(Order.id == key)).one()
                session.commit()

    try:
        yield {
            "plain": Way(play=lambda number: by_session(bare, number)),
            "tenantry-app": Way(
                play=lambda number: by_session(ours, number, lambda: tenant(TENANT)),
                read_on=lambda: count_by_session(ours, lambda: tenant(TENANT)),
            ),
            "by hand": Way(play=by_hand),
        }
    finally:
        bare.dispose()
        ours.dispose()


def by_session(engine: Any, number: int, block: Callable[[], Any] = nullcontext) -> None:
    """Requests of SQLAlchemy's ORM, each in a block and a session."""
    for key in keys(number):
        with block(), Session(engine) as session:
            assert session.get(Order, key)
            session.commit()


def count_by_session(engine: Any, block: Callable[[], Any]) -> list[int]:
    """See Way.read_on."""
    with block(), Session(engine) as session:
        found = [session.scalar(ORM_COUNT) or 0]
        session.commit()
        return [*found, session.scalar(ORM_COUNT) or 0]


@contextmanager
def with_async_sqlalchemy(operator: str, application: str) -> Iterator[Mapping[str, Way]]:
    bare = create_async_engine(url(operator, "asyncpg"))
    ours = use_tenants(create_async_engine(url(application, "asyncpg")))

    @asynccontextmanager
    async def session(engine: Any, block: Any) -> Any:
        with block:
            async with AsyncSession(engine) as opened:
                yield opened

    async def by_hand(number: int) -> None:
        for key in keys(number):
            async with AsyncSession(bare) as opened:
                assert (await opened.scalars(ONE_BY_HAND.where(Order.id == key))).one()
                await opened.commit()

    with event_loop() as run:
        try:
            yield {
                "plain": Way(play=lambda number: run(by_async_session(lambda: session(bare, nullcontext()), number))),
                "tenantry-app": Way(
                    play=lambda number: run(by_async_session(lambda: session(ours, tenant(TENANT)), number)),
                    read_on=lambda: run(count_by_async_session(lambda: session(ours, tenant(TENANT)))),
                ),
                "by hand": Way(play=lambda number: run(by_hand(number))),
            }
        finally:
            run(bare.dispose())
            run(ours.dispose())


async def by_async_session(session: Callable[[], Any], number: int, model: Any = Order) -> None:
    """Requests of SQLAlchemy's ORM, each in a session."""
    for key in keys(number):
        async with session() as opened:
            assert await opened.get(model, key)
            await opened.commit()


async def count_by_async_session(session: Callable[[], Any], count: Any = ORM_COUNT) -> list[int]:
    """See Way.read_on."""
    async with session() as opened:
        found = [await opened.scalar(count)]
        await opened.commit()
        return [*found, await opened.scalar(count)]


@contextmanager
def with_django(operator: str, application: str) -> Iterator[Mapping[str, Way]]:
    shop = django_shop()
    shop.point("operator", operator)
    shop.point("default", application)
    order, atomic = shop.order, shop.atomic

    def plain(number: int) -> None:
        for key in keys(number):
            assert order.objects.using("operator").get(id=key)

    def in_block(number: int) -> None:
        for key in keys(number):
            with tenant(TENANT):
                assert order.objects.get(id=key)

    def by_hand(number: int) -> None:
        for key in keys(number):
            with atomic(using="operator"):
                assert order.objects.using("operator").get(id=key, tenant_id=int(TENANT))

    def read_on() -> list[int]:
        with tenant(TENANT):
            with atomic():
                before = order.objects.count()
            return [before, order.objects.count()]

    try:
        yield {
            "plain": Way(play=plain),
            "tenantry-app": Way(play=in_block, read_on=read_on),
            "by hand": Way(play=by_hand),
        }
    finally:
        shop.connections.close_all()


@dataclass(frozen=True, slots=True, kw_only=True)
class DjangoShop:
    """Django, with our model of orders; where django-rls-tenants is installed, its models of the same tables too."""

    connections: Any
    atomic: Any
    order: Any
    rivals: tuple[Any, Any] | None

    def point(self, alias: str, dsn: str) -> None:
        """Let an alias lead to a database."""
        parts = conninfo_to_dict(dsn)
        self.connections[alias].close()
        self.connections[alias].settings_dict.update(
            NAME=parts["dbname"], USER=parts["user"], HOST=parts["host"], PORT=str(parts["port"])
        )


@cache
def django_shop() -> DjangoShop:
    place = {"ENGINE": "django.db.backends.postgresql", "NAME": "none"}
    rival = find_spec("django_rls_tenants") is not None
    settings.configure(
        DATABASES={alias: {**place} for alias in ("default", "operator", "rival")},
        INSTALLED_APPS=["tenantry_app.django", *(["django_rls_tenants"] if rival else [])],
        RLS_TENANTS={
            "TENANT_MODEL": "rival.Tenant",
            "DATABASES": ["rival"],
            "USE_LOCAL_SET": True,
            "STRICT_MODE": True,
        },
    )
    django.setup()
    from django.db import connections, models, transaction

    class Order(models.Model):
        id = models.BigIntegerField(primary_key=True)
        tenant_id = models.IntegerField()
        note = models.TextField()

        class Meta:
            app_label = "tenantry_app"
            db_table = "orders"

    rivals = None
    if rival:
        from bench import rival_models

        rivals = (rival_models.Tenant, rival_models.Order)
    return DjangoShop(connections=connections, atomic=transaction.atomic, order=Order, rivals=rivals)


STACKS: Mapping[str, Callable[[str, str], Ways]] = {
    "psycopg": with_psycopg, "Django": with_django, "SQLAlchemy": with_sqlalchemy, "asyncpg": with_asyncpg,
    "SQLAlchemy on asyncpg": with_async_sqlalchemy,
}  # fmt: skip
