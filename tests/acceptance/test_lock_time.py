"""How long a writer waits for us over a slow network: for the locks, and never for the network."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest
from psycopg import sql

from bystander import bystander
from servers import Database
from slow_network import slow_network
from tenantry.execution.transaction import Patience, run_together
from tenantry.model.name import Name
from tenantry.model.plan import Lock, LockMode, Phase, Statement
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target, connect
from tenantry.workflow import MigrateOptions, RollbackOptions, migrate, rollback

pytestmark = pytest.mark.server

DELAY = 0.025
"""Seconds, there and back each."""
SLACK = 0.35
"""Seconds that a busy machine may add, besides what it adds to a statement that nobody can stop."""
SPEC = """
[tenant]
table = "tenants"
[application]
role = "{role}"
[[table]]
name = "sales"
paths = [["owner"]]
"""


def build(database: Database, parts: int) -> None:
    database.execute(
        "CREATE TABLE tenants (id int PRIMARY KEY, slug text NOT NULL UNIQUE); INSERT INTO tenants VALUES (1, 'north');"
        "CREATE TABLE sales (id int PRIMARY KEY, owner int NOT NULL REFERENCES tenants) PARTITION BY RANGE (id)"
    )
    with database.connect() as session:
        for part in range(parts):
            session.execute(f"CREATE TABLE sales_{part} PARTITION OF sales FOR VALUES FROM ({part}) TO ({part + 1})")
        session.execute(f"INSERT INTO sales SELECT n, 1 FROM generate_series(0, {parts - 1}) AS n")


@contextmanager
def writer(database: Database, statement: str) -> Iterator[list[float]]:
    """A session that writes again and again; the seconds that each took."""
    took: list[float] = []
    over, begun = threading.Event(), threading.Event()

    def write() -> None:
        with closing(database.connect(autocommit=True)) as session:
            while not over.is_set():
                started = time.monotonic()
                session.execute(statement)
                took.append(time.monotonic() - started)
                begun.set()
                time.sleep(0.002)

    thread = threading.Thread(target=write)
    thread.start()
    begun.wait(60)
    try:
        yield took
    finally:
        over.set()
        thread.join()


WRITE = "UPDATE sales SET owner = owner WHERE id = 0"


def test_two_hundred_locks_cost_one_round_trip(template: Callable[..., Database]) -> None:
    """A writer of the first table waits for all that is done under the locks, and for COMMIT to arrive."""
    database = template("lock time 200", lambda database: build(database, 200))
    locks = tuple(Lock(Name("public", f"sales{part}"), LockMode.ACCESS_EXCLUSIVE)
                  for part in ("", *(f"_{number}" for number in range(200))))  # fmt: skip
    statements = [
        Statement(sql=sql.SQL("ALTER TABLE public.sales ADD COLUMN tenant int"), locks=locks),
        *(
            Statement(sql=sql.SQL("COMMENT ON TABLE {} IS 'x'").format(lock.table.identifier), locks=(lock,), when=sql.SQL("SELECT true"))
            for lock in locks[1:41]
        ),
    ]  # fmt: skip
    with (
        slow_network(database.dsn, DELAY) as dsn, closing(connect(Target(dsn), purpose="test")) as session,
        writer(database, WRITE) as took, bystander(database) as noise,
    ):  # fmt: skip
        outcome = run_together(session, statements, patience=Patience(timeout=1.0, budget=60))
    assert outcome.tries == 1
    assert max(took) < 2 * DELAY + SLACK + noise.seconds
    assert database.rows("SELECT count(*) FROM pg_description WHERE description = 'x'") == [(40,)]


@pytest.mark.parametrize("parts", [6, pytest.param(200, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])])
def test_each_phase(parts: int, template: Callable[..., Database], role: Callable[..., str]) -> None:
    """There and back, nobody waits longer than for a lock, what the step itself takes, and one round trip."""
    timeout = 1.0
    database = template(f"lock time {parts}", lambda database: build(database, parts))
    dump = database.dump()
    spec = Spec.parse(SPEC.format(role=role(create=False, name="app")))
    ways: list[tuple[str, Callable[[Target], object]]] = [
        (
            phase.value,
            lambda target, phase=phase: migrate(target, spec, MigrateOptions(until=phase, lock_timeout=timeout)),
        )
        for phase in Phase
    ]  # type: ignore[misc]
    ways.append(("rollback", lambda target: rollback(target, RollbackOptions(lock_timeout=timeout))))
    with slow_network(database.dsn, DELAY) as dsn:
        for name, way in ways:
            with writer(database, WRITE) as took, bystander(database) as noise:
                way(Target(dsn))
            print(f"{name}: the longest of {len(took)} waits was {max(took):.3f} s, bystander {noise.seconds:.3f} s")
            assert max(took) < 2 * DELAY + (SLACK if parts < 100 else timeout) + noise.seconds, name
    assert database.dump() == dump
