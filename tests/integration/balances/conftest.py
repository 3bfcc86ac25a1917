"""A ledger, and the sessions that write to it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from balances.reconciling import reconcile
from balances.stock import FILL, LEDGER, SPEC, TENANTS, MakeStock, Stock
from servers import Database


@pytest.fixture
def stock(database: Database) -> MakeStock:
    """`stock(rows=100)` is a ledger with that many movements; `stock(schema, text)` any other, with its spec."""

    def make(schema: str = LEDGER, text: str = SPEC, *, rows: int = 0) -> Stock:
        database.execute(TENANTS + schema)
        if rows:
            database.execute(FILL.format(rows))
        return Stock(database=database, text=text)

    return make


def _reconciled(database: Database) -> None:
    database.execute(TENANTS + LEDGER)
    database.execute(FILL.format(400))
    made = Stock(database=database)
    made.install()
    made.backfill()
    assert reconcile(made).exit_status == 0


@pytest.fixture
def reconciled(template: Callable[..., Database]) -> Stock:
    """A ledger of 400 movements whose balances are in step, and were reconciled."""
    return Stock(database=template("reconciled stock", _reconciled))
