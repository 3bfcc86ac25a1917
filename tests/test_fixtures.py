"""What the fixtures promise to every other test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from conftest import heed_interrupts, package_seconds
from servers import RUNS, Database, Run, Server, make_server, own_roles, sweep, wait_until


@pytest.mark.server
@pytest.mark.differs
def test_server_is_of_the_chosen_version(server: Server, server_version: int) -> None:
    """A test marked `server` runs on the version in its name, which is set up to be fast."""
    with psycopg.connect(server.dsn()) as connection:
        assert connection.info.server_version // 10000 == server_version == server.major
        assert connection.execute("SHOW fsync").fetchone() == ("off",)
        assert connection.execute("SHOW wal_level").fetchone() == ("logical",)


@pytest.mark.server
@pytest.mark.pg("< 16")
def test_marker_limits_versions(server: Server) -> None:
    """The marker `pg` keeps a test from other versions."""
    assert server.major < 16


def test_13_is_there_to_be_refused(server_13: Server) -> None:
    """The server that is too old runs beside the others."""
    assert server_13.version.startswith("13.")


def test_ctrl_c_is_heeded_in_the_background() -> None:
    """Also where the tests were started by a script with `&`, which ignores it for them."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        heed_interrupts()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert before is signal.default_int_handler


@pytest.mark.server
def test_database_is_empty_and_of_its_own(database: Database, new_database: Callable[..., Database]) -> None:
    """Two databases of one test share nothing."""
    database.execute("CREATE TABLE seen (id int)")
    assert database.rows("SELECT relname FROM pg_class WHERE relname = 'seen'") == [("seen",)]
    assert new_database().rows("SELECT relname FROM pg_class WHERE relname = 'seen'") == []


@pytest.mark.server
def test_database_goes_whatever_holds_it(server: Server) -> None:
    """Sessions, prepared transactions and slots do not keep a database from being dropped."""
    held = server.create("held")
    with held.connect() as connection:
        connection.execute("SELECT pg_create_logical_replication_slot('held', 'pgoutput')")
    with held.connect() as connection:
        connection.execute("CREATE TABLE t (id int)")
        connection.execute("PREPARE TRANSACTION 'forgotten'")
    session = held.connect()
    session.execute("SELECT 1")
    server.drop(held)
    session.close()
    with psycopg.connect(server.dsn()) as connection:
        assert connection.execute("SELECT FROM pg_database WHERE datname = 'held'").rowcount == 0


@pytest.mark.server
def test_dump_is_the_same_twice(database: Database) -> None:
    """A dump shows the user's objects, not schema tenantry, and nothing that changes by itself."""
    database.load("CREATE TABLE t (id int PRIMARY KEY); CREATE SCHEMA tenantry; CREATE TABLE tenantry.run (id int);")
    first = database.dump()
    assert "CREATE TABLE public.t" in first
    assert "tenantry" not in first
    assert first == database.dump()
    database.execute("ALTER TABLE t ADD COLUMN name text")
    assert first != database.dump()


def test_load_stops_at_the_first_error(database: Database, tmp_path: Path) -> None:
    """A script that fails fails the test that loads it."""
    script = tmp_path / "script.sql"
    script.write_text("CREATE TABLE a (id int);\nSELECT missing;\nCREATE TABLE b (id int);")
    with pytest.raises(RuntimeError, match='column "missing" does not exist'):
        database.load(script)
    assert database.rows("SELECT to_regclass('a') IS NOT NULL, to_regclass('b') IS NOT NULL") == [(True, False)]


@pytest.mark.server
def test_template_is_built_once(template: Callable[..., Database]) -> None:
    """Copies of a template are alike and independent; its builder runs once."""
    built: list[str] = []
    sessions: list[psycopg.Connection[Any]] = []

    def build(database: Database) -> None:
        built.append(database.name)
        sessions.append(database.connect())  # left open, which does not hold the template
        database.execute("CREATE TABLE t AS SELECT 1 AS id")

    name = "built by " + test_template_is_built_once.__name__
    first, second = template(name, build), template(name, build)
    first.execute("INSERT INTO t VALUES (2)")
    assert len(built) == 1
    assert first.rows("SELECT count(*) FROM t") == [(2,)]
    assert second.rows("SELECT count(*) FROM t") == [(1,)]
    sessions[0].close()


