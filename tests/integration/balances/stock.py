"""A ledger of stock with what a ledger may have: partitions of partitions, lots and locations that may be NULL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg

from servers import Database
from tenantry import (
    BalancesOptions,
    backfill_balances,
    install_balances,
    remove_balances,
    validate_balances,
)
from tenantry.balances.inspection import Line
from tenantry.model.run import Result
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

TENANTS = "CREATE TABLE tenants (id integer PRIMARY KEY, slug text NOT NULL UNIQUE);"
LEDGER = """
CREATE SEQUENCE ledger_ids;
CREATE TABLE ledger (id bigint NOT NULL DEFAULT nextval('ledger_ids'), org integer NOT NULL, item integer NOT NULL,
  location integer, lot text, quantity numeric(12,3) NOT NULL, note text, PRIMARY KEY (id, item))
  PARTITION BY RANGE (item);
CREATE TABLE ledger_low PARTITION OF ledger FOR VALUES FROM (0) TO (3);
CREATE TABLE ledger_high PARTITION OF ledger FOR VALUES FROM (3) TO (100) PARTITION BY HASH (id);
CREATE TABLE ledger_high_0 PARTITION OF ledger_high FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE ledger_high_1 PARTITION OF ledger_high FOR VALUES WITH (MODULUS 2, REMAINDER 1);
"""
FILL = (
    "INSERT INTO ledger (org, item, location, lot, quantity) SELECT 1 + g % 2, g % 7, nullif(g % 4, 0),"
    " CASE WHEN g % 3 > 0 THEN 'L' || g % 5 END, (g % 11) - 3 FROM generate_series(1, {}) g"
)
SPEC = """
[tenant]
table = "tenants"
[[table]]
name = "ledger"
shared = true
[[ledger]]
table = "ledger"
balance = "balances"
key = ["org", "item", "location", "lot"]
"""
# In its own words: nothing of ours but the view.
FALSE_BALANCES = """
WITH truth AS (
  SELECT org, item, location, lot, sum(quantity) AS quantity, sum(CASE WHEN quantity > 0 THEN quantity ELSE 0 END),
    sum(CASE WHEN quantity < 0 THEN -quantity ELSE 0 END), count(*) FROM ledger GROUP BY org, item, location, lot
), kept AS (SELECT org, item, location, lot, quantity, total_in, total_out, movements FROM balances)
(SELECT 'ledger', truth.* FROM (TABLE truth EXCEPT ALL TABLE kept) AS truth)
UNION ALL (SELECT 'balance', kept.* FROM (TABLE kept EXCEPT ALL TABLE truth) AS kept)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """A database with a ledger, and the commands on its balances."""

    database: Database
    text: str = SPEC

    @property
    def spec(self) -> Spec:
        return Spec.parse(self.text)

    @property
    def target(self) -> Target:
        return Target(self.database.dsn)

    def install(self, **options: Any) -> Result:
        return install_balances(self.target, self.spec, BalancesOptions(**options))

    def backfill(self, **options: Any) -> Result:
        return backfill_balances(self.target, self.spec, BalancesOptions(**options))

    def remove(self) -> Result:
        return remove_balances(self.target, self.spec)

    def validate(self) -> dict[str, Line]:
        return {line.name: line for line in validate_balances(self.target, self.spec)}

    def failing(self) -> list[str]:
        """The names of the checks that fail, each once, whatever else of its name holds."""
        lines = validate_balances(self.target, self.spec)
        return list(dict.fromkeys(line.name for line in lines if not line.holds))

    def false(self) -> list[tuple[Any, ...]]:
        """Keys whose balance is not what the ledger says, in one snapshot."""
        return self.database.rows(FALSE_BALANCES)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.database.rows(query)

    def execute(self, statements: str) -> None:
        self.database.execute(statements)

    def connect(self, **parameters: Any) -> psycopg.Connection[Any]:
        return self.database.connect(**parameters)


MakeStock = Callable[..., Stock]
