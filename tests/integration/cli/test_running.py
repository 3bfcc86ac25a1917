"""What stands around every command: the run lock, the journal's row, and who is told of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest

from servers import Database
from tenantry.commands.running import Run, run
from tenantry.errors import ExitStatus, Failed, Interrupted, Refused
from tenantry.execution.events import CommandBegan, CommandEnded, Event
from tenantry.postgres.connect import Target
from tenantry.postgres.journal import Journal
from tenantry.postgres.locks import run_lock_held

pytestmark = pytest.mark.server


@dataclass
class Listener:
    told: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        match event:
            case CommandBegan(command):
                self.told.append(("began", command))
            case CommandEnded(outcome, next_step):
                self.told.append((outcome, next_step))


@pytest.fixture
def noted(database: Database) -> Database:
    with database.connect(autocommit=True) as connection:
        Journal(connection).install()
    return database


def rows(database: Database) -> list[Any]:
    return database.rows("SELECT command, options, exit_status, outcome FROM tenantry.runs ORDER BY started_at")


def attempt(
    database: Database, work: Callable[[Run], None], *, command: str = "migrate", user: str = "postgres",
    listener: Listener | None = None,
) -> None:  # fmt: skip
    target = Target(psycopg.conninfo.make_conninfo(database.dsn, user=user))
    with run(target, command, purpose="test", observer=listener) as current:
        work(current)


def lost(current: Run) -> None:
    current.connection.execute("SELECT 1 / 0")


def raising(error: BaseException) -> Callable[[Run], None]:
    def work(current: Run) -> None:
        raise error

    return work


@pytest.mark.parametrize(
    ("work", "raised", "status", "outcome"),
    [
        (raising(Refused("A person must decide")), Refused, ExitStatus.REFUSED, "A person must decide"),
        (raising(Failed("It stopped")), Failed, ExitStatus.FAILED, "It stopped"),
        (raising(Interrupted("Stopped")), Interrupted, ExitStatus.INTERRUPTED, "Stopped"),
        (raising(KeyboardInterrupt()), KeyboardInterrupt, ExitStatus.INTERRUPTED, "KeyboardInterrupt"),
        (raising(ValueError("no number")), ValueError, ExitStatus.FAILED, "no number"),
        (lost, psycopg.errors.DivisionByZero, ExitStatus.FAILED, "division by zero"),
    ],
)
def test_its_end_is_noted_whatever_happens(
    noted: Database, work: Callable[[Run], None], raised: type[BaseException], status: int, outcome: str
) -> None:
    """By an error of ours, of the driver's or of anybody's; the lock is given back, and nobody is told of an outcome."""
    listener = Listener()

    def begun(current: Run) -> None:
        current.begin(options="--until enforce")
        work(current)

    with pytest.raises(raised):
        attempt(noted, begun, listener=listener)
    assert rows(noted) == [("migrate", "--until enforce", status, outcome)]
    assert listener.told == [("began", "migrate")]
    with noted.connect(autocommit=True) as connection:
        assert not run_lock_held(connection)


def test_what_it_comes_to(noted: Database) -> None:
    """The journal and the observer hear it; a failure after that does not change what the run has done."""
    listener = Listener()
    with run(Target(noted.dsn), "rollback", purpose="test", observer=listener) as current:
        current.begin()
        current.finish("3 steps reverted", "Nothing.", exit_status=ExitStatus.FINDINGS)
        assert listener.told == [("began", "rollback")], "not before the connection is closed"
    assert listener.told[1:] == [("3 steps reverted", "Nothing.")]

    def late(current: Run) -> None:
        current.begin()
        current.finish("done")
        raise Failed("while the rows were counted")

    with pytest.raises(Failed):
        attempt(noted, late)
    assert [row[2:] for row in rows(noted)] == [(1, "3 steps reverted"), (0, "done")]


def test_before_it_begins_there_is_no_trace(noted: Database) -> None:
    """What is refused, or changes nothing, is no row of the journal."""
    with pytest.raises(Refused):
        attempt(noted, raising(Refused("undecided")))
    attempt(noted, lambda current: current.finish("nothing to do"))
    assert rows(noted) == []


def test_two_do_not_overlap(noted: Database) -> None:
    """The second is refused; what needs no lock goes on beside it."""
    entered, leave = threading.Event(), threading.Event()

    def first() -> None:
        with run(Target(noted.dsn), "migrate", purpose="test", observer=None):
            entered.set()
            leave.wait()

    thread = threading.Thread(target=first)
    thread.start()
    try:
        assert entered.wait(10)
        with run(Target(noted.dsn), "validate", purpose="test", observer=None, locks=False) as current:
            assert run_lock_held(current.connection)
        with pytest.raises(Refused, match="run"):
            attempt(noted, Run.begin)
    finally:
        leave.set()
        thread.join()


def test_who_may_only_read_goes_on(noted: Database, role: Callable[..., str]) -> None:
    """A lenient beginning on a journal that cannot be written is none, and neither is its end."""
    reader = role("LOGIN", name="reader")
    noted.execute(f"GRANT USAGE ON SCHEMA tenantry TO {reader}; GRANT SELECT ON tenantry.runs TO {reader}")
    target = Target(psycopg.conninfo.make_conninfo(noted.dsn, user=reader))
    with run(target, "validate", purpose="test", observer=None, locks=False) as current:
        current.begin(lenient=True)
        current.finish("Clean")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        attempt(noted, Run.begin, user=reader)
    assert rows(noted) == []
