"""PostgreSQL servers for the tests: which versions there are, and what a test does with one."""

from __future__ import annotations

import fcntl
import itertools
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import psutil
import psycopg
from psycopg import sql

from fetch_servers import VERSIONS, programs
from tenantry.postgres.cluster import Cluster
from tenantry.postgres.embedded import bin_directory

RUNS = "tenantry-tests-"
DISK, MEMORY = Path("/tmp"), Path("/dev/shm")
ROOM = 6 << 30
"""What the servers of a run may come to need, in bytes; several times what they have needed so far."""
QUIT_SECONDS = 5
Value = TypeVar("Value")
_numbers = itertools.count(1)
SETTINGS = {
    # As fast as can be; a crash test needs synchronous_commit.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "128MB",
    "max_connections": "100",
    "max_prepared_transactions": "10",
    "wal_level": "logical",
    "autovacuum": "on",
    # Each database that is made or dropped is a checkpoint.
    "max_wal_size": "256MB",
    # Files below the data: those in /dev/shm outlive a server that was killed.
    "dynamic_shared_memory_type": "mmap",
}

HOLD = """
SELECT EXISTS (SELECT FROM pg_prepared_xacts WHERE database = %(database)s)
  OR EXISTS (SELECT FROM pg_replication_slots WHERE database = %(database)s)
  OR EXISTS (SELECT FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = %(database)s)
"""
"""Whether anything but sessions holds a database."""


@cache
def installed() -> Mapping[int, Path]:
    """The folder of programs of each major version that is here."""
    found = {major: programs(major) for major in VERSIONS if programs(major).exists()}
    wheel = find_spec("pgserver")
    if 16 not in found and wheel is not None and wheel.origin is not None:
        found[16] = Path(wheel.origin).parent / "pginstall" / "bin"
    return dict(sorted((found | {18: bin_directory()}).items()))


@cache
def version_name(major: int) -> str:
    """Such as 18.6."""
    output = subprocess.run(
        [installed()[major] / "postgres", "--version"], capture_output=True, text=True, check=True
    ).stdout
    return re.findall(r"\d+(?:\.\d+)+", output)[0]


