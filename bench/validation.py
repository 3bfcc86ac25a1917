"""`python -m bench.validation`: validate beside one query a check, and beside the bare scans and joins.

Prints a table, and writes it between the markers of docs/validation.md with `--into docs/validation.md`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import psycopg  # noqa: E402  (the folder above is put on the path first)
from psycopg import sql  # noqa: E402

from bench.report import put_into  # noqa: E402
from bench.run import SETTINGS, memory  # noqa: E402
from tenantry import InspectionOptions, MigrateOptions, migrate, validate  # noqa: E402
from tenantry.checks.base import Check, CheckContext, QueryCheck, ReferenceCheck  # noqa: E402
from tenantry.checks.completeness import completeness  # noqa: E402
from tenantry.checks.references import references  # noqa: E402
from tenantry.checks.runner import examine  # noqa: E402
from tenantry.checks.scan import condition, source  # noqa: E402
from tenantry.checks.session_pool import SETTINGS as SESSION  # noqa: E402
from tenantry.checks.session_pool import Stop  # noqa: E402
from tenantry.commands.inspection import open_check_context  # noqa: E402
from tenantry.execution.events import ignore  # noqa: E402
from tenantry.model.backup import BackupKind  # noqa: E402
from tenantry.model.plan import Phase  # noqa: E402
from tenantry.model.spec import Spec  # noqa: E402
from tenantry.postgres.cluster import Cluster  # noqa: E402
from tenantry.postgres.connect import Target  # noqa: E402
from tenantry.postgres.embedded import bin_directory  # noqa: E402
from tenantry.presets import load, spec_path  # noqa: E402

REPEATS = 5
BEGIN = (
    "| movements | rows in all | validate, all of it | its reading of rows | one query a check | bare scans and joins |"
    " validate is faster than one query a check | validate to bare |"
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.validation", description=__doc__)
    parser.add_argument("--rows", type=int, action="append", help="measure at this size (default: 300,000)")
    parser.add_argument("--into", type=Path, help="put the table between this file's markers")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tenantry-bench-"))
    folder.chmod(0o711)  # the server runs under another account where we are root
    cluster = Cluster(programs=bin_directory(), folder=folder / "server", settings=SETTINGS)
    try:
        cluster.start()
        lines = [measured(cluster, rows) for rows in arguments.rows or [300_000]]
    finally:
        cluster.stop()
        shutil.rmtree(folder)
    settings = ", ".join(f"{name} {value}" for name, value in SETTINGS.items())
    text = "\n".join([BEGIN, "|---:|---:|---:|---:|---:|---:|---:|---:|", *lines]) + (
        f"\n\nThe preset estoque, isolated, in the cache; PostgreSQL 18, {os.cpu_count()} cores,"
        f" {memory() / 2**30:.0f} GB, {settings}. Medians of {REPEATS} runs, in turn."
    )
    print(text)
    if arguments.into is not None:
        put_into(arguments.into, text)


def measured(cluster: Cluster, rows: int) -> str:
    """A line of the table: every way in turn, so that what else the machine does is shared out."""
    name = f"validation_{rows}"
    with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    dsn, spec = cluster.conninfo(name), Spec.read(spec_path("estoque"))
    with psycopg.connect(dsn) as connection:
        load(connection, preset="estoque", rows=rows, seed=1)
    migrate(Target(dsn), spec, MigrateOptions(until=Phase.ISOLATE, force=True, backup=BackupKind.NONE))
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
    with open_check_context(Target(dsn), spec, InspectionOptions(), ignore, Stop(), run="", purpose="bench") as context:
        checks = [one for family in (completeness, references) for one in family(context) if isinstance(one, Check)]
        ways: list[Callable[[], object]] = [
            lambda: validate(Target(dsn), spec),
            lambda: examine(context, checks, Stop()),
            lambda: one_by_one(context, checks),
            lambda: bare(context, checks),
        ]
        total = sum(sum(counts.values()) for counts in examine(context, checks, Stop()).rows.values())
        times: list[list[float]] = [[] for _ in ways]
        for _ in range(REPEATS):
            for way, taken in zip(ways, times, strict=True):
                begun = time.monotonic()
                way()
                taken.append(time.monotonic() - begun)
                print(f"{rows:,} rows: {taken[-1]:.2f} s", file=sys.stderr, flush=True)
    seconds = [median(taken) for taken in times]
    whole, _, single, least = seconds
    figures = [*(f"{one:.2f} s" for one in seconds), f"{single / whole:.1f} ×", f"{whole / least:.1f} ×"]
    return f"| {rows:,} | {total:,} | " + " | ".join(figures) + " |"


def one_by_one(context: CheckContext, checks: list[Check]) -> None:
    """What somebody would write: a count for each check, and of the rows by tenant for each table, one after the other,
    from a session as it comes, in parallel as the planner likes."""
    with context.session("bench") as session:
        for check in checks:
            assert not isinstance(check.question, QueryCheck)
            query = sql.SQL("SELECT count(*) {} WHERE {}").format(source(check, context.live), condition(check))
            session.execute(query).fetchone()
        for unit in context.planning.units():
            rows = sql.SQL("SELECT t.{0}, count(*) FROM {1} AS t GROUP BY t.{0}").format(
                sql.Identifier(unit.owned.column), context.live.as_referenced(unit.name)
            )
            session.execute(rows).fetchall()


def bare(context: CheckContext, checks: list[Check]) -> None:
    """Every table read once, and every path joined once, with nothing asked of the rows but whether they are there."""
    with context.session("bench") as session:
        session.execute(SESSION)
        for unit in context.planning.units():
            session.execute(
                sql.SQL("SELECT count(*) FROM {} AS t").format(context.live.as_referenced(unit.name))
            ).fetchone()
        paths = {(one.table, one.question.path): one for one in checks if isinstance(one.question, ReferenceCheck)}
        for (_, path), check in paths.items():
            there = sql.Identifier("p", path.hops[-1].parent_columns[0])
            query = sql.SQL("SELECT count(*), count({}) {}").format(there, source(check, context.live))
            session.execute(query).fetchone()


if __name__ == "__main__":
    main()
