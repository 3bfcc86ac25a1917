"""Hazard 15: two runs never overlap: not through a pooler, and not beside what a killed run has left at work."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from postgres.pooler import pooler
from servers import Database, Server, wait_until
from tenantry import MigrateOptions, RollbackOptions, migrate, rollback, validate
from tenantry.errors import ExitStatus, Refused
from tenantry.execution.events import CommandBegan, Event, Notice, StepEvent
from tenantry.model.plan import Phase
from tenantry.postgres.connect import Target
from tenantry.postgres.locks import RUN_LOCK

pytestmark = pytest.mark.server

Business = Callable[..., Any]
Pooled = Callable[[str], AbstractContextManager[str]]

SHOP = """
CREATE TABLE stores (id integer PRIMARY KEY, owner integer NOT NULL REFERENCES tenants);
INSERT INTO stores VALUES (1, 1), (2, 2);
"""
TABLES = """
[[table]]
name = "stores"
paths = [["owner"]]
"""


MIGRATING = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tenantry % migrate'"
)


class Pausing:
    """Stops a run at its first step until it may go on."""

    def __init__(self) -> None:
        self.run = ""
        self.there, self.go_on = threading.Event(), threading.Event()

    def __call__(self, event: Event) -> None:
        match event:
            case CommandBegan(_, run):
                self.run = run
            case StepEvent():
                self.there.set()
                assert self.go_on.wait(timeout=60)


class Hearing:
    """Keeps what is said."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def __call__(self, event: Event) -> None:
        match event:
            case Notice(message):
                self.heard.append(message)


@pytest.mark.usefixtures("impatient")
def test_the_second_run_says_who_holds_the_lock(business: Business, pool: ThreadPoolExecutor) -> None:
    """Exit 4 for every command that changes something; another database is another matter."""
    shop, first = business(SHOP, TABLES), Pausing()
    running = pool.submit(shop.migrate, Phase.ENFORCE, first)
    try:
        assert first.there.wait(timeout=60)
        ((pid,),) = shop.rows(MIGRATING)
        for again in (lambda: shop.migrate(Phase.ENFORCE), shop.rollback):
            with pytest.raises(Refused, match=rf"tenantry {first.run} migrate', pid {pid} as postgres") as refused:
                again()
            assert refused.value.status == ExitStatus.REFUSED == 4
            assert refused.value.remedy
    finally:
        first.go_on.set()
    running.result(timeout=60)
    assert shop.migrate(Phase.ENFORCE).applied == 0


@pytest.mark.usefixtures("impatient")
def test_nothing_runs_beside_a_rollback(business: Business, pool: ThreadPoolExecutor) -> None:
    """The next migrate, or rollback, is told of it, changes nothing, and goes through once it has ended."""
    shop, first = business(SHOP, TABLES), Pausing()
    shop.migrate(Phase.ENFORCE)
    running = pool.submit(rollback, shop.target, RollbackOptions(), first)
    try:
        assert first.there.wait(timeout=60)
        for again in (lambda: shop.migrate(Phase.ENFORCE), shop.rollback):
            with pytest.raises(Refused, match=f"tenantry {first.run} rollback'"):
                again()
    finally:
        first.go_on.set()
    running.result(timeout=60)
    assert shop.migrate(Phase.ENFORCE).applied > 0


def test_validate_looks_on_while_a_run_is_going_on(business: Business, pool: ThreadPoolExecutor) -> None:
    """It waits for nobody, says that what it misses may be yet to come, and leaves the run alone."""
    shop, first, watcher = business(SHOP, TABLES), Pausing(), Hearing()
    running = pool.submit(shop.migrate, Phase.ENFORCE, first)
    try:
        assert first.there.wait(timeout=60)
        verdict = validate(shop.target, shop.spec, observer=watcher)
        assert any(line.startswith("Another run is active") for line in watcher.heard)
        assert verdict.exit_status is ExitStatus.FINDINGS
    finally:
        first.go_on.set()
    assert running.result(timeout=60).applied > 0
    again = Hearing()
    validate(shop.target, shop.spec, observer=again)
    assert not any(line.startswith("Another run") for line in again.heard)


# --- poolers

