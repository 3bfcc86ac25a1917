"""A database owner's code runs as that owner, whatever the operator is and does."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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
pytestmark = [pytest.mark.server, pytest.mark.differs("postgres/owner_context.py", "backups/verify.py")]


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

    def rows(self, query: str, *changes: str) -> list[tuple[Any, ...]]:
        """What mallory reads, after her changes: whoever else read it would run her code."""
        with self.database.connect(user="mallory", autocommit=True) as connection:
            for change in changes:
                connection.execute(change)
            return connection.execute(query).fetchall()


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
    ("balances", "empty", "--confirm"),
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
    assert hostile.rows("SELECT last_value > 1000 FROM evil.calls") == [(True,)]


def test_rows_are_put_back(hostile: Hostile) -> None:
    """Restores of both kinds, and fixes and their undo, set off the owner's code as the owner, and come to what they do
    elsewhere."""
    command = hostile.command
    made = [
        command("backups", "create", "--backup", kind, "--json").json["backup"]["id"] for kind in ("tables", "dump")
    ]
    there = hostile.rows("SELECT t::text FROM things t ORDER BY id")
    for id in made:
        hostile.rows("SELECT", "DELETE FROM things WHERE id < 9", "UPDATE things SET s = 'b', p = (2, 3) WHERE id > 50")
        restored = command("backups", "restore", id, "--force", "--backup", "none")
        assert (restored.status, hostile.loot()) == (0, []), restored.stderr
        assert hostile.rows("SELECT t::text FROM things t ORDER BY id") == there
        assert hostile.rows("SELECT count(*) FROM parts") == [(60,)]
    migrated = command("migrate", "--until", "isolate", "--backup", "none", "--force")
    assert (migrated.status, hostile.loot()) == (0, []), migrated.stderr
    fixed = command("verify", "--fix-issues", "--force", "--backup", "none", "--json")
    assert (hostile.loot(), hostile.rows("SELECT min(x), count(*) FROM parts")) == ([], [(0, 60)]), fixed.stderr
    ((run,),) = hostile.database.rows("SELECT DISTINCT run FROM tenantry.fixes")
    undone = command("fixes", "undo", run, "--backup", "none", "--force")
    assert (undone.status, hostile.loot()) == (0, []), undone.stderr
    assert hostile.rows("SELECT max(x) FROM parts") == [(-1,)]


def test_a_tenant_there_and_back(hostile: Hostile) -> None:
    """A tenant that a superuser exports, removes and imports sets off the owner's code as the owner, and of his triggers
    none; afterwards he reads what he had."""
    command = hostile.command
    for before in (("migrate", "--backup", "none", "--force"), ("balances", "install"), ("balances", "backfill")):
        assert command(*before).status == 0
    tables = ("tenants", "shops", "things", "parts", "entries", "balances")
    queries = [f"SELECT count(*), sum(hashtext(t::text)) FROM {name} t" for name in tables[:-1]]
    queries.append("SELECT count(*), sum(quantity) FROM balances WHERE movements > 0")
    there = [hostile.rows(query) for query in queries]
    hostile.loot()
    for words in (
        ("tenants", "export", "b", "--output", "seen", "--dry-run"),
        ("tenants", "export", "b", "--output", "seen"),
        ("tenants", "remove", "b", "--dry-run"),
        ("tenants", "remove", "b", "--confirm", "--output", "kept"),
        ("tenants", "import", "kept", "--dry-run"),
        ("tenants", "import", "kept"),
    ):
        done = command(*words)
        assert (hostile.loot(), done.status) == ([], 0), f"{words}: {done.stderr}"
    assert [hostile.rows(query) for query in queries] == there


def test_deferred_triggers(hostile: Hostile, server_version: int) -> None:
    """What a trigger defers to the end of the transaction runs as its owner, or, before PostgreSQL 18, not at all."""
    hostile.database.execute("UPDATE evil.place SET path = path || 'defers'")
    hostile.file = hostile.file.with_name("lootdefers")
    migrated = hostile.command("migrate", "--until", "backfill", "--backup", "none", "--force", timeout=60)
    assert hostile.loot() == []
    assert migrated.status == (0 if server_version >= 18 else 4), migrated.stderr
    if server_version < 18:
        assert "would run at the end of the transaction" in migrated.stderr


@pytest.mark.parametrize("owner", ["theirs", "ours"])
def test_given_columns(owner: str, hostile: Hostile) -> None:
    """A column of the owner's own is filled, from a table of tenants of theirs or of ours, and its NULLs are put back."""
    database, command = hostile.database, hostile.command
    hostile.rows("SELECT", "ALTER TABLE entries ALTER tenant_id DROP NOT NULL", "UPDATE entries SET tenant_id = NULL")
    if owner == "ours":
        database.execute(
            "CREATE TABLE owners (id int PRIMARY KEY, slug text UNIQUE NOT NULL, name text);"
            "INSERT INTO owners VALUES (1, 'a', 'A'), (2, 'b', 'B'); GRANT SELECT, REFERENCES ON owners TO mallory"
        )
        for table in ("shops", "entries"):
            change = (
                f"ALTER TABLE {table} DROP CONSTRAINT {table}_tenant_id_fkey, ADD FOREIGN KEY (tenant_id) REFERENCES"
            )
            hostile.rows("SELECT", f"{change} owners")
    spec = command.folder / "tenantry.toml"
    tenants = '"owners"' if owner == "ours" else '"tenants"'
    text = spec.read_text().partition("[[rule]]")[0].replace('"tenants"\n', f'{tenants}\ndefault = "b"\n')
    unused = '[[table]]\nname = "tenants"\nshared = true\n' if owner == "ours" else ""
    spec.write_text(text + 'orphans = "default"\n' + unused)
    migrated = command("migrate", "--until", "contract", "--backup", "none", "--force")
    assert (migrated.status, hostile.loot()) == (0, []), migrated.stderr
    assert hostile.rows("SELECT count(*) FROM entries WHERE tenant_id = 2") == [(60,)]
    back = command("rollback", "--confirm", "--backup", "none", "--force")
    assert (back.status, hostile.loot()) == (0, []), back.stderr
    assert hostile.rows("SELECT count(tenant_id) FROM entries") == [(0,)]


