"""The application migrates its own schema between two of our phases, and during one: it writes on, and so do we."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest

from application.conftest import Businesses
from application.migrations import GROUPS, MIGRATIONS, NONE, Migration
from daily import daily, nightly
from tenantry import SilentObserver
from tenantry.errors import ExitStatus, Failed, Refused
from tenantry.execution.runner import Event
from tenantry.model.plan import Phase

pytestmark = pytest.mark.server

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


ATTACHED, DETACHED = (
    next(one for one in MIGRATIONS if one.name == f"partition {what}") for what in ("attached", "detached")
)
"""A partition comes before the indexes of its whole are there, or when those stand already; or takes a trigger along."""

CASES = [
    (group, until, onwards)
    for number, group in enumerate(GROUPS)
    for until, onwards in [(PHASES[number % 4], PHASES[number % 4 + 1]), (PHASES[(number + 2) % 5], None)]
] + [(DETACHED, Phase.ENFORCE, Phase.CONTRACT)]
"""Each kind twice; between any two phases, and by itself, in tests/soak."""


@pytest.mark.parametrize(
    ("migration", "until", "onwards"),
    [nightly(case) if number % 3 else case for number, case in enumerate(CASES)],
    ids=str,
)
def test_between_two_phases(migration: Migration, until: Phase, onwards: Phase | None, businesses: Businesses) -> None:
    """The next phase is reached with the names of now; a rollback leaves the original with the application's change, and
    nothing else."""
    go(businesses, migration, until, onwards)


class Meanwhile(SilentObserver):
    """Does something when a run has come to a step."""

    def __init__(self, number: int, work: Callable[[], None]) -> None:
        self.number, self.work, self.done = number, work, False

    def step(self, event: Event) -> None:
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


@pytest.mark.parametrize(
    ("migration", "number"),
    daily([(ATTACHED, 1), *((group, 4 + 9 * n) for n, group in list(enumerate(GROUPS[1:]))[::2])], 2),
    ids=str,
)
def test_during_a_run(migration: Migration, number: int, businesses: Businesses) -> None:
    """Whatever the run is doing just then."""
    meanwhile(businesses, migration, number)
