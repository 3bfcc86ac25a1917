"""Servers, databases, roles and the command itself, for every test."""

from __future__ import annotations

import gc
import gzip
import itertools
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import psycopg
import pytest
from packaging.specifiers import SpecifierSet

from forked_command import Forks, Running
from operator_runs import Operating
from servers import Database, Run, Server, clear, installed, make_server, own_roles, sweep, version_name, wait_until
from small_disk import TinyDisk, tiny_disk
from tenantry.postgres.locks import hold_run_lock

ROOT = Path(__file__).parents[1]
REAL_DATABASES = Path(os.environ.get("TENANTRY_REALDB") or ROOT.parent / "shared" / "realdb")
CITUS = os.environ.get("TENANTRY_CITUS_DSN")
OLDEST, NEWEST = 14, 18
RUN = pytest.StashKey[Run]()
LEFT_OUT = pytest.StashKey[list[str]]()
_numbers = itertools.count(1)


# -- Options, and which test runs on which version


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("tenantry")
    group.addoption(
        "--pg",
        action="append",
        metavar="VERSION",
        help="major version of PostgreSQL to test on, may be repeated (default: 18); `matrix`: on 14 to 17 each test that"
        " is marked `server` on the oldest that it runs on, and on all of them if marked `differs`; `all`: every test on"
        " every version",
    )
    group.addoption("--no-skips", action="store_true", help="a skipped test makes the run fail")
    group.addoption(
        "--operator",
        action="store_true",
        help="only the tests whose runs can be an operator's: as the role that `operator-sql` makes, on databases of a"
        " hostile owner",
    )
    group.addoption(
        "--nightly",
        action="store_true",
        help="also the tests that are marked `nightly`, which `--pg all` runs in any case",
    )
    group.addoption("--soak", action="store_true", help="run the long tests, and only those")
    group.addoption(
        "--applications",
        action="store_true",
        help="run the suites of real applications, and only those (make applications)",
    )


def chosen(config: pytest.Config) -> list[int]:
    """The versions that --pg names, ascending; of `all`, those that are here."""
    names = config.getoption("--pg") or ["18"]
    supported = [major for major in installed() if major >= OLDEST]
    if "all" in names:
        return supported
    if "matrix" in names:
        if supported == [NEWEST]:
            raise pytest.UsageError("--pg matrix: of PostgreSQL 14 to 17 none is here (make servers)")
        return [major for major in supported if major != NEWEST]
    unknown = [name for name in names if not name.isdigit() or int(name) not in installed()]
    if unknown:
        raise pytest.UsageError(
            f"PostgreSQL {', '.join(unknown)} is not here; there are {', '.join(map(str, installed()))}"
        )
    return sorted({int(name) for name in names})


