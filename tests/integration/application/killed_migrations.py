"""An application's migration, and a run that is killed meanwhile."""

from __future__ import annotations

import itertools
import subprocess

from acceptance.kill_targets import process as process
from acceptance.killing import Kill, Killing
from application.conftest import Businesses
from application.migrations import Migration
from tenantry.model.plan import Phase

NAMED = r'"tenantry"\."names"'
"""What is told of what a trigger's function names."""


def killed(businesses: Businesses, process: subprocess.Popen[str], migration: Migration, stride: int) -> None:
    """Dead at each `stride`-th step again and again, and in the middle of what is noted of names; then back likewise."""
    business = businesses.migrated(Phase.ENFORCE, migration)
    assert business.spec
    business.alter()
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
