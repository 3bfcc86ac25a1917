"""NaN and infinities among the quantities of a ledger, which no running sum comes back from."""

from __future__ import annotations

import psycopg
import pytest

from balances.reconciling import STORAGE, compared, past
from balances.stock import SPEC, MakeStock, Stock
from daily import daily
from tenantry.errors import UsageError

pytestmark = pytest.mark.server

VALUES = ("NaN", "Infinity", "-Infinity", "5", "-3", None)
TYPES = ("numeric", "double precision", "real", "integer", "smallint", "amount")
LEDGER = """
CREATE DOMAIN amount AS numeric;
CREATE TABLE ledger (id integer PRIMARY KEY, org integer NOT NULL, item integer, location integer, lot text, quantity {});
"""


@pytest.fixture
def shop(stock: MakeStock, request: pytest.FixtureRequest) -> Stock:
    """All pairs of values, a key each, in the ledger before its balances were installed; not all in integers."""
    kind = getattr(request, "param", "numeric")
    made = stock(LEDGER.format(kind))
    values = [one for one in VALUES if "int" not in kind or one is None or one[-1].isdigit()]
    with made.connect() as session:
        pairs = [(one, other) for one in values for other in values]
        for number, (one, other) in enumerate(pairs):
            for place, value in enumerate((one, other, "0.1" if "int" not in kind else "1")):
                session.execute(
                    "INSERT INTO ledger VALUES (%s, 1, %s, NULL, NULL, %s)", (number * 3 + place, number, value)
                )
    made.install()
    made.backfill()
    return made


def false(shop: Stock) -> list[tuple[object, ...]]:
    """In its own words: a ledger of floats is added up as numeric, so that the order of its rows is nothing to it."""
    truth = (
        "SELECT item, sum(coalesce(quantity::numeric, 0)), sum(greatest(coalesce(quantity::numeric, 0), 0)),"
        " sum(greatest(-coalesce(quantity::numeric, 0), 0)), count(*) FROM ledger GROUP BY item"
    )
    kept = "SELECT item, quantity, total_in, total_out, movements FROM balances"
    return shop.rows(f"(({truth}) EXCEPT ALL ({kept})) UNION ALL (({kept}) EXCEPT ALL ({truth}))")


@pytest.mark.parametrize("shop", daily(TYPES, 2), indirect=True)
def test_in_and_out(shop: Stock) -> None:
    """A balance is the sum of its rows after each movement, and the number again when what is none has left."""
    assert false(shop) == []
    for statement in (
        "UPDATE ledger SET item = (item + 7) % 40 WHERE id % 3 = 0",
        "UPDATE ledger SET quantity = -quantity WHERE id % 2 = 0",
        "INSERT INTO ledger SELECT id + 1000, org, item, location, lot, quantity FROM ledger",
        "INSERT INTO ledger SELECT 999, org, item, location, lot, quantity FROM ledger WHERE id = 0",
        "DELETE FROM ledger WHERE id % 3 = 1",
        "UPDATE ledger SET quantity = 1 WHERE quantity IN ('NaN', 'Infinity', '-Infinity')"
        if shop.rows("SELECT 1 FROM ledger WHERE quantity::text = 'NaN'")
        else "UPDATE ledger SET quantity = 2",
    ):
        shop.execute(statement)
        assert false(shop) == [], statement
    shop.execute("SET session_replication_role = replica; UPDATE ledger SET quantity = 3 WHERE id % 5 = 0")
    assert false(shop) == []
    assert shop.failing() == []
    assert shop.rows("SELECT count(*) FROM balances WHERE quantity IN ('NaN', 'Infinity', '-Infinity')") == [(0,)]
    shop.backfill()
    assert false(shop) == []


def test_past_the_triggers(shop: Stock) -> None:
    """What no trigger saw differs for validate and reconcile alike, and is in step after a backfill."""
    for statement in (
        "UPDATE ledger SET quantity = '-Infinity' WHERE quantity = 'Infinity'",
        "DELETE FROM ledger WHERE quantity = 'NaN'",
        "INSERT INTO ledger VALUES (5000, 1, 0, NULL, NULL, 'NaN'), (5001, 1, 90, NULL, NULL, 'Infinity')",
    ):
        shop.execute(past(statement))
        assert "balances" in shop.failing()
        assert compared(shop, dry_run=True, full=True).reviews > 0
        shop.backfill()
        assert shop.failing() == []
        assert false(shop) == []
        assert compared(shop, full=True).open == 0


def test_nobody_makes_a_sum_that_is_none(shop: Stock) -> None:
    """Not the owner either."""
    with pytest.raises(psycopg.errors.CheckViolation):
        shop.execute(f"UPDATE {STORAGE} SET quantity = 'NaN'")


def test_hot_keys_and_compaction(shop: Stock) -> None:
    """Slots are added up and folded with what is not finite."""
    shop.install(slots=3)
    for number in range(3):
        shop.execute(
            f"INSERT INTO ledger SELECT id + {number + 1}000, org, item, NULL, NULL, quantity FROM ledger WHERE id < 99"
        )
        assert false(shop) == []
    shop.execute(f"UPDATE {STORAGE} SET last_movement = last_movement - interval '1 hour'")
    shop.backfill()
    shop.execute("DELETE FROM ledger WHERE id % 2 = 0")
    assert false(shop) == []
    assert shop.failing() == []


def test_below_zero(stock: MakeStock) -> None:
    """-Infinity takes a balance below zero, and so does an infinity that leaves with more than there was."""
    shop = stock(LEDGER.format("numeric"), SPEC + "non_negative = true\n")
    shop.install()
    shop.backfill()
    shop.execute("INSERT INTO ledger VALUES (1, 1, 1, NULL, NULL, 5), (2, 1, 1, NULL, NULL, 'Infinity')")
    shop.execute("INSERT INTO ledger VALUES (3, 1, 1, NULL, NULL, -7)")
    for statement in (
        "DELETE FROM ledger WHERE id = 2",
        "UPDATE ledger SET quantity = 0 WHERE id = 2",
        "INSERT INTO ledger VALUES (4, 1, 2, NULL, NULL, '-Infinity')",
    ):
        with pytest.raises(psycopg.errors.CheckViolation, match="below zero"):
            shop.execute(statement)
    shop.execute("DELETE FROM ledger WHERE id = 3; INSERT INTO ledger VALUES (4, 1, 1, NULL, NULL, 'NaN')")
    assert false(shop) == []


@pytest.mark.parametrize("kind", ["interval", "money", "text"])
def test_what_is_no_quantity(stock: MakeStock, kind: str) -> None:
    """Sums of another type than numbers are refused at once."""
    with pytest.raises(UsageError, match="not a number"):
        stock(LEDGER.format(kind)).install()
