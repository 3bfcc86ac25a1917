"""`python -m bench.balances`: what balances cost the writers of a ledger, and spare its readers.

Inserts in bulk, by 8 clients spread over 20,000 keys, and by 8 clients on one hot key: without a trigger, with the
usual row trigger, with ours, with ours in slots; on the preset's ledger and on a bare one, as a server does it that was
left as it comes (a commit waits for the disk), and without that wait. The ways take turns within each round, and a
share is of the same round's `no trigger`. Then a backfill, and a balance beside a SUM over the ledger. Writes
bench/balances.json, prints tables, and with `--into docs/balances.md` puts them there.
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

from bench.ledgers import INTO, LEDGER, ORG, ROWS, SHOPS, SPEC, Shop
from bench.report import put_into
from tenantry import BalancesOptions, backfill_balances, install_balances
from tenantry.model.spec import Spec
from tenantry.postgres.cluster import Cluster
from tenantry.postgres.connect import Target
from tenantry.postgres.embedded import bin_directory

__all__ = ["INTO", "LEDGER", "ORG", "ROWS", "SETTINGS", "SPEC", "business", "ours"]

RESULTS = Path(__file__).with_name("balances.json")
SETTINGS = {"shared_buffers": "512MB", "max_wal_size": "4GB"}
SHOWN = (*SETTINGS, "fsync", "synchronous_commit", "full_page_writes", "wal_sync_method", "server_version")
CLIENTS, BULK, BULK_ROUNDS, SLOTS = 8, 300_000, 3, 16
AIMS = {"bulk": 0.9, "spread": 0.7, "hot": 0.5}
NO_WAIT = ", commits not waited for"


def ours(dsn: str, slots: int, spec: str = SPEC) -> None:
    install_balances(Target(dsn), Spec.parse(spec), BalancesOptions(slots=slots))
    backfill_balances(Target(dsn), Spec.parse(spec))


def naive(dsn: str, shop: Shop) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(shop.naive)


WAYS: Mapping[str, Callable[[str, Shop], None]] = {
    "no trigger": lambda dsn, shop: None,
    "row trigger": naive,
    "ours": lambda dsn, shop: ours(dsn, 0, shop.spec),
    "ours, hot keys": lambda dsn, shop: ours(dsn, SLOTS, shop.spec),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.balances", description=__doc__)
    parser.add_argument("--rows", type=int, default=3_000_000, help="movements beside which a balance is read")
    parser.add_argument("--seconds", type=int, default=1, help="for which 8 clients insert, a way and round")
    parser.add_argument("--rounds", type=int, default=5, help="of the clients")
    parser.add_argument("--into", type=Path, help="put the tables between this file's markers")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tenantry-bench-"))
    folder.chmod(0o711)  # the server runs under another account where we are root
    cluster = Cluster(programs=bin_directory(), folder=folder / "server", settings=SETTINGS)
    try:
        cluster.start()
        flushes = [flush(folder)]
        written = {
            title: {**loads(cluster, shop), **clients(cluster, shop, folder, arguments.seconds, arguments.rounds)}
            for title, shop in SHOPS.items()
        }
        flushes.append(flush(folder))
        results = {
            "cores": os.cpu_count(), "settings": settings(cluster), "flush_microseconds": flushes, "writes": written,
            "reads": reads(cluster, arguments.rows),
        }  # fmt: skip
    finally:
        cluster.stop()
        shutil.rmtree(folder)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(described(results))
    if arguments.into is not None:
        put_into(arguments.into, described(results))


def flush(folder: Path) -> float:
    """Microseconds that the disk takes to acknowledge a write of 8 kB."""
    file = folder / "flush"
    done = subprocess.run(
        [bin_directory() / "pg_test_fsync", "-s", "1", "-f", file], capture_output=True, text=True, check=True
    )
    file.unlink(missing_ok=True)
    match = re.search(r"fdatasync.*?([\d.]+) usecs/op", done.stdout)
    assert match is not None, done.stdout
    return float(match.group(1))


def settings(cluster: Cluster) -> dict[str, str]:
    """What was left as it comes, and what was not."""
    with psycopg.connect(cluster.conninfo()) as connection:
        rows = connection.execute("SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY (%s)", [
            list(SHOWN)
        ])  # fmt: skip
        return {str(name): str(value) for name, value in rows}


def database(cluster: Cluster, name: str) -> str:
    """An empty database; its connection string."""
    with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return cluster.conninfo(name)


@contextmanager
def business(cluster: Cluster, prepare: Callable[[str], None]) -> Iterator[str]:
    """A database with an empty bare ledger."""
    dsn = database(cluster, "ledger")
    with psycopg.connect(dsn) as connection:
        connection.execute(LEDGER)
    prepare(dsn)
    yield dsn


def prepared(cluster: Cluster, shop: Shop, way: str) -> str:
    """A database with a shop's ledger, and what keeps its balances."""
    dsn = database(cluster, way)
    with psycopg.connect(dsn) as connection:
        shop.make(connection)
    WAYS[way](dsn, shop)
    return dsn