def client(*command: str | Path, stdin: str | None = None) -> str:
    """Run one of PostgreSQL 18's client programs and return what it prints."""
    program, *arguments = command
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    done = subprocess.run(
        [bin_directory() / program, *arguments], input=stdin, capture_output=True, text=True, env=environment
    )
    if done.returncode != 0:
        raise RuntimeError(f"{program} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """One database of a test server."""

    server: Server
    name: str
    template: str = ""
    """The database that it is a copy of."""

    @property
    def dsn(self) -> str:
        """As the superuser `postgres`."""
        return self.server.dsn(self.name)

    def connect(self, **parameters: Any) -> psycopg.Connection[Any]:
        """A new session; `parameters` as psycopg.connect takes them (user, autocommit, options, …)."""
        return psycopg.connect(self.dsn, **parameters)

    def execute(self, statements: str, parameters: Sequence[Any] | None = None) -> None:
        """Run statements and commit."""
        with self.connect() as connection:
            connection.execute(statements, parameters)

    def rows(self, query: str, parameters: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        """What a query returns."""
        with self.connect(autocommit=True) as connection:
            return connection.execute(query, parameters).fetchall()

    def as_made(self, measure: Callable[[Database], Value]) -> Value:
        """What `measure` says of it, to be asked before anything has been done to it: so much is the same for all
        copies of a template, and measured once."""
        if not self.template:
            return measure(self)
        key = (self.template, measure)
        if key not in self.server.measured:
            self.server.measured[key] = measure(self)
        return self.server.measured[key]

    def load(self, script: Path | str) -> None:
        """Run a file, or SQL text, by psql, which stops at the first error."""
        text = script.read_text() if isinstance(script, Path) else script
        client("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", self.dsn, "-o", os.devnull, stdin=text)

    def track_statements(self, schema: str = "public") -> None:
        """Create pg_stat_statements, which has the statements of the sessions that begin here from now on."""
        name = sql.Identifier(self.name)
        with self.connect() as connection:
            connection.execute(sql.SQL("CREATE EXTENSION pg_stat_statements SCHEMA {}").format(sql.Identifier(schema)))
            connection.execute(sql.SQL("SELECT {}.pg_stat_statements_reset()").format(sql.Identifier(schema)))
            connection.execute(sql.SQL("ALTER DATABASE {} SET pg_stat_statements.track = 'top'").format(name))
            connection.execute(sql.SQL("ALTER DATABASE {} SET compute_query_id = on").format(name))

    def dump(self, *options: str) -> str:
        """The schema as pg_dump shows it, but for schema tenantry and what changes from dump to dump."""
        text = client("pg_dump", "--schema-only", "--exclude-schema=tenantry", *options, "-d", self.dsn)
        volatile = ("\\restrict", "\\unrestrict", "-- Dumped from", "-- Dumped by")
        return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(volatile))


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server of one version; its roles and databases are the test's own."""

    major: int
    cluster: Cluster
    made: dict[str, str] = field(default_factory=dict)  # templates, by their names in the tests
    shared: bool = False
    """Whether one session does all that is to be done to it, until close()."""
    sessions: list[psycopg.Connection[Any]] = field(default_factory=list)
    measured: dict[tuple[str, Callable[[Database], Any]], Any] = field(default_factory=dict)  # see Database.as_made

    @property
    def programs(self) -> Path:
        """initdb, pg_ctl and postgres of this version."""
        return self.cluster.programs

    @property
    def version(self) -> str:
        """Such as 18.6."""
        return version_name(self.major)

    def dsn(self, database: str = "postgres") -> str:
        """For the superuser `postgres`."""
        return self.cluster.conninfo(database)

    @contextmanager
    def session(self) -> Iterator[psycopg.Connection[Any]]:
        """A session in database postgres, outside a transaction."""
        if not self.shared:
            with psycopg.connect(self.dsn(), autocommit=True) as connection:
                yield connection
            return
        if not self.sessions or self.sessions[0].closed:
            self.sessions[:] = [psycopg.connect(self.dsn(), autocommit=True)]
        yield self.sessions[0]

    def close(self) -> None:
        """End the session that a shared server has."""
        for session in self.sessions:
            session.close()

    def execute(self, statement: str | sql.Composable) -> None:
        """Run one statement outside a transaction, in database postgres."""
        with self.session() as session:
            session.execute(statement)

    def create(self, name: str, template: str = "template1") -> Database:
        """A database, copied from `template`."""
        # Copying files spares the WAL; 14 knows no other way.
        strategy = sql.SQL("STRATEGY file_copy") if self.major >= 15 else sql.SQL("")
        self.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} {}").format(
                sql.Identifier(name), sql.Identifier(template), strategy
            )
        )
        return Database(server=self, name=name, template=template if template in self.made.values() else "")

    def template(self, name: str, build: Callable[[Database], None]) -> str:
        """The database that `build` filled on its first use here; nobody can connect to it afterwards. Two modules may
        give theirs the same name."""
        key = f"{build.__module__} {name}"
        if key not in self.made:
            database = self.create(f"template {len(self.made)} {name}"[:63])
            build(database)
            identifier = sql.Identifier(database.name)
            self.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(identifier))
            self.execute(
                sql.SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {}").format(
                    sql.Literal(database.name)
                )
            )
            self.made[key] = database.name
        return self.made[key]

    def drop(self, database: Database) -> None:
        """Drop a database with all that holds it: sessions, prepared transactions, replication slots."""
        with self.session() as session:
            if session.execute(HOLD, {"database": database.name}).fetchone() != (False,):
                self._let_go(database)
            session.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database.name)))

    def _let_go(self, database: Database) -> None:
        with database.connect(autocommit=True) as connection:
            prepared = connection.execute("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()")
            for (gid,) in prepared.fetchall():
                connection.execute(sql.SQL("ROLLBACK PREPARED {}").format(sql.Literal(gid)))
            connection.execute(
                "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots "
                "WHERE database = current_database() AND active"
            )
            for (slot,) in connection.execute(
                "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"
            ).fetchall():
                connection.execute("SELECT pg_drop_replication_slot(%s)", [slot])
            # A subscription with a slot elsewhere cannot be dropped with its database.
            for (name,) in connection.execute(
                "SELECT subname FROM pg_subscription WHERE subdbid = "
                "(SELECT oid FROM pg_database WHERE datname = current_database())"
            ).fetchall():
                subscription = sql.Identifier(name)
                connection.execute(sql.SQL("ALTER SUBSCRIPTION {} DISABLE").format(subscription))
                connection.execute(sql.SQL("ALTER SUBSCRIPTION {} SET (slot_name = NONE)").format(subscription))
                connection.execute(sql.SQL("DROP SUBSCRIPTION {}").format(subscription))

    def roles(self) -> set[str]:
        """The roles that are not PostgreSQL's own."""
        with self.session() as session:
            names = session.execute("SELECT rolname FROM pg_roles WHERE oid >= 16384").fetchall()
        return {name for (name,) in names}

    def drop_roles(self, names: Iterable[str]) -> None:
        """Drop roles, but for those that own or may do something in a database that is still there."""
        for name in names:
            with suppress(psycopg.errors.DependentObjectsStillExist):
                self.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))

    def kill(self) -> None:
        """SIGKILL to the postmaster and all its processes, as when the machine loses its power."""
        postmaster = psutil.Process(int((self.cluster.data / "postmaster.pid").read_text().split()[0]))
        _end(postmaster)
        # The next one asks whether there is a process of this number, even if it only waits to be waited for.
        wait_until(lambda: not psutil.pid_exists(postmaster.pid))

    def start(self) -> None:
        """Start again after kill() or stop()."""
        self.cluster.start()

    def stop(self, mode: str = "fast") -> None:
        """Stop; start() starts it again with all its data."""
        self.cluster.stop(mode)


