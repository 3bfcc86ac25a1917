"""Disk full, cancelled, connection lost, too few privileges, locked: one message, the exit status, nothing left."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from backups.conftest import rows, spec_of, target
from conftest import Command
from servers import Database, wait_until
from small_disk import TinyDisk
from tenantry import BackupOptions, create_backup, list_backups
from tenantry.backups.content import source
from tenantry.backups.tables import copy_all
from tenantry.errors import Failed, Refused
from tenantry.model.backup import BackupKind, TableCopy
from tenantry.model.name import Name
from tenantry.model.schema import ManagedObjects
from tenantry.postgres.catalog import read_schema
from tenantry.postgres.connect import connect

SPEC = '[tenant]\ntable = "shops"\n[[table]]\nname = "keyless"\nassign = { tenant = "one" }\n'


@pytest.fixture
def shop(odd: Database, command: Callable[[str], Command]) -> Command:
    made = command(odd.dsn)
    (made.folder / "tenantry.toml").write_text(SPEC)
    return made


def test_the_disk_is_full(disk: TinyDisk, command: Callable[[str], Command]) -> None:
    """A backup and a restore that find no room say so; nothing is left of them, and nothing is changed."""
    database = disk.database()
    # Its copy is larger than any of its parts, and the next one larger than the first.
    database.execute(
        "CREATE TABLE shops (id integer PRIMARY KEY, slug text UNIQUE); INSERT INTO shops VALUES (1, 'one');"
        "CREATE TABLE keyless (a integer, b text) PARTITION BY HASH (a);"
        + "".join(
            f"CREATE TABLE part_{n} PARTITION OF keyless FOR VALUES WITH (MODULUS 4, REMAINDER {n});" for n in range(4)
        )
        + "INSERT INTO keyless SELECT n, repeat('x', 200) FROM generate_series(1, 20000) n"
    )
    made = command(database.dsn)
    (made.folder / "tenantry.toml").write_text(SPEC)
    id = made("backups", "create", "--json").json["backup"]["id"]
    database.execute("INSERT INTO keyless SELECT n, repeat('y', 200) FROM generate_series(20001, 50000) n")
    there = rows(database)
    with disk.full(64 << 10):
        for arguments in (("create",), ("restore", id, "--force")):
            failed = made("backups", *arguments)
            assert failed.status == 5, failed.stdout + failed.stderr
            # Sorting a large table may find no room either.
            assert re.search(r"could not (extend|write to) file", " ".join(failed.stderr.split()))
            assert failed.stderr.count("tenantry: ") == 1
        assert [one.backup.id for one in list_backups(target(database))] == [id]
        assert rows(database) == there
    assert made("backups", "create").status == 0


def test_room_is_looked_for_first(odd: Database) -> None:
    """What would not fit is refused before anything is written, and the remedy names the ways."""
    odd.execute("INSERT INTO keyless SELECT n, repeat('x', 200) FROM generate_series(1, 5000) n")
    with pytest.raises(Refused, match="2 kB is free") as refused:
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
    assert [one.state for one in list_backups(target(odd))] == ["complete"]


@pytest.mark.parametrize("lost", ["first", "second"])
def test_lost_in_mid_copy(lost: str, odd: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that has copied rows is ended, the run's own or the one beside it: one error says so, what is torn is not
    offered, and the next backup clears it away."""
    monkeypatch.setattr("tenantry.backups.create.PARALLEL_FROM", 0)
    odd.execute(
        "CREATE FUNCTION hold() RETURNS event_trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_advisory_xact_lock_shared(7); END $$;"
        "CREATE EVENT TRIGGER hold ON ddl_command_end WHEN TAG IN ('CREATE TABLE AS') EXECUTE FUNCTION hold()"
    )
    before = rows(odd)
    copying = (
        "SELECT a.pid, EXISTS (SELECT FROM pg_locks o WHERE o.pid = a.pid AND o.locktype = 'advisory' AND o.granted)"
        " FROM pg_stat_activity a WHERE a.wait_event = 'advisory' AND a.datname = current_database() ORDER BY 2 DESC"
    )
    with odd.connect(autocommit=True) as holder, ThreadPoolExecutor(1) as pool:
        holder.execute("SELECT pg_advisory_lock(7)")
        making = pool.submit(create_backup, target(odd), spec_of("keyless", "typed"), BackupOptions())
        try:
            wait_until(lambda: len(odd.rows(copying)) == 2, seconds=60)
            (ours, _), (beside, _) = odd.rows(copying)
            odd.execute(f"SELECT pg_terminate_backend({ours if lost == 'first' else beside})")
            with pytest.raises(Failed, match="connection to the server was lost"):
                making.result(timeout=60)
        finally:
            holder.execute("SELECT pg_advisory_unlock(7)")
    assert [one.state for one in list_backups(target(odd))] == (["incomplete"] if lost == "first" else [])
    odd.execute("DROP EVENT TRIGGER hold; DROP FUNCTION hold()")
    assert create_backup(target(odd), spec_of("keyless", "typed"), BackupOptions()).restorable
    assert [one.state for one in list_backups(target(odd))] == ["complete"]
    assert rows(odd) == before


def test_somebody_keeps_a_table(odd: Database) -> None:
    """A table that stays locked is not waited for beyond the patience; who has it is named."""
    with odd.connect() as holder, connect(target(odd), purpose="backup") as session:
        table = source(
            read_schema(session, ("public",), managed=ManagedObjects()),
            Name("public", "keyless"),
            managed={},
            created=frozenset(),
        )
        holder.execute("LOCK TABLE keyless IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(Failed, match="another session has a lock on one") as failed:
            copy_all([session], [table], finish=lambda found: None, patience=0.1)
        assert str(holder.info.backend_pid) in "".join(failed.value.details)


def test_a_truncate_waits(odd: Database) -> None:
    """A TRUNCATE, which any snapshot would see at once, cannot come between the snapshot and the copying."""
    with connect(target(odd), purpose="backup") as session, odd.connect(autocommit=True) as other:
        schema = read_schema(session, ("public",), managed=ManagedObjects())
        other.execute("CREATE SCHEMA tenantry; SET lock_timeout = '100ms'")
        tables = [
            replace(source(schema, Name("public", name), managed={}, created=frozenset()), copy=f"copy_of_{name}")
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
    with pytest.raises(Refused, match=f"belongs to {user}"):
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
