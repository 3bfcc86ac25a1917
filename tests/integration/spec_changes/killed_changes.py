"""A change of the spec that is killed on its way."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from acceptance.kill_targets import process as process
from acceptance.killing import Kill, Killing
from acceptance.round_trip import checksums
from servers import Database
from spec_changes.conftest import Changes
from spec_changes.following import OURS, assert_kept
from tenantry.model.plan import Phase

Subject = Callable[[str, str], tuple[Database, Killing]]


AFTER = "much at once"


PAIRS = {
    ("first", AFTER): 12, (AFTER, "first"): 30, ("first + ledger", f"{AFTER} + ledger"): 25,
    ("first + ledger", "setting + positive"): 5, ("first", "leaf shared"): 4, ("mixed", "quarantine"): 7,
}  # fmt: skip
"""From one spec to another, and at which steps the run dies; in the soak at each one."""


@pytest.fixture
def subject(changes: Changes, process: subprocess.Popen[str]) -> Subject:
    """A database that was migrated for one spec, and who migrates it for another one and dies."""

    def make(before: str, after: str) -> tuple[Database, Killing]:
        database = changes.migrated(before, Phase.CONTRACT)
        changes.spec(after)
        return database, Killing(driver=process, dsn=database.dsn, spec=changes.folder / "tenantry.toml")

    return make


def boundaries(changes: Changes, subject: Subject, pair: tuple[str, str], stride: int) -> None:
    """Killed at each `stride`-th step again and again, it becomes what a fresh one is, its balances in step with their
    ledger; so it does on the way back."""
    before, after = pair
    fresh, original = changes.migrated(after, Phase.CONTRACT), changes.original()
    database, killing = subject(before, after)
    spec = changes.spec(after)
    for command in ("migrate", *["balances remove"] * bool(spec.ledger), "rollback"):
        while (ended := killing.run(command, Kill(event="started", number=1 + stride))).killed:
            pass
        assert ended.status == 0, ended.said
        if command == "migrate":
            assert killing.kills
            assert (database.dump(), checksums(database)) == (fresh.as_made(Database.dump), fresh.as_made(checksums))
            assert database.rows(OURS) == fresh.rows(OURS)
            assert_kept(database, spec)
    assert (database.dump(), checksums(database)) == (original.as_made(Database.dump), original.as_made(checksums))
