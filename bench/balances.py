"""`python -m bench.balances`: what balances cost the writers of a ledger, and spare its readers.

Inserts in bulk, by 8 clients spread over keys, and by 8 clients on one hot key: without a trigger, with the usual row
trigger, with ours, with ours in slots. Then a backfill, and a balance beside a SUM over the ledger. Writes
bench/balances.json, prints a table. `--rows` and `--seconds` make it shorter.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
from psycopg import sql

from tenantry.model.spec import Spec
from tenantry.postgres.cluster import Cluster
from tenantry.postgres.connect import Target
from tenantry.postgres.embedded import bin_directory
from tenantry.workflow import BalancesOptions, backfill_balances, install_balances

RESULTS = Path(__file__).with_name("balances.json")
SETTINGS = {"shared_buffers": "512MB", "max_wal_size": "4GB"}
CLIENTS, BULK, ROUNDS, SLOTS = 8, 300_000, 3, 16
AIMS = {"bulk": 0.9, "spread": 0.7, "hot": 0.5}
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
NAIVE = """
CREATE TABLE balances (org uuid, item bigint, location bigint, lot bigint, quantity numeric, movements bigint,
  UNIQUE (org, item, location, lot));
CREATE FUNCTION move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO balances AS b VALUES (NEW.org, NEW.item, NEW.location, NEW.lot, NEW.quantity, 1)
  ON CONFLICT (org, item, location, lot) DO UPDATE
    SET quantity = b.quantity + excluded.quantity, movements = b.movements + 1;
  RETURN NULL;
