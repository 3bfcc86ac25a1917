"""`python -m bench.application`: what it costs an application to serve one tenant at a time.

A request reads one row by its key. Each driver and framework plays it plain, with tenantry-app, by hand with the tenant
in WHERE in a transaction, and with the rivals that are installed; the ways take turns. The network between is none, or
a relay that keeps each byte for a while. Writes bench/application.json, prints the tables, and writes them between the
markers of docs/application.md with `--into`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from bench import rivals
from bench.report import put_into
from bench.stacks import DATA, ORDERS, STACKS, TABLES, Way
from slow_network import slow_network
from tenantry import MigrateOptions, migrate
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.cluster import Cluster
from tenantry.postgres.connect import Target
from tenantry.postgres.embedded import bin_directory

RESULTS = Path(__file__).with_name("application.json")
REPEATS = 7
REQUESTS: Mapping[float, int] = {0.0: 300, 0.001: 50, 0.005: 20}
"""How many of them are timed together, by the seconds that the network keeps a byte, there as well as back."""
AIMS = {0.0: 0.85, 0.001: 0.9, 0.005: 0.9}
ROLE = "shop_app"
SPEC = f"""
version = 1
[tenant]
table = "tenants"
[application]
role = "{ROLE}"
[[table]]
name = "orders"
paths = [["tenant_id"]]
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.application", description=__doc__)
    parser.add_argument("--into", type=Path, help="a page with markers, between which the tables go")
    arguments = parser.parse_args()
    for name in rivals.PREPARED.keys() - rivals.installed().keys():
        print(f"{name} is left out: it is not installed; `make bench` installs bench/requirements.txt", file=sys.stderr)
    folder = Path(tempfile.mkdtemp(prefix="tenantry-bench-"))
    folder.chmod(0o711)  # the server runs under another account where we are root
    cluster = Cluster(programs=bin_directory(), folder=folder / "server", settings={})
    try:
        cluster.start()
        operator = cluster.conninfo("postgres")
        prepare(operator)
        lines = [line for delay in REQUESTS for line in measured(operator, delay)]
    finally:
        cluster.stop()
        shutil.rmtree(folder)
    figures = {"cores": os.cpu_count(), "rivals": rivals.installed(), "measurements": lines}
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(described(figures))
    if arguments.into is not None:
        put_into(arguments.into, described(figures))


def prepare(operator: str) -> None:
    """The shop, migrated, and the databases of the rivals."""
    with psycopg.connect(operator, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {ROLE} LOGIN; {TABLES}{DATA}".encode())
    migrate(Target(operator), Spec.parse(SPEC), MigrateOptions(until=Phase.CONTRACT, force=True))
    with psycopg.connect(operator, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
    rivals.prepare(operator)


def measured(operator: str, delay: float) -> Iterator[dict[str, Any]]:
    """Milliseconds of a request, of each stack and way, by turns."""
    with ExitStack() as network:
        dsn = network.enter_context(slow_network(operator, delay)) if delay else operator
        for name, opened in STACKS.items():
            with opened(dsn, make_conninfo(dsn, user=ROLE)) as ours, rivals.opened(name, dsn) as others:
                ways = {**ours, **others}
                found: dict[str, list[float]] = {way: [] for way in ways}
                for way in ways.values():
                    way.play(10)
                for _ in range(REPEATS):
                    for key, way in ways.items():
                        begun = time.perf_counter()
                        way.play(REQUESTS[delay])
                        found[key].append((time.perf_counter() - begun) / REQUESTS[delay] * 1000)
                after = {key: read_on(way) for key, way in ways.items() if way.read_on is not None}
            line = {"stack": name, "delay": delay, "ways": found, "after": after, "load": os.getloadavg()[0]}
            print(line, file=sys.stderr, flush=True)
            yield line


def read_on(way: Way) -> str:
    """What the second transaction of a request sees."""
    assert way.read_on is not None
    try:
        before, after = way.read_on()
    except Exception as error:
        return f"refused: {type(error).__name__}"
    return "right" if before == after == ORDERS else f"**wrong**: {before:,} rows, then {after:,} of {ORDERS:,}"


def share(line: Mapping[str, Any], way: str, beside: str) -> float:
    """How many requests a way makes in the time in which another makes one: the median of the rounds."""
    return median(other / own for other, own in zip(line["ways"][beside], line["ways"][way], strict=True))


def described(figures: Mapping[str, Any]) -> str:
    """The medians as Markdown tables."""
    lines, versions = figures["measurements"], figures["rivals"]
    others = list(versions)
    shown = [
        f"| network, each way | | plain | tenantry-app | by hand | {' | '.join(others)} |".replace("|  |", "|"),
        "|---:|---|---:|" + "---:|" * (2 + len(others)),
    ]
    for line in lines:
        cells = [f"{line['delay'] * 1000:.0f} ms", line["stack"], f"{median(line['ways']['plain']):.2f} ms"]
        for way in ("tenantry-app", "by hand", *others):
            if way not in line["ways"]:
                cells.append("")
                continue
            shares = [f"{share(line, way, 'plain'):.2f}"]
            if way != "by hand":
                shares.append(f"{share(line, way, 'by hand'):.2f}")
            cells.append(f"{median(line['ways'][way]):.2f} ms ({', '.join(shares)})")
        shown.append(f"| {' | '.join(cells)} |")
    aims = ", ".join(f"{aim} at {delay * 1000:.0f} ms" for delay, aim in AIMS.items())
    loads = [line["load"] for line in lines]
    shown += [
        "",
        f"One row by its key; medians of {REPEATS} rounds in which the ways take turns. In brackets: requests in the"
        " time of one that is plain, and in that of one by hand. Plain is what the stack does by itself, as a role that"
        " no policy holds: SQLAlchemy in a transaction, the others in autocommit. By hand is the same with the tenant"
        f" in WHERE, in a transaction. The aim is {aims}. Load average: {min(loads):.0f} to {max(loads):.0f}.",
        "",
        "What a request sees that commits and reads on:",
        "",
        f"| | tenantry-app | {' | '.join(f'{name} {number}' for name, number in versions.items())} |".replace(
            "|  |", "|"
        ),
        "|---|" + "---|" * (1 + len(others)),
    ]
    for line in lines:
        if line["delay"] == 0:
            cells = [line["after"].get(way, "") for way in ("tenantry-app", *others)]
            shown.append(f"| {line['stack']} | {' | '.join(cells)} |")
    return "\n".join(shown)


if __name__ == "__main__":
    main()