def make_server(
    major: int, folder: Path, settings: Mapping[str, str] | None = None, *, shared: bool = False, copied: bool = False
) -> Server:  # fmt: skip
    """A server of version `major` in `folder`, running. One that is `copied` from what initdb has made once in a run starts
    sooner; all of these have one system identifier."""
    library = installed()[major].parent
    preload = {}
    if any(library.rglob("pg_stat_statements.so")):
        # Only where a test asks for it (Database.track_statements): it costs each statement some time.
        preload = {"shared_preload_libraries": "pg_stat_statements", "pg_stat_statements.track": "none"}
        if major >= 14:  # where it can be turned off
            preload["compute_query_id"] = "off"
    cluster = Cluster(programs=installed()[major], folder=folder, settings={**SETTINGS, **preload, **(settings or {})})
    if copied:
        _copy_data(cluster, folder.parent / f"initdb-{major}")
    cluster.start()
    return Server(major=major, cluster=cluster, shared=shared)


def _copy_data(cluster: Cluster, kept: Path) -> None:
    """Give a new cluster the data that initdb made once in this run, or make them, for it and for those to come."""
    lock = os.open(kept.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            first = Cluster(programs=cluster.programs, folder=kept.with_suffix(".new"), settings=cluster.settings)
            first.start()
            first.stop()
            first.folder.rename(kept)
    finally:
        os.close(lock)
    cluster.make_folder()
    # With their owner, who is not root.
    subprocess.run(["cp", "-a", kept / "data", cluster.data], check=True)
    cluster.log.unlink(missing_ok=True)


@contextmanager
def own_roles(server: Server) -> Iterator[Callable[..., str]]:
    """Inside the block a function makes roles; all that were made meanwhile are dropped at its end."""
    before = server.roles()
    made: list[str] = []

    def make(options: str = "LOGIN", *, name: str = "role", create: bool = True) -> str:
        made.append(f"{name}_{os.getpid()}_{next(_numbers)}")
        if create:
            server.execute(sql.SQL("CREATE ROLE {} {}").format(sql.Identifier(made[-1]), sql.SQL(options)))
        return made[-1]

    yield make
    # Twice, for those that hold one another by grants.
    for _ in range(2):
        server.drop_roles(server.roles() - before)


class Run:
    """The folders of one test run and the servers in them, which end with it.

    The run holds a lock as long as it lives; what a killed run left behind is cleared away by the next. `servers` is in
    memory if it may be and there is enough: making and dropping databases is mostly files.
    """

    def __init__(self, *, memory: bool = False) -> None:
        while True:
            # Short, for the sockets' sake, and not pytest's own folder, which nobody but root could enter.
            self.folder = Path(tempfile.mkdtemp(prefix=RUNS, dir=DISK))
            self.folder.chmod(0o711)
            self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            if self.folder.exists():  # and no sweep was faster
                break
            os.close(self._lock)
        self.servers = self.folder
        if memory and room_in_memory() >= ROOM:
            self.servers = MEMORY / self.folder.name
            self.servers.mkdir(mode=0o711)

    def close(self) -> None:
        """Stop the servers and remove the folders."""
        for folder in (MEMORY / self.folder.name, self.folder):
            clear(folder)
        os.close(self._lock)


def room_in_memory() -> int:
    """The bytes that files in memory may take: half of what is available, to this container as well."""
    try:
        disk = os.statvfs(MEMORY)
    except OSError:
        return 0
    available = psutil.virtual_memory().available
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        with suppress(OSError, ValueError):  # no such group, or no limit
            group = Path("/sys/fs/cgroup")
            available = min(available, int((group / limit).read_text()) - int((group / used).read_text()))
    return min(disk.f_bavail * disk.f_frsize, available // 2) if os.access(MEMORY, os.W_OK) else 0


def clear(folder: Path) -> None:
    """Stop the server in `folder` and every one in a folder of it, and remove it."""
    running = [
        found
        for pid_file in (*folder.glob("data/postmaster.pid"), *folder.glob("*/data/postmaster.pid"))
        if (found := _postmaster(pid_file)) is not None
    ]
    # Such a server is gone at once, as a killed one is, and takes its shared memory along.
    for postmaster in running:
        with suppress(psutil.Error):
            postmaster.send_signal(signal.SIGQUIT)
    with suppress(TimeoutError):
        wait_until(lambda: not any(map(_runs, running)), seconds=QUIT_SECONDS)
    for postmaster in running:
        with suppress(psutil.Error):
            _end(postmaster)
    shutil.rmtree(folder, ignore_errors=True)


def _postmaster(pid_file: Path) -> psutil.Process | None:
    with suppress(OSError, ValueError, IndexError, psutil.Error):
        pid, data = pid_file.read_text().splitlines()[:2]
        process = psutil.Process(int(pid))
        if Path(data) == pid_file.parent and "postgres" in process.name():
            return process
    return None


def _end(postmaster: psutil.Process) -> None:
    """SIGKILL to a server's processes, which are gone when this returns, but for the trace of those that nobody has
    waited for: they are the first process's, which may take its time."""
    family = [postmaster, *postmaster.children(recursive=True)]
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    wait_until(lambda: not any(map(_runs, family)))


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def sweep() -> None:
    """Clear away what runs left behind that were killed."""
    for folder in DISK.glob(RUNS + "*"):
        with suppress(OSError):
            lock = os.open(folder / "lock", os.O_RDWR)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                clear(MEMORY / folder.name)
                clear(folder)
            finally:
                os.close(lock)


def wait_until(condition: Callable[[], bool], *, seconds: float = 60) -> None:
    """Return as soon as `condition` holds; TimeoutError after `seconds`, which a slow machine may well need."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s")
        time.sleep(0.02)
