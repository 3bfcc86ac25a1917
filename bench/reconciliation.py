"""`python -m bench.reconciliation`: what a reconciliation costs, of all keys and of those touched since the last one.

A ledger in step with its balances; between two runs one key in a hundred is moved. The ledger has an index on the
columns of its key that holds the quantity too, one without it, or none. Writes bench/reconciliation.json, prints a
table, and writes it between the markers of docs/reconciliation.md with `--into docs/reconciliation.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

from bench.balances import INTO, LEDGER, ORG, ROWS, SETTINGS, SPEC, business, ours
from bench.report import put_into
from tenantry import ReconcileOptions, reconcile_balances
from tenantry.model.spec import Spec
from tenantry.postgres.cluster import Cluster
from tenantry.postgres.connect import Target
from tenantry.postgres.embedded import bin_directory

RESULTS = Path(__file__).with_name("reconciliation.json")
REPEATS, CHANGED, AIM = 5, 0.01, 0.05
INDEX = "CREATE INDEX ON ledger (item, location, lot);\n"
INDEXES: Mapping[str, str] = {
    "on the key, with the quantity": "CREATE INDEX ON ledger (org, item, location, lot) INCLUDE (quantity);\n",
    "on the key": INDEX,
    "none": "",
}
MOVE = (
    f"{INTO} SELECT DISTINCT org, item, location, lot, 'receipt', 1, 1.5, 'PO' FROM ledger WHERE org = '{ORG}'"
    " AND item % 100 = {}"
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.reconciliation", description=__doc__)
    parser.add_argument("--rows", type=int, action="append", help="movements in the ledger (default: 3 million)")
    parser.add_argument("--into", type=Path, help="a page with markers, between which the table goes")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tenantry-bench-"))
    folder.chmod(0o711)  # the server runs under another account where we are root
    cluster = Cluster(programs=bin_directory(), folder=folder / "server", settings=SETTINGS)
    try:
        cluster.start()
        sizes = arguments.rows or [3_000_000]
        lines = [measured(cluster, rows, index) for rows in sizes for index in INDEXES]
    finally:
        cluster.stop()
        shutil.rmtree(folder)
    RESULTS.write_text(json.dumps({"cores": os.cpu_count(), "measurements": lines}, indent=2) + "\n", encoding="utf-8")
    print(described(lines))
    if arguments.into is not None:
        put_into(arguments.into, described(lines))


def measured(cluster: Cluster, rows: int, index: str) -> dict[str, Any]:
    """Seconds of runs of both kinds, which take turns."""
    with business(cluster, lambda dsn: prepared(dsn, rows, INDEXES[index])) as dsn:
        reconciled(dsn, full=True)
        found: dict[str, list[float]] = {"full": [], "incremental": []}
        compared = 0
        for number in range(REPEATS):
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute(MOVE.format(number).encode())
            seconds, compared = reconciled(dsn, full=False)
            found["incremental"].append(seconds)
            found["full"].append(reconciled(dsn, full=True)[0])
        keys = reconciled(dsn, full=True)[1]
    line = {"rows": rows, "keys": keys, "changed": compared, "index": index, **found, "load": os.getloadavg()[0]}
    print(line, file=sys.stderr, flush=True)
    return line


def prepared(dsn: str, rows: int, index: str) -> None:
    """The ledger with another index in place of its own."""
    assert INDEX in LEDGER
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DROP TABLE ledger, tenants")
        connection.execute(LEDGER.replace(INDEX, index).encode())
        connection.execute(ROWS.format(rows).encode())
    ours(dsn, 0)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


def reconciled(dsn: str, *, full: bool) -> tuple[float, int]:
    """Seconds that comparing takes, and the keys. Raises RuntimeError where they differ."""
    begun = time.monotonic()
    result = reconcile_balances(Target(dsn), Spec.parse(SPEC), ReconcileOptions(full=full, scrub_days=10_000))
    if result.exit_status or (found := result.ledgers[0].result) is None or found.corrected:
        raise RuntimeError(f"ledger and balances differ: {result.outcome}")
    return time.monotonic() - begun, found.compared


def described(lines: list[dict[str, Any]]) -> str:
    """The medians as a Markdown table."""
    shown = ["| rows | keys | index of the ledger | all keys | touched | share |", "|---:|---:|---|---:|---:|---:|"]
    for line in lines:
        full, incremental = median(line["full"]), median(line["incremental"])
        shown.append(
            f"| {line['rows']:,} | {line['keys']:,} | {line['index']} | {full:.2f} s"
            f" | {incremental:.3f} s ({line['changed']:,} keys) | {incremental / full:.3f} |"
        )
    return "\n".join(shown) + f"\n\nThe aim is {AIM} of a full run where {CHANGED:.0%} of the keys were touched."


if __name__ == "__main__":
    main()
