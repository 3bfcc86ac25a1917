"""One measurement: a fresh copy of the business, the application writing, one way of filling."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from bench.ways import WAYS
from tenantry.postgres.cluster import Cluster

ROOT = Path(__file__).parents[1]
COPY = "copy"
SIZES = "SELECT pg_table_size('movements'), pg_indexes_size('movements')"
RIGHT = "SELECT count(*) FROM movements WHERE tenant_id IS NULL"
# The statistics of a session that has ended are there for everybody.
HOT = "SELECT n_tup_hot_upd, n_tup_upd FROM pg_stat_user_tables WHERE relname = 'movements'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Times in seconds, sizes in bytes. `p50` to `longest_wait`: of the times that the writer's statements took."""

    way: str
    rows: int
    seconds: float
    table_before: int
    table_after: int
    indexes_before: int
    indexes_after: int
    hot_share: float | None
    wal: int
    p50: float
    p99: float
    p999: float
    longest_wait: float
    writes: int
    load: float
    """The machine's load average of the minute before: times are comparable only where nothing else ran."""


def template(cluster: Cluster, rows: int) -> str:
    """The database with `rows` movements, made once."""
    name = f"business_{rows}"
    with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    script = (ROOT / "bench" / "business.sql").read_text(encoding="utf-8").replace(":rows", str(rows))
    with psycopg.connect(cluster.conninfo(name), autocommit=True) as connection:
        connection.execute(script)
        connection.execute("VACUUM ANALYZE")
    return name


def measure(cluster: Cluster, way: str, rows: int, source: str) -> Measurement:
    """Copy `source`, let a writer begin, fill, let it end. Raises RuntimeError where a row is left."""
    dsn = cluster.conninfo(COPY)
    with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(COPY)))
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(
                sql.Identifier(COPY), sql.Identifier(source)
            )
        )
    with psycopg.connect(dsn, autocommit=True) as connection:
        timed = WAYS[way](connection, dsn)
        # Every way begins with the table in the cache and with nothing left to be written.
        connection.execute("SELECT count(*) FROM movements")
        connection.execute("CHECKPOINT")
        before, load = sizes(connection), os.getloadavg()[0]
        log = connection.execute("SELECT pg_current_wal_lsn()").fetchone()
        writer = subprocess.Popen(
            [sys.executable, "-m", "bench.writer", dsn, str(rows)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert writer.stdout is not None
        writer.stdout.readline()
        begun = time.monotonic()
        timed()
        seconds = time.monotonic() - begun
        waits = sorted(json.loads(writer.communicate()[0]))
        after = sizes(connection)
        wal = connection.execute("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), %s)::bigint", log).fetchone()
        left = connection.execute(RIGHT).fetchone()
        if left != (0,):
            raise RuntimeError(f"{way}: {left} rows have no tenant")
    return Measurement(
        way=way, rows=rows, seconds=seconds, table_before=before[0], table_after=after[0],
        indexes_before=before[1], indexes_after=after[1], hot_share=hot_share(dsn) if seconds > 0.1 else None,
        wal=wal[0] if wal is not None else 0, p50=share(waits, 0.5), p99=share(waits, 0.99), p999=share(waits, 0.999),
        longest_wait=share(waits, 1), writes=len(waits), load=load,
    )  # fmt: skip


def share(waits: Sequence[float], part: float) -> float:
    """Of `waits` in order, the shortest that is no shorter than this part of them; 0 where nobody has written."""
    return waits[max(0, math.ceil(part * len(waits)) - 1)] if waits else 0.0


def sizes(connection: psycopg.Connection[tuple[int, int]]) -> tuple[int, int]:
    row = connection.execute(SIZES).fetchone()
    assert row is not None
    return row


def hot_share(dsn: str) -> float | None:
    """Of all updates, the writer's among them."""
    time.sleep(1)
    with psycopg.connect(dsn, autocommit=True) as connection:
        row = connection.execute(HOT).fetchone()
    return row[0] / row[1] if row is not None and row[1] else None