def heed_interrupts() -> None:
    """Have Ctrl-C interrupt this process and what it starts, as in a terminal: a script's shell has the programs that it
    starts in the background ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    heed_interrupts()
    Operating.wanted = config.getoption("--operator")
    if not hasattr(config, "workerinput"):
        chosen(config)
        sweep()
        # Long tests have gigabytes, and servers of every version at once are many.
        long = config.getoption("--soak") or "all" in (config.getoption("--pg") or ())
        config.stash[RUN] = Run(memory=not long)


def pytest_configure_node(node: Any) -> None:
    run = node.config.stash[RUN]
    node.workerinput |= {"folder": str(run.folder), "servers": str(run.servers)}


pytest_configure_node = pytest.hookimpl(optionalhook=True)(pytest_configure_node)


def pytest_unconfigure(config: pytest.Config) -> None:
    if RUN in config.stash:
        config.stash[RUN].close()


def pytest_report_header(config: pytest.Config) -> list[str]:
    here = ", ".join(version_name(major) for major in chosen(config))
    missing = [str(major) for major in range(13, 19) if major not in installed()]
    lines = [f"PostgreSQL: {here}"]
    if missing:
        lines.append(f"PostgreSQL not here, so its tests are left out: {', '.join(missing)} (make servers)")
    if not CITUS:
        lines.append("no Citus, so its tests are left out (TENANTRY_CITUS_DSN names a coordinator's database)")
    if not REAL_DATABASES.is_dir():
        lines.append("real databases not here, so their tests are left out (TENANTRY_REALDB names their folder)")
    return lines


def _allows(definition: pytest.Item | Any, major: int) -> bool:
    markers = definition.iter_markers("pg")
    return all(SpecifierSet(marker.args[0]).contains(str(major)) for marker in markers)


def _possible(metafunc: pytest.Metafunc) -> list[int]:
    """The versions that some case of a test may run on: of those that run on one alone, no others are made."""
    definition = metafunc.definition
    allowed = [major for major in chosen(metafunc.config) if _allows(definition, major)]
    for marker in definition.iter_markers("parametrize"):
        cases = marker.args[1]
        if not isinstance(cases, Collection) or any(getattr(case, "marks", ()) for case in cases):
            return allowed
    return _asked_for(allowed, definition)


def _asked_for(allowed: list[int], item: pytest.Item | Any) -> list[int]:
    """Those of the allowed versions that --pg has a test run on, by its marks."""
    names = item.config.getoption("--pg") or ()
    if "all" in names:
        return allowed
    if item.get_closest_marker("server") is None:
        return allowed[-1:]
    if "matrix" in names and item.get_closest_marker("differs") is None:
        return allowed[:1]
    return allowed


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "server_version" in metafunc.fixturenames:
        metafunc.parametrize(
            "server_version",
            # None: no version fits, and the test is deselected below, as are the versions that it does not run on.
            _possible(metafunc) or [None],
            ids=lambda major: f"pg{major}",
            indirect=True,
            scope="session",
        )


def _is_soak(item: pytest.Item) -> bool:
    return item.get_closest_marker("soak") is not None or ROOT / "tests" / "soak" in item.path.parents


def _is_chosen(item: pytest.Item) -> bool:
    """Whether a test belongs to what this run is: the suites of real applications, the soak, the nightly run, or what
    every change is held to."""
    applications = item.get_closest_marker("applications") is not None
    if item.config.getoption("--applications") or applications:
        return applications and item.config.getoption("--applications")
    if item.config.getoption("--soak"):
        return _is_soak(item)
    nightly = item.config.getoption("--nightly") or "all" in (item.config.getoption("--pg") or ())
    return not _is_soak(item) and (nightly or item.get_closest_marker("nightly") is None)


def _versions(item: pytest.Item) -> list[int]:
    """Those of --pg that a test runs on. Parameters have marks of their own, so each case is asked."""
    return _asked_for([major for major in chosen(item.config) if _allows(item, major)], item)


def _runs_here(item: pytest.Item) -> bool:
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    names = getattr(item, "fixturenames", ())
    version = parameters.get("server_version", 0)
    return (
        version is not None
        and (version == 0 or version in _versions(item))
        and ("server_13" not in names or 13 in installed())
        and ("realdb" not in names or REAL_DATABASES.is_dir())
        and ("citus_cluster" not in names or CITUS)
        and _is_chosen(item)
        and (not Operating.wanted or hasattr(item.module, "operated") or "subject" in names)
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("differs") and not item.get_closest_marker("server"):
            raise pytest.UsageError(f"{item.nodeid} is marked differs, and not server")
    # What cannot run here is deselected, not skipped: a skip is a failure in .ci/run.
    config.hook.pytest_deselected(items=[item for item in items if not _runs_here(item)])
    items[:] = [item for item in items if _runs_here(item)]


def pytest_collection_finish() -> None:
    # What is there now stays: a collection of garbage need not look at it again and again.
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if session.config.getoption("--no-skips") and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def package_seconds(reports: Iterable[Any]) -> dict[str, float]:
    """The seconds of setup, call and teardown that the reports tell of, by the package of their tests."""
    seconds: Counter[str] = Counter()
    for report in reports:
        if isinstance(report, pytest.TestReport):
            parts = PurePosixPath(report.nodeid.partition("::")[0]).parts
            seconds["/".join(parts[: 2 if len(parts) < 4 else 3])] += report.duration
    return dict(seconds.most_common())


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    seconds = package_seconds(itertools.chain.from_iterable(terminalreporter.stats.values()))
    if seconds:
        terminalreporter.write_sep("=", "seconds by package, summed over the workers")
        for package, took in seconds.items():
            terminalreporter.write_line(f"{took:8.1f}  {package}")
        terminalreporter.write_line(f"{sum(seconds.values()):8.1f}  in all")
    skipped = terminalreporter.stats.get("skipped")
    if config.getoption("--no-skips") and skipped:
        terminalreporter.write_line(f"--no-skips: {len(skipped)} skipped, so the run fails", red=True)


# -- Servers


@pytest.fixture(scope="session")
def server_version(request: pytest.FixtureRequest) -> int:
    """The major version that this test runs on."""
    return request.param


@pytest.fixture(scope="session")
def run_folder(request: pytest.FixtureRequest) -> Path:
    """Where the servers of this run live; each worker has its own, for roles belong to a whole server."""
    workerinput = getattr(request.config, "workerinput", None)
    return Path(workerinput["servers"]) if workerinput else request.config.stash[RUN].servers


@pytest.fixture(scope="session")
def disk_folder(request: pytest.FixtureRequest) -> Path:
    """A folder of this run that is on a disk."""
    workerinput = getattr(request.config, "workerinput", None)
    return Path(workerinput["folder"]) if workerinput else request.config.stash[RUN].folder


@pytest.fixture(scope="session")
def worker_servers(request: pytest.FixtureRequest, run_folder: Path) -> Iterator[Callable[[int], Server]]:
    """The server of a version, started on first use, stopped at the end of the run."""
    started: dict[int, Server] = {}
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    # It would go round all the templates, for tests that are long over before it comes to theirs.
    settings = {} if request.config.getoption("--soak") else {"autovacuum": "off"}

    def get(major: int) -> Server:
        if major not in started:
            started[major] = make_server(major, run_folder / f"{worker}-{major}", settings, shared=True, copied=True)
        return started[major]

    yield get
    for server in started.values():
        server.close()


@pytest.fixture(scope="session")
def server(server_version: int, worker_servers: Callable[[int], Server]) -> Server:
    """The server under test, shared by a worker's tests; roles that a test leaves are dropped after it."""
    return worker_servers(server_version)


