"""kill -9 of a move, or of the end of one, at statements, and of either server: the same command goes on, --abort undoes
it until the switch, and no row is lost, doubled or changed."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from conftest import Command
from daily import daily, nightly
from killed import KILLED, Order, served
from moves.applications import Application, check, working
from moves.conftest import HERE, Pair, build, empty, left, rows_of, spec_text
from servers import Database, Server, clear, make_server, wait_until
from tenantry import list_moves
from tenantry.errors import ExitStatus, TenantryError
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

pytestmark = [pytest.mark.server, pytest.mark.pg(">=15")]
MOST = 3000
"""Statements after which no run goes on."""


@dataclass(frozen=True)
class Driver:
    """Gives orders to tests/integration/moves/killed_process.py."""

    perform: Order

    def __call__(self, pair: Pair, number: int = MOST, *, abort: bool = False) -> tuple[int, str]:
        return self.perform(
            {"source": pair.source.dsn, "target": pair.target.dsn, "number": number, "slug": "two", "abort": abort,
             "spec": spec_text()}
        )  # fmt: skip


@pytest.fixture
def driver() -> Iterator[Driver]:
    with served(HERE / "killed_process.py") as perform:
        yield Driver(perform)


def state(pair: Pair) -> str:
    """What the source's journal tells of where the tenant is."""
    found = list_moves(Target(pair.source.dsn))
    return found[0].state if found else "none"


@pytest.mark.parametrize("stride", daily([37, 5]))
def test_killed(stride: int, pair: Pair, driver: Driver) -> None:
    """A move that dies is continued by the next one. At any moment the tenant's rows are complete on the side that the
    journal names, which accepts its writes once the dead run's session has ended, and only that side does."""
    before, others = rows_of(pair.source, "two"), rows_of(pair.source, "two", but=True)
    states = []
    for number in range(3, MOST, stride):
        ended, said = driver(pair, number)
        assert ended in (0, KILLED), said
        states.append(state(pair))
        here, there = (pair.source, pair.target) if states[-1] in ("none", "begun") else (pair.target, pair.source)
        assert rows_of(here, "two") == before
        assert rows_of(pair.source, "two", but=True) == others
        assert accepts(here, patience=3.0)
        assert there is pair.target or not accepts(there)
        if ended == 0:
            break
    assert states[-1] == "moved"
    assert {"none", "begun", "switched"} <= set(states), states
    assert left(pair.source, pair.target) == []


@pytest.mark.parametrize(("stride", "most"), daily([(53, 2), (7, MOST)]))
def test_killed_and_ended(stride: int, most: int, pair: Pair, driver: Driver) -> None:
    """--abort undoes whatever a dead run has done until the switch, and can die itself."""
    before, dumps = rows_of(pair.source, "two"), [pair.source.dump(), pair.target.dump()]
    aborted = killed = 0
    for number in range(180, MOST, stride):
        ended, said = driver(pair, number)
        assert ended in (0, KILLED), said
        if state(pair) in ("switched", "moved"):
            break
        if aborted == most:
            break
        aborted += state(pair) == "begun"
        for place in (*range(100 + number % stride, 400, 2 * stride), MOST):
            begun = state(pair)
            ended, said = driver(pair, place, abort=True)
            killed += ended == KILLED
            if begun == "none":
                assert (ended, said[:7]) == (ExitStatus.USAGE, "no move")
                break
            assert ended in (0, KILLED), said
        assert rows_of(pair.source, "two") == before
        assert left(pair.source, pair.target) == []
        assert [pair.source.dump(), pair.target.dump()] == dumps
    assert aborted >= 2
    assert killed >= 2


def accepts(database: Database, patience: float = 0.0) -> bool:
    """Whether the tenant's rows can be written there."""
    deadline = time.monotonic() + patience
    while True:
        try:
            with database.connect() as connection:
                key = "(SELECT id FROM firms WHERE slug = 'two')"
                found = connection.execute(f"UPDATE places SET code = code WHERE firm_id = {key}").rowcount
                connection.execute(f"INSERT INTO notes (text, firm_id) VALUES ('mine', {key})")
                connection.rollback()
            return found == 4
        except (psycopg.errors.SerializationFailure, psycopg.errors.NotNullViolation):
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.05)


# --- servers that die


