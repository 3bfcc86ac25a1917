"""Keys and quantities that balances cannot keep are refused by install; what a key's type is altered to, they go on to
take."""

from __future__ import annotations

from contextlib import closing

import pytest

from balances.stock import MakeStock
from daily import daily
from tenantry.errors import Refused, UsageError

pytestmark = pytest.mark.server

SPEC = """
[tenant]
table = "tenants"
[[table]]
name = "ledger"
shared = true
[[ledger]]
table = "ledger"
balance = "balances"
key = [{}]
quantity = "{}"
"""
LEDGER = """
CREATE TABLE ledger (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, {}) {};
"""
FALSE = """
WITH truth AS (SELECT {0}, sum(qty)::numeric, count(*) FROM ledger GROUP BY {0}),
  kept AS (SELECT {0}, quantity, movements FROM balances)
(TABLE truth EXCEPT ALL TABLE kept) UNION ALL (TABLE kept EXCEPT ALL TABLE truth)
"""


@pytest.mark.parametrize(
    ("columns", "key", "quantity", "named"),
    [
        pytest.param("item int NOT NULL, n int, v int GENERATED ALWAYS AS (-n) VIRTUAL", '"item"', "v", "virtual",
                     marks=pytest.mark.pg(">= 18")),
        pytest.param("item int NOT NULL, qty int, v int GENERATED ALWAYS AS (item / 10) VIRTUAL", '"item", "v"', "qty",
                     "virtual", marks=pytest.mark.pg(">= 18")),
        ("item int NOT NULL, qty int, marks text[]", '"item", "marks"', "qty", "array"),
        ("item int NOT NULL, qty int, marks marks", '"item", "marks"', "qty", "array"),
    ],
    ids=["virtual quantity", "virtual key", "array", "domain over an array"],
)  # fmt: skip
def test_refused_by_install(stock: MakeStock, columns: str, key: str, quantity: str, named: str) -> None:
    """Nothing is made, and the application goes on."""
    shop = stock("CREATE DOMAIN marks AS int[];" + LEDGER.format(columns, ""), SPEC.format(key, quantity))
    with pytest.raises(UsageError, match=named) as refused:
        shop.install()
    assert refused.value.remedy
    assert shop.rows("SELECT to_regclass('tenantry.ledgers'), to_regclass('balances')") == [(None, None)]
    shop.execute("INSERT INTO ledger (item) VALUES (1), (2)")


def test_stored_columns_and_arrays_that_are_never_null(stock: MakeStock) -> None:
    """They are keys and quantities like others; an empty array is one key."""
    shop = stock(
        LEDGER.format(
            "item int, n int, shelf int GENERATED ALWAYS AS (item / 10) STORED, marks int[] NOT NULL,"
            " qty int GENERATED ALWAYS AS (-n) STORED", "",
        ),
        SPEC.format('"shelf", "marks"', "qty"),
    )  # fmt: skip
    shop.install()
    shop.backfill()
    shop.execute("INSERT INTO ledger (item, n, marks) VALUES (1, 5, '{}'), (15, 6, '{}'), (NULL, 7, '{1,2}')")
    shop.execute("INSERT INTO ledger (item, n, marks) VALUES (1, 5, '{}')")
    shop.execute("UPDATE ledger SET item = 16, n = n + 1 WHERE item = 1; DELETE FROM ledger WHERE item IS NULL")
    assert shop.rows(FALSE.format("shelf, marks")) == []


WIDENED = [
    ("int", "bigint", "7", "3000000000"),
    ("smallint", "int", "7", "70000"),
    ("varchar(4)", "varchar(40)", "'ab'", "'a longer one'"),
    ("varchar(4)", "text", "'ab'", "'a longer one'"),
    ("text", "varchar(20)", "'ab'", "'a longer one'"),
    ("char(4)", "char(12)", "'ab'", "'a longer one'"),
    ("numeric(4,1)", "numeric(12,4)", "12.5", "123456.1234"),
    ("timestamp(0)", "timestamp(6)", "'2026-01-01 10:00:00'", "'2026-01-01 10:00:00.123456'"),
]


