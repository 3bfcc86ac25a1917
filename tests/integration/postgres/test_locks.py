from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from servers import Database, wait_until
from tenantry.errors import Refused
from tenantry.model.name import Name
from tenantry.postgres.connect import Target, connect
from tenantry.postgres.locks import Blocker, blockers, exclusive, hold_run_lock

pytestmark = pytest.mark.server
ORDER = Name("public", 'or"der')


def session(database: Database, run: str = "r1") -> psycopg.Connection[Any]:
    return connect(Target(database.dsn), run=run, purpose="test")


def at(session: psycopg.Connection[Any]) -> Target:
    return Target(session.info.dsn)


@contextmanager
def waiting(database: Database, statement: str) -> Iterator[int]:
    """The pid of a session in which `statement` waits for a lock."""
    with database.connect(autocommit=True) as waiter, database.connect(autocommit=True) as watcher:
        pid = waiter.info.backend_pid

        def run() -> None:
            with suppress(psycopg.errors.QueryCanceled):
                waiter.execute(statement)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            query = "SELECT cardinality(pg_blocking_pids(%s)) > 0"
            wait_until(lambda: watcher.execute(query, [pid]).fetchone() == (True,))
            yield pid
        finally:
            watcher.execute("SELECT pg_cancel_backend(%s)", [pid])
            thread.join()


@pytest.fixture
def order(database: Database) -> Database:
    database.execute('CREATE TABLE public."or""der" (id int PRIMARY KEY, n int)')
    database.execute('INSERT INTO public."or""der" VALUES (1, 1), (2, 2)')
    return database


def test_second_run_is_refused(database: Database) -> None:
    """It says who holds the lock, as what, and since when."""
    with session(database) as first, session(database, "r2") as second:
        with hold_run_lock(first, at(first)):
            with pytest.raises(Refused) as caught, hold_run_lock(second, at(second), patience=0):
                pass
            message = caught.value.message
            assert f"'tenantry r1 test', pid {first.info.backend_pid} as postgres, connected since 20" in message
        with hold_run_lock(second, at(second)):
            pass


def test_run_lock_ends_with_its_session(database: Database) -> None:
    """A run that is killed leaves no lock behind, and letting go of a lost session's lock is no error."""
    with session(database, "r2") as second:
        with session(database) as first, hold_run_lock(first, at(first)):
            second.execute("SELECT pg_terminate_backend(%s)", [first.info.backend_pid])

            def free() -> bool:
                try:
                    with hold_run_lock(second, at(second)):
                        return True
                except Refused:
                    return False

            wait_until(free)
        with hold_run_lock(second, at(second)):
            pass


def test_run_locks_of_databases_are_apart(new_database: Callable[..., Database]) -> None:
    """Runs on two databases of a server do not meet."""
    with (
        session(new_database()) as one,
        session(new_database()) as other,
        hold_run_lock(one, at(one)),
        hold_run_lock(other, at(other)),
    ):
        pass


def test_holder_that_may_not_be_seen(database: Database, role: Callable[..., str]) -> None:
    """A role that may not look into other sessions is still told pid and application."""
    dsn = make_conninfo(database.dsn, user=role())
    with (
        session(database) as first,
        connect(Target(dsn), purpose="x") as second,
        hold_run_lock(first, at(first)),
        pytest.raises(Refused, match=f"tenantry r1 test', pid {first.info.backend_pid}"),
        hold_run_lock(second, at(second), patience=0),
    ):
        pass


def test_nobody_blocks(database: Database) -> None:
    """A session that waits for nobody has no blockers."""
    with session(database) as connection:
        assert blockers(connection, connection.info.backend_pid) == []


def test_blocker_of_a_table(order: Database) -> None:
    """Who keeps a statement waiting for a table: with its query, its age, and the lock that it holds."""
    with order.connect(application_name="shop") as holder, session(order) as connection:
        holder_pid = holder.info.backend_pid
        holder.execute('SELECT * FROM public."or""der" /* ' + "x" * 300 + " */")
        with waiting(order, 'ALTER TABLE public."or""der" ADD COLUMN new int') as pid:
            [found] = blockers(connection, pid)
            # A reader behind the ALTER TABLE waits for one that waits itself.
            with waiting(order, 'SELECT FROM public."or""der"') as reader:
                [ahead] = blockers(connection, reader)
    assert (found.pid, found.user, found.application) == (holder_pid, "postgres", "shop")
    assert found.state == "idle in transaction"
    assert found.query.startswith("SELECT * FROM")
    assert len(found.query) == 200
    assert found.age is not None
    assert 0 < found.age < 60
    assert (found.relation, found.mode, found.granted) == (ORDER, "AccessShareLock", True)
    assert (ahead.pid, ahead.mode, ahead.granted) == (pid, "AccessExclusiveLock", False)
    assert 'holds AccessShareLock on public."or""der"' in str(found)
    assert "waits for AccessExclusiveLock" in str(ahead)


def test_blocker_of_a_row(order: Database) -> None:
    """A wait for a row names the table of the row."""
    with order.connect() as holder, session(order) as connection:
        holder_pid = holder.info.backend_pid
        holder.execute('UPDATE public."or""der" SET n = 3 WHERE id = 1')
        with waiting(order, 'UPDATE public."or""der" SET n = 4 WHERE id = 1') as pid:
            [found] = blockers(connection, pid)
    assert (found.pid, found.relation, found.mode) == (holder_pid, ORDER, "RowExclusiveLock")


@pytest.mark.parametrize(
    "statement",
    ['ALTER TABLE public."or""der" ADD COLUMN new int', 'UPDATE public."or""der" SET n = 4 WHERE id = 1'],
)
def test_prepared_transaction(order: Database, statement: str) -> None:
    """A prepared transaction, which no session stands behind, is named; one that blocks nothing is not."""
    with order.connect(autocommit=True) as holder, session(order) as connection:
        holder.execute("BEGIN; CREATE TABLE public.other (); PREPARE TRANSACTION 'idle one'")
        holder.execute('BEGIN; UPDATE public."or""der" SET n = 3; PREPARE TRANSACTION \'left over\'')
        try:
            with waiting(order, statement) as pid:
                [found] = blockers(connection, pid)
        finally:
            holder.execute("ROLLBACK PREPARED 'left over'")
            holder.execute("ROLLBACK PREPARED 'idle one'")
    assert (found.pid, found.query, found.state, found.user) == (0, "left over", "prepared", "postgres")
    assert (found.relation, found.mode) == (ORDER, "RowExclusiveLock")
    assert "prepared transaction 'left over'" in str(found)


def test_exclusive_tables(order: Database) -> None:
    """Who has a table to himself, or waits to have it, is found; others are not."""
    with order.connect() as holder, order.connect() as other, session(order) as connection:
        other.execute("SELECT FROM pg_class")
        holder_pid = holder.info.backend_pid
        holder.execute('LOCK TABLE public."or""der"')
        found: list[Blocker] = exclusive(connection)
    assert [(one.pid, one.relation, one.granted) for one in found] == [(holder_pid, ORDER, True)]