@pytest.fixture(scope="session")
def server_13(worker_servers: Callable[[int], Server]) -> Server:
    """A server that is too old; tests that ask for it are left out where version 13 is missing."""
    return worker_servers(13)


@pytest.fixture
def crashable(server_version: int, run_folder: Path) -> Iterator[Server]:
    """A server of this test alone, to be killed (`kill()`) and started again (`start()`)."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    folder = run_folder / f"{worker}-crash-{next(_numbers)}"
    # fsync stays off: a killed server, unlike a killed machine, loses nothing that it has written.
    yield make_server(server_version, folder, {"synchronous_commit": "on"}, copied=True)
    clear(folder)


@pytest.fixture
def disk(server_version: int, disk_folder: Path) -> Iterator[TinyDisk]:
    """A server of this test alone, whose databases are on a disk that can be filled up."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    with tiny_disk(server_version, disk_folder / f"{worker}-disk-{next(_numbers)}") as made:
        yield made


# -- Databases and roles


@pytest.fixture
def role(server: Server) -> Iterator[Callable[..., str]]:
    """`role("LOGIN BYPASSRLS", name="auditor")` makes a role under a name of its own and returns it.

    With create=False the name is only reserved. All roles made during the test, by whomever, are dropped
    after its databases.
    """
    with own_roles(server) as make:
        yield make


@pytest.fixture
def new_database(server: Server, role: Callable[..., str]) -> Iterator[Callable[..., Database]]:
    """`new_database()` makes an empty database; `new_database(template)` a copy; dropped after the test."""
    made: list[Database] = []

    def make(template: str = "template1", *, name: str | None = None) -> Database:
        made.append(server.create(name or f"test_{os.getpid()}_{next(_numbers)}", template))
        return made[-1]

    yield make
    for database in made:
        server.drop(database)


@pytest.fixture
def database(new_database: Callable[..., Database]) -> Database:
    """An empty database of this test alone."""
    return new_database()


