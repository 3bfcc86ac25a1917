"""`python -m bench.backups [--rows N]`: backup and restore beside CREATE TABLE AS, COPY, and pg_dump with pg_restore.

Prints a Markdown table and writes bench/backups.json.
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
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import psycopg

from bench.measure import template
from tenantry.model.backup import BackupKind
from tenantry.model.spec import Spec
from tenantry.postgres.cluster import Cluster
from tenantry.postgres.connect import Target
from tenantry.postgres.embedded import bin_directory
from tenantry.workflow import BackupOptions, RestoreOptions, create_backup, restore, verify_backups

RESULTS = Path(__file__).with_name("backups.json")
SETTINGS = {"shared_buffers": "512MB", "max_wal_size": "4GB"}
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
        "backup: CREATE TABLE AS": (nothing, partial(execute, dsn, "CREATE TABLE copied AS SELECT * FROM movements")),
        "backup: COPY to a file": (nothing, partial(copy_out, dsn, folder / "copy")),
        "backup: pg_dump -Fd -j2": (
            nothing, partial(program, "pg_dump", "-Fd", "-j2", "-f", folder / "dump", "-d", dsn)),
        "backup: tenantry, tables": (nothing, partial(back_up, BackupKind.TABLES, 2)),
        "backup: tenantry, dump": (nothing, partial(back_up, BackupKind.DUMP, 2)),
        "verify: tenantry, tables": (nothing, lambda: verify_backups(target, [kept[BackupKind.TABLES]])),
        "verify: tenantry, dump": (nothing, lambda: verify_backups(target, [kept[BackupKind.DUMP]])),
        "restore: COPY into the emptied table": (nothing, partial(copy_in, dsn, folder / "copy")),
        "restore: pg_restore -j2 into an empty database": (
            partial(execute, cluster.conninfo(), f"CREATE DATABASE {other}"),
            partial(program, "pg_restore", "-j2", "-d", cluster.conninfo(other), folder / "dump")),
        "restore: tenantry, tables, nothing differs": (nothing, again),
        "restore: tenantry, tables, a third changed": (third, again),
        "the same, with the backup before it": (third, partial(bring_back, BackupKind.TABLES, BackupKind.TABLES)),
        "restore: tenantry, tables, all rows gone": (
            partial(execute, dsn, "TRUNCATE movements"), partial(bring_back, BackupKind.TABLES, BackupKind.NONE)),
        "restore: tenantry, dump, a third changed": (third, partial(bring_back, BackupKind.DUMP, BackupKind.NONE)),
    }  # fmt: skip


def measured(rows: int) -> list[dict[str, object]]:
    folder = Path(tempfile.mkdtemp(prefix="tenantry-bench-"))
    folder.chmod(0o711)
    cluster = Cluster(programs=bin_directory(), folder=folder / "server", settings=SETTINGS)
    found: list[dict[str, object]] = []
    try:
        cluster.start()
        name = template(cluster, rows)
        for way, (prepare, run) in ways(cluster, name, folder).items():
            prepare()
            execute(cluster.conninfo(), "CHECKPOINT")
            load, begun = os.getloadavg()[0], time.monotonic()
            run()
            found.append({"way": way, "rows": rows, "seconds": time.monotonic() - begun, "load": load})
            print(f"{way}: {found[-1]['seconds']:.1f} s (load {load:.1f})", file=sys.stderr, flush=True)
    finally:
        cluster.stop()
        shutil.rmtree(folder)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.backups", description=__doc__)
    parser.add_argument("--rows", type=int, default=3_000_000)
    results = measured(parser.parse_args().rows)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print("| way | seconds |\n|---|---:|")
    for one in results:
        print(f"| {one['way']} | {one['seconds']:.1f} |")


if __name__ == "__main__":
    main()
