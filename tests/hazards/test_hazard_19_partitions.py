"""Hazard 19: rows that reach or leave a ledger with a partition pass its triggers."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from balances.stock import LEDGER, SPEC, TENANTS, Stock
from servers import Database

pytestmark = pytest.mark.server

NEW = "CREATE TABLE ledger_new PARTITION OF ledger FOR VALUES FROM (100) TO (200)"
INTO_NEW = "INSERT INTO ledger_new (org, item, quantity) VALUES (1, 150, 4)"


@pytest.fixture
def shop(database: Database) -> Stock:
    """A partitioned ledger whose balances are in step."""
    database.execute(TENANTS + LEDGER)
    database.execute("INSERT INTO ledger (org, item, quantity) SELECT 1, g % 7, g FROM generate_series(1, 40) g")
    made = Stock(database=database)
    made.install()
    made.backfill()
    return made


def test_shows_the_hazard_of_a_new_partition(shop: Stock) -> None:
    """What is aimed at it directly is not counted: a finding from the first moment on, and gone after an install."""
    shop.execute(NEW)
    assert shop.failing() == ["triggers"]
    assert "public.ledger_new" in shop.validate()["triggers"].message
    shop.execute("INSERT INTO ledger (org, item, quantity) VALUES (1, 150, 4)")
    assert shop.false() == []
    shop.execute(INTO_NEW)
    assert shop.false() != []
    assert shop.failing() == ["triggers", "balances"]
    shop.install()
    shop.execute(INTO_NEW)
    shop.backfill()
    assert shop.failing() == []
    shop.execute(INTO_NEW)
    assert shop.false() == []


@pytest.mark.parametrize("partition", ["ledger_low", "ledger_high"])
def test_detach_and_attach(shop: Stock, partition: str) -> None:
    """A detached partition's rows are missing, as validate says; what is done to it is no movement; a backfill puts
    both right, and so it does when it comes back."""
    bounds = "FROM (0) TO (3)" if partition == "ledger_low" else "FROM (3) TO (100)"
    shop.execute(f"ALTER TABLE ledger DETACH PARTITION {partition}")
    assert shop.failing() == ["balances"]
    before = shop.rows("SELECT sum(version) FROM balances")
    shop.execute(f"UPDATE {partition} SET quantity = quantity + 1; DELETE FROM {partition} WHERE mod(id, 3) = 0")
    assert shop.rows("SELECT sum(version) FROM balances") == before
    shop.backfill()
    assert shop.failing() == []
    shop.execute(f"ALTER TABLE ledger ATTACH PARTITION {partition} FOR VALUES {bounds}")
    assert "balances" in shop.failing()
    shop.install()
    shop.backfill()
    assert shop.failing() == []
    shop.execute(f"UPDATE {partition} SET quantity = quantity + 1")
    assert shop.false() == []


def test_truncate_of_one(shop: Stock) -> None:
    """It is refused, and with our setting its rows leave the balances."""
    with pytest.raises(psycopg.errors.ObjectInUse):
        shop.execute("TRUNCATE ledger_high_0")
    shop.execute("SET tenantry.emptying = 'on'; TRUNCATE ledger_high_0")
    assert shop.false() == []
    assert shop.failing() == []


def test_rights_on_a_partition(shop: Stock, role: Callable[..., str]) -> None:
    """The application loses what it was given on partitions, and moves stock by the ledger; a partition that lets it in
    is a finding, and what others write to one counts. Remove gives back what was there, in its order."""
    application, other = role(), role()
    spec = SPEC + f'[application]\nrole = "{application}"\n'
    made = Stock(database=shop.database, text=spec)
    shop.execute(
        f"GRANT SELECT, INSERT, DELETE ON ledger, ledger_low TO {application} WITH GRANT OPTION;"
        f"GRANT UPDATE (quantity, note) ON ledger_high_0 TO {application}; GRANT ALL ON ledger_low TO {other};"
        f"GRANT USAGE ON SEQUENCE ledger_ids TO {application}, {other}; SET ROLE {application};"
        f"GRANT INSERT ON ledger_low TO {other}"
    )
    made.remove()
    before = shop.database.dump()
    into = "INSERT INTO {} (org, item, quantity) VALUES (1, 1, 4)"
    made.install()
    made.backfill()
    with shop.connect(user=application, autocommit=True) as session:
        session.execute(into.format("ledger"))
        for statement in (into.format("ledger_low"), "DELETE FROM ledger_low", "UPDATE ledger_high_0 SET note = ''"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute(statement)
    with shop.connect(user=other, autocommit=True) as session:
        session.execute(into.format("ledger_low"))
    assert shop.false() == []
    assert made.failing() == []
    shop.execute(f"ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO {application}; {NEW}")
    assert made.failing() == ["triggers", "rights"]
    made.install()
    made.backfill()
    shop.execute(f"GRANT INSERT ON ledger_low TO {application}")
    assert made.failing() == ["rights"]
    made.install()
    assert made.failing() == []
    shop.execute(f"ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM {application}")
    made.remove()
    shop.execute("DROP TABLE ledger_new")
    assert shop.database.dump() == before


def test_rights_of_another_role(shop: Stock, role: Callable[..., str]) -> None:
    """Where another role becomes the application, the one before it has again what it was given, and the new one has
    not; remove gives each its own back."""
    first, second = role(), role()
    one, other = (
        Stock(database=shop.database, text=f'{SPEC}[application]\nrole = "{name}"\n') for name in (first, second)
    )
    shop.execute(
        f"GRANT SELECT, INSERT ON ledger TO {first}, {second}; GRANT INSERT ON ledger_low TO {first};"
        f"GRANT DELETE, INSERT ON ledger_low TO {second}"
    )
    one.remove()
    before = shop.database.dump()
    one.install()
    other.install()
    other.backfill()
    assert other.failing() == []
    may = "SELECT has_table_privilege('{}', 'ledger_low', 'INSERT')"
    assert shop.rows(may.format(first) + " UNION ALL " + may.format(second)) == [(True,), (False,)]
    other.remove()
    assert shop.database.dump() == before
