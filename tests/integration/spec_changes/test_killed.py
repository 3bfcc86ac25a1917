"""kill -9 on the way from one spec to another: run again, or back to the original."""

from __future__ import annotations

import subprocess

import pytest

from acceptance.kill_targets import process as process
from acceptance.killing import DONE, FORGOTTEN, Kill, Killing
from acceptance.round_trip import checksums
from daily import daily
from servers import Database
from spec_changes.conftest import Changes
from spec_changes.killed_changes import AFTER, PAIRS, Subject, boundaries
from spec_changes.killed_changes import subject as subject
from tenantry.model.plan import Phase

pytestmark = pytest.mark.server


@pytest.mark.parametrize(("pair", "stride"), daily([*PAIRS.items()][:4]), ids=str)
def test_boundaries(pair: tuple[str, str], stride: int, changes: Changes, subject: Subject) -> None:
    """At some of the steps; at each one in the soak."""
    boundaries(changes, subject, pair, stride)


@pytest.mark.parametrize(
    "kill",
    daily([Kill(statement=DONE, number=40, moment="inside"), Kill(statement=FORGOTTEN, number=5, moment="inside"),
           Kill(statement=DONE, number=60, moment="after"), Kill(event="started", number=30),
           Kill(statement=FORGOTTEN, number=3), Kill(statement=DONE, number=20),
           Kill(statement="POLICY", number=4, moment="inside")], 3),
    ids=["inside, behind its work", "inside, going back", "before a commit", "a step", "what goes back",
         "what is taken over", "inside a message"],
)  # fmt: skip
def test_back_from_half_way(kill: Kill, changes: Changes, subject: Subject) -> None:
    """Half of one spec and half of another goes back to what was there before both."""
    original = changes.original()
    database, killing = subject("first", AFTER)
    assert killing.run("migrate", kill).killed
    killing.complete("rollback")
    assert (database.dump(), checksums(database)) == (original.as_made(Database.dump), original.as_made(checksums))


def test_policies_outlast_privileges(changes: Changes, process: subprocess.Popen[str]) -> None:
    """Wherever a run dies in which a table becomes everybody's to read, the application role can write to it only
    beneath the policies."""
    database = changes.migrated("first", Phase.ISOLATE)
    # Without rows in it, so that nothing is lost and nothing has to be forced.
    database.execute("DELETE FROM lines")
    changes.spec("leaf shared")
    killing = Killing(driver=process, dsn=database.dsn, spec=changes.folder / "tenantry.toml", until="isolate")
    open_to_all = (
        "SELECT relrowsecurity, has_table_privilege('changes_app', oid, 'INSERT') FROM pg_class"
        " WHERE oid = 'lines'::regclass"
    )
    seen = set()
    while killing.run("migrate", Kill(event="started", number=2)).killed:
        seen |= set(database.rows(open_to_all))
    seen |= set(database.rows(open_to_all))
    assert (False, True) not in seen
    assert {(True, True), (False, False)} <= seen
