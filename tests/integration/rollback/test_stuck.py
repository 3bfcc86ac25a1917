"""status names who is in the way and what would end it; --terminate ends nobody else."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
import pytest

from conftest import ROOT, Command
from rollback.conftest import Business
from servers import wait_until
from tenantry import end_blocker
from tenantry.errors import Refused, UsageError
from tenantry.model.run import Stuck
from tenantry.postgres.connect import Target
from tenantry.postgres.stuck import stuck

pytestmark = pytest.mark.server


@contextmanager
def migrating(business: Business) -> Iterator[threading.Thread]:
    """A migrate that goes on until nobody is in its way any more."""
    thread = threading.Thread(target=lambda: business.migrate(lock_budget=120), daemon=True)
    thread.start()
    yield thread
    thread.join(timeout=120)
    assert not thread.is_alive()


@contextmanager
def holding(business: Business, statement: str) -> Iterator[psycopg.Connection[object]]:
    with business.database.connect(application_name="somebody") as holder:
        holder.execute(statement)
        yield holder
        with suppress(psycopg.Error):
            holder.rollback()


def stuck_session(business: Business, pid: int) -> Stuck | None:
    with business.database.connect(autocommit=True) as connection:
        return next((one for one in stuck(connection) if one.pid == pid), None)


def test_only_who_blocks_a_run(business: Business) -> None:
    """Not a bystander, not the run itself, not without consent; and then the one in the way, and the run goes on."""
    with (
        holding(business, "LOCK TABLE usuarios IN ACCESS SHARE MODE") as holder,
        holding(business, "SELECT 1") as bystander,
        migrating(business),
    ):
        pid = holder.info.backend_pid
        wait_until(lambda: (one := stuck_session(business, pid)) is not None and one.blocks_run, seconds=60)
        with pytest.raises(Refused, match="does not block any tenantry run"):
            end_blocker(business.target, bystander.info.backend_pid, agreed=lambda party: True, patience=1)
        with business.database.connect(autocommit=True) as connection:
            (run,) = {one.pid for one in stuck(connection) if one.run} or {0}
        if run:
            with pytest.raises(Refused, match="is a run of tenantry"):
                end_blocker(business.target, run, agreed=lambda party: True)
        with pytest.raises(UsageError, match="The session 2147483 does not exist"):
            end_blocker(business.target, 2147483, agreed=lambda party: True)
        with pytest.raises(Refused, match="The session was not terminated"):
            end_blocker(business.target, pid, agreed=lambda party: False, patience=60)
        assert holder.execute("SELECT 1").fetchone() == (1,)
        bystander.execute("SELECT 1")
        done = end_blocker(business.target, pid, agreed=lambda party: party.application == "somebody", patience=60)
        assert done.ended
        with pytest.raises(psycopg.OperationalError):
            holder.execute("SELECT 1")
        assert bystander.execute("SELECT 1").fetchone() == (1,)
    assert business.rollback().exit_status == 0


def test_index_build(business: Business) -> None:
    """An index build that waits for an old snapshot: both are named, with what would end the older one."""
    with (
        holding(business, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ") as holder,
        business.database.connect(autocommit=True) as builder,
    ):
        holder.execute("SELECT count(*) FROM produtos")
        pid = holder.info.backend_pid
        thread = threading.Thread(target=builder.execute, args=["CREATE INDEX CONCURRENTLY mine ON usuarios (nome)"])
        thread.start()
        wait_until(
            lambda: (one := stuck_session(business, builder.info.backend_pid)) is not None and one.waits_for == (pid,),
            seconds=60,
        )
        build = stuck_session(business, builder.info.backend_pid)
        assert build is not None
        assert build.build is not None
        assert str(build.build.table) == "public.usuarios"
        old = stuck_session(business, pid)
        assert old is not None
        assert old.blocks == (builder.info.backend_pid,)
        assert not old.blocks_run
        with business.database.connect(autocommit=True) as connection:
            connection.execute(old.ending)
        thread.join(timeout=60)
        assert not thread.is_alive()


def test_asks_first(business: Business, shop: Command) -> None:
    """On a terminal the command asks, and No ends nobody; without one it refuses, unless forced."""
    with holding(business, "LOCK TABLE usuarios IN ACCESS SHARE MODE") as holder, migrating(business):
        pid = holder.info.backend_pid
        wait_until(lambda: (one := stuck_session(business, pid)) is not None and one.blocks_run, seconds=60)
        refused = shop("status", "--terminate", str(pid))
        assert refused.status == 4
        assert "needs a confirmation" in refused.stderr
        status, said = answered(shop, "n\n", "status", "--terminate", str(pid))
        assert f"Terminate the session {pid}" in said
        assert status == 4, said
        assert holder.execute("SELECT 1").fetchone() == (1,)
        status, said = answered(shop, "y\n", "status", "--terminate", str(pid))
        assert status == 0, said
        assert "was terminated" in said


def answered(shop: Command, answer: str, *arguments: str) -> tuple[int, str]:
    """The command on a terminal, with an answer to its question."""
    controller, terminal = pty.openpty()
    environment = {**os.environ, "DATABASE_URL": shop.dsn, "PYTHONPATH": str(ROOT / "src"), "COLUMNS": "200"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tenantry", *arguments], cwd=shop.folder, env=environment, stdin=terminal,
        stdout=terminal, stderr=terminal, start_new_session=True,
    )  # fmt: skip
    os.close(terminal)
    said, deadline, asked = "", time.monotonic() + 90, False
    while time.monotonic() < deadline:
        if select.select([controller], [], [], 0.2)[0]:
            try:
                said += os.read(controller, 65536).decode(errors="replace")
            except OSError:
                break
        if not asked and "[y/N]" in said:
            os.write(controller, answer.encode())
            asked = True
        if process.poll() is not None and not select.select([controller], [], [], 0)[0]:
            break
    os.close(controller)
    return process.wait(timeout=60), said


def test_prepared_transaction(business: Business) -> None:
    """A prepared transaction has no pid: its statement is ROLLBACK PREPARED, its name quoted."""
    with business.database.connect(autocommit=True) as connection:
        connection.execute("BEGIN; LOCK TABLE usuarios IN ACCESS SHARE MODE; PREPARE TRANSACTION 'it''s theirs'")
        try:
            waiter = business.database.connect(autocommit=True)
            thread = threading.Thread(target=waiter.execute, args=["ALTER TABLE usuarios ADD theirs int"])
            thread.start()
            wait_until(lambda: (one := stuck_session(business, 0)) is not None and bool(one.blocks), seconds=60)
            found = stuck_session(business, 0)
            assert found is not None
            connection.execute(found.ending)
            thread.join(timeout=60)
            assert not thread.is_alive()
            waiter.close()
        finally:
            left = connection.execute("SELECT 1 FROM pg_prepared_xacts WHERE database = current_database()").fetchall()
            assert not left


def test_nothing_is_stuck(business: Business) -> None:
    """A quiet database has no such line."""
    with business.database.connect(autocommit=True) as connection:
        assert stuck(connection) == ()
    assert Target(business.database.dsn)
