"""Fixes beside writers, and fixes that die: no update is lost, and the same command finishes what is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from checks.repairing import WRONG_ROWS, WRONG_TENANTS, built, contents, fixed, quietly, spec
from conftest import ROOT
from servers import Database, wait_until
from tenantry.checks.fixes import apply as fixing
from tenantry.commands.undo import list_fixes, undo_fixes
from tenantry.errors import ExitStatus, Interrupted, Refused
from tenantry.execution.events import Event, FillAdvanced
from tenantry.model.plan import Phase
from tenantry.postgres.connect import Target, connect
from tenantry.postgres.locks import hold_run_lock

PAIRED = """
[[rule]]
name     = "paired"
table    = "shelf"
violates = "t.open AND EXISTS (SELECT FROM shop s WHERE s.id = t.shop)"
fix      = "open = false"
"""
CHANGE, RESTORE, NOTED = r"INSERT INTO .tenantry.\..fixed_rows", r"RETURNING i\.id", "SET undone_by"


@pytest.fixture
def wrong(template: Callable[..., Database]) -> Database:
    """The business, filled, with rows that are wrong in every way that has a fix."""

    def build(database: Database) -> None:
        built(Phase.BACKFILL)(database)
        quietly(database, WRONG_TENANTS + WRONG_ROWS)

    return template("repairing wrong", build)


def images(database: Database, name: str) -> int:
    """How many rows a fix has corrected so far."""
    if database.rows("SELECT to_regclass('tenantry.fixed_rows') IS NULL") == [(True,)]:
        return 0
    query = "SELECT count(*) FROM tenantry.fixed_rows r JOIN tenantry.fixes f ON f.id = r.fix WHERE f.name = %s"
    return int(database.rows(query, [name])[0][0])


@pytest.mark.server
def test_a_row_that_is_corrected_meanwhile(wrong: Database) -> None:
    """A row that a writer holds is come back for, and looked at again: what the writer has made of it stays."""
    with wrong.connect() as writer, ThreadPoolExecutor(1) as pool:
        writer.execute('UPDATE "Item" SET qty = 77 WHERE id = 4; UPDATE "Item" SET notes = \'[]\' WHERE id = 8')
        correcting = pool.submit(fixed, wrong, patience=60)
        wait_until(lambda: images(wrong, "negative") == 48, seconds=60)
        writer.commit()
        outcome = correcting.result()
    assert outcome.verdict.exit_status is ExitStatus.DONE, outcome.corrections
    assert wrong.rows('SELECT id, qty, notes::text FROM "Item" WHERE id IN (4, 8) ORDER BY id') == [
        (4, 77, '{"b":  1,   "a": [1,2]}'), (8, 0, "[]"),
    ]  # fmt: skip
    undo_fixes(Target(wrong.dsn), outcome.verdict.run)
    assert wrong.rows('SELECT id, qty, notes::text FROM "Item" WHERE id IN (4, 8) ORDER BY id') == [
        (4, 77, '{"b":  1,   "a": [1,2]}'), (8, pytest.approx(-8.125), "[]"),
    ]  # fmt: skip


def test_what_a_rule_rests_on_changes_meanwhile(wrong: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a row is locked its rule is asked again, with what others have committed by then."""
    change = fixing._Batches._change

    def later(self: Any, *arguments: Any) -> int:
        if self.repair.name == "paired":
            wrong.execute("UPDATE shop SET id = 40 WHERE id = 4")
        return change(self, *arguments)

    wrong.execute(
        "CREATE TABLE shelf (id int PRIMARY KEY, shop int, open boolean); INSERT INTO shelf VALUES (1, 4, true)"
    )
    wrong.execute(
        'INSERT INTO shop SELECT 5, org FROM shop WHERE id = 1; UPDATE "Item" SET shop_id = 5 WHERE shop_id = 4'
    )
    monkeypatch.setattr(fixing._Batches, "_change", later)
    outcome = fixed(wrong, spec(rules=PAIRED, shelf="shared = true"), patience=1)
    assert [one.fixed for one in outcome.corrections if one.name == "paired"] == [0]
    assert wrong.rows("SELECT open FROM shelf") == [(True,)]


def test_a_row_that_is_held_for_ever(wrong: Database) -> None:
    """After its patience a fix leaves the row, says so, and has fixed the others; the writer was not disturbed."""
    with wrong.connect() as writer:
        writer.execute('UPDATE "Item" SET qty = qty WHERE id = 4')
        outcome = fixed(wrong, patience=0.3)
        (told,) = (one for one in outcome.corrections if one.name == "negative")
        assert (told.fixed, told.left) == (49, 1)
        assert "other sessions have locks" in told.refusals[0]
        assert outcome.verdict.exit_status is ExitStatus.FINDINGS
        writer.commit()
    assert fixed(wrong).verdict.exit_status is ExitStatus.DONE


