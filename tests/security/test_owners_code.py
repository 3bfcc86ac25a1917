"""A database owner's code runs as that owner, whatever the operator is and does."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conftest import Command
from servers import Database

HOSTILE = Path(__file__).with_name("hostile.sql").read_text()
SPEC = """version = 1
[tenant]
table = "tenants"
[application]
role = "{role}"
[[table]]
name = "shops"
paths = [["tenant_id"]]
[[table]]
name = "things"
paths = [["shop_id"]]
[[table]]
name = "parts"
paths = [["thing_id"]]
[[table]]
name = "entries"
paths = [["tenant_id"]]
[[rule]]
name = "no-negative"
table = "parts"
violates = "x < 0"
severity = "error"
fix = "x = 0"
[[ledger]]
table = "entries"
balance = "balances"
key = ["tenant_id", "item"]
quantity = "quantity"
"""
pytestmark = [pytest.mark.server, pytest.mark.differs("postgres/owner_context.py", "backups/verifying.py")]


class Hostile:
    """A database of mallory's, and what a superuser has run of her code."""

    def __init__(self, database: Database, command: Command, file: Path) -> None:
        self.database = database
        self.command = command
        self.file = file
        self.database.execute("UPDATE evil.place SET path = %s", [str(file)])

    def loot(self) -> list[str]:
        found = sorted(set(self.file.read_text().splitlines())) if self.file.exists() else []
        self.file.unlink(missing_ok=True)
        if self.database.rows("SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'") == [(True,)]:
            found.append("mallory is a superuser")
            self.database.execute("ALTER ROLE mallory NOSUPERUSER")
        return found

    def calls(self) -> int:
        return self.database.rows("SELECT last_value FROM evil.calls")[0][0]


@pytest.fixture
def hostile(
    template: Callable[..., Database], command: Callable[[str], Command], role: Callable[..., str]
) -> Iterator[Hostile]:
    def build(database: Database) -> None:
        database.execute("DROP ROLE IF EXISTS mallory")
        database.execute("CREATE ROLE mallory LOGIN")
        database.execute(f'ALTER DATABASE "{database.name}" OWNER TO mallory')
        with database.connect(user="mallory") as connection:
            if connection.info.server_version >= 150000:
                connection.execute("SET search_path = public")
            connection.execute(HOSTILE)
            connection.execute("INSERT INTO evil.place VALUES ('')")

    made = template("hostile", build)
    made.execute(f'ALTER DATABASE "{made.name}" OWNER TO mallory')
    run = command(made.dsn)
    with tempfile.TemporaryDirectory() as folder:
        # The server may run as another user.
        Path(folder).chmod(0o777)
        (run.folder / "tenantry.toml").write_text(SPEC.format(role=role(create=False, name="app")))
        yield Hostile(made, run, Path(folder) / "loot")


DAY = (
    ("discover", "--output", "found.toml", "--undecided", "shared"),
    ("plan",),
    ("validate",),
    ("verify",),
    ("backups", "create"),
    ("backups", "verify"),
    ("tenants", "list"),
    ("tenants", "rename", "b", "c"),
    ("tenants", "rename", "c", "b"),
    ("migrate", "--until", "enforce", "--backup", "none", "--force"),
    ("validate",),
    ("balances", "install"),
    ("balances", "backfill"),
    ("balances", "validate"),
    ("balances", "reconcile"),
    ("balances", "remove", "--confirm"),
    ("migrate", "--until", "contract", "--backup", "none", "--force"),
    ("validate", "--detailed"),
    ("verify", "--fix-issues", "--force", "--backup", "none"),
    ("verify", "--detailed"),
    ("backups", "create", "--backup", "dump"),
    ("backups", "verify"),
    ("rollback", "--confirm", "--backup", "none", "--force"),
)


def test_commands(hostile: Hostile) -> None:
    """No command of a superuser's runs a line of the owner's as a superuser."""
    said: dict[str, object] = {}
    for arguments in DAY:
        outcome = hostile.command(*arguments)
        loot = hostile.loot()
        if loot or outcome.status not in (0, 1):
            said[" ".join(arguments)] = (outcome.status, loot, outcome.stderr[-600:] or outcome.stdout[-300:])
    assert not said, "\n".join(f"{name}: {what}" for name, what in said.items())
    assert hostile.calls() > 1000


