"""The application migrates its own schema between two of our phases, and during one: it writes on, and so do we."""

from __future__ import annotations

import pytest

from application.application_migrations import PHASES, go, meanwhile
from application.conftest import Businesses
from application.migrations import GROUPS, MIGRATIONS, Migration
from daily import daily, nightly
from tenantry.model.plan import Phase

pytestmark = pytest.mark.server


ATTACHED, DETACHED = (
    next(one for one in MIGRATIONS if one.name == f"partition {what}") for what in ("attached", "detached")
)
"""A partition comes before the indexes of its whole are there, or when those stand already; or takes a trigger along."""

CASES = [(DETACHED, Phase.ENFORCE, Phase.CONTRACT)] + [
    (group, until, onwards)
    for number, group in enumerate(GROUPS)
    for until, onwards in [(PHASES[number % 4], PHASES[number % 4 + 1]), (PHASES[(number + 2) % 5], None)]
]
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


@pytest.mark.parametrize(
    ("migration", "number"),
    daily([(ATTACHED, 1), *((group, 4 + 9 * n) for n, group in list(enumerate(GROUPS[1:]))[::2])], 2),
    ids=str,
)
def test_during_a_run(migration: Migration, number: int, businesses: Businesses) -> None:
    """Whatever the run is doing just then."""
    meanwhile(businesses, migration, number)
