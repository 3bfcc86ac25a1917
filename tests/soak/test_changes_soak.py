"""From each spec to each other one, until each phase, and between 5,000 random ones; and killed at every single step
on the way."""

from __future__ import annotations

import os
import random
from itertools import permutations

import pytest

from acceptance.kill_targets import process as process
from acceptance.round_trip import checksums
from spec_changes.conftest import Changes, followed
from spec_changes.conftest import changes as changes
from spec_changes.following import LEDGERED, MORE_LEDGERED, UNTIL, follow
from spec_changes.killed_changes import PAIRS, Subject, boundaries
from spec_changes.killed_changes import subject as subject
from spec_changes.random_shops import Shop, follow_many
from spec_changes.random_shops import shop as shop
from spec_changes.specs import SPECS
from tenantry import RollbackOptions, rollback
from tenantry.errors import Refused
from tenantry.model.backup import BackupKind
from tenantry.model.plan import Phase
from tenantry.postgres.connect import Target

SEEDS = int(os.environ.get("TENANTRY_SEEDS") or 20)


@pytest.mark.parametrize("until", UNTIL)
@pytest.mark.parametrize(("before", "after"), [pair for pair in permutations(SPECS, 2) if pair[0] != "left out"])
def test_every_pair(before: str, after: str, until: Phase, changes: Changes) -> None:
    """What a fresh migration would have made; or refused, and nothing changed."""
    follow(changes, before, after, until)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_walks(seed: int, changes: Changes) -> None:
    """From spec to spec to spec, with the values kept in between at times: the last one is as if it were the first; and
    all of it goes back."""
    chance = random.Random(seed)
    until = chance.choice(UNTIL)
    original, database = changes.original(), changes.migrated("first", until)
    walked = ["first"]
    for _ in range(5):
        name = chance.choice([name for name in SPECS if name not in ("left out", walked[-1])])
        if chance.random() < 0.2:
            rollback(Target(database.dsn), RollbackOptions(preserve_data=True, backup=BackupKind.NONE))
            walked.append("kept")
        there = (database.dump(), checksums(database))
        try:
            followed(database, changes.spec(name), until, force=True)
        except Refused:
            assert (database.dump(), checksums(database)) == there, (until, walked, name)
            if walked[-1] == "kept":
                followed(database, changes.spec(walked[-2]), until, force=True)
                walked.pop()
        else:
            walked.append(name)
    fresh = changes.fresh(walked[-1], until, database)
    assert database.dump() == fresh.dump(), (until, walked)
    rollback(Target(database.dsn), RollbackOptions(backup=BackupKind.NONE))
    assert database.dump() == original.dump(), (until, walked)
    assert checksums(database) == checksums(original), (until, walked)


@pytest.mark.parametrize("pair", PAIRS, ids=" to ".join)
def test_every_boundary(pair: tuple[str, str], changes: Changes, subject: Subject) -> None:
    """Killed at each step: run again, and back."""
    boundaries(changes, subject, pair, 1)


@pytest.mark.parametrize("until", UNTIL)
@pytest.mark.parametrize(("before", "after"), [*LEDGERED, *MORE_LEDGERED])
def test_every_pair_with_balances(before: str, after: str, until: Phase, changes: Changes) -> None:
    """The same, with balances that were installed for the first one."""
    follow(changes, before, after, until)


@pytest.mark.parametrize("number", range(100, 120))
def test_random_specs(number: int, shop: Shop) -> None:
    """What a fresh migration would have made; or refused, and nothing changed."""
    follow_many(shop, number, 250)
