"""A large tenant is exported, removed and imported in a small process."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from servers import Database
from tenantry import MigrateOptions, migrate
from tenantry.model.backup import BackupKind
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

ROWS = 400_000
"""Of half a kilobyte each."""
SCHEMA = f"""
CREATE TABLE tenants (id int PRIMARY KEY, slug text NOT NULL UNIQUE);
INSERT INTO tenants VALUES (1, 'one'), (2, 'two');
CREATE TABLE things (id bigserial PRIMARY KEY, tenant_id int NOT NULL REFERENCES tenants, note text NOT NULL);
CREATE TABLE parts (id bigserial PRIMARY KEY, thing bigint NOT NULL REFERENCES things, note text NOT NULL);
CREATE INDEX ON parts (thing);
INSERT INTO things (tenant_id, note) SELECT 1 + n % 2, repeat(md5(n::text), 15) FROM generate_series(1, {ROWS}) n;
INSERT INTO parts (thing, note) SELECT n, repeat(md5(n::text), 15) FROM generate_series(1, {ROWS}) n;
"""
SPEC = """[tenant]
table = "tenants"
[application]
role = "{role}"
[[table]]
name = "things"
paths = [["tenant_id"]]
[[table]]
name = "parts"
paths = [["thing"]]
"""
MOST = 150 << 10
"""Kilobytes that a process may have in memory, half of which Python and its modules take."""


def run(folder: Path, dsn: str, *arguments: str) -> tuple[float, int]:
    """Run a command as a process of its own: the seconds that it took, and the kilobytes that it had at most."""
    begun = time.monotonic()
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src"), "DATABASE_URL": dsn}
    words = [sys.executable, "-m", "tenantry", *arguments, "--quiet"]
    directory = Path.cwd()
    os.chdir(folder)
    try:
        pid = os.posix_spawn(sys.executable, words, environment)
    finally:
        os.chdir(directory)
    _, status, usage = os.wait4(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return time.monotonic() - begun, usage.ru_maxrss


def test_memory(database: Database, role: Callable[..., str], tmp_path: Path) -> None:
    """Whatever the tenant's size; and its rows are what they were."""
    database.execute(SCHEMA)
    text = SPEC.format(role=role(create=False, name="app"))
    (tmp_path / "tenantry.toml").write_text(text)
    migrate(Target(database.dsn), Spec.parse(text), MigrateOptions(backup=BackupKind.NONE))
    sums = "SELECT count(*), sum(hashtext(t::text)) FROM things t UNION ALL SELECT count(*), sum(hashtext(t::text)) FROM parts t"
    before = database.rows(sums)
    found = {
        "export": run(tmp_path, database.dsn, "tenants", "export", "two", "--output", "kept"),
        "remove": run(tmp_path, database.dsn, "tenants", "remove", "two", "--confirm", "--backup", "none", "--force"),
        "import": run(tmp_path, database.dsn, "tenants", "import", "kept"),
    }
    print({name: (round(seconds, 1), kilobytes >> 10) for name, (seconds, kilobytes) in found.items()})
    assert sum(path.stat().st_size for path in (tmp_path / "kept").iterdir()) > 180 << 20
    assert max(kilobytes for _, kilobytes in found.values()) < MOST
    assert database.rows(sums) == before
