"""`python -m bench.application`: what it costs an application to serve one tenant at a time.

A request reads one row by its key. Each driver and framework plays it three ways, which take turns: `plain`, as a role
that no policy holds; `tenantry-app`, as the application's role, in a block of its tenant; `by hand`, plain once more,
with the tenant in WHERE, in a transaction. The network between is none, or a relay that keeps each byte for a while.
Writes bench/application.json, prints a table, and writes it between the markers of docs/application.md with `--into`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg
import django
import psycopg
from django.conf import settings
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy import URL, BigInteger, Integer, Text, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from bench.report import put_into
from slow_network import slow_network
from tenantry import MigrateOptions, migrate
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.cluster import Cluster
from tenantry.postgres.connect import Target
from tenantry.postgres.embedded import bin_directory
from tenantry_app import tenant
from tenantry_app.asyncpg import TenantConnection as AsyncpgConnection
from tenantry_app.psycopg import TenantConnection
from tenantry_app.sqlalchemy import use_tenants

RESULTS = Path(__file__).with_name("application.json")
REPEATS = 7
REQUESTS: Mapping[float, int] = {0.0: 300, 0.001: 50, 0.005: 20}
"""How many of them are timed together, by the seconds that the network keeps a byte, there as well as back."""
AIMS = {0.0: 0.85, 0.001: 0.9, 0.005: 0.9}
TENANT = "1"
ROWS = 100_000
ROLE = "shop_app"
SCHEMA = f"""
CREATE ROLE {ROLE} LOGIN;
CREATE TABLE tenants (id integer PRIMARY KEY, slug text NOT NULL UNIQUE);
INSERT INTO tenants SELECT n, 'tenant ' || n FROM generate_series(1, 50) n;
CREATE TABLE orders (id bigint PRIMARY KEY, tenant_id integer NOT NULL REFERENCES tenants, note text);
INSERT INTO orders SELECT n, 1 + n % 50, repeat('x', 50) FROM generate_series(1, {ROWS}) n;
"""
SPEC = f"""
version = 1
[tenant]
table = "tenants"
[application]
role = "{ROLE}"
[[table]]
name = "orders"
paths = [["tenant_id"]]
"""
QUERY = "SELECT * FROM orders WHERE id = {}"
BY_HAND = QUERY + " AND tenant_id = {}"

Play = Callable[[int], None]
"""Makes so many requests."""


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    tenant_id: Mapped[int] = mapped_column(Integer)
    note: Mapped[str] = mapped_column(Text)


def keys(number: int) -> Iterator[int]:
    """Keys of the tenant's rows."""
    return (50 * (1 + one % (ROWS // 50 - 1)) for one in range(number))


# -- The ways. Each is given the operator's DSN and the application's, and opens its connection for the block.


@contextmanager
def with_psycopg(operator: str, application: str) -> Iterator[dict[str, Play]]:
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

        yield {"plain": plain, "tenantry-app": in_block, "by hand": by_hand}


@contextmanager
def with_asyncpg(operator: str, application: str) -> Iterator[dict[str, Play]]:
    loop = asyncio.new_event_loop()

    def opened(dsn: str, **options: Any) -> Any:
        parts = conninfo_to_dict(dsn)
        return loop.run_until_complete(
            asyncpg.connect(host=parts["host"], port=int(parts["port"]), user=parts["user"], database=parts["dbname"],
                            ssl=False, **options)
        )  # fmt: skip

    bare, ours = opened(operator), opened(application, connection_class=AsyncpgConnection)

    def requests(connection: Any, query: str, *more: Any, block: bool = False) -> Play:
        async def all_of(number: int) -> None:
            for key in keys(number):
                with tenant(TENANT) if block else nullcontext():
                    async with connection.transaction():
                        assert await connection.fetchrow(query, key, *more)

        return lambda number: loop.run_until_complete(all_of(number))

    try:
        yield {
            "plain": requests(bare, QUERY.format("$1")),
            "tenantry-app": requests(ours, QUERY.format("$1"), block=True),
            "by hand": requests(bare, BY_HAND.format("$1", "$2"), int(TENANT)),
        }
    finally:
        for connection in (bare, ours):
            loop.run_until_complete(connection.close())
        loop.close()


@contextmanager
def with_sqlalchemy(operator: str, application: str) -> Iterator[dict[str, Play]]:
    def engine(dsn: str) -> Any:
        parts = conninfo_to_dict(dsn)
        query = {"host": str(parts["host"]), "port": str(parts["port"])}
        return create_engine(URL.create("postgresql+psycopg", parts["user"], database=parts["dbname"], query=query))

    bare, ours = engine(operator), use_tenants(engine(application))

    def plain(number: int) -> None:
        for key in keys(number):
            with Session(bare) as session:
                assert session.get(Order, key)
                session.commit()

    def in_block(number: int) -> None:
        for key in keys(number):
            with tenant(TENANT), Session(ours) as session:
                assert session.get(Order, key)
                session.commit()

    def by_hand(number: int) -> None:
        for key in keys(number):
            with Session(bare) as session:
                assert session.scalars(select(Order).where(Order.id == key, Order.tenant_id == int(TENANT))).one()
                session.commit()

    try:
        yield {"plain": plain, "tenantry-app": in_block, "by hand": by_hand}
    finally:
        bare.dispose()
        ours.dispose()


@contextmanager
def with_django(operator: str, application: str) -> Iterator[dict[str, Play]]:
    model, connections, atomic = _django()
    for alias, dsn in (("operator", operator), ("default", application)):
        parts = conninfo_to_dict(dsn)
        connections[alias].settings_dict.update(
            NAME=parts["dbname"], USER=parts["user"], HOST=parts["host"], PORT=str(parts["port"])
        )

    def plain(number: int) -> None:
        for key in keys(number):
            assert model.objects.using("operator").get(id=key)

    def in_block(number: int) -> None:
        for key in keys(number):
            with tenant(TENANT):
                assert model.objects.get(id=key)

    def by_hand(number: int) -> None:
        for key in keys(number):
            with atomic(using="operator"):
                assert model.objects.using("operator").get(id=key, tenant_id=int(TENANT))

    try:
        yield {"plain": plain, "tenantry-app": in_block, "by hand": by_hand}
    finally:
        connections.close_all()


def _django() -> tuple[Any, Any, Any]:
    """A model of orders, the connections, and atomic()."""
    if not settings.configured:
        place = {"ENGINE": "django.db.backends.postgresql", "NAME": "none"}
        settings.configure(
            DATABASES={"default": {**place}, "operator": {**place}}, INSTALLED_APPS=["tenantry_app.django"]
        )
        django.setup()
    from django.apps import apps
    from django.db import connections, models, transaction

    if "order" not in apps.all_models["tenantry_app"]:

        class Order(models.Model):
            id = models.BigIntegerField(primary_key=True)
            tenant_id = models.IntegerField()
            note = models.TextField()

            class Meta:
                app_label = "tenantry_app"
                db_table = "orders"

    return apps.all_models["tenantry_app"]["order"], connections, transaction.atomic


STACKS: Mapping[str, Callable[[str, str], Any]] = {
    "psycopg": with_psycopg, "Django": with_django, "SQLAlchemy": with_sqlalchemy, "asyncpg": with_asyncpg,
}  # fmt: skip


# -- The race


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.application", description=__doc__)
    parser.add_argument("--into", type=Path, help="a page with markers, between which the table goes")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tenantry-bench-"))
    folder.chmod(0o711)  # the server runs under another account where we are root
    cluster = Cluster(programs=bin_directory(), folder=folder / "server", settings={})
    try:
        cluster.start()
        operator = cluster.conninfo("postgres")
        with psycopg.connect(operator, autocommit=True) as connection:
            connection.execute(SCHEMA.encode())
        migrate(Target(operator), Spec.parse(SPEC), MigrateOptions(until=Phase.CONTRACT, force=True))
        with psycopg.connect(operator, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
        lines = [line for delay in REQUESTS for line in measured(operator, delay)]
    finally:
        cluster.stop()
        shutil.rmtree(folder)
    RESULTS.write_text(json.dumps({"cores": os.cpu_count(), "measurements": lines}, indent=2) + "\n", encoding="utf-8")
    print(described(lines))
    if arguments.into is not None:
        put_into(arguments.into, described(lines))


def measured(operator: str, delay: float) -> Iterator[dict[str, Any]]:
    """Milliseconds of a request, of each stack and way, by turns."""
    with ExitStack() as stack:
        dsn = stack.enter_context(slow_network(operator, delay)) if delay else operator
        for name, opened in STACKS.items():
            with opened(dsn, make_conninfo(dsn, user=ROLE)) as ways:
                found: dict[str, list[float]] = {way: [] for way in ways}
                for play in ways.values():
                    play(10)
                for _ in range(REPEATS):
                    for way, play in ways.items():
                        begun = time.perf_counter()
                        play(REQUESTS[delay])
                        found[way].append((time.perf_counter() - begun) / REQUESTS[delay] * 1000)
            line = {"stack": name, "delay": delay, "ways": found, "load": os.getloadavg()[0]}
            print(line, file=sys.stderr, flush=True)
            yield line


def share(line: Mapping[str, Any], way: str) -> float:
    """How many requests a way makes in the time in which `plain` makes one: the median of the rounds."""
    return median(plain / own for plain, own in zip(line["ways"]["plain"], line["ways"][way], strict=True))


def described(lines: list[dict[str, Any]]) -> str:
    """The medians as a Markdown table."""
    shown = [
        "| network, each way | | plain | tenantry-app | of plain | by hand | of plain |",
        "|---:|---|---:|---:|---:|---:|---:|",
    ]
    for line in lines:
        cells = [f"{line['delay'] * 1000:.0f} ms", line["stack"], f"{median(line['ways']['plain']):.2f} ms"]
        for way in ("tenantry-app", "by hand"):
            cells += [f"{median(line['ways'][way]):.2f} ms", f"{share(line, way):.2f}"]
        shown.append(f"| {' | '.join(cells)} |")
    aims = ", ".join(f"{aim} at {delay * 1000:.0f} ms" for delay, aim in AIMS.items())
    return "\n".join(shown) + (
        f"\n\nOne row by its key; medians of {REPEATS} rounds in which the ways take turns. Of plain the aim is {aims}."
        f" Load average: {min(line['load'] for line in lines):.0f} to {max(line['load'] for line in lines):.0f}."
    )


if __name__ == "__main__":
    main()