@pytest.mark.server
def test_writers_lose_nothing(wrong: Database) -> None:
    """Counters that are raised all the while a fix and its undo go over their rows end where their writer left them."""
    wrong.execute('ALTER TABLE "Item" ADD COLUMN counter int NOT NULL DEFAULT 0')
    over = threading.Event()

    def write(first: int) -> int:
        done = 0
        with wrong.connect(autocommit=True) as connection:
            while not over.is_set() or done < 40:
                for number in range(first, 41, 2):
                    connection.execute('UPDATE "Item" SET counter = counter + 1 WHERE id = %s', [number])
                done += 1
        return done

    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(write, first) for first in (1, 2)]
        try:
            outcome = fixed(wrong, patience=60, rows=5)
            undo_fixes(Target(wrong.dsn), outcome.verdict.run, force=True, rows=5)
        finally:
            over.set()
        done = [writer.result() for writer in writers]
    assert wrong.rows('SELECT id % 2, min(counter), max(counter) FROM "Item" WHERE id < 41 GROUP BY 1 ORDER BY 1') == [
        (0, done[1], done[1]), (1, done[0], done[0]),
    ]  # fmt: skip
    assert all(one.left == 0 for one in outcome.corrections)


def _dying(database: Database, **order: object) -> None:
    """Run the command in a process that kills itself."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("killed_fixes.py")), json.dumps({"dsn": database.dsn, **order})],
        env={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}:{ROOT / 'tests' / 'integration'}"}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr


KILLS = [
    (CHANGE, 1, "before"),
    (CHANGE, 2, "after"),
    (CHANGE, 9, "before"),
    (r"FOR UPDATE OF t SKIP LOCKED", 6, "after"),
]
UNKILLS = [(RESTORE, 1, "before"), (RESTORE, 2, "after"), (NOTED, 4, "after"), (RESTORE, 9, "before")]


@pytest.mark.server
def test_killed_again_and_again(wrong: Database) -> None:
    """A fix that is killed at any instant has changed no row without its image; run again, it finishes. So does an
    undo, and the rows are what they were."""
    before, dump = contents(wrong), wrong.dump()
    for statement, number, moment in KILLS:
        _dying(wrong, command="fix", statement=statement, number=number, moment=moment)
    assert 0 < images(wrong, "tenant-from-paths") < 120
    assert fixed(wrong).verdict.exit_status is ExitStatus.DONE
    runs = list(dict.fromkeys(one.run for one in list_fixes(Target(wrong.dsn))))
    assert len(runs) > 2
    last = runs[-1]
    for statement, number, moment in UNKILLS:
        _dying(wrong, command="undo", run=last, statement=statement, number=number, moment=moment)
    for run in reversed(runs):
        undo_fixes(Target(wrong.dsn), run)
    assert contents(wrong) == before
    assert wrong.dump() == dump
    assert all(one.rows == one.undone for one in list_fixes(Target(wrong.dsn)))


@pytest.mark.usefixtures("impatient")
def test_one_run_at_a_time(wrong: Database) -> None:
    """While another run goes on nothing is fixed."""
    before = contents(wrong)
    with (
        connect(Target(wrong.dsn), purpose="x") as connection,
        hold_run_lock(connection, Target(wrong.dsn)),
        pytest.raises(Refused),
    ):
        fixed(wrong)
    assert contents(wrong) == before


class _Impatient:
    """Presses Ctrl-C once some rows are fixed."""

    def __call__(self, event: Event) -> None:
        match event:
            case FillAdvanced(_, pages, rows):
                if rows and pages == 0:
                    os.kill(os.getpid(), signal.SIGINT)


def test_interrupted(wrong: Database) -> None:
    """Ctrl-C lets the batch in hand end; what is fixed by then can be taken back, and the next run fixes the rest."""
    before = contents(wrong)
    with pytest.raises(Interrupted):
        fixed(wrong, observer=_Impatient(), rows=5)
    (run,) = {one.run for one in list_fixes(Target(wrong.dsn))}
    assert wrong.rows("SELECT exit_status FROM tenantry.runs WHERE id = %s", [run]) == [(130,)]
    assert fixed(wrong).verdict.exit_status is ExitStatus.DONE
    for each in reversed(list(dict.fromkeys(one.run for one in list_fixes(Target(wrong.dsn))))):
        undo_fixes(Target(wrong.dsn), each)
    assert contents(wrong) == before
