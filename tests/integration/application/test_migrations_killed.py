"""kill -9 while we go on, or back, after the application has migrated its own schema: it writes on, and so do we."""

from __future__ import annotations

import itertools
import subprocess

import pytest

from acceptance.killing import Kill, Killing
from acceptance.subjects import process as process
from application.conftest import Businesses
from application.migrations import GROUPS, Migration
from daily import daily
from tenantry.errors import ExitStatus
from tenantry.model.plan import Phase

pytestmark = pytest.mark.server
NAMED = r'"tenantry"\."names"'
"""What is told of what a trigger's function names."""


def killed(businesses: Businesses, process: subprocess.Popen[str], migration: Migration, stride: int) -> None:
    """Dead at each `stride`-th step again and again, and in the middle of what is noted of names; then back likewise."""
    business = businesses.migrated(Phase.ENFORCE, migration)
    assert business.spec
    business.alter()
    if migration.back:
        assert business.rollback(tables=migration.back).exit_status is ExitStatus.DONE
    killing = Killing(
        driver=process, dsn=business.database.dsn, spec=business.folder / "tenantry.toml", until="isolate"
    )
    numbers = itertools.count(1000)
    for command in ("migrate", "rollback"):
        for number in (1, 4, 9):
            killing.run(command, Kill(statement=NAMED, moment="inside", number=number))
            business.write(next(numbers))
        while (ended := killing.run(command, Kill(event="started", number=1 + stride))).killed:
            business.write(next(numbers))
        assert (ended.status, len(killing.kills) > 1) == (0, True), ended.said
        business.write(next(numbers))
    assert business.database.dump() == businesses.expected(migration)


@pytest.mark.parametrize("migration", daily(GROUPS[1:4:2]), ids=str)
def test_killed_on_the_way(migration: Migration, businesses: Businesses, process: subprocess.Popen[str]) -> None:
    """At some of the steps; at each one in the soak."""
    killed(businesses, process, migration, 40)
