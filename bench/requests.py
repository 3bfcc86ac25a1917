"""`python -m bench.requests`: what a request costs that is resolved, and served as one organisation.

A balance is looked up over HTTP, in uvicorn, by a few clients at once: `tenantry-app` with the middleware, API keys and
row security; `by hand` the same handler with the organisation in WHERE, in a transaction of a role that no policy
holds, and a look into a dict for the key; `sum` adds the ledger up instead. The ways take turns.
Writes bench/requests.json, prints a table, and writes it between the markers of a page with `--into`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from bench.report import put_into
from tenantry.postgres.cluster import Cluster
from tenantry.postgres.embedded import bin_directory

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).with_name("requests.json")
WAYS = {"tenantry-app": "/ours/balances", "by hand": "/by-hand/balances", "sum": "/ours/sums"}
AIM = 0.85
CLIENTS, ROUNDS = 4, 7
PATHS = os.pathsep.join(str(ROOT / path) for path in ("application/src", "src", ".", "examples/enterprise"))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.requests", description=__doc__)
    parser.add_argument("--into", type=Path, help="a page with markers, between which the table goes")
    parser.add_argument("--rows", type=int, default=50_000, help="movements in the ledger")
    parser.add_argument("--seconds", type=float, default=2, help="of each way in each round")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT / "examples" / "enterprise"))
    from prepare import prepare

    folder = Path(tempfile.mkdtemp(prefix="tenantry-bench-"))
    folder.chmod(0o711)  # the server runs under another account where we are root
    cluster = Cluster(programs=bin_directory(), folder=folder / "server", settings={})
    try:
        cluster.start()
        operator = cluster.conninfo("postgres")
        made: Any = prepare(operator, rows=options.rows)
        with psycopg.connect(operator, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
        with served(operator, made) as port:
            found = measured(port, made, operator, options.seconds)
    finally:
        cluster.stop()
        shutil.rmtree(folder)
    found |= {"rows": options.rows, "cores": os.cpu_count(), "load": os.getloadavg()[0]}
    RESULTS.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(described(found))
    if options.into is not None:
        put_into(options.into, described(found))


@contextmanager
def served(operator: str, made: Mapping[str, Any]) -> Iterator[int]:
    """The service, by one process of uvicorn."""
    keys = {made["keys"][slug]: made["organizations"][slug] for slug in made["keys"]}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [
            sys.executable, "-m", "uvicorn", "bench.service:app", "--port", str(port), "--log-level", "warning",
            "--no-access-log",
        ],
        env={
            **os.environ, "PYTHONPATH": PATHS, "OPERATOR_URL": operator, "KEYS": json.dumps(keys),
            "DATABASE_URL": make_conninfo(operator, user="tenantry_app"),
        },
    )  # fmt: skip
    try:
        for _ in range(600):
            time.sleep(0.1)
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                continue
        yield port
    finally:
        process.terminate()
        process.wait(20)


def measured(port: int, made: Mapping[str, Any], operator: str, seconds: float) -> dict[str, Any]:
    """Requests a second and the slowest hundredth, of each way and round."""
    query = (
        "SELECT item_id FROM inventory_ledger WHERE org_id = %s GROUP BY item_id ORDER BY count(*) DESC LIMIT 20"
    )  # fmt: skip
    with psycopg.connect(operator) as connection:
        items = [row[0] for row in connection.execute(query, [made["organizations"]["default"]])]
    key = made["keys"]["default"]
    first = {way: Client(port, f"{path}/{items[0]}", key).ask() for way, path in WAYS.items()}
    assert len({json.dumps(sorted(json.loads(one), key=str)) for one in first.values()}) == 1, first
    found: dict[str, dict[str, list[float]]] = {way: {"rate": [], "p99": []} for way in WAYS}
    for number in range(ROUNDS + 1):
        for way, path in WAYS.items():
            times = asked(port, [f"{path}/{item}" for item in items], key, seconds if number else 0.5)
            if number:  # the first round warms up
                found[way]["rate"].append(len(times) / seconds)
                found[way]["p99"].append(sorted(times)[int(len(times) * 0.99)])
    return {"ways": found}


def asked(port: int, paths: list[str], key: str, seconds: float) -> list[float]:
    """The seconds that each request took."""
    end, times = time.perf_counter() + seconds, [list[float]() for _ in range(CLIENTS)]

    def work(number: int) -> None:
        clients = [Client(port, path, key) for path in paths]
        connection = clients[0].connect()
        while (begun := time.perf_counter()) < end:
            clients[len(times[number]) % len(clients)].ask(connection)
            times[number].append(time.perf_counter() - begun)
        connection.close()

    threads = [threading.Thread(target=work, args=[number]) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [one for several in times for one in several]


class Client:
    """Asks for one path, over a connection that stays: as little as can be beside the service."""

    def __init__(self, port: int, path: str, key: str) -> None:
        self._port = port
        self._request = f"GET {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\n\r\n".encode()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port))

    def ask(self, connection: socket.socket | None = None) -> bytes:
        used = connection or self.connect()
        used.sendall(self._request)
        data = used.recv(65536)
        while b"\r\n\r\n" not in data:
            data += used.recv(65536)
        head, _, body = data.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), data
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        while len(body) < length:
            body += used.recv(65536)
        if connection is None:
            used.close()
        return body


def described(found: Mapping[str, Any]) -> str:
    """The medians as a Markdown table."""
    base = found["ways"]["by hand"]["rate"]
    shown = ["| | requests a second | of by hand | p99 |", "|---|---:|---:|---:|"]
    for way, figures in found["ways"].items():
        share = median(own / other for own, other in zip(figures["rate"], base, strict=True))
        shown.append(
            f"| {way} | {median(figures['rate']):,.0f} | {share:.2f} | {median(figures['p99']) * 1000:.1f} ms |"
        )  # fmt: skip
    return "\n".join(shown) + (
        f"\n\nA balance by its item, {CLIENTS} clients, one process of uvicorn on {found['cores']} cores,"
        f" {found['rows']:,} movements; medians of {ROUNDS} rounds in which the ways take turns. Of by hand the aim is"
        f" {AIM}. Load average: {found['load']:.0f}."
    )


if __name__ == "__main__":
    main()
