"""The balances of a subscriber: logical replication applies rows, and fires no statement trigger."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from balances.stock import LEDGER, SPEC, TENANTS, Stock
from servers import Database, Server, clear, make_server, wait_until

pytestmark = pytest.mark.server

MOVES = (
    "INSERT INTO ledger (org, item, lot, quantity) SELECT 1, g % 7, nullif('L' || g % 3, 'L0'), g FROM generate_series(1, 90) g",
    "UPDATE ledger SET quantity = -quantity, lot = NULL WHERE mod(id, 4) = 0",
    "UPDATE ledger SET item = 6 - item WHERE mod(id, 5) = 0",
    "DELETE FROM ledger WHERE mod(id, 7) = 0",
)


@pytest.fixture
def other_server(server_version: int, run_folder: Path) -> Iterator[Server]:
    """A second server of the same version."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    folder = run_folder / f"{worker}-subscriber-{server_version}"
    yield make_server(server_version, folder)
    clear(folder)


def _settled(shop: Stock, publisher: Database) -> bool:
    """Whether the subscriber has all rows."""
    every = "SELECT * FROM ledger ORDER BY id, item"
    return shop.rows(every) == publisher.rows(every)


def test_a_subscriber_keeps_balances_of_its_own(
    database: Database, other_server: Server, new_database: Callable[..., Database]
) -> None:
    """Exact after the first copy, after inserts, updates, moves between partitions and keys, deletes, and TRUNCATE."""
    subscriber = other_server.create("subscriber")
    for side in (database, subscriber):
        side.execute(TENANTS + LEDGER)
    database.execute(MOVES[0])
    shop = Stock(database=subscriber, text=SPEC)
    shop.install()
    shop.backfill()
    database.execute("CREATE PUBLICATION moves FOR TABLE ledger WITH (publish_via_partition_root = true)")
    with psycopg.connect(subscriber.dsn, autocommit=True) as session:
        session.execute(
            sql.SQL("CREATE SUBSCRIPTION moves CONNECTION {} PUBLICATION moves").format(sql.Literal(database.dsn))
        )
    try:
        for moves in ("SELECT 1", *MOVES[1:]):
            database.execute(moves)
            wait_until(lambda: _settled(shop, database), seconds=60)
            assert shop.rows("SELECT count(*) > 0 FROM balances") == [(True,)]
            assert shop.false() == []
        # What is written at the subscriber itself counts as well.
        shop.execute("INSERT INTO ledger (id, org, item, quantity) VALUES (999, 2, 2, 5)")
        assert shop.false() == []
        shop.execute("DELETE FROM ledger WHERE id = 999")
        database.execute("TRUNCATE ledger")
        wait_until(lambda: _settled(shop, database), seconds=60)
        assert shop.false() == []
        assert shop.failing() == []
    finally:
        with psycopg.connect(subscriber.dsn, autocommit=True) as session:
            session.execute("DROP SUBSCRIPTION moves")
