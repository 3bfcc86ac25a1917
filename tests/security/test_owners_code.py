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
pytestmark = pytest.mark.server


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
