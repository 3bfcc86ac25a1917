"""Disk full, cancelled, connection lost, too few privileges, locked: one message, the exit status, nothing left."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from backups.conftest import rows, spec_of, target
from conftest import Command
from servers import Database, wait_until
from tenantry.backups.content import source
from tenantry.backups.tables import copy_all
from tenantry.errors import Failed, Refused
from tenantry.model.backup import BackupKind, TableCopy
from tenantry.model.name import Name
from tenantry.model.schema import Ours
from tenantry.postgres.catalog import read_schema
from tenantry.postgres.connect import connect
from tenantry.workflow import BackupOptions, RestoreOptions, create_backup, list_backups, restore

SPEC = '[tenant]\ntable = "shops"\n[[table]]\nname = "keyless"\nassign = { tenant = "one" }\n'


@pytest.fixture
def shop(odd: Database, command: Callable[[str], Command]) -> Command:
    made = command(odd.dsn)
    (made.folder / "tenantry.toml").write_text(SPEC)
    return made


@contextmanager
def full_disk(database: Database, folder: Path) -> Iterator[None]:
    """New tables find no room. On a tiny file system where we may mount one; elsewhere the server is told to say so."""
    place = Path(f"/tmp/tenantry-full-{os.getpid()}")
    place.mkdir(mode=0o777)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", place], capture_output=True, check=False
    )
    name = sql.Identifier(f"full_{os.getpid()}")
    try:
        if mounted.returncode == 0:
            place.chmod(0o777)
            owner = (database.server.cluster.data).stat()
            os.chown(place, owner.st_uid, owner.st_gid)
            database.server.execute(sql.SQL("CREATE TABLESPACE {} LOCATION {}").format(name, sql.Literal(str(place))))
            database.server.execute(
                sql.SQL("ALTER DATABASE {} SET default_tablespace = {}").format(sql.Identifier(database.name), name)
            )
        else:
            database.execute(
                "CREATE FUNCTION full_up() RETURNS event_trigger LANGUAGE plpgsql AS"
                " $$ BEGIN RAISE EXCEPTION 'no room' USING ERRCODE = 'disk_full'; END $$;"
                "CREATE EVENT TRIGGER full_up ON ddl_command_end WHEN TAG IN ('CREATE TABLE AS') EXECUTE FUNCTION full_up()"
            )
        yield
    finally:
        if mounted.returncode == 0:
            database.server.execute(
                sql.SQL("ALTER DATABASE {} RESET default_tablespace").format(sql.Identifier(database.name))
            )
            database.execute("SELECT 1")
            for (table,) in database.rows(
                "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_tablespace t ON t.oid = c.reltablespace"
                " WHERE t.spcname = %s AND c.relkind = 'r'", [f"full_{os.getpid()}"],
            ):  # fmt: skip
                database.execute(f"ALTER TABLE {table} SET TABLESPACE pg_default")
            # Files of dropped tables go with the next checkpoint.
            database.server.execute("CHECKPOINT")
            database.server.execute(sql.SQL("DROP TABLESPACE {}").format(name))
            subprocess.run(["umount", place], check=True)
        else:
            database.execute("DROP EVENT TRIGGER IF EXISTS full_up")
        place.rmdir()


def test_the_disk_is_full(odd: Database, tmp_path: Path) -> None:
    """A backup and a restore that find no room say so; nothing is left of them, and nothing is changed."""
    odd.execute("INSERT INTO keyless SELECT n, repeat('x', 200) FROM generate_series(1, 5000) n")
    made = create_backup(target(odd), spec_of("keyless"), BackupOptions())
    odd.execute("DELETE FROM keyless WHERE a > 100")
    odd.execute("INSERT INTO keyless SELECT 1, repeat('y', 200) FROM generate_series(1, 5000) n")
    there = rows(odd)
    with full_disk(odd, tmp_path):
        with pytest.raises(Failed, match="disk is full"):
            create_backup(target(odd), spec_of("keyless"), BackupOptions())
        with pytest.raises(Failed, match="disk is full"):
            restore(target(odd), made.id, RestoreOptions(force=True))
        assert [one.backup.id for one in list_backups(target(odd))] == [made.id]
        assert rows(odd) == there
    assert create_backup(target(odd), spec_of("keyless"), BackupOptions()).whole


def test_room_is_looked_for_first(odd: Database) -> None:
    """What would not fit is refused before anything is written, and the remedy names the ways."""
    odd.execute("INSERT INTO keyless SELECT n, repeat('x', 200) FROM generate_series(1, 5000) n")
    with pytest.raises(Refused, match="2 kB are free") as refused:
        create_backup(target(odd), spec_of("keyless"), BackupOptions(free_space=2000))
    assert "prune" in refused.value.remedy
    assert list_backups(target(odd)) == ()


@pytest.mark.parametrize("end", ["pg_cancel_backend", "pg_terminate_backend"])
def test_cut_short(end: str, odd: Database, shop: Command) -> None:
    """A backup whose statement is cancelled, or whose connection is lost: exit 5, one message, and the next works."""
    waits = (
        "SELECT pid FROM pg_stat_activity WHERE application_name ~ '^tenantry .* backup$' AND wait_event_type = 'Lock'"
    )
    waits += " AND datname = current_database()"
    with odd.connect() as holder:
        holder.execute("LOCK TABLE keyless IN ACCESS EXCLUSIVE MODE")
        process = shop.start("backups", "create")
        wait_until(lambda: odd.rows(waits) != [], seconds=60)
        odd.rows(waits.replace("SELECT pid", f"SELECT {end}(pid)"))
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 5, stdout + stderr
    assert "Traceback" not in stderr
    assert stderr.count("tenantry: ") == 1
    assert shop("backups", "create").status == 0
    assert [one.state for one in list_backups(target(odd))] == ["whole"]


def test_somebody_keeps_a_table(odd: Database) -> None:
    """A table that stays locked is not waited for beyond the patience; who has it is named."""
    with odd.connect() as holder, connect(target(odd), purpose="backup") as session:
        table = source(
            read_schema(session, ("public",), ours=Ours()), Name("public", "keyless"), ours={}, created=frozenset()
        )
        holder.execute("LOCK TABLE keyless IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(Failed, match="kept one to himself") as failed:
            copy_all([session], [table], finish=lambda found: None, patience=0.1)
        assert str(holder.info.backend_pid) in "".join(failed.value.details)


def test_a_truncate_waits(odd: Database) -> None:
    """A TRUNCATE, which any snapshot would see at once, cannot come between the snapshot and the copying."""
    with connect(target(odd), purpose="backup") as session, odd.connect(autocommit=True) as other:
        schema = read_schema(session, ("public",), ours=Ours())
        other.execute("CREATE SCHEMA tenantry; SET lock_timeout = '100ms'")
        tables = [
            replace(source(schema, Name("public", name), ours={}, created=frozenset()), copy=f"copy_of_{name}")
            for name in ("watched", "keyless")
        ]
        tried: list[Name] = []

        def truncate(copied: TableCopy) -> None:
            if not tried:
                tried.append(copied.table)
                (left,) = (table.table for table in tables if table.table != copied.table)
                with pytest.raises(psycopg.errors.LockNotAvailable):
                    other.execute(sql.SQL("TRUNCATE {}").format(left.identifier))

        found = copy_all([session], tables, finish=lambda done: None, copied=truncate)
    assert len(tried) == 1
    assert {one.table.name: one.rows for one in found} == {"watched": 20, "keyless": 60}


def test_too_few_privileges(odd: Database, role: Callable[..., str], shop: Command) -> None:
    """Who may not read a table, or make the journal, is told so: exit 3; nothing is left."""
    user = role("LOGIN")
    dsn = f"{odd.dsn} user={user}"
    outcome = shop("backups", "create", dsn=dsn)
    assert outcome.status == 3, outcome.stderr
    odd.execute(f"GRANT CREATE ON DATABASE {odd.name} TO {user}")
    outcome = shop("backups", "create", dsn=dsn)
    assert outcome.status == 3, outcome.stderr
    assert "permission denied for table" in outcome.stderr
    assert list_backups(target(odd, user)) == ()
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        list_backups(target(odd, role("LOGIN")))


def test_no_pg_dump(odd: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a pg_dump of the server's version or newer: refused, naming what there is and what can be done."""
    old = tmp_path / "pg_dump"
    old.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.1'\n")
    old.chmod(0o755)
    monkeypatch.setattr("tenantry.postgres.programs._folders", lambda: iter([tmp_path]))
    with pytest.raises(Refused, match=r"pg_dump of that version .*is of version 9") as refused:
        create_backup(target(odd), spec_of("keyless"), BackupOptions(kind=BackupKind.DUMP, folder=tmp_path / "dumps"))
    assert "--backup tables" in refused.value.remedy
    assert list_backups(target(odd)) == ()