@pytest.mark.parametrize(
    "trigger",
    ["TRIGGER spies BEFORE UPDATE", "TRIGGER spies AFTER UPDATE", "CONSTRAINT TRIGGER spies AFTER UPDATE"],
    ids=["before", "after", "deferred"],
)
@pytest.mark.parametrize("hops", [1, 2])
def test_what_a_key_does(hops: int, trigger: str, hostile: Hostile, server_version: int) -> None:
    """A statement on a table of ours sets off the triggers of those that refer to it: they run as their owner, or, where
    PostgreSQL runs them as whoever has written, not at all."""
    database, command = hostile.database, hostile.command
    database.execute(
        "CREATE TABLE owners (id int PRIMARY KEY, slug text UNIQUE NOT NULL, name text);"
        "INSERT INTO owners VALUES (1, 'a', 'A'), (2, 'b', 'B'); GRANT SELECT, REFERENCES ON owners TO mallory"
    )
    spec = command.folder / "tenantry.toml"
    shops = '[[table]]\nname = "shops"\npaths = [["tenant_id"]]\n'
    spec.write_text(spec.read_text().partition("[[table]]")[0].replace('"tenants"\n', '"owners"\n') + shops)
    referred = "owners (slug)" if hops == 1 else "between (slug)"
    put_off = " DEFERRABLE INITIALLY DEFERRED" if "CONSTRAINT" in trigger else ""
    hostile.rows(
        "SELECT",
        "ALTER TABLE shops DROP CONSTRAINT shops_tenant_id_fkey, ADD FOREIGN KEY (tenant_id) REFERENCES owners",
        "CREATE TABLE between (slug text UNIQUE REFERENCES owners (slug) ON UPDATE CASCADE)",
        "INSERT INTO between VALUES ('b')",
        f"CREATE TABLE spies (slug text REFERENCES {referred} ON UPDATE CASCADE)",
        "INSERT INTO spies VALUES ('b')",
        f"CREATE {trigger} ON spies{put_off} FOR EACH ROW EXECUTE FUNCTION evil.acts()",
    )
    renamed = command("tenants", "rename", "b", "c")
    refused = server_version < 18 and "AFTER" in trigger
    assert (hostile.loot(), renamed.status) == ([], 4 if refused else 0), renamed.stderr
    assert hostile.rows("SELECT slug FROM spies") == [("b" if refused else "c",)]
    if refused:
        assert "The trigger spies of " in renamed.stderr


