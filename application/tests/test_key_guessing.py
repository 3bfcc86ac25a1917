"""What the time of an answer tells who guesses API keys: not whether a key is known."""

from __future__ import annotations

import random
import time

import pytest

from conftest import application
from requesting import by_wsgi, make_key
from servers import Database
from shop import SPEC
from tenantry import create_key
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target
from tenantry_app import ApiKey, Resolution
from tenantry_app.keys import FindKey, PoolKeys, Stored, lookup_part
from tenantry_app.psycopg import pool

PAIRS = 1500
LIMIT = 4 * 0.5 / PAIRS**0.5
"""Four standard deviations of the share of pairs in which chance alone makes the one the slower."""


@pytest.mark.nightly
def test_a_known_key_with_another_secret_takes_as_long_as_an_unknown_one(shop: Database) -> None:
    known = [create_key(Target(shop.dsn), Spec.parse(SPEC), "north", f"till {n}").secret for n in range(5)]
    lookups = [lookup_part(key) or "" for key in known]
    with pool(application(shop), min_size=1, max_size=1) as connections:
        find = PoolKeys(connections)

        def telling(lookup: str, presented: bytes) -> Stored:
            if lookup in lookups:
                time.sleep(0.001)
            return find(lookup, presented)

        assert abs(slower(find, lookups) - 0.5) < LIMIT
        assert slower(telling, lookups) - 0.5 > LIMIT, "the machine is too busy to tell anything"


def slower(find: FindKey, lookups: list[str]) -> float:
    """Of pairs of guesses, one with the lookup part of a key and one with none's, the share in which the first takes
    longer."""
    resolution, order, count = Resolution(ApiKey(find)), random.Random(0), 0

    def seconds(key: str) -> float:
        begun = time.perf_counter()
        assert by_wsgi(resolution, [("x-api-key", key)]).status == 401
        return time.perf_counter() - begun

    for number in range(PAIRS):
        guesses = make_key(lookups[number % len(lookups)], "x"), make_key(f"{number:08}", "x")
        took = {place: seconds(guesses[place]) for place in order.sample((0, 1), 2)}
        count += took[0] > took[1]
    return count / PAIRS