@pytest.fixture
def template(server: Server, new_database: Callable[..., Database]) -> Callable[..., Database]:
    """`template("estoque 1000", build)` is a copy of the database that `build(database)` fills once a worker.

    A test that writes uses its copy; roles that `build` makes stay, since the template needs them.
    """

    def copy(name: str, build: Callable[[Database], None]) -> Database:
        return new_database(server.template(name, build))

    return copy


@pytest.fixture
def realdb(template: Callable[..., Database]) -> Callable[[str], Database]:
    """`realdb("northwind")` is a copy of that real database; left out where their folder is missing."""

    def load(name: str) -> Database:
        script = gzip.decompress((REAL_DATABASES / f"{name}.sql.gz").read_bytes()).decode()
        return template(f"real {name}", lambda database: database.load(script))

    return load


# -- Other sessions


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Threads for the other sessions of a test."""
    with ThreadPoolExecutor() as threads:
        yield threads


@pytest.fixture
def waits(pool: ThreadPoolExecutor) -> Callable[..., Future[Any]]:
    """`waits(session, statement)` runs it in a thread, and returns as soon as it waits for another session."""

    def start(session: psycopg.Connection[Any], statement: str) -> Future[Any]:
        running = pool.submit(session.execute, statement)
        with psycopg.connect(session.info.dsn, autocommit=True) as look:
            query = "SELECT cardinality(pg_blocking_pids(%s)) > 0"
            wait_until(lambda: running.done() or look.execute(query, [session.info.backend_pid]).fetchone() == (True,))
        assert not running.done(), "it waits for nobody"
        return running

    return start


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of this process that do not wait for what a killed one may have left."""
    monkeypatch.setitem(hold_run_lock.__wrapped__.__kwdefaults__, "patience", 0.1)


# -- The command


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run of the command ended; it took `seconds`."""

    status: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def json(self) -> Any:
        """Standard output as the one JSON document that --json promises."""
        return json.loads(self.stdout)


class Command:
    """The real command as a process, in a folder of its own, where tenantry.toml, logs and reports are."""

    def __init__(self, folder: Path, dsn: str, forks: Forks) -> None:
        self.folder = folder
        self.dsn = dsn
        self.processes: list[Running] = []
        self._forks = forks

    def __call__(self, *arguments: str | Path, timeout: float = 120, **options: Any) -> Outcome:
        """Run to the end; options as for start()."""
        begun = time.monotonic()
        process = self.start(*arguments, **options)
        stdout, stderr = process.communicate(timeout=timeout)
        seconds = time.monotonic() - begun
        return Outcome(status=process.returncode, stdout=stdout, stderr=stderr, seconds=seconds)

    def start(
        self, *arguments: str | Path, dsn: str | None = None, environment: dict[str, str] | None = None
    ) -> Running:
        """Start and return at once; the process leads a group of its own, which ends with the test.

        The DSN is handed over as DATABASE_URL; an empty one leaves that out.
        """
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        inherited.pop("DATABASE_URL", None)
        url = self.dsn if dsn is None else dsn
        settings = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb", "PYTHONPATH": str(ROOT / "src")}
        self.processes.append(
            self._forks.start(
                [*map(str, arguments)],
                folder=self.folder,
                environment=inherited | settings | ({"DATABASE_URL": url} if url else {}) | (environment or {}),
            )
        )
        return self.processes[-1]

    def close(self) -> None:
        """End what still runs."""
        for process in self.processes:
            process.close()


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """Processes of the command, whose imports are paid once a worker."""
    running = Forks()
    yield running
    running.close()


@pytest.fixture
def tenantry(database: Database, command: Callable[[str], Command]) -> Command:
    """`tenantry("migrate", "--until", "expand")` runs the command on `database` and returns its Outcome.

    `tenantry.start(…)` returns the running process; `tenantry.folder` is its working folder.
    """
    return command(database.dsn)


@pytest.fixture
def command(tmp_path: Path, forks: Forks) -> Iterator[Callable[[str], Command]]:
    """`command(dsn)` is the command on any other DSN: a copy of a template, another server, none."""
    made: list[Command] = []

    def make(dsn: str = "") -> Command:
        made.append(Command(tmp_path, dsn, forks))
        return made[-1]

    yield make
    for one in made:
        one.close()
