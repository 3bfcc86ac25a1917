"""The ledgers on which balances are measured: the preset's own, and one with as little beside its rows as can be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg

from tenantry.presets import load

ORG = "00000000-0000-0000-0000-000000000001"
SPEC = """
[tenant]
table = "tenants"
[[ledger]]
table = "ledger"
balance = "balances"
key = ["org", "item", "location", "lot"]
"""
LEDGER = """
CREATE TABLE tenants (id uuid PRIMARY KEY, slug text UNIQUE);
CREATE TABLE ledger (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, org uuid NOT NULL, item bigint NOT NULL,
  location bigint NOT NULL, lot bigint, kind text NOT NULL, quantity numeric(14,3) NOT NULL, unit_cost numeric(12,4),
  reference text, at timestamptz NOT NULL DEFAULT now());
CREATE INDEX ON ledger (item, location, lot);
CREATE INDEX ON ledger (at);
"""
INTO = "INSERT INTO ledger (org, item, location, lot, kind, quantity, unit_cost, reference)"
ROWS = (
    f"{INTO} SELECT '{ORG}', g % 1000, g % 17, CASE WHEN g % 2 = 0 THEN g % 20 + 1 END, 'receipt', g % 9 - 3, 1.5, 'PO'"
    " FROM generate_series(1, {}) g"
)
OWN_COLUMNS = "item_id, location_id, lot_id, movement_type, quantity, unit_cost, reference, user_id"
OWN = f"INSERT INTO inventory_ledger ({OWN_COLUMNS})"
OWN_SPEC = """
[tenant]
table = "organizations"
[[ledger]]
table = "inventory_ledger"
balance = "inventory_balances"
key = ["item_id", "location_id", "lot_id"]
"""
# The usual row trigger, as guides have it.
NAIVE = """
CREATE TABLE balances ({columns}, quantity numeric, movements bigint, UNIQUE ({key}));
CREATE FUNCTION move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO balances AS b VALUES ({values}, NEW.quantity, 1)
  ON CONFLICT ({key}) DO UPDATE SET quantity = b.quantity + excluded.quantity, movements = b.movements + 1;
  RETURN NULL;
END $$;
CREATE TRIGGER move AFTER INSERT ON {ledger} FOR EACH ROW EXECUTE FUNCTION move();
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """A ledger, what is inserted into it, and the usual trigger on it. `key` has each column's type. `rows` is a
    statement with a place for their number; `spread` and `hot` are pgbench scripts of one insert. A lot that is NULL is
    a row of its own each time to the usual trigger, so the clients' keys have one."""

    make: Callable[[psycopg.Connection[Any]], None]
    spec: str
    table: str
    key: Mapping[str, str]
    rows: str
    spread: str
    hot: str

    @property
    def naive(self) -> str:
        return NAIVE.format(
            columns=", ".join(f"{name} {type_}" for name, type_ in self.key.items()), key=", ".join(self.key),
            values=", ".join(f"NEW.{name}" for name in self.key), ledger=self.table,
        )  # fmt: skip


def _preset(connection: psycopg.Connection[Any]) -> None:
    load(connection, preset="enterprise", rows=20_000)


def _bare(connection: psycopg.Connection[Any]) -> None:
    connection.execute(LEDGER)


SHOPS: Mapping[str, Shop] = {
    "the ledger of the preset `enterprise`, which has 4 foreign keys and 4 indexes": Shop(
        make=_preset, spec=OWN_SPEC, table="inventory_ledger",
        key={"item_id": "bigint", "location_id": "bigint", "lot_id": "bigint"},
        rows=f"{OWN} SELECT 1 + g % 100, 1 + g / 100 % 8, nullif(g / 800 % 22, 0), 'receipt', g % 9 + 1, 1.5, 'PO',"
        " 1 + g % 10 FROM generate_series(1, {}) g",
        spread="\\set item random(1, 100)\n\\set place random(1, 8)\n\\set lot random(1, 25)\n"
        f"\\set user random(1, 10)\n{OWN} VALUES (:item, :place, :lot, 'receipt', 1, 1.5, 'PO', :user)\n",
        hot=f"{OWN} VALUES (1, 1, 1, 'receipt', 1, 1.5, 'PO', 1)\n",
    ),
    "a bare ledger, which has no foreign key and 3 indexes": Shop(
        make=_bare, spec=SPEC, table="ledger",
        key={"org": "uuid", "item": "bigint", "location": "bigint", "lot": "bigint"}, rows=ROWS,
        spread=f"\\set item random(1, 1000)\n\\set place random(1, 20)\n{INTO} VALUES"
        f" ('{ORG}', :item, :place, 1, 'receipt', 1, 1.5, 'PO')\n",
        hot=f"{INTO} VALUES ('{ORG}', 1, 1, 1, 'receipt', 1, 1.5, 'PO')\n",
    ),
}  # fmt: skip