@pytest.fixture
def crashing(server_version: int, run_folder: Path) -> Iterator[Pair]:
    """A pair on two servers that can be killed."""
    made: list[Server] = []
    for name in ("source", "target"):
        folder = run_folder / f"crash-{os.getpid()}-{name}"
        made.append(make_server(server_version, folder, {"synchronous_commit": "on"}))
    source, target = (one.create("tenants") for one in made)
    build(source, rows=400)
    empty(target)
    yield Pair(source=source, target=target, spec=Spec.parse(spec_text()))
    for one in made:
        clear(one.cluster.folder)


@pytest.mark.parametrize(
    ("victim", "seed"),
    [("target", 2), nightly(("source", 1)), *(nightly((v, s)) for s in range(3, 23) for v in ("source", "target"))],
)
def test_a_server_dies(victim: str, seed: int, crashing: Pair, pool: ThreadPoolExecutor) -> None:
    """Either server is killed at a random instant of a move, while the application writes: once it is back, the same
    command completes the move. Nothing that was committed is lost or doubled."""
    print(f"seed {seed}")
    chance = random.Random(seed)
    mine = Application(pair=crashing, slug="two")
    mine.tolerant = True
    server = crashing.source.server if victim == "source" else crashing.target.server
    with working(mine):
        moving = pool.submit(attempt, crashing)
        time.sleep(chance.uniform(0.05, 2.5))
        server.kill()
        time.sleep(chance.uniform(0.0, 0.3))
        server.start()
        moving.result(60)
        for _ in range(10):
            if (said := attempt(crashing)) == "done":
                break
            time.sleep(0.3)
        assert said == "done"
    check(mine)
    assert left(crashing.source, crashing.target) == []
    assert state(crashing) == "moved"
    assert not any(rows_of(crashing.source, "two").values())


def attempt(pair: Pair) -> str:
    try:
        if state(pair) != "moved":
            pair.move("two")
    except (TenantryError, psycopg.Error) as error:
        return str(error)
    return "done"


def test_the_command(pair: Pair, command: Callable[[str], Command]) -> None:
    """As a process: what prevents it, a dry run, a move, and the way back."""
    tenantry = command(pair.source.dsn)
    (tenantry.folder / "tenantry.toml").write_text(spec_text())
    refused = tenantry("tenants", "move", "two", "--to", pair.source.dsn)
    assert refused.status == ExitStatus.REFUSED
    assert "the same database" in refused.stderr
    dry = tenantry("tenants", "move", "two", "--to", pair.target.dsn, "--dry-run", "--json")
    assert dry.status == 0, dry.stderr
    assert dry.json["tables"]["public.items"] == 40
    assert dry.json["identities"] == ["public.moves", "public.notes"]
    assert dry.json["whole"] == ["public.notes"]
    missing = tenantry("tenants", "move", "two", "--to", pair.target.dsn, "--abort")
    assert (missing.status, "no move of the tenant" in missing.stderr) == (ExitStatus.USAGE, True)
    done = tenantry("tenants", "move", "two", "--to", pair.target.dsn, "--max-pause", "1500ms", "--location", "second")
    assert done.status == 0, done.stderr
    assert "two is at second; 137 rows deleted here." in done.stdout
    assert "at second" in tenantry("tenants", "list").stdout
    assert tenantry("status").status == 0


def test_interrupted_while_it_waits_for_the_slot(pair: Pair, command: Callable[[str], Command]) -> None:
    """Ctrl-C ends it at once, and the same command goes on; a server that cannot be reached is named before anything."""
    tenantry = command(pair.source.dsn)
    (tenantry.folder / "tenantry.toml").write_text(spec_text())
    nowhere = tenantry("tenants", "move", "two", "--to", "host=127.0.0.1 port=1 dbname=x")
    assert (nowhere.status, "Cannot connect" in nowhere.stderr) == (ExitStatus.CONNECTION, True), nowhere.stderr
    assert list_moves(Target(pair.source.dsn)) == ()
    waits = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_create_logical_replication_slot%'" \
        " AND state = 'active' AND pid <> pg_backend_pid()"  # fmt: skip
    with pair.source.connect() as holder:
        holder.execute("CREATE TABLE other (id integer)")
        process = tenantry.start("tenants", "move", "two", "--to", pair.target.dsn)
        wait_until(lambda: pair.source.rows(waits) == [(1,)], seconds=60)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
        assert process.returncode == ExitStatus.INTERRUPTED, stdout + stderr
        assert "Run the same command again" in stderr
    again = tenantry("tenants", "move", "two", "--to", pair.target.dsn)
    assert again.status == 0, again.stderr
    assert left(pair.source, pair.target) == []
