"""Killed while the server still works, or waits, for the process that is gone: what the next run meets."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from acceptance.comparing import State, assert_same
from acceptance.kill_targets import Subject
from acceptance.killing import VALIDATING, Kill
from acceptance.waiting_kills import WAITING, holding
from daily import daily
from servers import wait_until

pytestmark = pytest.mark.server

OURS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tenantry%'"


def killed_waiting(one: Subject, command: str, pattern: str) -> float:
    """Kill the run once its session waits in a statement that matches; when that was."""
    pid = one.killing.start(command)
    try:
        wait_until(lambda: one.database.rows(WAITING, [pattern]) != [(0,)])
    except TimeoutError:
        seen = one.database.rows("SELECT state, wait_event_type, wait_event, query FROM pg_stat_activity")
        raise AssertionError(f"nobody waits in {pattern}: {seen}") from None
    os.kill(pid, signal.SIGKILL)
    assert one.killing.finish().killed
    return time.monotonic()


WRITE = "INSERT INTO notices VALUES (9000, NULL, 'held')"
WAITS = {
    # An older writer keeps the index build waiting; a row lock the batches; a vacuum's lock the proof.
    "index build": ("INDEX CONCURRENTLY .*notices", (WRITE,)),
    "proof": (VALIDATING, ("LOCK TABLE docks IN SHARE UPDATE EXCLUSIVE MODE",)),
    "transaction": ("LOCK TABLE", (WRITE,)),
    "transaction behind a reader": ("LOCK TABLE|ALTER TABLE", ("LOCK TABLE docks IN ACCESS SHARE MODE",)),
}


@pytest.mark.parametrize("back", daily([False, True]), ids=["again", "back"])
@pytest.mark.parametrize("what", daily(WAITS, 3))
def test_killed_while_it_waits(
    what: str, back: bool, subject: Callable[..., Subject], undisturbed: Callable[..., State]
) -> None:
    """The same command at once, while the orphaned session may still be there, and while the other one still holds
    on; it finishes once that one lets go."""
    pattern, statements = WAITS[what]
    expected, one = undisturbed("harbour"), subject("harbour")
    if what in ("index build", "proof"):
        # Up to where it first happens, so that earlier steps do not wait for the lock that is held.
        kind = {"index build": "index", "proof": "foreign_key_valid"}[what]
        one.killing.run("migrate", Kill(event="started", kind=kind, number=1))
    with holding(one.database, *statements):
        killed = killed_waiting(one, "migrate", pattern)
        command = "rollback" if back else "migrate"
        one.killing.start(command)
        one.killing.until_said("event", "started")
        print(f"the next run goes on after {time.monotonic() - killed:.2f} s")
    assert one.killing.finish().status == 0, one.killing.current.said
    if not back:
        assert_same(expected, one.migrated())
        one.killing.complete("rollback")
    one.assert_original()


def test_killed_in_a_drop(subject: Callable[..., Subject], undisturbed: Callable[..., State]) -> None:
    """On the way back an index drop waits for an old transaction, and is killed: back all the same, or forth."""
    expected, one = undisturbed("harbour"), subject("harbour")
    one.killing.complete("migrate")
    for command in ("migrate", "rollback"):
        one.killing.run("rollback", Kill(event="started", kind="index", number=1))
        with holding(one.database, "SELECT count(*) FROM docks"):
            killed_waiting(one, "rollback", "DROP INDEX CONCURRENTLY")
        one.killing.complete(command)
        if command == "migrate":
            back = one.migrated()
            assert (back.rows, back.ours) == (expected.rows, expected.ours)
            assert back.schema == expected.schema
    one.assert_original()


def test_orphans_do_not_stay(subject: Callable[..., Subject]) -> None:
    """The server ends the sessions of a killed process within seconds, also while they wait for a lock."""
    one = subject("harbour")
    one.killing.run("migrate", Kill(event="started", kind="fill", number=2))
    with holding(one.database, "LOCK TABLE parcels IN SHARE MODE"):
        killed_waiting(one, "migrate", "batch|parcels")
        wait_until(lambda: one.database.rows(OURS) == [(0,)])