def test_rows_are_put_back(hostile: Hostile) -> None:
    """Restores of both kinds, and fixes and their undo, set off the owner's code as the owner, and come to what they do
    elsewhere."""
    command, database = hostile.command, hostile.database
    made = [
        command("backups", "create", "--backup", kind, "--json").json["backup"]["id"] for kind in ("tables", "dump")
    ]
    there = database.rows("SELECT t::text FROM things t ORDER BY id")
    for id in made:
        with database.connect(user="mallory") as connection:
            connection.execute("DELETE FROM things WHERE id < 9; UPDATE things SET s = 'b', p = (2, 3) WHERE id > 50")
        restored = command("backups", "restore", id, "--force", "--backup", "none")
        assert (restored.status, hostile.loot()) == (0, []), restored.stderr
        assert database.rows("SELECT t::text FROM things t ORDER BY id") == there
        assert database.rows("SELECT count(*) FROM parts") == [(60,)]
    migrated = command("migrate", "--until", "isolate", "--backup", "none", "--force")
    assert (migrated.status, hostile.loot()) == (0, []), migrated.stderr
    fixed = command("verify", "--fix-issues", "--force", "--backup", "none", "--json")
    assert (hostile.loot(), database.rows("SELECT min(x), count(*) FROM parts")) == ([], [(0, 60)]), fixed.stderr
    (run,) = database.rows("SELECT DISTINCT run FROM tenantry.fixes")[0]
    undone = command("fixes", "undo", run, "--backup", "none", "--force")
    assert (undone.status, hostile.loot()) == (0, []), undone.stderr
    assert database.rows("SELECT max(x) FROM parts") == [(-1,)]


def test_deferred_triggers(hostile: Hostile, server_version: int) -> None:
    """What a trigger defers to the end of the transaction runs as its owner, or, before PostgreSQL 18, not at all."""
    hostile.database.execute("UPDATE evil.place SET path = path || 'defers'")
    hostile.file = hostile.file.with_name("lootdefers")
    migrated = hostile.command("migrate", "--until", "backfill", "--backup", "none")
    assert hostile.loot() == []
    assert migrated.status == (0 if server_version >= 18 else 4), migrated.stderr
    if server_version < 18:
        assert "would run at the end of the transaction" in migrated.stderr


@pytest.mark.parametrize("owner", ["theirs", "ours"])
def test_given_columns(owner: str, hostile: Hostile) -> None:
    """A column of the owner's own is filled, from a table of tenants of theirs or of ours, and its NULLs are put back."""
    database, command = hostile.database, hostile.command
    with database.connect(user="mallory") as connection:
        connection.execute("ALTER TABLE entries ALTER tenant_id DROP NOT NULL; UPDATE entries SET tenant_id = NULL")
        connection.execute(
            "ALTER TABLE entries ADD shop_id int REFERENCES shops; UPDATE entries SET shop_id = 1 + id % 2"
        )
    if owner == "ours":
        database.execute("ALTER TABLE tenants OWNER TO postgres; GRANT SELECT, REFERENCES ON tenants TO mallory")
    spec = command.folder / "tenantry.toml"
    spec.write_text(
        spec.read_text().partition("[[ledger]]")[0].replace('"entries"\npaths = [["tenant_id"]]',
                                                            '"entries"\npaths = [["shop_id"]]')
    )  # fmt: skip
    migrated = command("migrate", "--until", "contract", "--backup", "none", "--force")
    assert (migrated.status, hostile.loot()) == (0, []), migrated.stderr
    assert database.rows("SELECT count(*) FROM entries WHERE tenant_id = shop_id") == [(60,)]
    back = command("rollback", "--confirm", "--backup", "none", "--force")
    assert (back.status, hostile.loot()) == (0, []), back.stderr
    assert database.rows("SELECT count(tenant_id) FROM entries") == [(0,)]
