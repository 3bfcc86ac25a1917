"""A journal that another version of tenantry made, or another role."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from psycopg.conninfo import make_conninfo

from conftest import Command
from servers import Database

OLDER = """
ALTER TABLE tenantry.runs DROP COLUMN options, DROP COLUMN partial, DROP COLUMN takes_back;
ALTER TABLE tenantry.steps DROP COLUMN wanted, DROP COLUMN relation;
DROP TABLE tenantry.columns;
UPDATE tenantry.journal SET version = 1;
"""
"""The journal as tenantry 0.1.0 made it."""
COMMANDS = ("status", "validate", "migrate", "migrate --dry-run", "rollback --confirm", "backups create")


@pytest.fixture
def migrated(shop: Command, estoque: Database) -> Database:
    assert shop("migrate", "--until", "expand", "--quiet", "--backup", "tables").status == 0
    return estoque


def test_an_earlier_one(shop: Command, migrated: Database) -> None:
    """What needs its steps is refused in a sentence, and changes nothing; its backups are read."""
    migrated.execute(OLDER)
    before = migrated.dump()
    for command in COMMANDS:
        refused = shop(*command.split())
        assert (refused.status, "made by tenantry 0.1.0" in refused.stderr) == (2, True), refused
        assert "housekeeping --purge" in refused.stderr
    assert migrated.dump() == before
    assert migrated.rows("SELECT version FROM tenantry.journal") == [(1,)]
    assert len(shop("backups", "list", "--json").json["backups"]) == 1
    assert shop("backups", "verify").status == 0


def test_a_later_one(shop: Command, migrated: Database) -> None:
    """Refused, too."""
    migrated.execute("INSERT INTO tenantry.journal (version) VALUES (99)")
    refused = shop("rollback", "--confirm")
    assert (refused.status, "Use the newer tenantry" in refused.stderr) == (2, True), refused


def test_of_another_role(shop: Command, migrated: Database, role: Callable[..., str]) -> None:
    """A role that may not use the schema: a sentence that names the journal, whatever tables it owns."""
    owner = role("LOGIN")
    migrated.execute(f'ALTER TABLE usuarios OWNER TO "{owner}"')
    for command in ("status", "migrate", "rollback --confirm"):
        refused = shop(*command.split(), dsn=make_conninfo(migrated.dsn, user=owner))
        assert (refused.status, "no privileges on the journal" in refused.stderr) == (3, True), refused
        assert "Connect as the role that ran tenantry before." in refused.stderr
