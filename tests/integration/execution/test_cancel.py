"""A stop cancels the statement that may be cancelled, whenever it is requested, and no other one."""

import threading
import time
from typing import Any, cast

import psycopg
import pytest
from psycopg import sql

from servers import Database
from tenantry.execution.runner import Runner
from tenantry.model.plan import ExecutionMode, Statement
from tenantry.postgres.journal import Journal

LONG = Statement(sql=sql.SQL("SELECT pg_sleep(20)"), manner=ExecutionMode.CONCURRENT)


class Delayed(psycopg.Connection[Any]):
    """Sends a long statement late, and says so before."""

    delay = 0.0
    about_to_send: threading.Event

    def execute(self, query: Any, *arguments: Any, **options: Any) -> Any:
        if isinstance(query, sql.Composed) and "pg_sleep" in query.as_string(None):
            self.about_to_send.set()
            time.sleep(self.delay)
        return super().execute(query, *arguments, **options)


@pytest.fixture
def runner(database: Database) -> Any:
    with Delayed.connect(database.dsn, autocommit=True) as connection:
        connection.about_to_send = threading.Event()
        yield Runner(connection=connection, journal=cast(Journal, None), run="", backfill=lambda step: 0)


def test_before_the_statement_has_arrived(runner: Runner) -> None:
    connection = cast(Delayed, runner.connection)
    connection.delay = 1.0

    def stop() -> None:
        connection.about_to_send.wait()
        runner.interrupt()

    thread = threading.Thread(target=stop)
    thread.start()
    begun = time.monotonic()
    with pytest.raises(psycopg.errors.QueryCanceled):
        runner.groups([LONG])
    assert time.monotonic() - begun < 10
    thread.join(5)
    assert not thread.is_alive()


def test_nothing_else_is_cancelled(runner: Runner) -> None:
    """A stop that is requested before the statement ends the run, and later statements are not cancelled."""
    cancelled: list[float] = []
    runner.stop.set()
    with pytest.raises(Exception, match="Stopped between two steps"):
        runner.groups([LONG])
    threading.Thread(target=lambda: (runner.interrupt(), cancelled.append(time.monotonic()))).start()
    runner.connection.execute("SELECT pg_catalog.pg_sleep(1)")
    assert cancelled
