"""A server, and copies of a shop that tenantry has migrated, for the tests of the application's side."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tenantry_app
from pgbouncer import PGBOUNCER
from servers import Database, Run, Server, make_server, sweep
from shop import build

RUN = pytest.StashKey[Run]()
PROGRAMS = {"redis": shutil.which("redis-server"), "pgbouncer": PGBOUNCER}
"""What tests that are marked with these names need."""
_numbers = itertools.count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("tenantry")
    group.addoption("--pg", type=int, default=18, help="major version of PostgreSQL to test on (default: 18)")
    group.addoption("--nightly", action="store_true", help="also the tests that are marked `nightly`")
    group.addoption("--no-skips", action="store_true", help="a skipped test makes the run fail")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        sweep()
        config.stash[RUN] = Run(memory=True)


def pytest_report_header() -> str | None:
    missing = " and ".join(name for name, found in PROGRAMS.items() if found is None)
    return f"left out: the tests that need {missing}, which `make system` installs" if missing else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    marks = {"nightly": config.getoption("--nightly"), **PROGRAMS}
    left_out = [item for item in items if any(item.get_closest_marker(name) and not on for name, on in marks.items())]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput |= {"servers": str(node.config.stash[RUN].servers)}


def pytest_unconfigure(config: pytest.Config) -> None:
    if RUN in config.stash:
        config.stash[RUN].close()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if session.config.getoption("--no-skips") and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def run_folder(request: pytest.FixtureRequest) -> Path:
    """Where this worker may put servers."""
    workerinput = getattr(request.config, "workerinput", None)
    return Path(workerinput["servers"]) if workerinput else request.config.stash[RUN].servers


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest, run_folder: Path) -> Server:
    """The server of this worker."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    return make_server(request.config.getoption("--pg"), run_folder / f"{worker}-app")


@pytest.fixture
def new_shop(server: Server) -> Iterator[Callable[[], Database]]:
    """`new_shop()` is a copy of the shop, dropped after the test."""
    made: list[Database] = []

    def make() -> Database:
        made.append(server.create(f"test_{os.getpid()}_{next(_numbers)}", server.template("shop", build)))
        return made[-1]

    yield make
    for database in made:
        server.drop(database)


@pytest.fixture
def shop(new_shop: Callable[[], Database]) -> Database:
    """A copy of the shop for a test that writes."""
    return new_shop()


@pytest.fixture(scope="session")
def _read_shop(server: Server) -> Database:
    return server.create(f"read_{os.getpid()}", server.template("shop", build))


@pytest.fixture(scope="session")
def dsn(_read_shop: Database) -> str:
    """A shop that all tests of a worker read, as the application's role."""
    return application(_read_shop)


@pytest.fixture(autouse=True)
def unconfigured() -> Iterator[None]:
    """What a test configures ends with it."""
    yield
    tenantry_app.configure()


def application(database: Database) -> str:
    """The DSN of the application's role."""
    return f"{database.dsn} user=shop_app".replace("user=postgres ", "")
