"""The rivals of bench.application, each on a database of its own that is prepared as its documentation says.

They are in bench/requirements.txt, and in no distribution; `make bench` has an environment for them. Each connects as
a role that its policies hold, and makes the same requests as the others of its stack.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from sqlalchemy import BigInteger, Text, create_engine, func, select
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from bench.stacks import (
    COUNT,
    DATA,
    QUERY,
    TABLES,
    TENANT,
    Way,
    asyncpg_connection,
    by_async_session,
    by_session,
    count_by_async_session,
    count_by_session,
    django_shop,
    event_loop,
    keys,
    url,
)

ROLE = "rival"
GRANTS = f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {ROLE};"


# -- rowstile


ROWSTILE = f"""
app role {ROLE}

type user = public.tenants (id int)
  self : user = id
  can edit = self
  can view = signed_in

type order = public.orders
  tenant : user = tenant_id
  can edit = tenant
  can view = edit

rules public.tenants
  select : view
  update : edit

rules public.orders
  select : view
  insert : tenant
  update : edit
  delete : edit
"""
"""What `rowstile init` drafts for the shop: a tenant is who signs in."""


def prepare_rowstile(dsn: str) -> None:
    execute(dsn, TABLES + DATA + GRANTS)
    with tempfile.NamedTemporaryFile("w", suffix=".authz") as policy:
        policy.write(ROWSTILE)
        policy.flush()
        command = [sys.executable, "-m", "rowstile", "apply", "--db", dsn, policy.name]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


@contextmanager
def rowstile_on_psycopg(dsn: str) -> Iterator[Way]:
    from rowstile.psycopg import transaction

    with psycopg.connect(dsn, autocommit=True) as connection:

        def play(number: int) -> None:
            for key in keys(number):
                with transaction(connection, int(TENANT)):
                    assert connection.execute(QUERY.format("%s"), [key]).fetchone()

        def read_on() -> list[int]:
            with transaction(connection, int(TENANT)):
                before = connection.execute(COUNT).fetchall()
            return [count for (count,) in before + connection.execute(COUNT).fetchall()]

        yield Way(play=play, read_on=read_on)


@contextmanager
def rowstile_on_asyncpg(dsn: str) -> Iterator[Way]:
    from rowstile.asyncpg import transaction

    with asyncpg_connection(dsn) as (run, connection):

        async def play(number: int) -> None:
            for key in keys(number):
                async with transaction(connection, int(TENANT)):
                    assert await connection.fetchrow(QUERY.format("$1"), key)

        async def read_on() -> list[int]:
            async with transaction(connection, int(TENANT)):
                before = await connection.fetchval(COUNT)
            return [before, await connection.fetchval(COUNT)]

        yield Way(play=lambda number: run(play(number)), read_on=lambda: run(read_on()))


@contextmanager
def rowstile_on_sqlalchemy(dsn: str) -> Iterator[Way]:
    from rowstile import acting_as
    from rowstile.sqlalchemy import install

    engine = install(create_engine(url(dsn, "psycopg")))
    try:
        yield Way(
            play=lambda number: by_session(engine, number, lambda: acting_as(int(TENANT))),
            read_on=lambda: count_by_session(engine, lambda: acting_as(int(TENANT))),
        )
    finally:
        engine.dispose()


# -- fastapi-tenancy


FASTAPI_TENANCY = """
ALTER TABLE orders DROP CONSTRAINT orders_tenant_id_fkey, ALTER tenant_id TYPE text;
ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
ALTER TABLE orders FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON orders USING (tenant_id = current_setting('app.current_tenant', TRUE));
"""
"""A tenant's id is a text to it."""


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    tenant_id: Mapped[str] = mapped_column(Text)
    note: Mapped[str] = mapped_column(Text)


def prepare_fastapi_tenancy(dsn: str) -> None:
    execute(dsn, TABLES + DATA + FASTAPI_TENANCY + GRANTS)


