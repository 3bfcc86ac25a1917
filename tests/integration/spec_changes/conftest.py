"""Databases that were migrated for one spec, to be migrated for another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from servers import Database, Server
from spec_changes.specs import make, spec_of
from tenantry import MigrateOptions, backfill_balances, install_balances, migrate
from tenantry.model.backup import BackupKind
from tenantry.model.plan import Phase
from tenantry.model.run import Result
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

FIRST_KEY = 100
"""Where the sequence of the tenants' keys begins."""
ROLES = {"app": "changes_app", "other": "changes_other", "legacy": "changes_legacy"}
SOURCE = r"""regexp_replace(p.prosrc, '''[0-9]+''::pg_catalog\.oid|known\.made = ''[0-9a-f-]{36}''', '#', 'g')"""
"""The text of a function of ours without the OIDs in it, which differ from database to database."""


def followed(database: Database, spec: Spec, until: Phase, **options: bool) -> Result:
    return migrate(
        Target(database.dsn), spec, MigrateOptions(until=until, backup=BackupKind.NONE, workers=1, **options)
    )


@dataclass(frozen=True, kw_only=True)
class Changes:
    """Databases migrated for one spec, made once each."""

    template: Callable[..., Database]
    folder: Path

    def spec(self, name: str) -> Spec:
        return spec_of(name, ROLES, self.folder)

    def original(self) -> Database:
        return self.template("changes", make)

    def migrated(self, name: str, until: Phase, *, key: int = FIRST_KEY) -> Database:
        """A copy of one that was migrated for this spec alone, with the balances of its ledger, if it has one. Raises
        Refused where it would be. `key`: that of the first tenant which is added."""

        def build(database: Database) -> None:
            make(database)
            database.execute(f"ALTER TABLE tenants ALTER id RESTART WITH {key}")
            spec = self.spec(name)
            followed(database, spec, until, force=True)
            if spec.ledger:
                install_balances(Target(database.dsn), spec)
                backfill_balances(Target(database.dsn), spec)

        return self.template(f"changes {name} {until} {key}", build)

    def fresh(self, name: str, until: Phase, database: Database) -> Database:
        """One that was migrated for this spec alone, whose added tenants have the keys that those of `database` have: a
        sequence does not give a key twice."""
        ((key,),) = database.rows(f"SELECT coalesce(min(id), {FIRST_KEY}) FROM tenants WHERE id >= {FIRST_KEY}")
        return self.migrated(name, until, key=key)


@pytest.fixture
def changes(server: Server, template: Callable[..., Database], tmp_path: Path) -> Changes:
    # Templates need them for as long as the server lives.
    for role in ROLES.values():
        server.execute(f"DO $$ BEGIN IF to_regrole('{role}') IS NULL THEN CREATE ROLE {role} NOLOGIN; END IF; END $$")
    return Changes(template=template, folder=tmp_path)
