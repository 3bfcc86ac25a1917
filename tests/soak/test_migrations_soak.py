"""Every kind of the application's migrations between any two of our phases, and at any step of a run."""

from __future__ import annotations

import subprocess
from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from acceptance.kill_targets import process as process
from application.application_migrations import PHASES, go, meanwhile
from application.conftest import Businesses
from application.conftest import businesses as businesses
from application.killed_migrations import killed
from application.migrations import GROUPS, MIGRATIONS, Migration
from tenantry.model.plan import Phase

BETWEEN = [
    (until, onwards)
    for until, onwards in product(PHASES, (None, *PHASES))
    if onwards is None or PHASES.index(onwards) > PHASES.index(until)
]


@pytest.mark.parametrize(("until", "onwards"), BETWEEN)
@pytest.mark.parametrize("migration", MIGRATIONS, ids=str)
def test_between(migration: Migration, until: Phase, onwards: Phase | None, businesses: Businesses) -> None:
    go(businesses, migration, until, onwards)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(migration=some.sampled_from(MIGRATIONS), number=some.integers(1, 90))
def test_during(migration: Migration, number: int, businesses: Businesses) -> None:
    meanwhile(businesses, migration, number)


@pytest.mark.parametrize("migration", GROUPS, ids=str)
def test_killed_at_each_step(migration: Migration, businesses: Businesses, process: subprocess.Popen[str]) -> None:
    killed(businesses, process, migration, 1)