@pytest.mark.parametrize("column", ["owner", "tenant_id"])
def test_a_parent_of_ours(column: str, hostile: Hostile) -> None:
    """A migration gives tenants to a table of ours, to which one of theirs refers: it is not refused half-way, whatever
    the version, and sets off their triggers as them."""
    database, command = hostile.database, hostile.command
    database.execute(
        "CREATE TABLE owners (id int PRIMARY KEY, slug text UNIQUE NOT NULL);"
        "INSERT INTO owners VALUES (1, 'a'), (2, 'b');"
        "CREATE TABLE halls (id int PRIMARY KEY, owner int NOT NULL REFERENCES owners);"
        "INSERT INTO halls VALUES (1, 1), (2, 2); GRANT SELECT, REFERENCES ON owners, halls TO mallory"
    )
    hostile.rows(
        "SELECT",
        "CREATE TABLE rooms (id int PRIMARY KEY, hall int NOT NULL REFERENCES halls ON UPDATE CASCADE ON DELETE CASCADE)",
        "INSERT INTO rooms VALUES (1, 1), (2, 2), (3, 2)",
        "CREATE TRIGGER acts AFTER INSERT OR UPDATE OR DELETE ON rooms FOR EACH ROW EXECUTE FUNCTION evil.acts()",
    )
    spec = command.folder / "tenantry.toml"
    tables = (
        '[[table]]\nname = "halls"\npaths = [["owner"]]\n'
        + f'column = "{column}"\n[[table]]\nname = "rooms"\npaths = [["hall"]]\n'
    )
    for name in ("entries", "parts", "shops", "tenants", "things"):
        tables += f'[[table]]\nname = "{name}"\nshared = true\n'
    spec.write_text(spec.read_text().partition("[[table]]")[0].replace('"tenants"\n', '"owners"\n') + tables)
    migrated = command("migrate", "--until", "contract", "--backup", "none", "--force")
    assert (migrated.status, hostile.loot()) == (0, []), migrated.stderr
    of_owner = "SELECT count(*) FROM rooms r JOIN halls h ON h.id = r.hall WHERE r.tenant_id = h.owner"
    assert database.rows(of_owner) == [(3,)]


@pytest.mark.parametrize("trigger", ["AFTER", pytest.param("BEFORE", marks=pytest.mark.pg("< 18"))])
def test_rows_of_ours_to_which_theirs_refer(trigger: str, hostile: Hostile, server_version: int) -> None:
    """A restore deletes rows of a table of ours, and a fix and its undo change keys of it: what follows them in a table
    of theirs sets off their triggers as them, or, where PostgreSQL runs those as whoever has written, does not happen."""
    database, command = hostile.database, hostile.command
    database.execute(
        "CREATE TABLE owners (id int PRIMARY KEY, slug text UNIQUE NOT NULL); INSERT INTO owners VALUES (1, 'a'), (2, 'b');"
        "CREATE TABLE halls (id int PRIMARY KEY, owner int NOT NULL REFERENCES owners, code text NOT NULL UNIQUE);"
        "INSERT INTO halls VALUES (1, 1, 'one'), (2, 2, 'two'); GRANT SELECT, REFERENCES ON owners, halls TO mallory"
    )
    hostile.rows(
        "SELECT",
        "CREATE TABLE rooms (id int PRIMARY KEY, hall int NOT NULL REFERENCES halls ON DELETE CASCADE,"
        " code text REFERENCES halls (code) ON UPDATE CASCADE)",
        "INSERT INTO rooms VALUES (1, 1, 'one'), (2, 2, 'two')",
        f"CREATE TRIGGER acts {trigger} UPDATE OR DELETE ON rooms FOR EACH ROW EXECUTE FUNCTION evil.acts()",
    )
    shared = "".join(
        f'[[table]]\nname = "{name}"\nshared = true\n'
        for name in ("entries", "parts", "rooms", "shops", "tenants", "things")
    )
    (command.folder / "tenantry.toml").write_text(
        SPEC.format(role="app_of_halls").partition("[[table]]")[0].replace('"tenants"\n', '"owners"\n')
        + f'[[table]]\nname = "halls"\npaths = [["owner"]]\n{shared}'
        '[[rule]]\nname = "names"\ntable = "halls"\nviolates = "code = \'wrong\'"\nseverity = "error"\nfix = "code = \'right\'"\n'
    )
    refused = server_version < 18 and trigger == "AFTER"
    status = 4 if refused else 0

    saved = command("backups", "create", "--json").json["backup"]["id"]
    database.execute("INSERT INTO halls VALUES (3, 1, 'three')")
    hostile.rows("SELECT", "INSERT INTO rooms VALUES (3, 3, NULL)")
    restored = command("backups", "restore", saved, "--force", "--backup", "none")
    assert (restored.status, hostile.loot()) == (status, []), restored.stderr
    left = [(1,), (2,), (3,)] if refused else [(1,), (2,)]
    assert database.rows("SELECT id FROM halls ORDER BY id") == left
    assert hostile.rows("SELECT id FROM rooms ORDER BY id") == left

    database.execute("DELETE FROM halls WHERE id = 3")
    hostile.loot()
    hostile.rows("SELECT", "ALTER TABLE rooms DISABLE TRIGGER acts")
    database.execute("UPDATE halls SET code = 'wrong' WHERE id = 2")
    hostile.rows("SELECT", "ALTER TABLE rooms ENABLE TRIGGER acts")
    fixed = command("verify", "--fix-issues", "--force", "--backup", "none")
    assert hostile.loot() == [], fixed.stderr
    now = "wrong" if refused else "right"
    codes = "SELECT h.code, r.code FROM halls h JOIN rooms r ON r.hall = h.id WHERE h.id = 2"
    assert hostile.rows(codes) == [(now, now)], fixed.stderr
    if refused:
        assert "The trigger acts of " in fixed.stderr + fixed.stdout
        return
    ((run,),) = database.rows("SELECT DISTINCT run FROM tenantry.fixes")
    undone = command("fixes", "undo", run, "--backup", "none", "--force")
    assert (undone.status, hostile.loot()) == (0, []), undone.stderr
    assert hostile.rows(codes) == [("wrong", "wrong")]


