"""A backup is what the tables were at one instant, and a restore makes them that again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from backups.conftest import LONG, firing, rows, spec_of, target
from daily import daily
from servers import Database
from tenantry import (
    BackupOptions,
    RestoreOptions,
    create_backup,
    list_backups,
    prune_backups,
    restore,
    verify_backups,
)
from tenantry.errors import Refused, UsageError
from tenantry.model.backup import BackupKind
from tenantry.model.spec import Spec
from tenantry.presets import PRESETS

ALL = ("keyless", "parted", "parent", "typed", "empty", "chain", "egg", "hen", "watched", f'"{LONG}"')
KINDS = [BackupKind.TABLES, BackupKind.DUMP]
HARM = (
    """
DELETE FROM keyless WHERE a = 3; INSERT INTO keyless VALUES (3, 'new'), (1, NULL), (1, NULL);
UPDATE parted SET day = day + 200 WHERE id % 3 = 0; DELETE FROM parted WHERE id % 5 = 0;
UPDATE ONLY parent SET note = 'other' WHERE id = 3; DELETE FROM parent WHERE id = 15; INSERT INTO heir VALUES (99);
DELETE FROM typed WHERE id % 4 = 0; UPDATE typed SET serial = 7, plain = '{}', money = 1.1000, share = 1 WHERE id % 4 = 1;
INSERT INTO typed (raw) VALUES ('new'); INSERT INTO empty VALUES (1);
DELETE FROM chain WHERE id > 10; UPDATE chain SET up = 10 WHERE id = 2;
UPDATE chain SET place = place + 100;
BEGIN; ALTER TABLE egg ALTER CONSTRAINT egg_hen_fkey DEFERRABLE INITIALLY DEFERRED;
DELETE FROM hen WHERE id > 10; DELETE FROM egg WHERE id > 10; UPDATE hen SET egg = 1;
UPDATE egg SET hen = 1, code = -code; UPDATE egg SET code = 11 + code; SET CONSTRAINTS ALL IMMEDIATE;
ALTER TABLE egg ALTER CONSTRAINT egg_hen_fkey NOT DEFERRABLE; COMMIT;
DROP RULE refuse ON watched; INSERT INTO watched VALUES (101, 'new');
CREATE RULE refuse AS ON INSERT TO watched DO INSTEAD NOTHING;
ALTER TABLE watched ENABLE ALWAYS RULE refuse;
DELETE FROM watched WHERE id % 2 = 0; UPDATE watched SET value = 'x' WHERE id = 1;
"""
    + f"""DELETE FROM "{LONG}" WHERE id > 20; DELETE FROM noise;"""
)


@pytest.mark.server
@pytest.mark.differs("backups/dump.py", "backups/loading.py", "backups/verify.py")
@pytest.mark.parametrize("kind", KINDS)
def test_odd_tables(kind: BackupKind, odd: Database, tmp_path: Path) -> None:
    """Whatever kind of table: backed up, verified, harmed, restored; and no trigger or rule of the user's noticed."""
    before, sequences = rows(odd), odd.rows("SELECT last_value FROM typed_serial_seq")
    options = BackupOptions(kind=kind, folder=tmp_path)
    made = create_backup(target(odd), spec_of(*ALL, f'other."{LONG}"'), options)
    (verified,) = verify_backups(target(odd), [made.id])
    assert verified.problem == ""
    odd.load(HARM)
    odd.execute("ALTER SEQUENCE typed_serial_seq RESTART WITH 3")
    states, there = firing(odd), odd.dump()
    with pytest.raises(Refused, match="would be lost"):
        restore(target(odd), made.id, RestoreOptions())
    done = restore(target(odd), made.id, RestoreOptions(force=True))
    assert rows(odd) == before
    assert (firing(odd), odd.dump()) == (states, there)
    assert odd.rows("SELECT last_value FROM typed_serial_seq") == sequences
    counts = {one.table.name: (one.deleted, one.updated, one.inserted) for one in done.tables}
    assert counts["empty"] == (1, 0, 0)
    assert counts["watched"] == (1, 1, 10)
    again = restore(target(odd), made.id, RestoreOptions())
    assert all((one.lost, one.inserted) == (0, 0) for one in again.tables)
    # And back again, to what was there before the restore.
    assert done.saved is not None
    harmed = restore(target(odd), done.saved, RestoreOptions(force=True))
    assert sum(one.lost for one in harmed.tables) > 0
    assert odd.rows("SELECT count(*) FROM watched WHERE id = 101") == [(1,)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", daily(PRESETS))
def test_presets_with_writers(
    kind: BackupKind, name: str, preset: Callable[[str], tuple[Database, Spec]], tmp_path: Path
) -> None:
    """Every table of a preset comes back, checksum for checksum, and writers go on elsewhere all the while."""
    database, spec = preset(name)
    database.execute("CREATE TABLE pairs (id serial PRIMARY KEY, amount integer); INSERT INTO pairs VALUES (0, 0)")
    more = spec.model_copy(update={"table": (*spec.table, *spec_of("pairs").table)})
    stop, wrote = threading.Event(), threading.Event()

    def write() -> None:
        with database.connect() as connection:
            while not stop.is_set():
                # Never seen with another sum than 0.
                connection.execute("INSERT INTO pairs (amount) VALUES (1)")
                connection.execute("INSERT INTO pairs (amount) VALUES (-1)")
                connection.commit()
                wrote.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert wrote.wait(30)
        made = create_backup(target(database), more, BackupOptions(kind=kind, folder=tmp_path))
        before = still(database)
        assert [backup.problem for backup in verify_backups(target(database), [made.id])] == [""]
        names = [copy.table for copy in made.tables if copy.table.name != "pairs"]
        with database.connect() as connection:
            connection.execute("SET session_replication_role = replica")
            for table in names:
                connection.execute(psycopg.sql.SQL("DELETE FROM {}").format(table.identifier))
        assert still(database) != before
        done = restore(target(database), made.id, RestoreOptions(tables=tuple(map(str, names))))
    finally:
        stop.set()
        writer.join()
    assert sum(one.lost for one in done.tables) == 0
    assert still(database) == before
    restore(target(database), made.id, RestoreOptions(tables=("pairs",), force=True))
    assert database.rows("SELECT sum(amount) FROM pairs") == [(0,)]


def still(database: Database) -> dict[str, tuple[int, str]]:
    """The tables that nobody writes to."""
    return {table: found for table, found in rows(database).items() if table != "pairs"}


@pytest.mark.parametrize("name", ["northwind", "chinook"])
def test_real_databases(name: str, realdb: Callable[[str], Database]) -> None:
    """Northwind and Chinook: every table, emptied and restored."""
    database = realdb(name)
    names = [table for (table,) in database.rows(
        "SELECT quote_ident(relname) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )]  # fmt: skip
    before = rows(database)
    made = create_backup(target(database), spec_of(*names, create=True), BackupOptions())
    assert {copy.table.name for copy in made.tables} == {table.strip('"') for table in names}
    with database.connect() as connection:
        connection.execute("SET session_replication_role = replica")
        for table in names:
            connection.execute(psycopg.sql.SQL("DELETE FROM {}").format(psycopg.sql.SQL(table)))
    restore(target(database), made.id, RestoreOptions())
    assert rows(database) == before


def test_one_table(odd: Database) -> None:
    """--table restores it and no other; a table that the backup does not have is named."""
    made = create_backup(target(odd), spec_of(*ALL), BackupOptions())
    odd.execute("DELETE FROM keyless; DELETE FROM parted")
    done = restore(target(odd), made.id, RestoreOptions(tables=("keyless",)))
    assert [(str(one.table), one.inserted) for one in done.tables] == [("public.keyless", 60)]
    assert odd.rows("SELECT count(*) FROM parted") == [(0,)]
    with pytest.raises(UsageError, match=r'did you mean "public\.keyless"'):
        restore(target(odd), made.id, RestoreOptions(tables=("keyles",)))


def test_rows_that_would_go_along(odd: Database) -> None:
    """Rows that a foreign key would take along are named before, and are in the backup of the present state."""
    odd.execute("CREATE TABLE link (id integer PRIMARY KEY, chain integer REFERENCES chain ON DELETE CASCADE)")
    made = create_backup(target(odd), spec_of("chain"), BackupOptions())
    odd.execute("INSERT INTO chain VALUES (500, 1, 500); INSERT INTO link VALUES (1, 500)")
    with pytest.raises(Refused) as refused:
        restore(target(odd), made.id, RestoreOptions())
    assert any("public.link" in line for line in refused.value.details)
    done = restore(target(odd), made.id, RestoreOptions(force=True))
    assert odd.rows("SELECT * FROM link") == []
    restore(target(odd), str(done.saved), RestoreOptions())
    assert odd.rows("SELECT * FROM link") == [(1, 500)]


def test_a_column_that_came_or_went(odd: Database) -> None:
    """A column added since keeps its values; one that was dropped stops the restore, unless --force leaves it out."""
    made = create_backup(target(odd), spec_of("watched", "keyless"), BackupOptions())
    odd.execute("ALTER TABLE watched ADD COLUMN since text DEFAULT 'd'; UPDATE watched SET since = 'mine', value = 'x'")
    odd.execute("ALTER TABLE keyless DROP COLUMN b")
    with pytest.raises(Refused, match="has lost columns since the backup: b"):
        restore(target(odd), made.id, RestoreOptions())
    done = restore(target(odd), made.id, RestoreOptions(force=True))
    assert done.left_out == ("public.keyless: its column b, which no longer exists",)
    assert odd.rows("SELECT DISTINCT since, value = 'v' || id FROM watched") == [("mine", True)]


def test_damage_is_found(odd: Database) -> None:
    """A copy that somebody has changed by one value is damaged: verify says so, restore refuses."""
    made = create_backup(target(odd), spec_of("keyless", "typed"), BackupOptions())
    copy = next(one.copy for one in made.tables if one.table.name == "typed")
    odd.execute(f'UPDATE tenantry.{copy} SET "Odd ""Name" = \'x\' WHERE id = 7')
    (verified,) = verify_backups(target(odd), [made.id])
    assert "public.typed has other values" in verified.problem
    assert [one.state for one in list_backups(target(odd))] == ["damaged"]
    odd.execute("DELETE FROM typed; DELETE FROM keyless")
    with pytest.raises(Refused, match="damaged"):
        restore(target(odd), made.id, RestoreOptions(force=True))
    assert odd.rows("SELECT count(*) FROM typed") == [(0,)]
    assert restore(target(odd), made.id, RestoreOptions(tables=("keyless",))).tables[0].inserted == 60


@pytest.mark.parametrize("harm", ["flip", "remove"])
def test_a_damaged_dump_is_found(harm: str, odd: Database, tmp_path: Path) -> None:
    """A bit that has turned in a dump's file, or a file that is gone."""
    made = create_backup(target(odd), spec_of("typed"), BackupOptions(kind=BackupKind.DUMP, folder=tmp_path))
    assert made.folder is not None
    file = max((made.folder / "data").glob("*.dat*"), key=lambda path: path.stat().st_size)
    if harm == "flip":
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    else:
        file.unlink()
    (verified,) = verify_backups(target(odd), [made.id])
    assert file.name in verified.problem
    assert odd.rows("SELECT datname FROM pg_database WHERE datname ~ 'tenantry_verify'") == []


def test_prune(odd: Database, tmp_path: Path) -> None:
    """The newest are kept, copies and dumps of the others go, and a folder with something else in it does not."""
    spec = spec_of("keyless")
    first = create_backup(target(odd), spec, BackupOptions())
    second = create_backup(target(odd), spec, BackupOptions(kind=BackupKind.DUMP, folder=tmp_path))
    third = create_backup(target(odd), spec, BackupOptions())
    assert prune_backups(target(odd)) == ()
    assert [one.id for one in prune_backups(target(odd), keep=1, dry_run=True)] == [second.id, first.id]
    prune_backups(target(odd), keep=1)
    assert [one.backup.id for one in list_backups(target(odd))] == [third.id]
    assert not second.folder.exists()  # type: ignore[union-attr]
    left = odd.rows(
        "SELECT relname FROM pg_class WHERE relnamespace = 'tenantry'::regnamespace AND relname ~ '^backup_'"
    )
    assert left == [(copy.copy,) for copy in third.tables]


def test_names_of_63_bytes(odd: Database) -> None:
    """Two tables of one long name have a copy each, and the manifest says whose."""
    made = create_backup(target(odd), spec_of(f'"{LONG}"', f'other."{LONG}"'), BackupOptions())
    copies = {str(copy.table): copy.copy for copy in made.tables}
    assert len(set(copies.values())) == 3
    assert all(len(name.encode()) <= 63 and name.startswith(f"backup_{made.id}_") for name in copies.values())


def test_nobody_else_reads_a_copy(odd: Database, role: Callable[..., str]) -> None:
    """Default privileges that let a role into every new table let it into no backup."""
    reader = role("LOGIN")
    odd.execute(f"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {reader}")
    made = create_backup(target(odd), spec_of("keyless"), BackupOptions())
    odd.execute(f"GRANT USAGE ON SCHEMA tenantry TO {reader}")
    with odd.connect(user=reader) as connection:
        assert connection.execute(f"SELECT * FROM tenantry.{made.tables[0].copy}").fetchall() == []
    odd.execute(f"ALTER DEFAULT PRIVILEGES REVOKE SELECT ON TABLES FROM {reader}")


def test_checks_that_name_no_schema(database: Database) -> None:
    """Checks, generated columns and indexes find their functions while rows are restored, as in the application."""
    database.execute(f"""
        CREATE SCHEMA more;
        CREATE FUNCTION more.lowered(t text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower(t)';
        CREATE FUNCTION more.norm(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN lowered(t); END';
        ALTER DATABASE {database.name} SET search_path = public, more; SET search_path = public, more;
        CREATE TABLE sale (id int PRIMARY KEY, note text CHECK (norm(note) <> 'q'));
        ALTER TABLE sale ADD normed text GENERATED ALWAYS AS (norm(note)) STORED;
        CREATE UNIQUE INDEX ON sale (norm(note)); INSERT INTO sale SELECT n, 'N' || n FROM generate_series(1, 9) n;
    """)
    made = create_backup(target(database), spec_of("sale", create=True), BackupOptions())
    database.execute("DELETE FROM sale WHERE id < 4; UPDATE sale SET note = 'x'  WHERE id = 5")
    done = restore(target(database), made.id, RestoreOptions(force=True))
    assert [(one.deleted, one.updated, one.inserted) for one in done.tables] == [(0, 1, 3)]


@pytest.mark.server
def test_an_identity_of_rows_that_others_hang_on(database: Database) -> None:
    """GENERATED ALWAYS lets nobody set it, and a row cannot be replaced without its children going: so it is left as it
    is where it is the same, and where it is not, that is said before anything is changed."""
    database.execute(
        "CREATE TABLE shops (id int PRIMARY KEY, slug text NOT NULL); INSERT INTO shops VALUES (1, 'one');"
        'CREATE TABLE item (id int PRIMARY KEY, what text, "No" int GENERATED ALWAYS AS IDENTITY);'
        "CREATE TABLE part (id int PRIMARY KEY, item int REFERENCES item ON DELETE CASCADE);"
        "INSERT INTO item SELECT n, 'item ' || n FROM generate_series(1, 5) n;"
        "INSERT INTO part SELECT n, n FROM generate_series(1, 5) n"
    )
    items, parts = "SELECT * FROM item ORDER BY 1", "SELECT * FROM part ORDER BY 1"
    before = database.rows(items), database.rows(parts)
    made = create_backup(target(database), spec_of("item", "part"), BackupOptions())
    database.execute("UPDATE item SET what = 'another' WHERE id > 2; DELETE FROM item WHERE id = 1")
    restore(target(database), made.id, RestoreOptions(force=True))
    assert (database.rows(items), database.rows(parts)) == before
    database.execute('UPDATE item SET "No" = DEFAULT WHERE id = 2')
    with pytest.raises(Refused, match="another No now") as refused:
        restore(target(database), made.id, RestoreOptions(force=True))
    assert refused.value.remedy is not None
    database.execute(refused.value.remedy.partition(",")[0])
    restore(target(database), made.id, RestoreOptions(force=True))
    assert (database.rows(items), database.rows(parts)) == before