def test_a_template_is_measured_once(database: Database, template: Callable[..., Database]) -> None:
    """What its copies are before a test has been at them; a database that is no copy answers for itself."""
    asked: list[str] = []

    def tables(database: Database) -> list[tuple[object, ...]]:
        asked.append(database.name)
        return database.rows("SELECT relname::text FROM pg_class WHERE relname IN ('a', 'b') ORDER BY 1")

    for name in ("a", "b"):
        first, second = (
            template(f"measured {name}", lambda made, name=name: made.execute(f"CREATE TABLE {name} ()"))
            for _ in range(2)
        )
        assert [first.as_made(tables), second.as_made(tables)] == [[(name,)], [(name,)]]
        second.execute("DROP TABLE " + name)
        assert (second.as_made(tables), tables(second)) == ([(name,)], [])
    assert database.as_made(tables) == []
    database.execute("CREATE TABLE a ()")
    assert database.as_made(tables) == [("a",)]
    assert len(asked) == 6


@pytest.mark.server
def test_roles_are_gone_after_the_test(server: Server) -> None:
    """Roles belong to a server: those of a test, and those that it made by hand, do not meet the next one."""
    database = server.create("of roles")
    with own_roles(server) as role:
        name = role("LOGIN BYPASSRLS")
        reserved = role(name="app", create=False)
        with database.connect(user=name) as connection:
            bypasses = connection.execute("SELECT rolbypassrls FROM pg_roles WHERE rolname = user").fetchone()
        database.execute(f"CREATE ROLE by_hand; CREATE ROLE {reserved}; GRANT by_hand TO {name}")
        database.execute("CREATE ROLE kept; CREATE TABLE t (id int); GRANT SELECT ON t TO kept")
    assert bypasses == (True,)
    assert not {name, reserved, "by_hand"} & server.roles()
    assert "kept" in server.roles()  # a database that is still there needs it
    server.drop(database)
    server.drop_roles(["kept"])


@pytest.mark.server
def test_killed_server_starts_again(crashable: Server) -> None:
    """SIGKILL ends every process of the server; what was committed is there after a start."""
    crashable.execute("CREATE TABLE kept AS SELECT 1 AS id")
    session = psycopg.connect(crashable.dsn())
    crashable.kill()
    with pytest.raises(psycopg.OperationalError):
        session.execute("SELECT 1")
    session.close()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(crashable.dsn())
    crashable.start()
    with psycopg.connect(crashable.dsn()) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (1,)


@pytest.mark.parametrize("name", ["northwind", "chinook", "adventureworks"])
def test_real_databases_load(realdb: Callable[[str], Database], name: str) -> None:
    """Each is there with its tables."""
    tables = realdb(name).rows("SELECT count(*) FROM pg_class WHERE relkind = 'r' AND oid >= 16384")
    assert tables == [({"northwind": 14, "chinook": 11, "adventureworks": 68}[name],)]


def test_servers_of_a_killed_run_are_swept() -> None:
    """The next run stops the servers of one that was killed, and leaves those of one that lives."""
    code = (
        "import sys, time; from servers import Run, make_server; run = Run(memory=True);"
        "make_server(18, run.servers / 'one'); print(run.folder, run.servers, flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=_environment())
    assert process.stdout is not None
    folder, servers = map(Path, process.stdout.readline().split())
    assert folder.name.startswith(RUNS)
    pid = int((servers / "one" / "data" / "postmaster.pid").read_text().split()[0])
    sweep()
    assert folder.exists()
    assert servers.exists()
    process.kill()
    process.communicate()
    sweep()
    assert not folder.exists()
    assert not servers.exists()
    wait_until(lambda: not Path(f"/proc/{pid}").exists())


def _environment() -> dict[str, str]:
    return {"PYTHONPATH": ":".join(path for path in sys.path if path), "PATH": "/usr/bin:/bin"}


def test_run_clears_its_folder() -> None:
    """A run that ends takes its servers along, and what they had in memory."""
    run = Run(memory=True)
    server = make_server(18, run.servers / "one")
    key = (server.cluster.data / "postmaster.pid").read_text().splitlines()[6].split()[1]
    run.close()
    assert not run.folder.exists()
    assert not run.servers.exists()
    shared = Path("/proc/sysvipc/shm")
    assert not shared.exists() or key not in [line.split()[1] for line in shared.read_text().splitlines()]
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.dsn())


def test_seconds_by_package() -> None:
    """What the summary tells: setup, call and teardown together, the slowest package first."""
    told = [("tests/integration/cli/test_a.py::test_b", 1.0), ("tests/integration/reports/test_c.py::test_d[x::y]", 2.0), ("tests/test_e.py::test_f", 0.5),
            ("tests/integration/cli/test_g.py::test_h", 1.5)]  # fmt: skip
    reports = [
        pytest.TestReport(
            nodeid=name,
            location=("", None, ""),
            keywords={},
            outcome="passed",
            longrepr=None,
            when="call",
            duration=took,
        )
        for name, took in told
    ]
    assert list(package_seconds([*reports, object()]).items()) == [
        ("tests/integration/cli", 2.5), ("tests/integration/reports", 2.0), ("tests/test_e.py", 0.5),
    ]  # fmt: skip
