"""Migrated databases whose tenants are exported, removed and imported."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from psycopg import sql

from servers import Database
from tenantry import MigrateOptions, migrate
from tenantry.model.backup import BackupKind
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target
from tenantry.presets import load, spec_path


def target(database: Database, user: str = "postgres") -> Target:
    return Target(f"{database.dsn} user={user}")


def content(database: Database) -> dict[str, list[str]]:
    """Every row of the user's tables as text, generated columns included, in order."""
    found = {}
    with database.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        tables = connection.execute(
            "SELECT c.oid::regclass::text FROM pg_class c WHERE c.relkind = 'r'"
            " AND c.relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema', 'tenantry')"
        ).fetchall()
        for (table,) in tables:
            query = sql.SQL("SELECT t::text FROM ONLY {} AS t ORDER BY 1").format(sql.SQL(table))
            found[table] = [row for (row,) in connection.execute(query)]
    return found


def sequences(database: Database) -> list[tuple[str, int]]:
    return database.rows("SELECT schemaname || '.' || sequencename, last_value FROM pg_sequences ORDER BY 1")


@pytest.fixture
def migrated(template: Callable[..., Database], role: Callable[..., str]) -> Callable[..., tuple[Database, Spec]]:
    """`migrated("estoque")`: a copy of that preset's database, isolated, with its spec."""

    def make(name: str) -> tuple[Database, Spec]:
        spec = Spec.read(spec_path(name))
        # One role for all copies of the template.
        application = spec.application.model_copy(update={"role": role(create=False, name="app")})
        spec = spec.model_copy(update={"application": application})

        def build(database: Database) -> None:
            with database.connect() as connection:
                load(connection, preset=name, rows=1000, seed=1)

        database = template(f"tenants {name}", build)
        migrate(target(database), spec, MigrateOptions(force=True, backup=BackupKind.NONE))
        return database, spec

    return make
