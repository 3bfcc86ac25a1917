"""A tenant moves to another server and back: its rows are the same, and those of others are not touched."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import psycopg
import pytest

from conftest import Command
from moves.applications import Application, check, working
from moves.conftest import COMPARING, Pair, left, rows_of, spec_text
from servers import wait_until
from tenantry import (
    RemovalBackup,
    RemoveOptions,
    abandon_move,
    list_moves,
    list_tenants,
    migrate,
    preview_move,
    purge,
    remove_tenant,
    rollback,
    status,
    validate,
)
from tenantry.errors import ExitStatus, Failed, Interrupted, Refused, UsageError
from tenantry.postgres.connect import Target
from tenantry_app import CachedDirectory, Tenant
from tenantry_app.tenants import LOCATION

pytestmark = [pytest.mark.server, pytest.mark.pg(">=15")]


@pytest.mark.differs("postgres/replication.py")
def test_there_and_back(pair: Pair) -> None:
    """All rows of the tenant are at the target, in every kind of table; nothing of the move is left but where it is."""
    before, others = rows_of(pair.source, "two"), rows_of(pair.source, "two", but=True)
    assert all(before.values())
    done = pair.move("two", location="second")
    assert done.rows == sum(map(len, before.values()))
    assert rows_of(pair.target, "two") == before
    assert not any(rows_of(pair.source, "two").values())
    assert rows_of(pair.source, "two", but=True) == others
    assert left(pair.source, pair.target) == []
    for database in (pair.source, pair.target):
        verdict = validate(Target(database.dsn), pair.spec)
        assert verdict.exit_status is ExitStatus.DONE, [one for one in verdict.findings if one.severity.serious]
    listed = {one.slug: one.location for one in list_tenants(Target(pair.source.dsn), pair.spec)}
    assert listed == {"one": "", "two": "second", "three": ""}
    assert [(one.state, one.location) for one in list_moves(Target(pair.source.dsn))] == [("moved", "second")]
    assert list_moves(Target(pair.target.dsn)) == ()
    with pytest.raises(Refused, match="was moved to second"):
        pair.move("two")
    # New rows get numbers that no row has.
    positions = "SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = 'public' ORDER BY 1"
    assert pair.target.rows(positions) == pair.source.rows(positions)
    with pair.target.connect() as connection:
        connection.execute(
            "INSERT INTO items (place_id, unit, firm_id) SELECT min(id), 'm', firm_id FROM places GROUP BY firm_id"
        )
    there = rows_of(pair.target, "two")
    assert len(there["items"]) == len(before["items"]) + 1
    pair.move("two", back=True)
    assert rows_of(pair.source, "two") == there
    assert rows_of(pair.source, "two", but=True) == others
    assert left(pair.source, pair.target) == []
    assert {one.slug: one.location for one in list_tenants(Target(pair.source.dsn), pair.spec)} == {
        "one": "", "two": "", "three": "",
    }  # fmt: skip
    assert list_moves(Target(pair.source.dsn)) == (), "it has come back"


def test_the_directory_of_an_application(pair: Pair, role: Callable[..., str]) -> None:
    """A directory of tenants that may read the table of moves returns where a tenant is, and so does the next one."""
    name = role("LOGIN", name="directory")

    def find(slug: str) -> Tenant | None:
        with pair.source.connect(user=name) as connection:
            moved = connection.execute(LOCATION, {"name": slug}).fetchone()
        return Tenant(slug) if moved is None else Tenant(moved[0], moved[1], location=moved[2])

    key = str(pair.source.rows("SELECT id FROM firms WHERE slug = 'two'")[0][0])
    pair.move("two", location="second")
    pair.source.execute(f"GRANT USAGE ON SCHEMA tenantry TO {name}; GRANT SELECT ON tenantry.moves TO {name}")
    directory = CachedDirectory(find)
    assert directory.find("two") == directory.find(key) == Tenant(key, "two", location="second")
    assert directory.find("one") == Tenant("one")
    pair.move("two", back=True)
    directory.forget()
    assert directory.find("two") == Tenant("two"), "it has come back"


def test_while_applications_write(pair: Pair) -> None:
    """Nothing that was committed is lost or doubled on the way there and back; the tenant sees serialization failures
    and nothing else, and no other tenant sees any."""
    mine = [Application(pair=pair, slug="two") for _ in range(3)]
    other = Application(pair=pair, slug="one")
    with working(*mine, other):
        there = pair.move("two")
        back = pair.move("two", back=True)
    for one in (*mine, other):
        check(one)
        assert len(one.committed) > 20
    assert all("is being moved to another server" in said for one in mine for said in one.refused)
    assert other.refused == []
    assert 0 < there.pause < 2
    assert 0 < back.pause < 2
    assert other.longest < 2, "others wait for a lock of a moment at most"
    assert left(pair.source, pair.target) == []


def test_a_pause_is_bounded(pair: Pair, pool: ThreadPoolExecutor) -> None:
    """A transaction of the tenant that stays open ends the pause, and the tenant writes on; the next pause succeeds.
    Meanwhile nobody else waits."""
    key = pair.source.rows("SELECT id FROM firms WHERE slug = 'two'")[0][0]
    with pair.source.connect() as holder, pair.source.connect(autocommit=True) as other:

        def hold() -> None:
            holder.execute("UPDATE items SET note = 'held' WHERE firm_id = %s", [key])

        moving = pool.submit(lambda: pair.move("two", at=[(COMPARING, hold)], max_pause=0.5))
        refused, longest = 0, 0.0
        installed = "SELECT to_regclass('tenantry.moves') IS NOT NULL"
        wait_until(lambda: other.execute(installed).fetchone() == (True,))
        while (
            not moving.done()
            and other.execute("SELECT longest_pause FROM tenantry.moves WHERE longest_pause > 0").fetchone() is None
        ):
            begun = time.monotonic()
            for table in ("items", "moves", "notes", "places"):
                other.execute(f"UPDATE {table} SET firm_id = firm_id WHERE firm_id <> %s", [key])
            longest = max(longest, time.monotonic() - begun)
            try:
                other.execute("UPDATE notes SET text = 'x' WHERE firm_id = %s", [key])
            except psycopg.errors.SerializationFailure:
                refused += 1
            time.sleep(0.01)
        assert refused > 0
        assert longest < 0.5
        # It has let go: the tenant writes, also in the transaction that was waited for.
        other.execute("UPDATE notes SET text = 'y' WHERE firm_id = %s", [key])
        holder.execute("UPDATE items SET note = 'still held' WHERE firm_id = %s", [key])
        pause = other.execute("SELECT longest_pause FROM tenantry.moves").fetchone()
        assert pause is not None
        assert 450 <= pause[0] < 1000
        holder.commit()
        assert moving.result(30).pauses == 3, "the one that was too long, the snapshots, and the switch"
    assert pair.target.rows("SELECT DISTINCT note FROM items") == [("still held",)]
    assert pair.target.rows("SELECT DISTINCT text FROM notes") == [("y",)]


def stop() -> None:
    """What a run comes to when it is ended somewhere."""
    raise Interrupted("stopped by the test")


def test_truncate_is_refused(pair: Pair) -> None:
    """TRUNCATE is not replicated, so it fails while a tenant is being moved, and works again afterwards."""
    with pytest.raises(Interrupted):
        pair.move("two", at=[(COMPARING, stop)])
    with pytest.raises(psycopg.errors.ObjectInUse, match="being moved"):
        pair.source.execute("TRUNCATE notes")
    # Even one that fires no trigger is noticed.
    with pair.source.connect() as connection:
        connection.execute("ALTER TABLE notes DISABLE TRIGGER USER")
        connection.execute("TRUNCATE notes")
    with pytest.raises(Failed, match="notes has 12 rows of the tenant at the target, and 0 at the source"):
        pair.move("two")
    assert pair.abort("two").rows > 100
    pair.source.execute("TRUNCATE notes")
    assert left(pair.source, pair.target) == []


def test_a_crash_in_the_switch(pair: Pair) -> None:
    """A server that has crashed may have closed the gate for good without a switch: the next run opens it again, and so
    does --abort."""
    update = "UPDATE items SET note = 'again' WHERE firm_id = (SELECT id FROM firms WHERE slug = 'two')"
    with pytest.raises(Interrupted):
        pair.move("two", at=[(COMPARING, stop)])
    gate = list_moves(Target(pair.source.dsn))[0].object_name
    pair.source.execute(f"SELECT setval('tenantry.{gate}', 2)")
    with pytest.raises(psycopg.errors.SerializationFailure):
        pair.source.execute(update)
    with pytest.raises(Interrupted):
        pair.move("two", at=[(COMPARING, lambda: pair.source.execute(update)), ("writes of two are refused", stop)])
    pair.source.execute(f"SELECT setval('tenantry.{gate}', 2)")
    pair.abort("two")
    pair.source.execute(update)


def test_the_target_is_lost(pair: Pair) -> None:
    """--abort --force undoes a move at the source alone."""
    dump = pair.source.dump()
    with pytest.raises(Interrupted):
        pair.move("two", at=[("tables are copied", stop)])
    with pair.target.connect(autocommit=True) as connection:
        (name,) = connection.execute("SELECT subname FROM pg_subscription").fetchone() or ("",)
        connection.execute(f"ALTER SUBSCRIPTION {name} DISABLE")
        connection.execute(f"ALTER SUBSCRIPTION {name} SET (slot_name = NONE)")
        connection.execute(f"DROP SUBSCRIPTION {name}")
    assert any("slot" in one for one in left(pair.source))
    assert abandon_move(Target(pair.source.dsn), pair.spec, "two").rows is None
    assert left(pair.source) == []
    assert pair.source.dump() == dump
    pair.source.execute("UPDATE items SET note = 'again'")
    assert abandon_move(Target(pair.source.dsn), pair.spec, "two").left_at == ""
    with pytest.raises(UsageError, match="no move of the tenant"):
        abandon_move(Target(pair.source.dsn), pair.spec, "two")


def test_the_target_comes_back(pair: Pair, command: Callable[[str], Command]) -> None:
    """A move that was ended at the source alone is ended at its target as well, which can take the tenant again. Until
    then the target says so; nothing at the source waits for it."""
    dumps = [pair.source.dump(), pair.target.dump()]
    with pytest.raises(Interrupted):
        pair.move("two", at=[(COMPARING, stop)])
    source, target = Target(pair.source.dsn), Target(pair.target.dsn)
    with pair.target.connect(autocommit=True) as connection:
        # The source ends the connections of a target that it takes for lost.
        (name,) = connection.execute("SELECT subname FROM pg_subscription").fetchone() or ("",)
        connection.execute(f"ALTER SUBSCRIPTION {name} DISABLE")
    tenantry = command(pair.source.dsn)
    (tenantry.folder / "tenantry.toml").write_text(spec_text())
    ended = tenantry("tenants", "move", "two", "--abort", "--force")
    assert (ended.status, "--abort --to" in ended.stdout + ended.stderr) == (0, True)
    said = tenantry("status").stdout
    assert "was abandoned, and --abort --to" in said
    assert "completes the move" not in said
    pair.source.execute("UPDATE items SET note = 'meanwhile'")
    rows = rows_of(pair.source, "two")
    assert [(one.state, one.slug) for one in status(source, pair.spec).moves] == [("abandoned", "two")]
    assert [(one.slug, one.location) for one in list_tenants(source, pair.spec) if one.moving] == []
    with pytest.raises(Refused, match="is being moved from"):
        migrate(target, pair.spec)
    with pytest.raises(Refused, match="cannot be moved: the target has a copy"):
        pair.move("two")
    assert pair.abort("two").rows
    assert rows_of(pair.target, "two") == {table: [] for table in rows}
    assert left(pair.source, pair.target) == []
    assert [pair.source.dump(), pair.target.dump()] == dumps
    pair.move("two")
    assert rows_of(pair.target, "two") == rows


def test_a_slot_that_waits(pair: Pair) -> None:
    """A transaction that stays open, of whatever table, keeps a slot from being created: that is said, with its age."""
    with pair.source.connect() as holder:
        holder.execute("CREATE TABLE other (id integer)")
        with pytest.raises(Failed, match=r"did not end within 1\.0 s, and a replication slot waits for them") as caught:
            pair.move("two", lock_budget=1.0)
        assert f"pid {holder.info.backend_pid} (postgres), transaction open for" in caught.value.details[0]
    pair.move("two")
    assert left(pair.source, pair.target) == []


@pytest.mark.differs
def test_abort(pair: Pair) -> None:
    """Everything is as it was, on both sides, and the tenant can be moved again."""
    before, dumps = rows_of(pair.source, "two"), [pair.source.dump(), pair.target.dump()]
    with pytest.raises(Interrupted):
        pair.move("two", at=[(COMPARING, stop)])
    assert "identity of notes" in left(pair.source)
    found = status(Target(pair.source.dsn), pair.spec).moves
    assert [(one.slug, one.state, one.lag is None) for one in found] == [("two", "begun", False)]
    assert [one.side for one in status(Target(pair.target.dsn), pair.spec).moves] == ["target"]
    assert preview_move(Target(pair.source.dsn), pair.spec, "two", Target(pair.target.dsn)).unfinished is not None
    assert [one.slug for one in list_tenants(Target(pair.source.dsn), pair.spec) if one.moving] == ["two"]
    verdict = validate(Target(pair.source.dsn), pair.spec)
    assert [one for one in verdict.findings if one.severity.serious] == []
    for database in (pair.source, pair.target):
        target, options = Target(database.dsn), RemoveOptions(backup=RemovalBackup.NONE, force=True)
        for act in (
            partial(migrate, target, pair.spec), partial(rollback, target), partial(purge, target, force=True),
            partial(remove_tenant, target, pair.spec, "two", options),
        ):  # fmt: skip
            with pytest.raises(Refused, match="The tenant 'two' is being moved"):
                act()
    done = pair.abort("two")
    assert done.rows == sum(map(len, before.values()))
    assert [pair.source.dump(), pair.target.dump()] == dumps
    assert left(pair.source, pair.target) == []
    assert not any(rows_of(pair.target, "two").values())
    assert list_moves(Target(pair.source.dsn)) == list_moves(Target(pair.target.dsn)) == ()
    assert rows_of(pair.source, "two") == before
    pair.move("two")
    assert rows_of(pair.target, "two") == before
    with pytest.raises(Refused, match="cannot be undone"):
        pair.abort("two")


def test_writes_at_the_source_stay_refused(pair: Pair) -> None:
    """From the switch on, also while its rows are still there, and in a transaction whose snapshot is older."""
    key = pair.source.rows("SELECT id FROM firms WHERE slug = 'two'")[0][0]
    with pair.source.connect() as old:
        old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        count = "SELECT count(*) FROM notes WHERE firm_id = %s"
        told = [(COMPARING, lambda: old.execute(count, [key])), ("two is at", stop)]
        with pytest.raises(Interrupted):
            pair.move("two", at=told)
        assert [one.state for one in list_moves(Target(pair.source.dsn))] == ["switched"]
        with pytest.raises(psycopg.errors.SerializationFailure, match="being moved"):
            old.execute("UPDATE notes SET text = 'late' WHERE firm_id = %s", [key])
    for statement in ("DELETE FROM notes WHERE firm_id = %s", "INSERT INTO notes (text, firm_id) VALUES ('late', %s)"):
        with pytest.raises(psycopg.errors.SerializationFailure):
            pair.source.execute(statement, [key])
    pair.target.execute("UPDATE notes SET text = 'at the target'")
    pair.move("two")
    assert left(pair.source, pair.target) == []
    assert pair.target.rows("SELECT DISTINCT text FROM notes") == [("at the target",)]
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        pair.source.execute("INSERT INTO notes (text, firm_id) VALUES ('late', %s)", [key])
