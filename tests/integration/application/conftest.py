"""Databases that were migrated, to go on with while their application migrates its own schema."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from application.migrations import AGREE, NONE, Migration, make, spec_of
from servers import Database, Server, client
from tenantry import MigrateOptions, RollbackOptions, migrate, rollback
from tenantry.execution.events import Observer
from tenantry.model.backup import BackupKind
from tenantry.model.plan import Phase
from tenantry.model.run import Result
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

ROLE = "application_app"


@dataclass(frozen=True, kw_only=True)
class Business:
    """A database, and the application that writes there in the words of a `migration` of its own."""

    database: Database
    folder: Path
    migration: Migration = NONE

    @property
    def target(self) -> Target:
        return Target(self.database.dsn)

    @property
    def spec(self) -> Spec:
        return spec_of(self.migration, ROLE, self.folder)

    def migrate(self, until: Phase, watcher: Observer | None = None) -> Result:
        options = MigrateOptions(until=until, backup=BackupKind.NONE, workers=1, force=True)
        return migrate(self.target, self.spec, options, watcher)

    def rollback(self, **options: Any) -> Result:
        return rollback(self.target, RollbackOptions(**({"backup": BackupKind.NONE} | options)))

    def alter(self, tenant: str = "") -> None:
        """The application's own migration."""
        with self.database.connect() as connection:
            connection.execute("SELECT set_config('app.tenant_id', %s, false)", [tenant])
            connection.execute(self.migration.ddl)

    def write(self, number: int, tenant: str = "") -> None:
        """All that the application writes, each statement in a transaction of its own."""
        with self.database.connect(autocommit=True) as connection:
            connection.execute("SELECT set_config('app.tenant_id', %s, false)", [tenant])
            for statement in self.migration.writes(number, moves=not tenant):
                connection.execute(statement)

    def assert_right_tenants(self) -> None:
        """What was written meanwhile has the tenants that its paths lead to."""
        if self.migration.paths:
            for query in AGREE:
                assert self.database.rows(self.migration.said(query)) == [], query


@dataclass(frozen=True, kw_only=True)
class Businesses:
    """Databases migrated until a phase, made once each."""

    template: Callable[..., Database]
    new: Callable[[], Database]
    folder: Path

    def original(self) -> Database:
        return self.template("application", make)

    def expected(self, migration: Migration) -> str:
        """The dump of a database that never was migrated by anybody but its application."""
        database = self.original()
        database.execute(migration.ddl)
        return database.dump()

    def restored(self, database: Database) -> Database:
        """A copy by pg_dump and psql, in which OIDs and the numbers of columns are others."""
        copy = self.new()
        # What pg_dump sets for servers of its own version (17), older ones do not know.
        copy.load(client("pg_dump", "-d", database.dsn).replace("SET transaction_timeout = 0;", ""))
        return copy

    def migrated(self, until: Phase | None, migration: Migration) -> Business:
        """One migrated until this phase, in which the application has not migrated yet."""

        def build(database: Database) -> None:
            make(database)
            if until is not None:
                Business(database=database, folder=self.folder).migrate(until)

        return Business(database=self.template(f"application {until}", build), folder=self.folder, migration=migration)


@pytest.fixture
def businesses(
    server: Server, template: Callable[..., Database], new_database: Callable[..., Database], tmp_path: Path
) -> Businesses:
    # Templates need it for as long as the server lives.
    server.execute(f"DO $$ BEGIN IF to_regrole('{ROLE}') IS NULL THEN CREATE ROLE {ROLE} NOLOGIN; END IF; END $$")
    return Businesses(template=template, new=new_database, folder=tmp_path)
