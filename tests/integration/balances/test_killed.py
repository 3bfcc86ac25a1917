"""kill -9 anywhere: what is there is whole, writers go on, and the same command finishes the work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from balances.reconciling import PLANTS, drift, reconcile
from balances.stock import MakeStock, Stock
from conftest import ROOT
from daily import daily
from tenantry import ReviewDecision, decide_reviews, list_reviews

pytestmark = pytest.mark.server

STEP_DONE, STEP_FORGOTTEN = "UPDATE tenantry.steps SET state", "DELETE FROM tenantry.steps"
EVENT, RUN_DONE = "INSERT INTO tenantry.events", "UPDATE tenantry.runs SET finished_at"
CORRECTED = 'INSERT INTO "tenantry"."balances'
Dies = Callable[..., bool]


@pytest.fixture(scope="session")
def process() -> Iterator[subprocess.Popen[str]]:
    """The process that forks for each order."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    with subprocess.Popen(
        [sys.executable, Path(__file__).with_name("killed_process.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True, env=environment | {"PYTHONPATH": str(ROOT / "src")},
    ) as running:  # fmt: skip
        yield running
        assert running.stdin is not None
        running.stdin.close()


@pytest.fixture
def dies(process: subprocess.Popen[str]) -> Dies:
    """`dies(shop, command, statement, number, moment)`: False where the command came to its end before."""

    def run(shop: Stock, command: str, statement: str, number: int = 1, moment: str = "before") -> bool:
        order = {
            "dsn": shop.database.dsn, "text": shop.text, "command": command, "statement": statement, "number": number,
            "moment": moment,
        }  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
        status = int(process.stdout.readline())
        assert status in (0, -9), f"{command} ended with {status}"
        return status == -9

    return run


def move(shop: Stock) -> None:
    """What an application does meanwhile."""
    shop.execute(
        "INSERT INTO ledger (org, item, quantity) VALUES (1, 1, 5), (1, 5, 2); DELETE FROM ledger WHERE id = 7"
    )


def test_install_and_remove(stock: MakeStock, dies: Dies) -> None:
    """Inside each step and between any two of them: the application writes on; install finishes, and is exact after a
    backfill; remove leaves the schema as it was."""
    shop = stock(rows=40)
    before = shop.database.dump()
    steps = 0
    while dies(shop, "install", EVENT):
        steps += 1
        move(shop)
        assert dies(shop, "install", STEP_DONE, moment="after") is (steps < 4)
        move(shop)
    assert steps == 4
    shop.backfill()
    assert (shop.false(), shop.failing()) == ([], [])
    steps = 0
    while dies(shop, "remove", EVENT):
        steps += 1
        move(shop)
        assert dies(shop, "remove", STEP_FORGOTTEN, moment="after") is (steps < 4)
        move(shop)
    assert steps == 4
    assert shop.database.dump() == before
    assert shop.rows("SELECT count(*) FROM tenantry.ledgers") == [(0,)]


@pytest.mark.parametrize("steps", daily([2, 1, 3]))
def test_half_installed_and_half_removed(stock: MakeStock, dies: Dies, steps: int) -> None:
    """Whoever is killed may also turn round."""
    shop = stock(rows=40)
    before = shop.database.dump()
    assert dies(shop, "install", EVENT, steps)
    move(shop)
    shop.remove()
    assert shop.database.dump() == before
    shop.install()
    shop.backfill()
    assert dies(shop, "remove", EVENT, steps)
    move(shop)
    assert shop.failing() != []
    shop.install()
    shop.backfill()
    assert (shop.false(), shop.failing()) == ([], [])


@pytest.mark.parametrize(
    ("statement", "number", "moment"),
    [
        (CORRECTED, 1, "after"), ("INSERT INTO tenantry.discrepancies", 1, "after"),
        ("INSERT INTO tenantry.drifts", 2, "before"), ("INSERT INTO tenantry.reconciliations", 1, "before"),
    ],
)  # fmt: skip
def test_reconcile(reconciled: Stock, dies: Dies, statement: str, number: int, moment: str) -> None:
    """The next run ends where one alone would have: each difference is corrected once."""
    shop = reconciled
    for item in range(1, 5):
        drift(shop, item, "0.001")
    shop.execute(PLANTS["a changed quantity"])
    assert dies(shop, "reconcile", statement, number, moment)
    reconcile(shop)
    assert shop.rows("SELECT sum(total)::float, count(*) FROM tenantry.drifts WHERE total > 0") == [(0.004, 4)]
    assert shop.rows("SELECT count(*) FROM tenantry.discrepancies WHERE state = 'corrected'") == [(4,)]
    assert len(shop.false()) == 2
    assert len(list_reviews(shop.target, shop.spec)) == 1
    decide_reviews(shop.target, shop.spec, (), ReviewDecision(accept=True, by="a test"))
    assert shop.false() == []


@pytest.mark.parametrize(
    ("statement", "number", "moment", "decided"),
    [
        (CORRECTED, 1, "after", 0), ("UPDATE tenantry.discrepancies SET state", 2, "after", 1),
        ("INSERT INTO tenantry.drifts", 2, "after", 1), (RUN_DONE, 1, "before", 2),
    ],
)  # fmt: skip
def test_accept(reconciled: Stock, dies: Dies, statement: str, number: int, moment: str, decided: int) -> None:
    """A review is accepted and its balance set, or neither; the same command goes on with the next one."""
    shop = reconciled
    drift(shop, 1, "5")
    drift(shop, 2, "7")
    assert len(_open(shop)) == 2
    assert dies(shop, "accept", statement, number, moment)
    move(shop)
    assert len(list_reviews(shop.target, shop.spec)) == 2 - decided
    assert len(shop.false()) == 2 * (2 - decided)
    assert not dies(shop, "accept", "no statement")
    assert (shop.false(), _open(shop)) == ([], ())
    everything = list_reviews(shop.target, shop.spec, everything=True)
    assert [review.state for review in everything] == ["accepted", "accepted"]


def test_reject(reconciled: Stock, dies: Dies) -> None:
    """Kept and remembered, or neither."""
    shop = reconciled
    drift(shop, 1, "5")
    assert len(_open(shop)) == 1
    assert dies(shop, "reject", "INSERT INTO tenantry.drifts", 1, "after")
    assert len(_open(shop)) == 1
    assert not dies(shop, "reject", "no statement")
    assert _open(shop) == ()
    assert len(shop.false()) == 2


def _open(shop: Stock) -> tuple[object, ...]:
    reconcile(shop)
    return list_reviews(shop.target, shop.spec)