def loads(cluster: Cluster, shop: Shop) -> dict[str, dict[str, list[float]]]:
    """Rows a second in one statement, by way; a number for each round."""
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(BULK_ROUNDS):
        for way, speeds in found.items():
            dsn = prepared(cluster, shop, way)
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute("CHECKPOINT")
                begun = time.monotonic()
                connection.execute(shop.rows.format(BULK))
                speeds.append(BULK / (time.monotonic() - begun))
            print(f"{way}, bulk: {speeds[-1]:,.0f} rows/s", file=sys.stderr, flush=True)
    return {"bulk": found}


def clients(cluster: Cluster, shop: Shop, folder: Path, seconds: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Transactions of one insert each, a second, by shape and way; a number for each round."""
    databases = {way: prepared(cluster, shop, way) for way in WAYS}
    shapes = {"spread": shop.spread, "hot": shop.hot}
    found: dict[str, dict[str, list[float]]] = {}
    for shape, options in ((shape, options) for shape in shapes for options in ("", "-c synchronous_commit=off")):
        by_way: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(rounds):
            for way, speeds in by_way.items():
                speeds.append(inserts(databases[way], folder, shapes[shape], seconds, options))
        found[shape + (NO_WAIT if options else "")] = by_way
        print(
            shape, options, {way: round(median(speeds)) for way, speeds in by_way.items()}, file=sys.stderr, flush=True
        )
    return found


def inserts(dsn: str, folder: Path, script: str, seconds: int, options: str) -> float:
    """Transactions a second by all clients."""
    path = folder / "client.sql"
    path.write_text(script)
    done = subprocess.run(
        [bin_directory() / "pgbench", "-n", "-M", "prepared", "-c", str(CLIENTS), "-j", "2", "-T", str(seconds),
         "-f", str(path), dsn],
        capture_output=True, text=True, check=True, env={**os.environ, "PGOPTIONS": options},
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


def share(by_way: Mapping[str, list[float]], way: str) -> float:
    """Of what no trigger reaches: the median of the rounds."""
    return median(speed / base for speed, base in zip(by_way[way], by_way["no trigger"], strict=True))


def described(results: dict[str, Any]) -> str:
    """Markdown tables, and under which settings they were measured."""
    lines = []
    for title, shapes in results["writes"].items():
        lines += [f"Inserts into {title}.", "", "| | " + " | ".join(WAYS) + " | aim |", "|---" * (len(WAYS) + 2) + "|"]
        for shape, by_way in shapes.items():
            cells = [f"{median(speeds):,.0f}/s ({share(by_way, way):.2f})" for way, speeds in by_way.items()]
            lines.append(f"| {shape} | " + " | ".join(cells) + f" | {AIMS.get(shape, '')} |")
        lines.append("")
    reads = results["reads"]
    lines += [f"| {reads['rows']:,.0f} movements | view | SUM over the ledger |", "|---|---:|---:|"]
    for name in ("one balance", "an item", "all"):
        lines.append(f"| {name} | {reads[f'{name}, view']:.2f} ms | {reads[f'{name}, SUM']:.2f} ms |")
    kept = ", ".join(f"{name} {value}" for name, value in sorted(results["settings"].items()))
    before, after = results["flush_microseconds"]
    lines += [
        "", f"The backfill took {reads['backfill'] / 1000:.1f} s. {CLIENTS} clients, {results['cores']} cores; {kept}.",
        f"The disk acknowledged 8 kB in {before:,.0f} µs before the inserts, and in {after:,.0f} µs after them.",
    ]  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    main()
