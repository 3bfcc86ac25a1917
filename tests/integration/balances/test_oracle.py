"""Balances are what the ledger says after every commit, whatever eight sessions do to it at once."""

from __future__ import annotations

import pytest

from balances.stock import MakeStock
from balances.writers import oracle
from daily import daily

pytestmark = pytest.mark.server

ROWS_A_KEY = """
SELECT max(rows) FROM (SELECT count(*) AS rows FROM tenantry."balances_public__ledger"
  GROUP BY org, item, location, lot) AS keys
"""
# The usual way, as guides have it: one row trigger, ON CONFLICT on the key.
NAIVE = """
CREATE TABLE balances (org integer, item integer, location integer, lot text, quantity numeric, total_in numeric,
  total_out numeric, movements bigint, UNIQUE (org, item, location, lot));
CREATE FUNCTION move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO balances AS b VALUES (NEW.org, NEW.item, NEW.location, NEW.lot, NEW.quantity, greatest(NEW.quantity, 0),
    greatest(-NEW.quantity, 0), 1)
  ON CONFLICT (org, item, location, lot) DO UPDATE SET quantity = b.quantity + excluded.quantity,
    total_in = b.total_in + excluded.total_in, total_out = b.total_out + excluded.total_out,
    movements = b.movements + 1;
  RETURN NULL;
END $$;
CREATE TRIGGER move AFTER INSERT ON ledger FOR EACH ROW EXECUTE FUNCTION move();
"""


@pytest.mark.parametrize(("seed", "slots"), daily([(1, 0), (2, 3), (3, 0)], 2))
def test_after_every_commit(stock: MakeStock, seed: int, slots: int) -> None:
    """500 statements of eight sessions, all levels of isolation: each commit finds ledger and balances equal."""
    shop = stock(rows=60)
    shop.install(slots=slots)
    shop.backfill()
    load = oracle(shop, seed)
    assert load.wrong == []
    assert load.statements >= 500
    assert load.committed > 100
    assert shop.false() == []
    assert shop.failing() == []
    if not slots:
        assert shop.rows(ROWS_A_KEY) == [(1,)]


def test_the_usual_trigger_fails_it(stock: MakeStock) -> None:
    """The same writers find the usual row trigger wrong."""
    shop = stock()
    shop.execute(NAIVE)
    assert oracle(shop, 1).wrong
