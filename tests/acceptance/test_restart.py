"""The server killed and restarted under a run; Ctrl-C in the backfill and in an index build."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from acceptance.comparing import State, assert_same
from acceptance.kill_scenarios import SCENES
from acceptance.kill_targets import Subject, make_subject
from acceptance.killing import ANY, BATCH, BUILD, VALIDATE, VALIDATING, Ended, Kill
from acceptance.waiting_kills import WAITING, holding
from daily import daily
from servers import Database, Server, wait_until

pytestmark = pytest.mark.server

SMALL = {"stripes": 1, "unit": 4, "first_batch": 1}


@pytest.fixture
def victim(crashable: Server, tmp_path: Path, process: subprocess.Popen[str]) -> Iterator[Callable[[str], Subject]]:
    """`victim("estoque")` is a subject on a server of its own, which may be killed."""
    made: list[Subject] = []

    def make(name: str) -> Subject:
        database = crashable.create(f"victim_{len(made)}")
        SCENES[name].build(database)
        if not made:
            crashable.execute("CREATE ROLE victims_legacy")
        made.append(make_subject(database, name, tmp_path, process, f"app_{len(made)}", "victims_legacy", **SMALL))
        return made[-1]

    yield make
    for one in made:
        one.killing.abandon()


def assert_lost(ended: Ended) -> None:
    """Exit 5, one sentence, and what to do next."""
    assert ended.status == 5, ended.lines[-3:]
    error, remedy = ended.get("error"), ended.get("remedy")
    assert "\n" not in error
    assert "connection" in error.lower()
    assert "again" in remedy


MOMENTS = {
    "anywhere": Kill(statement=ANY, number=700, stops=True),
    "batch": Kill(statement=BATCH, number=30, stops=True),
    "index build": Kill(statement=BUILD, number=2, stops=True),
    "proof": Kill(statement=VALIDATE, number=3, stops=True),
    "between two steps": Kill(event="applied", number=40, stops=True),
}


OLDER = ("anywhere", "between two steps")
"""On 14 to 17; on 18 the others, which are the harder ones."""


@pytest.mark.parametrize(
    "moment",
    daily(
        (pytest.param(moment, marks=pytest.mark.pg("< 18" if moment in OLDER else ">= 18")) for moment in MOMENTS), 2
    ),
)
def test_server_killed(
    moment: str, crashable: Server, victim: Callable[[str], Subject], undisturbed: Callable[..., State]
) -> None:
    """kill -9 of the postmaster and all its processes: exit 5; restarted, the run finishes; or goes back."""
    expected, one = undisturbed("estoque"), victim("estoque")
    for command in ("migrate", "rollback"):
        pid = one.killing.start("migrate", MOMENTS[moment])
        one.killing.until_said("stopped")
        crashable.kill()
        os.kill(pid, signal.SIGCONT)
        assert_lost(one.killing.finish())
        crashable.start()
        one.killing.complete(command)
        if command == "migrate":
            assert_same(expected, one.migrated())
            one.killing.complete("rollback")
        one.assert_original()


def test_server_killed_on_the_way_back(crashable: Server, victim: Callable[[str], Subject]) -> None:
    """The same in a rollback, at several instants."""
    one = victim("estoque")
    one.killing.complete("migrate")
    for number in (20, 200):
        pid = one.killing.start("rollback", Kill(statement=ANY, number=number, stops=True))
        one.killing.until_said("stopped")
        crashable.kill()
        os.kill(pid, signal.SIGCONT)
        assert_lost(one.killing.finish())
        crashable.start()
    one.killing.complete("rollback")
    one.assert_original()


def test_resumes_from_the_checkpoint(crashable: Server, victim: Callable[[str], Subject]) -> None:
    """An immediate shutdown in the middle of the backfill: what was done is not gone through again."""
    one = victim("middling estoque")
    one.killing.workers = 1
    pid = one.killing.start("migrate", Kill(statement=rf"({BATCH})[^;]*estoque_movimentacoes", number=14, stops=True))
    one.killing.until_said("stopped")
    # Batches commit asynchronously: the last ones may be lost with their checkpoints, until one behind them is on disk.
    one.database.execute("SELECT pg_logical_emit_message(true, 'test', 'on disk')")
    crashable.stop("immediate")
    os.kill(pid, signal.SIGCONT)
    assert_lost(one.killing.finish())
    crashable.start()
    left = one.database.rows(
        "SELECT sum(past - next)::int, sum(next - first)::int, sum(rows)::int FROM tenantry.progress"
        " WHERE relation LIKE '%movimentacoes%'"
    )[0]
    assert left[1] >= 8, f"pages that are done: {left}"
    ended = one.killing.complete("migrate")
    begun = [line for line in ended.lines if line.get("started") == "public.estoque_movimentacoes"]
    assert left[0] > 0
    assert begun[0]["pages"] == left[0], "only the pages that were left are gone through"
    total = one.database.rows("SELECT count(*)::int FROM estoque_movimentacoes")[0][0]
    gone = sum(line["rows"] for line in ended.lines if line.get("advanced") == "public.estoque_movimentacoes")
    assert gone == total - left[2], "no row is given its tenant twice"


# -- Ctrl-C


SOON = 20
"""Seconds in which a slow machine ends a run as well; what it would have waited for takes minutes."""


def assert_interrupted(one: Subject, pid: int) -> None:
    """SIGINT leads soon to an end with exit 130 that says how to go on."""
    begun = time.monotonic()
    os.kill(pid, signal.SIGINT)
    ended = one.killing.finish()
    assert ended.status == 130, ended.lines[-3:]
    assert "again" in ended.get("remedy")
    assert time.monotonic() - begun < SOON


def test_interrupted_backfill(subject: Callable[..., Subject], undisturbed: Callable[..., State]) -> None:
    """Ctrl-C ends after the batch in hand; the next run goes on from there."""
    expected, one = undisturbed("harbour"), subject("harbour", **SMALL)
    pid = one.killing.start("migrate")
    one.killing.until_said("advanced")
    assert_interrupted(one, pid)
    one.killing.complete("migrate")
    assert_same(expected, one.migrated())


HELD = {
    # The index build and the proof are cancelled, the retries end, the rows that are held are left.
    "index build": ("index", "INDEX CONCURRENTLY", "INSERT INTO notices VALUES (9000, NULL, 'held')"),
    "proof": ("foreign_key_valid", VALIDATING, "LOCK TABLE managers, docks, notices, readings, parcels"
              " IN SHARE UPDATE EXCLUSIVE MODE"),
    "step": ("row_security", "LOCK TABLE", "LOCK TABLE managers IN ACCESS SHARE MODE"),
}  # fmt: skip


@pytest.mark.parametrize("what", HELD)
def test_interrupted_while_it_waits(
    what: str, subject: Callable[..., Subject], undisturbed: Callable[..., State]
) -> None:
    """Ctrl-C while an index build, a proof or a step waits for somebody else: prompt, and nothing half-done."""
    kind, pattern, statement = HELD[what]
    expected, one = undisturbed("harbour"), subject("harbour")
    one.killing.run("migrate", Kill(event="started", kind=kind, number=1))
    with holding(one.database, statement):
        pid = one.killing.start("migrate")
        wait_until(lambda: one.database.rows(WAITING, [pattern]) != [(0,)])
        assert_interrupted(one, pid)
    one.killing.complete("migrate")
    assert_same(expected, one.migrated())


def test_interrupted_between_tries(subject: Callable[..., Subject]) -> None:
    """Ctrl-C in the pause before the next try does not wait for its end."""
    one = subject("harbour")
    one.killing.run("migrate", Kill(event="started", kind="row_security", number=1))
    one.killing.pause = 6 * SOON
    with holding(one.database, "LOCK TABLE managers IN ACCESS SHARE MODE"):
        pid = one.killing.start("migrate")
        one.killing.until_said("blocked", 6.0 * SOON)
        assert_interrupted(one, pid)
    one.killing.pause = None
    one.killing.complete("migrate")
    one.killing.complete("rollback")
    one.assert_original()


def test_terminated(subject: Callable[..., Subject], database: Database) -> None:
    """SIGTERM, as a service manager sends it, is heard like Ctrl-C."""
    one = subject("harbour", **SMALL)
    pid = one.killing.start("migrate")
    one.killing.until_said("advanced")
    os.kill(pid, signal.SIGTERM)
    assert one.killing.finish().status == 130