END $$;
CREATE TRIGGER move AFTER INSERT ON ledger FOR EACH ROW EXECUTE FUNCTION move();
"""
ORG = "00000000-0000-0000-0000-000000000001"
INTO = "INSERT INTO ledger (org, item, location, lot, kind, quantity, unit_cost, reference)"
ROWS = (
    f"{INTO} SELECT '{ORG}', g % 1000, g % 17, CASE WHEN g % 2 = 0 THEN g % 20 + 1 END, 'receipt', g % 9 - 3, 1.5, 'PO'"
    " FROM generate_series(1, {}) g"
)
# A lot that is NULL is a row of its own each time to the usual trigger, so these keys have one.
CLIENT = {
    "spread": f"\\set item random(1, 1000)\n\\set place random(1, 20)\n{INTO} VALUES"
    f" ('{ORG}', :item, :place, 1, 'receipt', 1, 1.5, 'PO')\n",
    "hot": f"{INTO} VALUES ('{ORG}', 1, 1, 1, 'receipt', 1, 1.5, 'PO')\n",
}


def ours(dsn: str, slots: int) -> None:
    install_balances(Target(dsn), Spec.parse(SPEC), BalancesOptions(slots=slots))
    backfill_balances(Target(dsn), Spec.parse(SPEC))


def naive(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(NAIVE)


WAYS: Mapping[str, Callable[[str], None]] = {
    "no trigger": lambda dsn: None,
    "row trigger": naive,
    "ours": lambda dsn: ours(dsn, 0),
    "ours, hot keys": lambda dsn: ours(dsn, SLOTS),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.balances", description=__doc__)
    parser.add_argument("--rows", type=int, default=3_000_000, help="movements beside which a balance is read")
    parser.add_argument("--seconds", type=int, default=5, help="for which 8 clients insert")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tenantry-bench-"))
    folder.chmod(0o711)  # the server runs under another account where we are root
    cluster = Cluster(programs=bin_directory(), folder=folder / "server", settings=SETTINGS)
    try:
        cluster.start()
        results = {
            "cores": os.cpu_count(), "writes": writes(cluster, folder, arguments.seconds),
            "reads": reads(cluster, arguments.rows),
        }  # fmt: skip
    finally:
        cluster.stop()
        shutil.rmtree(folder)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(described(results))


@contextmanager
def business(cluster: Cluster, prepare: Callable[[str], None]) -> Iterator[str]:
    """A database with an empty ledger."""
    name = sql.Identifier("ledger")
    with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
        connection.execute(sql.SQL("CREATE DATABASE {}").format(name))
    dsn = cluster.conninfo("ledger")
    with psycopg.connect(dsn) as connection:
        connection.execute(LEDGER)
    prepare(dsn)
    yield dsn


def writes(cluster: Cluster, folder: Path, seconds: int) -> dict[str, dict[str, list[float]]]:
    """Rows a second by shape and way, a number for each round; the rounds take turns."""
    found: dict[str, dict[str, list[float]]] = {shape: {way: [] for way in WAYS} for shape in AIMS}
    for _ in range(ROUNDS):
        for way, prepare in WAYS.items():
            with business(cluster, prepare) as dsn:
                found["bulk"][way].append(bulk(dsn))
            for shape, script in CLIENT.items():
                with business(cluster, prepare) as dsn:
                    found[shape][way].append(clients(dsn, folder, script, seconds))
                print(f"{way}, {shape}: {found[shape][way][-1]:,.0f} rows/s", file=sys.stderr, flush=True)
    return found


def bulk(dsn: str) -> float:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
        begun = time.monotonic()
        connection.execute(ROWS.format(BULK))
        return BULK / (time.monotonic() - begun)


def clients(dsn: str, folder: Path, script: str, seconds: int) -> float:
    """Transactions a second, of one insert each."""
    path = folder / "client.sql"
    path.write_text(script)
    done = subprocess.run(
        [bin_directory() / "pgbench", "-n", "-M", "prepared", "-c", str(CLIENTS), "-j", "2", "-T", str(seconds),
         "-f", str(path), dsn],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    match = re.search(r"tps = ([\d.]+)", done.stdout)
    assert match is not None, done.stdout
    return float(match.group(1))


def reads(cluster: Cluster, rows: int) -> dict[str, float]:
    """Milliseconds: the backfill, one balance and all of an item, from the view and as a SUM."""
    with business(cluster, lambda dsn: None) as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(ROWS.format(rows))
        install_balances(Target(dsn), Spec.parse(SPEC))
        begun = time.monotonic()
        backfill_balances(Target(dsn), Spec.parse(SPEC))
        found = {"rows": float(rows), "backfill": (time.monotonic() - begun) * 1000}
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
            key = f"org = '{ORG}' AND item = 4 AND location = 3 AND lot = 5"
            item = f"org = '{ORG}' AND item = 4"
            for name, condition in (("one balance", key), ("an item", item), ("all", "true")):
                found[f"{name}, view"] = timed(connection, f"SELECT quantity FROM balances WHERE {condition}")
                summed = f"SELECT sum(quantity) FROM ledger WHERE {condition} GROUP BY org, item, location, lot"
                found[f"{name}, SUM"] = timed(connection, summed)
        return found


def timed(connection: psycopg.Connection[Any], query: str) -> float:
    """The median of several runs, in milliseconds."""
    taken = []
    for _ in range(15):
        begun = time.monotonic()
        connection.execute(query).fetchall()
        taken.append((time.monotonic() - begun) * 1000)
        if sum(taken) > 20_000:
            break
    return median(taken)


def described(results: dict[str, Any]) -> str:
    """Two Markdown tables."""
    lines = ["| inserts | " + " | ".join(WAYS) + " | aim |", "|---|" + "---:|" * (len(WAYS) + 1)]
    for shape, by_way in results["writes"].items():
        base = median(by_way["no trigger"])
        cells = [f"{median(speeds):,.0f}/s ({median(speeds) / base:.2f})" for speeds in by_way.values()]
        lines.append(f"| {shape} | " + " | ".join(cells) + f" | {AIMS[shape]} |")
    reads = results["reads"]
    lines += ["", f"| {reads['rows']:,.0f} movements | view | SUM over the ledger |", "|---|---:|---:|"]
    for name in ("one balance", "an item", "all"):
        lines.append(f"| {name} | {reads[f'{name}, view']:.2f} ms | {reads[f'{name}, SUM']:.2f} ms |")
    lines += ["", f"The backfill took {reads['backfill'] / 1000:.1f} s."]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