if shutil.which("pgbouncer"):

    @pytest.fixture
    def pooled(server: Server, database: Database) -> Iterator[Pooled]:
        """`pooled("session")` is a DSN of the test's database through PgBouncer, for a block."""
        folder = Path(tempfile.mkdtemp(prefix="tenantry-pooler-", dir="/tmp"))
        folder.chmod(0o711)

        @contextmanager
        def through(mode: str) -> Iterator[str]:
            with pooler(server, folder / mode, mode) as dsn:
                yield make_conninfo(dsn, dbname=database.name)

        yield through
        shutil.rmtree(folder)

    def test_a_pooler_shows_the_hazard(pooled: Pooled, database: Database) -> None:
        """Two clients both hold the lock, and it outlives them."""
        with pooled("transaction") as dsn:
            for _ in range(2):
                with closing(psycopg.connect(dsn, autocommit=True)) as client:
                    row = client.execute("SELECT pg_try_advisory_lock(%s)", [RUN_LOCK]).fetchone()
                    assert row == (True,)
            held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
            assert database.rows(held) == [(1,)]

    @pytest.mark.parametrize("mode", ["transaction", "session"])
    def test_a_pooler_is_refused(pooled: Pooled, business: Business, mode: str) -> None:
        """Exit 4, and nothing is there afterwards: no lock, no setting, no schema of ours."""
        shop = business(SHOP, TABLES)
        with pooled(mode) as dsn:
            target = Target(dsn)
            for run in (
                lambda: migrate(target, shop.spec, MigrateOptions()),
                lambda: rollback(target, RollbackOptions()),
            ):
                with pytest.raises(Refused, match="pooler") as refused:
                    run()
                assert refused.value.status == ExitStatus.REFUSED
                assert "server itself" in refused.value.remedy
            with closing(psycopg.connect(target.conninfo, autocommit=True)) as application:
                assert application.execute("SHOW search_path").fetchone() == ('"$user", public',)
                assert application.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone() == (
                    0,
                )
        assert shop.rows("SELECT to_regnamespace('tenantry')") == [(None,)]


# --- a client that was killed

BUILDING = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    " AND query LIKE 'CREATE%%INDEX CONCURRENTLY%%'"
)
CLIENT = """
import sys, psycopg
with psycopg.connect(sys.argv[1], autocommit=True) as connection:
    connection.execute("SELECT pg_advisory_lock(%s)", [int(sys.argv[2])])
    connection.execute("SELECT set_config('client_connection_check_interval', %s, false)", [sys.argv[3]])
    connection.execute("CREATE INDEX CONCURRENTLY ON stores (owner)")
"""
MIGRATE = """
import sys
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target
from tenantry import MigrateOptions, migrate
migrate(Target(sys.argv[1]), Spec.parse(sys.argv[2]), MigrateOptions(until=Phase.ENFORCE))
"""


@contextmanager
def older_snapshot(database: Database) -> Iterator[None]:
    """What an index build waits for."""
    with closing(database.connect()) as session:
        session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT 1")
        yield


def killed_while_it_builds(database: Database, program: str, *arguments: str) -> int:
    """Run a program of ours until it builds an index, end it with SIGKILL, and return its backend's pid."""
    source = str(Path(__file__).parents[2] / "src")
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments], env=os.environ | {"PYTHONPATH": source}, stderr=subprocess.DEVNULL
    ) as process:
        try:
            wait_until(lambda: database.rows(BUILDING) != [] or process.poll() is not None)
            ((pid,),) = database.rows(BUILDING)
        finally:
            process.send_signal(signal.SIGKILL)
    return int(pid)


def alive(database: Database, pid: int) -> bool:
    return database.rows("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", [pid]) == [(1,)]


@pytest.mark.usefixtures("impatient")
def test_an_orphaned_build_shows_the_hazard(business: Business) -> None:
    """Nobody tells the server that its client is gone: it builds on, and holds the lock."""
    shop = business(SHOP, TABLES)
    with older_snapshot(shop.database):
        pid = killed_while_it_builds(shop.database, CLIENT, shop.database.dsn, str(RUN_LOCK), "0")
        with pytest.raises(TimeoutError):
            wait_until(lambda: not alive(shop.database, pid), seconds=2.5)
        with pytest.raises(Refused, match=f"pid {pid}"):
            shop.migrate(Phase.ENFORCE)


def test_an_orphaned_build_goes_away(business: Business, pool: ThreadPoolExecutor) -> None:
    """Within seconds, and the next run rebuilds the invalid index that it leaves."""
    shop = business(SHOP, TABLES)
    shop.migrate(Phase.BACKFILL)
    text = f'[tenant]\ntable = "tenants"\n[application]\nrole = "{shop.application}"\n{TABLES}'
    with older_snapshot(shop.database):
        pid = killed_while_it_builds(shop.database, MIGRATE, shop.database.dsn, text)
        wait_until(lambda: not alive(shop.database, pid))
        assert shop.rows("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == [(1,)]
        running = pool.submit(shop.migrate, Phase.ENFORCE)
    running.result(timeout=60)
    assert shop.rows("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == [(0,)]
    shop.rollback()
