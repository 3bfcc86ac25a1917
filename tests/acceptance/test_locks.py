"""A lock held by someone else: migrate names the blocker, gives up in its budget, keeps nobody waiting for long."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest

from acceptance import network_writers
from daily import nightly
from latency import unblocked_session
from servers import Database, wait_until
from tenantry import MigrateOptions, RollbackOptions, migrate, rollback
from tenantry.errors import ExitStatus, Failed, Interrupted, Refused
from tenantry.execution.events import Event, LocksRefused
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

pytestmark = pytest.mark.server

LOCK_TIMEOUT = 0.5
BUDGET = 2.5
NOISE = 0.7
"""Seconds that a busy machine may add to a statement, besides what it adds to one that nobody can stop."""
COUNT = (
    "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
    " WHERE a.application_name LIKE 'tenantry %' AND l.relation > 16384"
)


class Listener:
    """Keeps who was in the way."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def __call__(self, event: Event) -> None:
        match event:
            case LocksRefused(_, blockers):
                self.heard += blockers


@pytest.fixture
def network(template: Callable[..., Database]) -> Database:
    return template("network", lambda database: database.execute(network_writers.SCHEMA.format(rows=1000)))


@pytest.fixture
def spec(role: Callable[..., str]) -> Spec:
    return Spec.parse(network_writers.SPEC.format(role=role(create=False, name="app"), legacy="[]"))


@contextmanager
def locks_held(database: Database, *statements: str) -> Iterator[int]:
    """A session that is idle in a transaction, with the locks of these statements; its pid."""
    with database.connect(application_name="somebody") as holder:
        for statement in statements:
            holder.execute(statement)
        yield holder.info.backend_pid


@contextmanager
def polled(database: Database, statement: str) -> Iterator[list[float]]:
    """A session that runs this statement again and again, and how long each took, in seconds."""
    took: list[float] = []
    stop, begun = threading.Event(), threading.Event()

    def poll() -> None:
        with database.connect(autocommit=True) as session:
            while not stop.wait(0.01):
                started = time.monotonic()
                session.execute(statement)
                took.append(time.monotonic() - started)
                begun.set()

    thread = threading.Thread(target=poll)
    thread.start()
    begun.wait(60)
    try:
        yield took
    finally:
        stop.set()
        thread.join()


def options(until: Phase) -> MigrateOptions:
    return MigrateOptions(until=until, lock_timeout=LOCK_TIMEOUT, lock_budget=BUDGET)


def patient(until: Phase) -> MigrateOptions:
    """For a run that nobody, or nobody for long, is in the way of."""
    return MigrateOptions(until=until, lock_timeout=LOCK_TIMEOUT, lock_budget=120)


WRITE = "UPDATE employees SET name = name WHERE id = 1"
READ = "SELECT count(*) FROM sales"
HOLDERS = {
    "idle in transaction, has written": (
        ("UPDATE employees SET name = 'x' WHERE id = 2",),
        WRITE.replace("= 1", "= 3"),
    ),
    "idle in transaction, has read": (("SELECT FROM employees LIMIT 1",), WRITE),
    "four partitions": (tuple(f"SELECT FROM sales_{n} LIMIT 1" for n in range(1, 5)), READ),
    "the last partition": (("SELECT FROM sales_4 LIMIT 1",), READ),
}


MOST = "four partitions"
"""What is held on 14 to 17."""


@pytest.mark.parametrize(
    "who", [who if who == MOST else nightly(pytest.param(who, marks=pytest.mark.pg(">= 18"))) for who in HOLDERS]
)
def test_expand(who: str, network: Database, spec: Spec) -> None:
    """ADD COLUMN wants the table for itself: it is not had, nobody queues behind for longer than lock_timeout, nothing
    is half-done, and the same command finishes later."""
    dump = network.dump()
    statements, other = HOLDERS[who]
    listener = Listener()
    with locks_held(network, *statements) as pid, polled(network, other) as took, unblocked_session(network) as noise:
        begun = time.monotonic()
        with pytest.raises(Failed) as failed:
            migrate(Target(network.dsn), spec, options(Phase.EXPAND), listener)
        seconds = time.monotonic() - begun
        wait_until(lambda: network.rows(COUNT) == [(0,)])  # its session may take a moment to end
    print(f"\n{who}: gave up after {seconds:.1f} s; the longest wait was {max(took):.2f} s of {len(took)}")
    assert failed.value.status is ExitStatus.FAILED
    assert seconds < BUDGET + 60
    assert any(f"pid {pid}" in message and statements[-1][:20] in message for message in listener.heard), listener.heard
    assert any(f"pid {pid}" in detail for detail in failed.value.details)
    assert max(took) < LOCK_TIMEOUT + NOISE + noise.seconds
    migrate(Target(network.dsn), spec, patient(Phase.ENFORCE), listener)
    rollback(Target(network.dsn), RollbackOptions())
    assert network.dump() == dump


