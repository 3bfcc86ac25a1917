"""A run that failed, a spec put right, a run that came to its end: one rollback takes all of it back."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from acceptance.round_trip import checksums
from servers import Database
from tenantry import MigrateOptions, RollbackOptions, migrate, rollback
from tenantry.errors import ExitStatus, Refused
from tenantry.model.backup import BackupKind
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

pytestmark = pytest.mark.server

SCHEMA = """
CREATE TABLE tenants (id int PRIMARY KEY, slug text UNIQUE);
CREATE TABLE halls (id int PRIMARY KEY, tenant_id int REFERENCES tenants);
CREATE TABLE boxes (id int PRIMARY KEY, tenant_id int REFERENCES tenants, hall_id int REFERENCES halls);
CREATE TABLE parts (id int PRIMARY KEY, box_id int NOT NULL REFERENCES boxes);
INSERT INTO tenants VALUES (1, 'a'), (2, 'b');
INSERT INTO halls VALUES (1, 1), (2, 2), (3, NULL);
INSERT INTO boxes VALUES (10, 1, 1), (11, 2, 2), (12, NULL, 2);
INSERT INTO parts VALUES (100, 10);
"""


def spec(folder: Path, boxes: str) -> Spec:
    path = folder / "tenantry.toml"
    path.write_text(
        f"""version = 1
        [tenant]
        table = "tenants"
        [[table]]
        name = "halls"
        paths = [["tenant_id"]]
        orphans = "shared"
        [[table]]
        name = "boxes"
        paths = {boxes}
        orphans = "shared"
        [[table]]
        name = "parts"
        paths = [["box_id"]]
        """
    )
    return Spec.read(path)


def test_rows_are_put_back_when_nothing_refuses_them(database: Database, tmp_path: Path) -> None:
    """The first spec makes triggers that refuse what the second one's fill has to put back."""
    database.execute(SCHEMA)
    dump, rows, target = database.dump(), checksums(database), Target(database.dsn)
    options = MigrateOptions(until=Phase.ENFORCE, backup=BackupKind.NONE, force=True)
    with suppress(Refused):
        migrate(target, spec(tmp_path, '[["tenant_id"]]'), options)
    migrate(target, spec(tmp_path, '[["tenant_id"], ["hall_id"]]'), options)
    assert database.rows("SELECT tenant_id FROM boxes WHERE id = 12") == [(2,)]
    assert rollback(target, RollbackOptions(backup=BackupKind.NONE)).exit_status is ExitStatus.DONE
    assert (database.dump(), checksums(database)) == (dump, rows)
