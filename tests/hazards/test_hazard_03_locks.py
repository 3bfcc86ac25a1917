"""Hazard 3: locks that a trigger takes on parents deadlock an ordinary application."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import psycopg
import pytest

from daily import daily
from tenantry.model.plan import Phase

pytestmark = pytest.mark.server

Business = Callable[..., Any]
Waits = Callable[..., Future[Any]]

SHOP = """
CREATE TABLE stores (id integer PRIMARY KEY, tenant_id integer NOT NULL REFERENCES tenants, sold integer DEFAULT 0);
CREATE TABLE sales (id integer PRIMARY KEY, store_id integer NOT NULL REFERENCES stores);
INSERT INTO stores VALUES (1, 1), (2, 2);
"""
TABLES = """
[[table]]
name = "stores"
paths = [["tenant_id"]]
[[table]]
name = "sales"
paths = [["store_id"]]
"""
# The owner of a lot shows only in its movements.
LOTS = """
CREATE TABLE lots (id integer PRIMARY KEY, code text UNIQUE, left_over integer DEFAULT 0);
CREATE TABLE movements (id integer PRIMARY KEY, lot_id integer NOT NULL REFERENCES lots,
  tenant_id integer REFERENCES tenants);
"""
LOT_TABLES = """
[[table]]
name = "lots"
children = ["movements.lot_id"]
unique = ["lots_code_key"]
[[table]]
name = "movements"
paths = [["tenant_id"], ["lot_id"]]
column = "tenant_id"
"""
LOCKING = """
BEGIN
  NEW.tenant_id := (SELECT tenant_id FROM public.stores WHERE id = NEW.store_id FOR SHARE);
  RETURN NEW;
END
"""
SELL = "INSERT INTO sales (id, store_id) VALUES ({}, 1)"
COUNT = "UPDATE stores SET sold = sold + 1 WHERE id = 1"
BEFORE_CONTRACT = [Phase.EXPAND, Phase.BACKFILL, Phase.ENFORCE, Phase.ISOLATE]


def test_shows_the_hazard(business: Business, waits: Waits) -> None:
    """Two clerks who each sell and then count: with FOR SHARE in the trigger one of them is a deadlock's victim."""
    shop = business(SHOP, TABLES)
    shop.migrate(Phase.ENFORCE)
    shop.replace_trigger("sales", LOCKING)
    with shop.connect() as one, shop.connect() as other:
        one.execute(SELL.format(1))
        other.execute(SELL.format(2))
        waiting = waits(one, COUNT)
        with pytest.raises(psycopg.errors.DeadlockDetected):  # noqa: PT012  whoever is the victim
            other.execute(COUNT)
            waiting.result()
        other.rollback()


@pytest.mark.parametrize("until", daily(reversed(BEFORE_CONTRACT), 2))
def test_clerks_who_sell_and_count(business: Business, waits: Waits, until: Phase) -> None:
    """Each waits for the other's count at most, as without us."""
    shop = business(SHOP, TABLES)
    shop.migrate(until)
    with shop.connect() as one, shop.connect() as other:
        one.execute(SELL.format(1))
        other.execute(SELL.format(2))
        one.execute(COUNT)
        waiting = waits(other, COUNT)
        one.commit()
        waiting.result(timeout=60)
        other.commit()
    assert shop.rows("SELECT sold FROM stores WHERE id = 1") == [(2,)]


@pytest.mark.parametrize("until", daily(reversed(BEFORE_CONTRACT), 2))
def test_first_children_of_two_parents_in_opposite_orders(business: Business, until: Phase) -> None:
    """Two clerks move two new lots, each in the other's order: without us nobody waits, and with us nobody does."""
    shop = business(LOTS, LOT_TABLES)
    shop.migrate(until)
    shop.execute("INSERT INTO lots (id, code) VALUES (1, 'a'), (2, 'b')")
    move = "SET LOCAL lock_timeout = '1s'; INSERT INTO movements VALUES ({}, {}, 1)"
    with shop.connect() as one, shop.connect() as other:
        one.execute(move.format(1, 1))
        other.execute(move.format(2, 2))
        one.execute(move.format(3, 2))
        other.execute(move.format(4, 1))
        one.commit()
        other.commit()
    assert shop.rows("SELECT tenant_id FROM lots ORDER BY id") == [(1,), (1,)]


@pytest.mark.parametrize("until", daily(reversed(BEFORE_CONTRACT), 2))
def test_first_children_of_one_parent(business: Business, until: Phase) -> None:
    """Two clerks move the same new lot at once: nobody waits, and it gets its tenant."""
    shop = business(LOTS, LOT_TABLES)
    shop.migrate(until)
    shop.execute("INSERT INTO lots (id, code) VALUES (1, 'a')")
    with shop.connect() as one, shop.connect() as other:
        one.execute("SET LOCAL lock_timeout = '1s'; INSERT INTO movements VALUES (1, 1, 1)")
        other.execute("SET LOCAL lock_timeout = '1s'; INSERT INTO movements VALUES (2, 1, 1)")
        other.commit()
        one.commit()
    assert shop.rows("SELECT tenant_id FROM lots") == [(1,)]


@pytest.mark.parametrize("until", [Phase.BACKFILL, Phase.ENFORCE])
def test_a_row_that_keeps_its_paths_waits_for_no_parent(business: Business, until: Phase) -> None:
    """Somebody alters, empties or restores the parents: rows whose paths stay are written all the same, as without us,
    and nobody who wants the parents waits for them."""
    shop = business(SHOP, TABLES)
    shop.execute("INSERT INTO sales VALUES (1, 1); ALTER TABLE sales ADD COLUMN note text")
    shop.migrate(until)
    with shop.connect() as holder, shop.connect() as writer:
        holder.execute("LOCK TABLE stores, tenants IN ACCESS EXCLUSIVE MODE")
        writer.execute("SET lock_timeout = '300ms'")
        writer.execute("UPDATE sales SET note = 'x' WHERE id = 1")
        holder.rollback()
        holder.execute("SET lock_timeout = '300ms'")
        holder.execute("LOCK TABLE stores, tenants IN ACCESS EXCLUSIVE MODE")
