"""`python -m bench.backups [--rows N]`: backup and restore beside CREATE TABLE AS, COPY, and pg_dump with pg_restore.

Prints a table, and writes it between the markers of docs/backups.md with `--into docs/backups.md`; writes
bench/backups.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

from bench.measure import template
from bench.report import put_into
from bench.run import memory
from tenantry import BackupOptions, RestoreOptions, create_backup, restore, verify_backups
from tenantry.model.backup import BackupKind
from tenantry.model.spec import Spec
from tenantry.postgres.cluster import Cluster
from tenantry.postgres.connect import Target
from tenantry.postgres.embedded import bin_directory

RESULTS = Path(__file__).with_name("backups.json")
SETTINGS = {"shared_buffers": "512MB", "max_wal_size": "4GB"}
REPEATS, QUICK = 3, 6.0
"""What takes more seconds than that is measured once."""
SPEC = Spec.parse(
    '[tenant]\ntable = "tenants"\n[[table]]\nname = "stores"\npaths = [["tenant_id"]]\n'
    '[[table]]\nname = "movements"\npaths = [["store_id"]]\n'
)
Way = Callable[[], object]


def program(name: str, *arguments: str | Path) -> None:
    subprocess.run([bin_directory() / name, *arguments], check=True, stdout=subprocess.DEVNULL)


def execute(dsn: str, *statements: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def copy_out(dsn: str, file: Path) -> None:
    with (
        psycopg.connect(dsn) as connection,
        file.open("wb") as out,
        connection.cursor().copy("COPY movements TO STDOUT") as rows,
    ):
        for row in rows:
            out.write(row)


def copy_in(dsn: str, file: Path) -> None:
    """Into the table as it is, with its indexes and its key, emptied before."""
    with psycopg.connect(dsn) as connection, file.open("rb") as rows:
        connection.execute("TRUNCATE movements")
        with connection.cursor().copy("COPY movements FROM STDIN") as copy:
            while chunk := rows.read(1 << 20):
                copy.write(chunk)


def ways(cluster: Cluster, name: str, folder: Path) -> Mapping[str, tuple[Way, Way]]:
    """Each with what is done before, untimed."""
    dsn, kept = cluster.conninfo(name), dict[str, str]()
    target, nothing = Target(dsn), lambda: None

    def no_dump() -> None:
        shutil.rmtree(folder / "dump", ignore_errors=True)
        execute(dsn, "DROP TABLE IF EXISTS copied")

    def back_up(kind: BackupKind, workers: int) -> None:
        made = create_backup(target, SPEC, BackupOptions(kind=kind, folder=folder, workers=workers))
        kept[kind] = made.id

    def bring_back(kind: BackupKind, saved: BackupKind) -> None:
        saving = BackupOptions(kind=saved, force=True)
        restore(target, kept[kind], RestoreOptions(tables=("movements",), force=True, backup=saving))

    again = partial(bring_back, BackupKind.TABLES, BackupKind.NONE)
    third = partial(execute, dsn, "UPDATE movements SET quantity = quantity + 1 WHERE id % 3 = 0", "VACUUM movements")
    other = f"{name}_other"
    return {
        "backup: CREATE TABLE AS": (
            partial(execute, dsn, "DROP TABLE IF EXISTS copied"),
            partial(execute, dsn, "CREATE TABLE copied AS SELECT * FROM movements")),
        "backup: COPY to a file": (nothing, partial(copy_out, dsn, folder / "copy")),
        "backup: pg_dump -Fd -j2": (
            no_dump,
            partial(program, "pg_dump", "-Fd", "-j2", "--exclude-schema=tenantry", "-f", folder / "dump", "-d", dsn)),
        "backup: tenantry, tables": (nothing, partial(back_up, BackupKind.TABLES, 2)),
        "backup: tenantry, dump": (nothing, partial(back_up, BackupKind.DUMP, 2)),
        "verify: tenantry, tables": (nothing, lambda: verify_backups(target, [kept[BackupKind.TABLES]])),
        "verify: tenantry, dump": (nothing, lambda: verify_backups(target, [kept[BackupKind.DUMP]])),
        "restore: COPY into the emptied table": (nothing, partial(copy_in, dsn, folder / "copy")),
        "restore: pg_restore -j2 into an empty database": (
            partial(execute, cluster.conninfo(), f"DROP DATABASE IF EXISTS {other}", f"CREATE DATABASE {other}"),
            partial(program, "pg_restore", "-j2", "-d", cluster.conninfo(other), folder / "dump")),
        "restore: tenantry, tables, nothing differs": (nothing, again),
        "restore: tenantry, tables, a third changed": (third, again),
        "the same, with the backup before it": (third, partial(bring_back, BackupKind.TABLES, BackupKind.TABLES)),
        "restore: tenantry, tables, all rows gone": (
            partial(execute, dsn, "TRUNCATE movements"), partial(bring_back, BackupKind.TABLES, BackupKind.NONE)),
        "restore: tenantry, dump, a third changed": (third, partial(bring_back, BackupKind.DUMP, BackupKind.NONE)),
    }  # fmt: skip


def measured(rows: int) -> list[dict[str, Any]]:
    """Every way in turn, so that what else the machine does is shared out; medians."""
    folder = Path(tempfile.mkdtemp(prefix="tenantry-bench-"))
    folder.chmod(0o711)
    cluster = Cluster(programs=bin_directory(), folder=folder / "server", settings=SETTINGS)
    seconds: dict[str, list[float]] = {}
    loads: list[float] = []
    try:
        cluster.start()
        there = ways(cluster, template(cluster, rows), folder)
        for _ in range(REPEATS):
            for way, (prepare, run) in there.items():
                if max(seconds.get(way, [0.0])) > QUICK:
                    continue
                prepare()
                execute(cluster.conninfo(), "CHECKPOINT")
                loads.append(os.getloadavg()[0])
                begun = time.monotonic()
                run()
                seconds.setdefault(way, []).append(time.monotonic() - begun)
                print(f"{way}: {seconds[way][-1]:.1f} s (load {loads[-1]:.1f})", file=sys.stderr, flush=True)
    finally:
        cluster.stop()
        shutil.rmtree(folder)
    return [
        {"way": way, "rows": rows, "seconds": median(found), "runs": len(found), "load": median(loads)}
        for way, found in seconds.items()
    ]


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """The table, and on what it was measured."""
    settings = ", ".join(f"{name} {value}" for name, value in SETTINGS.items())
    lines = [f"| {one['way']} | {one['seconds']:.1f} | {one['runs']} |" for one in results]
    return "\n".join(["| way | seconds | runs |", "|---|---:|---:|", *lines]) + (
        f"\n\n{results[0]['rows']:,} rows of about 150 bytes with four indexes; PostgreSQL 18, {os.cpu_count()} cores,"
        f" {memory() / 2**30:.0f} GB, {settings}. Medians of the runs, in turn."
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.backups", description=__doc__)
    parser.add_argument("--rows", type=int, default=3_000_000)
    parser.add_argument("--into", type=Path, help="put the table between this file's markers")
    arguments = parser.parse_args()
    results = measured(arguments.rows)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    text = table(results)
    print(text)
    if arguments.into is not None:
        put_into(arguments.into, text)


if __name__ == "__main__":
    main()
