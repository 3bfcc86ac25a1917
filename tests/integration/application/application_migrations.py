"""An application's own migrations, at each phase and during a run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from application.conftest import Businesses
from application.migrations import NONE, Migration
from tenantry.errors import ExitStatus, Failed, Refused
from tenantry.execution.events import Event, StepEvent
from tenantry.model.plan import Phase

PHASES = tuple(Phase)


def go(businesses: Businesses, migration: Migration, until: Phase, onwards: Phase | None) -> None:
    """The application migrates after one phase, and writes; we go on to another one, or back."""
    business = businesses.migrated(until, migration)
    business.alter("1" if until is Phase.CONTRACT else "")
    business.write(1000, "1" if until is Phase.CONTRACT else "")
    business.assert_right_tenants()
    if onwards is not None:
        if migration.back:
            assert business.rollback(tables=migration.back).exit_status is ExitStatus.DONE
        assert business.migrate(onwards).exit_status is ExitStatus.DONE
        business.write(2000, "1" if onwards is Phase.CONTRACT else "")
        business.assert_right_tenants()
    result = business.rollback()
    assert result.exit_status is ExitStatus.DONE, result.findings
    assert business.database.dump() == businesses.expected(migration)
    business.write(3000)


class Meanwhile:
    """Does something when a run has come to a step."""

    def __init__(self, number: int, work: Callable[[], None]) -> None:
        self.number, self.work, self.done = number, work, False

    def __call__(self, event: Event) -> None:
        match event:
            case StepEvent():
                if event.action == "applied":
                    self.number -= 1
                if self.number <= 0 and not self.done:
                    self.done = True
                    self.work()


def meanwhile(businesses: Businesses, migration: Migration, number: int) -> None:
    """The application migrates while a run of ours is at a step; what that run leaves, another one finishes, and a
    rollback takes away."""
    business = businesses.migrated(Phase.EXPAND, NONE)
    after = replace(business, migration=migration)
    watcher = Meanwhile(number, after.alter)
    with suppress(Failed, Refused):
        business.migrate(Phase.ENFORCE, watcher)
    if not watcher.done:
        after.alter()
    after.write(1000)
    if migration.back:
        assert after.rollback(tables=migration.back).exit_status is ExitStatus.DONE
    assert after.migrate(Phase.ENFORCE).exit_status is ExitStatus.DONE
    after.write(2000)
    after.assert_right_tenants()
    result = after.rollback()
    assert result.exit_status is ExitStatus.DONE, result.findings
    assert after.database.dump() == businesses.expected(migration)
    after.write(3000)
