"""`python -m bench.large`: each command on a schema as large as an ERP's, 594 tables with 2,168 foreign keys.

Prints a table, and writes it between the markers of docs/large-schemas.md with `--into docs/large-schemas.md`.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import psycopg  # noqa: E402  (the folder above is put on the path first)
from psycopg import sql  # noqa: E402

from bench.report import put_into  # noqa: E402
from bench.run import SETTINGS, memory  # noqa: E402
from tenantry import (  # noqa: E402
    MigrateOptions,
    RollbackOptions,
    discover,
    migrate,
    plan,
    preview_rollback,
    rollback,
    status,
    validate,
)
from tenantry.discovery.proposal import Undecided  # noqa: E402
from tenantry.model.backup import BackupKind  # noqa: E402
from tenantry.model.plan import Phase  # noqa: E402
from tenantry.model.spec import Spec  # noqa: E402
from tenantry.postgres.cluster import Cluster  # noqa: E402
from tenantry.postgres.connect import Target  # noqa: E402
from tenantry.postgres.embedded import bin_directory  # noqa: E402

TABLES, KEYS = 594, 2168
TENANTS, ROWS = 4, 20
SHARES = {"shared": 0.2, "direct": 0.3, "mixed": 0.09}
"""Of the tables; the rest are children of others."""
AREAS = ("account", "hr_attendance", "mail_activity", "product_template", "sale_order", "stock_warehouse_orderpoint")
BEGIN = "| command | seconds |"


class ErpSchema:
    """Tables of every kind, each with two audit references, and then as many further foreign keys as are asked for."""

    def __init__(self, *, tables: int = TABLES, keys: int = KEYS, seed: int = 1) -> None:
        self.random = random.Random(seed)
        self.names = {
            kind: [self._name(kind, number) for number in range(round(tables * share))]
            for kind, share in SHARES.items()
        }
        others = tables - 2 - sum(map(len, self.names.values()))
        self.names["child"] = [self._name("child", number) for number in range(others)]
        self.keys = 0
        self.statements: list[str] = []
        self.statements.append("CREATE TABLE res_company (id int PRIMARY KEY, slug text UNIQUE NOT NULL, name text)")
        self.statements.append(
            f"INSERT INTO res_company SELECT one, 'c' || one, 'Company ' || one FROM generate_series(1, {TENANTS}) one"
        )
        self._table("res_users", [self._owner("NOT NULL")], audited=False)
        further = keys - 1 - 2 * (tables - 2) - sum(len(self.names[kind]) for kind in ("direct", "mixed", "child"))
        parents: list[str] = ["res_users"]
        for name in self.names["shared"]:
            self._table(name, [])
        for name in self.names["direct"]:
            further -= (extra := min(further, 1))
            self._table(name, [self._owner("NOT NULL"), *self._lookups(extra)])
            parents.append(name)
        for name in self.names["mixed"]:
            self._table(name, [self._owner("")])
        for number, name in enumerate(self.names["child"]):
            extra = -(-further // (others - number))
            further -= extra
            columns = [("parent_id", f"int NOT NULL REFERENCES {self.random.choice(parents)}", "{row}")]
            self._table(name, [*columns, *self._lookups(extra)])
            if number % 2:
                parents.append(name)

    @property
    def script(self) -> str:
        return ";\n".join(self.statements)

    def _name(self, kind: str, number: int) -> str:
        return f"{AREAS[number % len(AREAS)]}_{kind}_{number:03}"

    def _owner(self, null: str) -> tuple[str, str, str]:
        tenant = f"1 + ({{row}} - 1) % {TENANTS}"
        value = tenant if null else f"CASE WHEN {{row}} > {ROWS - 4} THEN NULL ELSE {tenant} END"
        return "company_id", f"int {null} REFERENCES res_company", value

    def _lookups(self, count: int) -> Iterator[tuple[str, str, str]]:
        for number, name in enumerate(self.random.sample(self.names["shared"], count)):
            yield f"lookup_{number}_id", f"int REFERENCES {name}", "1 + {row} % 5"

    def _table(self, name: str, columns: list[tuple[str, str, str]], *, audited: bool = True) -> None:
        columns = [("id", "int PRIMARY KEY", "{row}"), ("name", "text", "'row ' || {row}"), *columns]
        if audited:
            writer = f"1 + abs(hashint4({{row}} + {self.random.randrange(1000)})) % {ROWS}"
            columns += [(column, "int REFERENCES res_users", writer) for column in ("create_uid", "write_uid")]
        self.keys += sum("REFERENCES" in kind for _, kind, _ in columns)
        self.statements.append(f"CREATE TABLE {name} ({', '.join(f'{column} {kind}' for column, kind, _ in columns)})")
        values = ", ".join(value.format(row="row") for *_, value in columns)
        self.statements.append(f"INSERT INTO {name} SELECT {values} FROM generate_series(1, {ROWS}) AS row")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.large", description=__doc__)
    parser.add_argument("--into", type=Path, help="put the table between this file's markers")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tenantry-bench-"))
    folder.chmod(0o711)  # the server runs under another account where we are root
    cluster = Cluster(programs=bin_directory(), folder=folder / "server", settings=SETTINGS)
    try:
        cluster.start()
        lines = [f"| {command} | {seconds:.1f} |" for command, seconds in measured(Target(prepared(cluster)))]
    finally:
        cluster.stop()
        shutil.rmtree(folder)
    text = "\n".join([BEGIN, "|---|---:|", *lines]) + (
        f"\n\n{TABLES} tables of {ROWS} rows, {KEYS:,} foreign keys; PostgreSQL 18, {os.cpu_count()} cores,"
        f" {memory() / 2**30:.0f} GB, without backups."
    )
    print(text)
    if arguments.into is not None:
        put_into(arguments.into, text)


def prepared(cluster: Cluster, name: str = "large") -> str:
    """The DSN of a new database with the schema in it."""
    with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    with psycopg.connect(cluster.conninfo(name), autocommit=True) as connection:
        connection.execute(ErpSchema().script)
        connection.execute("VACUUM ANALYZE")
    return cluster.conninfo(name)


def measured(target: Target, application: str = "") -> Iterator[tuple[str, float]]:
    """Each command, and the seconds that it takes on the database; `application` is what the spec says of that."""
    spec = Spec.parse(discover(target, undecided=Undecided.SHARED).text + application)
    to_enforce = MigrateOptions(until=Phase.ENFORCE, backup=BackupKind.NONE)
    # What it is refused for otherwise: no role is in a class yet.
    to_isolate = MigrateOptions(backup=BackupKind.NONE, force=True)
    back = RollbackOptions(backup=BackupKind.NONE)
    commands: list[tuple[str, Callable[[], object]]] = [
        ("discover", lambda: discover(target)),
        ("plan", lambda: plan(target, spec)),
        ("migrate --until enforce", lambda: migrate(target, spec, to_enforce)),
        ("status", lambda: status(target, spec)),
        ("migrate", lambda: migrate(target, spec, to_isolate)),
        ("validate", lambda: validate(target, spec)),
        ("rollback", lambda: preview_rollback(target, back)),
        ("rollback --confirm", lambda: rollback(target, back)),
    ]  # fmt: skip
    for command, run in commands:
        begun = time.monotonic()
        run()
        yield command, time.monotonic() - begun
        print(f"{command}: {time.monotonic() - begun:.1f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