@contextmanager
def fastapi_tenancy(dsn: str) -> Iterator[Way]:
    from fastapi_tenancy.core.config import TenancyConfig
    from fastapi_tenancy.core.types import Tenant
    from fastapi_tenancy.isolation.rls import RLSIsolationProvider

    engine = create_async_engine(url(dsn, "asyncpg"))
    config = TenancyConfig(database_url="postgresql+asyncpg://localhost/none", isolation_strategy="rls")
    provider = RLSIsolationProvider(config, engine)
    served = Tenant(id=TENANT, identifier="tenant-one", name="tenant 1")
    count = select(func.count()).select_from(Order)
    with event_loop() as run:
        try:
            yield Way(
                play=lambda number: run(by_async_session(lambda: provider.get_session(served), number, Order)),
                read_on=lambda: run(count_by_async_session(lambda: provider.get_session(served), count)),
            )
        finally:
            run(engine.dispose())


# -- django-rls-tenants


def prepare_django_rls_tenants(dsn: str) -> None:
    shop = django_shop()
    assert shop.rivals is not None
    shop.point("rival", dsn)
    with shop.connections["rival"].schema_editor() as editor:
        for model in shop.rivals:
            editor.create_model(model)
    shop.connections.close_all()
    execute(dsn, DATA + GRANTS)


@contextmanager
def django_rls_tenants(dsn: str) -> Iterator[Way]:
    from django_rls_tenants import tenant_context

    shop = django_shop()
    assert shop.rivals is not None
    shop.point("rival", dsn)
    orders, atomic = shop.rivals[1].objects.using("rival"), shop.atomic

    def play(number: int) -> None:
        for key in keys(number):
            with atomic(using="rival"), tenant_context(int(TENANT), using="rival"):
                assert orders.get(id=key)

    def read_on() -> list[int]:
        with tenant_context(int(TENANT), using="rival"):
            with atomic(using="rival"):
                before = orders.count()
            return [before, orders.count()]

    try:
        yield Way(play=play, read_on=read_on)
    finally:
        shop.connections.close_all()


# -- All


PREPARED: Mapping[str, Callable[[str], None]] = {
    "rowstile": prepare_rowstile,
    "django-rls-tenants": prepare_django_rls_tenants,
    "fastapi-tenancy": prepare_fastapi_tenancy,
}
RIVALS: Mapping[str, Mapping[str, Callable[[str], Any]]] = {
    "psycopg": {"rowstile": rowstile_on_psycopg},
    "Django": {"django-rls-tenants": django_rls_tenants},
    "SQLAlchemy": {"rowstile": rowstile_on_sqlalchemy},
    "asyncpg": {"rowstile": rowstile_on_asyncpg},
    "SQLAlchemy on asyncpg": {"fastapi-tenancy": fastapi_tenancy},
}


def installed() -> dict[str, str]:
    """The versions of those that are here."""
    return {name: version(name) for name in PREPARED if find_spec(module(name))}


def module(name: str) -> str:
    """Also the name of its database."""
    return name.replace("-", "_")


def prepare(operator: str) -> None:
    """Make the databases of those that are here, with the rows of all others."""
    with psycopg.connect(operator, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {ROLE} LOGIN")
        for name in installed():
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(module(name))))
            PREPARED[name](make_conninfo(operator, dbname=module(name)))
            execute(make_conninfo(operator, dbname=module(name)), "VACUUM ANALYZE")


@contextmanager
def opened(stack: str, dsn: str) -> Iterator[dict[str, Way]]:
    """The ways of the rivals of a stack that are here; `dsn` leads to the server."""
    with ExitStack() as stacked:
        yield {
            name: stacked.enter_context(make(make_conninfo(dsn, dbname=module(name), user=ROLE)))
            for name, make in RIVALS[stack].items()
            if name in installed()
        }


def execute(dsn: str, statements: str) -> None:
    """As its owner."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(statements.encode())
