"""Migrated databases whose tenants are exported, removed and imported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from servers import Database
from tenantry import (
    BalancesOptions,
    MigrateOptions,
    RemovalBackup,
    RemoveOptions,
    TenantImported,
    TenantRemoved,
    backfill_balances,
    export_tenant,
    import_tenant,
    install_balances,
    migrate,
    remove_tenant,
)
from tenantry.model.backup import BackupKind
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.model.tenant_export import TenantExport
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
            "SELECT c.oid::regclass::text FROM pg_class c WHERE c.relkind = 'r' AND c.relpersistence = 'p'"
            " AND c.relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema', 'tenantry')"
        ).fetchall()
        for (table,) in tables:
            query = sql.SQL("SELECT t::text FROM ONLY {} AS t ORDER BY 1").format(sql.SQL(table))
            found[table] = [row for (row,) in connection.execute(query)]
    return found


def sequences(database: Database) -> list[tuple[str, int]]:
    return database.rows(
        "SELECT schemaname || '.' || sequencename, last_value FROM pg_sequences WHERE schemaname <> 'tenantry' ORDER BY 1"
    )


APPLICATION = "tenant_rows_app"
"""The application role of all copies of a template, which stays as long as that does."""
HERE = Path(__file__).parent
HANDED_OVER = """
INSERT INTO organizations (slug, name) VALUES ('second', 'Second');
DO $$
DECLARE found regclass;
BEGIN
  SET LOCAL session_replication_role = replica;
  FOR found IN SELECT attrelid FROM pg_attribute WHERE attname = 'org_id' AND attrelid::regclass IN (
    'users', 'items', 'locations', 'lots', 'inventory_ledger', 'count_sheets', 'count_lines', 'audit_logs', 'feature_flags')
  LOOP
    EXECUTE format('UPDATE %s SET org_id = (SELECT id FROM organizations WHERE slug = ''second'')', found);
  END LOOP;
END $$
"""
"""All rows of the business are the second organization's: the first one is the default, and has to stay."""


@dataclass(frozen=True, slots=True)
class Isolated:
    """A database with the tenants `one`, `two`, `three`, or those of a preset; and its spec."""

    database: Database
    spec: Spec

    @property
    def target(self) -> Target:
        return target(self.database)

    def export(self, slug: str, folder: Path) -> TenantExport:
        return export_tenant(self.target, self.spec, slug, folder)

    def load(self, folder: Path, **more: Any) -> TenantImported:
        return import_tenant(self.target, self.spec, folder, **more)

    def remove(self, slug: str, folder: Path | None = None, **more: Any) -> TenantRemoved:
        kept = RemovalBackup.NONE if folder is None else RemovalBackup.EXPORT
        options = RemoveOptions(folder=folder, backup=kept, force=folder is None, **more)
        return remove_tenant(self.target, self.spec, slug, options)


@pytest.fixture
def isolated(template: Callable[..., Database]) -> Callable[..., Isolated]:
    """`isolated("estoque")`: a copy of that preset, or of the warehouse, after contract or another phase, and with its balances."""

    def make(name: str, until: Phase = Phase.CONTRACT) -> Isolated:
        spec = spec_of(name)

        def build(database: Database) -> None:
            if name == "warehouse":
                database.load(HERE / "warehouse.sql")
            else:
                with database.connect() as connection:
                    load(connection, preset=name, rows=1000, seed=1)
            prepare = until is Phase.DISTRIBUTE
            options = MigrateOptions(until=until, prepare=prepare, force=True, backup=BackupKind.NONE)
            migrate(target(database), spec, options)
            if spec.ledger and until is not Phase.DISTRIBUTE:
                install_balances(target(database), spec, BalancesOptions())
                backfill_balances(target(database), spec)

        return Isolated(template(f"tenants {name} {until}", build), spec)

    return make


@pytest.fixture
def warehouse(isolated: Callable[[str], Isolated]) -> Isolated:
    """The odd database."""
    return isolated("warehouse")


def spec_of(name: str) -> Spec:
    if name == "warehouse":
        return Spec.parse((HERE / "warehouse.toml").read_text().replace("ROLE", APPLICATION))
    spec = Spec.read(spec_path(name))
    application = spec.application.model_copy(update={"role": APPLICATION})
    return spec.model_copy(update={"application": application})