@pytest.mark.differs
@pytest.mark.parametrize("null", daily(["", " NOT NULL"]), ids=["nullable", "never null"])
@pytest.mark.parametrize(
    ("before", "after", "small", "large"), daily(WIDENED, 4), ids=[f"{one[0]} {one[1]}" for one in WIDENED]
)
def test_a_widened_key(stock: MakeStock, before: str, after: str, small: str, large: str, null: str) -> None:
    """Sessions that have written go on, with one row or several; a replica's comes anew, as one that applies does."""
    shop = stock(LEDGER.format(f"part {before}{null}, qty int", ""), SPEC.format('"part"', "qty"))
    shop.execute(f"INSERT INTO ledger (part, qty) VALUES ({small}, 1)")
    shop.install()
    shop.backfill()
    replica = {"autocommit": True, "options": "-c session_replication_role=replica"}
    with shop.connect(autocommit=True) as session:

        def write(value: str) -> None:
            with closing(shop.connect(**replica)) as applying:
                for one in (session, applying):
                    one.execute(f"INSERT INTO ledger (part, qty) VALUES ({value}, 10)")
                    one.execute(f"INSERT INTO ledger (part, qty) VALUES ({value}, 3), ({small}, 5)")
                    one.execute(f"UPDATE ledger SET qty = qty + 1 WHERE part = {value}")
                    one.execute(f"DELETE FROM ledger WHERE part = {value} AND qty = 11")

        write(small)
        session.execute(f"ALTER TABLE ledger ALTER part TYPE {after}")
        write(small)
        write(large)
    assert shop.rows(FALSE.format("part")) == []
    assert shop.failing() == []
    shop.execute(f"ALTER TABLE ledger DISABLE TRIGGER USER; INSERT INTO ledger (part, qty) VALUES ({large}, 1)")
    shop.execute("ALTER TABLE ledger ENABLE TRIGGER USER")
    shop.install()
    shop.backfill()
    assert shop.rows(FALSE.format("part")) == []


def test_a_widened_key_of_partitions(stock: MakeStock) -> None:
    """Rows that cross from one to another are noted in a table of their own."""
    shop = stock(
        LEDGER.replace(" PRIMARY KEY", "").format(
            "part int NOT NULL, place int, qty numeric(4,1)", "PARTITION BY LIST (place)"
        )
        + "CREATE TABLE ledger_1 PARTITION OF ledger FOR VALUES IN (1);"
        + "CREATE TABLE ledger_2 PARTITION OF ledger FOR VALUES IN (2);",
        SPEC.format('"part"', "qty"),
    )
    shop.install()
    shop.backfill()
    with shop.connect(autocommit=True) as session:
        session.execute("INSERT INTO ledger (part, place, qty) VALUES (1, 1, 10.5), (2, 1, 1)")
        session.execute("UPDATE ledger SET place = 3 - place")
        session.execute("ALTER TABLE ledger ALTER part TYPE bigint, ALTER qty TYPE numeric(20,6)")
        session.execute("INSERT INTO ledger (part, place, qty) VALUES (5000000000, 1, 123456.123456)")
        session.execute("UPDATE ledger SET place = 3 - place, part = part + 5000000000")
    assert shop.rows(FALSE.format("part")) == []


def test_a_key_that_has_become_nullable(stock: MakeStock) -> None:
    """The application writes on, the sums are right, and every command says that the balances are to be made anew."""
    shop = stock(LEDGER.format("part int NOT NULL, qty int", ""), SPEC.format('"part"', "qty"))
    shop.install()
    shop.backfill()
    shop.execute("ALTER TABLE ledger ALTER part DROP NOT NULL")
    shop.execute("INSERT INTO ledger (part, qty) VALUES (NULL, 1), (NULL, 2), (1, 3)")
    shop.execute("INSERT INTO ledger (part, qty) VALUES (NULL, 4)")
    assert shop.rows("SELECT part, sum(quantity)::int FROM balances GROUP BY part ORDER BY 1") == [(1, 3), (None, 7)]
    with pytest.raises(Refused, match="installed with another key") as refused:
        shop.validate()
    assert "balances remove" in refused.value.remedy


@pytest.mark.pg(">= 18")
def test_not_null_that_was_never_validated(stock: MakeStock) -> None:
    """It promises nothing of the rows that are there."""
    shop = stock(LEDGER.format("part int, qty int", ""), SPEC.format('"part"', "qty"))
    shop.execute("INSERT INTO ledger (part, qty) VALUES (NULL, 1), (NULL, 2)")
    shop.execute("ALTER TABLE ledger ADD CONSTRAINT filled NOT NULL part NOT VALID")
    shop.install()
    shop.backfill()
    shop.execute("UPDATE ledger SET part = 1 WHERE qty = 1")
    assert shop.rows(FALSE.format("part")) == []
    assert shop.failing() == []