PARTITIONS = """
CREATE ROLE {other};
CREATE SCHEMA theirs;
CREATE TABLE ran (by text);
CREATE FUNCTION theirs.note() RETURNS void LANGUAGE sql AS 'INSERT INTO public.ran VALUES (current_user)';
CREATE FUNCTION theirs.spy(value int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
  'BEGIN PERFORM theirs.note(); RETURN value; END';
CREATE TABLE branches (id int PRIMARY KEY);
INSERT INTO branches SELECT generate_series(1, 19);
CREATE TABLE sales (id int, branch int) PARTITION BY RANGE (id);
CREATE TABLE low (id int, branch int, CHECK (theirs.spy(id) IS NOT NULL));
CREATE INDEX ON low ((theirs.spy(id)));
CREATE INDEX ON low (branch) WHERE theirs.spy(id) > 0;
CREATE TABLE high (id int, branch int) PARTITION BY LIST ((theirs.spy(id)));
CREATE TABLE high_all PARTITION OF high DEFAULT;
ALTER TABLE sales ATTACH PARTITION low FOR VALUES FROM (0) TO (10);
ALTER TABLE sales ATTACH PARTITION high FOR VALUES FROM (10) TO (20);
ALTER TABLE low ENABLE ROW LEVEL SECURITY;
CREATE POLICY seen ON low USING (theirs.spy(id) > 0);
ALTER TABLE low OWNER TO {other};
ALTER TABLE high OWNER TO {other};
ALTER TABLE high_all OWNER TO {other};
INSERT INTO sales SELECT n, n FROM generate_series(1, 19) n;
"""
WHOLE = (
    "ALTER TABLE sales ADD COLUMN tenant int DEFAULT 3", "ALTER TABLE sales ADD CHECK (branch IS NOT NULL) NOT VALID",
    "ALTER TABLE sales VALIDATE CONSTRAINT sales_branch_check", "ALTER TABLE sales ALTER branch SET NOT NULL",
    "CREATE INDEX ON sales (branch)", "ALTER TABLE sales ADD FOREIGN KEY (branch) REFERENCES branches",
)  # fmt: skip
"""What is proved and added on a partitioned table as a whole, of whichever owner the partitions are."""


def test_a_partition_of_theirs(database: Database, role: Callable[..., str]) -> None:
    """Neither checks nor index expressions, policies and partition keys of another owner's partition run where the
    whole is proved, indexed or given a column; they do where a row is written."""
    database.execute(PARTITIONS.format(other=role(create=False, name="other")))
    assert database.rows("SELECT DISTINCT by FROM ran") == [("postgres",)]
    for statement in WHOLE:
        database.execute("TRUNCATE ran")
        database.execute(statement)
        assert database.rows("TABLE ran") == [], statement