@pytest.mark.parametrize("until", [pytest.param(Phase.ENFORCE, marks=pytest.mark.pg("< 18")), Phase.ISOLATE])
def test_later_phases(until: Phase, network: Database, spec: Spec) -> None:
    """The same at constraints and at policies; each run that gives up leaves what the next one goes on from."""
    dump = network.dump()
    before = {Phase.ENFORCE: Phase.BACKFILL, Phase.ISOLATE: Phase.ENFORCE}[until]
    migrate(Target(network.dsn), spec, patient(before))
    listener = Listener()
    with (
        locks_held(network, "SELECT FROM stores LIMIT 1") as pid,
        polled(network, WRITE) as took,
        unblocked_session(network) as noise,
    ):
        for _ in range(2):
            with pytest.raises(Failed) as failed:
                migrate(Target(network.dsn), spec, options(until), listener)
            assert any(f"pid {pid}" in detail for detail in failed.value.details)
    assert max(took) < LOCK_TIMEOUT + NOISE + noise.seconds
    with (
        locks_held(network, "SELECT FROM stores LIMIT 1"), polled(network, WRITE) as took, unblocked_session(network) as noise,
        pytest.raises(Failed),
    ):  # fmt: skip
        rollback(Target(network.dsn), RollbackOptions(lock_timeout=LOCK_TIMEOUT, lock_budget=BUDGET), listener)
    assert max(took) < LOCK_TIMEOUT + NOISE + noise.seconds
    migrate(Target(network.dsn), spec, patient(until), listener)
    rollback(Target(network.dsn), RollbackOptions())
    assert network.dump() == dump


def test_released_in_time(network: Database, spec: Spec) -> None:
    """Somebody who lets go within the budget delays the run, and that is all."""

    class Asking(Listener):
        def __call__(self, event: Event) -> None:
            super().__call__(event)
            if isinstance(event, LocksRefused):
                holder.commit()

    with network.connect() as holder:
        holder.execute("SELECT FROM employees LIMIT 1")
        pid = holder.info.backend_pid
        listener = Asking()
        migrate(Target(network.dsn), spec, patient(Phase.EXPAND), listener)
    assert any(f"pid {pid}" in message for message in listener.heard)


def test_interrupted_in_its_last_try(network: Database, spec: Spec) -> None:
    """Ctrl-C while the try is under way that the budget leaves: an interruption, and not a lock that was not to be
    had."""
    waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'employees'::regclass"

    def interrupt() -> None:
        wait_until(lambda: network.rows(waits) != [(0,)])
        os.kill(os.getpid(), signal.SIGINT)

    with locks_held(network, "SELECT FROM employees LIMIT 1"), ThreadPoolExecutor() as pool:
        asked = pool.submit(interrupt)
        with pytest.raises(Interrupted):
            migrate(Target(network.dsn), spec, MigrateOptions(until=Phase.EXPAND, lock_timeout=3, lock_budget=0.1))
        asked.result()


@pytest.mark.parametrize("privileged", ["a table", "a member of who owns it"])
def test_old_roles_are_refused(privileged: str, network: Database, spec: Spec, role: Callable[..., str]) -> None:
    """Isolate would shut out a role that is in no class, and its sessions: exit 4, both are named, nothing changes."""
    old = role(name="old")
    network.execute(f"GRANT SELECT, INSERT ON sales TO {old}")
    if privileged != "a table":
        group = role("NOLOGIN", name="group")
        network.execute(f"REVOKE ALL ON sales FROM {old}; GRANT SELECT ON sales TO {group}; GRANT {group} TO {old}")
    migrate(Target(network.dsn), spec, patient(Phase.ENFORCE))
    dump = network.dump()
    with network.connect(user=old, application_name="till"):
        with pytest.raises(Refused) as refused:
            migrate(Target(network.dsn), spec, options(Phase.ISOLATE))
        said = "\n".join([refused.value.message, *refused.value.details])
        assert refused.value.status is ExitStatus.REFUSED
        assert old in said
        assert "till" in said
        assert network.dump() == dump
        listed = Spec.parse(network_writers.SPEC.format(role=spec.application.role, legacy=json.dumps([old, *(
            [group] if privileged != "a table" else [])])))  # fmt: skip
        migrate(Target(network.dsn), listed, patient(Phase.ISOLATE))
    with network.connect(user=old) as session, pytest.raises(psycopg.errors.InsufficientPrivilege):
        session.execute("SELECT FROM stores")
