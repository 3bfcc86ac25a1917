"""Databases that were migrated to be judged: made once a worker, and only read; who writes makes a copy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from acceptance import depot
from linters.linted_databases import Judged, catalogued, corners, everything_default, lone_table, of_role, preset
from servers import Database, Server
from tenantry import MigrateOptions, migrate
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

OWNER, LEGACY = "judged_owner", "judged_legacy"
_made: dict[tuple[int, str, Phase], Judged] = {}

Migrated = Callable[..., Judged]


def ensure_role(database: Database, name: str, options: str) -> None:
    if not database.rows("SELECT FROM pg_roles WHERE rolname = %s", [name]):
        database.execute(f"CREATE ROLE {name} {options}")


@pytest.fixture
def migrated(server: Server, tmp_path: Path) -> Migrated:
    """`migrated("estoque")` is that preset, or one of our own schemas, after contract or another phase.

    `managed` is estoque of an owner who bypasses no row security, as on managed services.
    """

    def make(name: str, until: Phase = Phase.CONTRACT) -> Judged:
        key = (server.major, name, until)
        if key not in _made:
            database = server.create(f"judged {name} {until}")
            dsn = database.dsn
            match name:
                case "managed":
                    ensure_role(database, OWNER, "LOGIN CREATEROLE")
                    database.execute(f'ALTER DATABASE "{database.name}" OWNER TO {OWNER}')
                    dsn = make_conninfo(dsn, user=OWNER)
                    spec = preset("estoque", dsn)
                case "corners":
                    ensure_role(database, LEGACY, "NOLOGIN")
                    spec = corners(database, legacy=LEGACY)
                case "lone table":
                    spec = lone_table(database, tmp_path)
                case "depot":
                    ensure_role(database, LEGACY, "NOLOGIN")
                    database.execute(depot.SCHEMA)
                    spec, until = Spec.parse(depot.SPEC.format(role="app", legacy=LEGACY)), Phase.DISTRIBUTE
                case _:
                    spec = preset(name, dsn)
            _made[key] = finish(database, Target(dsn), spec, until)
        return _made[key]

    return make


@pytest.fixture
def migrated_real(server: Server, realdb: Callable[[str], Database]) -> Migrated:
    """`migrated_real("chinook")` is that real database, all rows having been one tenant's.

    With `tenant_table` it is migrated as discovery proposes.
    """

    def make(name: str, *, tenant_table: str | None = None) -> Judged:
        key = (server.major, f"{name} {tenant_table or ''}".strip(), Phase.CONTRACT)
        if key not in _made:
            database = server.create(f"judged {key[1]}", realdb(name).name)
            spec = catalogued(database, tenant_table) if tenant_table else everything_default(database)
            _made[key] = finish(database, Target(database.dsn), spec, Phase.CONTRACT)
        return _made[key]

    return make


def finish(database: Database, target: Target, spec: Spec, until: Phase) -> Judged:
    # A role of its own, so that its being made is among the steps.
    spec = of_role(spec, f"{database.name} application")
    migrate(target, spec, MigrateOptions(until=until, prepare=until is Phase.DISTRIBUTE, force=True))
    return Judged(database=database, spec=spec)
