"""Transactions are told apart for as long as their numbers can be, and where they cannot all keys are compared."""

from __future__ import annotations

import os
import subprocess
from typing import Any

import psycopg

from balances.reconciling import DIRECT, compared
from balances.stock import FILL, LEDGER, TENANTS, Stock
from servers import Server
from tenantry.postgres.embedded import bin_directory

A_SEGMENT = 1 << 20
"""Transactions whose fate one file of pg_xact holds."""


def at_transaction(server: Server, epoch: int, segment: int) -> None:
    """Have the server, which is stopped for it, go on from this number."""
    server.cluster.stop()
    data = next(path.parent for path in server.cluster.folder.rglob("pg_xact"))
    owner = data.stat()
    fate = data / "pg_xact" / f"{segment:04X}"
    fate.write_bytes(bytes(A_SEGMENT // 4))
    account: dict[str, Any] = {}
    if os.getuid() == 0:
        os.chown(fate, owner.st_uid, owner.st_gid)
        account = {"user": owner.st_uid, "group": owner.st_gid}
    number = str(segment * A_SEGMENT + 5)
    command = [bin_directory() / "pg_resetwal", "-f", "-e", str(epoch), "-x", number, data]
    subprocess.run(command, check=True, capture_output=True, **account)
    server.cluster.start()


def freeze(shop: Stock) -> None:
    for (name,) in shop.rows("SELECT datname FROM pg_database WHERE datallowconn"):
        with psycopg.connect(shop.database.server.dsn(name), autocommit=True) as session:
            session.execute("VACUUM (FREEZE)")


def test_fifteen_hundred_million_transactions_later_and_in_the_next_epoch(crashable: Server) -> None:
    """What was written since is found, frozen or not; once the numbers have come around all is compared, once."""
    shop = Stock(database=crashable.create("epochs", "template1"))
    shop.execute(TENANTS + LEDGER)
    shop.execute(FILL.format(200))
    shop.install()
    shop.backfill()
    compared(shop)
    at_transaction(crashable, 0, 1430)
    shop.execute(DIRECT)
    freeze(shop)
    found = compared(shop)
    assert (found.reason, found.compared, found.open) == (None, 1, 1)
    # As autovacuum would have by then.
    freeze(shop)
    at_transaction(crashable, 1, 1)
    assert compared(shop).reason == "too many transactions since the last time"
    found = compared(shop)
    assert (found.reason, found.open) == (None, 1)
    shop.execute("INSERT INTO ledger (org, item, quantity) VALUES (1, 1, 1)")
    assert compared(shop).compared == 2
