"""Random specs over random small schemas: what holds for the pairs of the matrix holds for those that nobody thought of.

What has failed once stands below, by what was wrong."""

from __future__ import annotations

import pytest

from daily import daily
from spec_changes.random_shops import Shop, follow, follow_many
from spec_changes.random_shops import shop as shop
from spec_changes.random_specs import Business, Change, Key, Wanted
from tenantry.model import plan

EXAMPLES = 50


@pytest.mark.parametrize(("number", "examples"), daily([(0, 20), *((number, EXAMPLES) for number in range(4))]))
def test_random_specs(number: int, examples: int, shop: Shop) -> None:
    """What a fresh migration would have made, the same rows in the same tenants; or refused, and nothing changed."""
    follow_many(shop, number, examples)


TENANT = {"default": "main"}
FOUND = {
    "a child whose parent loses its tenant": Change(
        business=Business(
            tables=((Key(to=0, column="k1"), Key(to=0, column="k2", null=(1,))), (Key(to=1, column="k1"),))
        ),
        before=Wanted(tables=('paths = [["k1"]]', 'paths = [["k1"]]'), tenant=TENANT),
        after=Wanted(
            tables=('paths = [["k2"]]\norphans = "shared"', 'paths = [["k1"]]\norphans = "shared"'), tenant=TENANT
        ),
    ),
    "a trigger that contract does not end any more": Change(
        business=Business(tables=((Key(to=0, column="k1"), Key(to=0, column="k2")), (Key(to=1, column="k1"),))),
        before=Wanted(tables=('paths = [["k1"]]', 'paths = [["k1"]]'), tenant=TENANT),
        after=Wanted(
            tables=('paths = [["k2"]]\norphans = "shared"', 'paths = [["k1"]]\norphans = "shared"'), tenant=TENANT
        ),
    ),
    "a table of rows that refer to themselves": Change(
        business=Business(tables=((Key(to=1, column="k1", not_null=True),),)),
        before=Wanted(tables=("assign = { sql = \"lower('B')\" }",), tenant=TENANT),
        after=Wanted(tables=('paths = [["k1"]]\norphans = "quarantine"',), tenant=TENANT),
        first=plan.Phase.ISOLATE,
        second=plan.Phase.ISOLATE,
    ),
    "tables that tell each other": Change(
        business=Business(
            tables=((Key(to=0, column="k1"),), (Key(to=1, column="k1", not_null=True), Key(to=1, column="k2")))
        ),
        before=Wanted(tables=('paths = [["k1"]]', 'assign = { column = "owner" }'), tenant=TENANT),
        after=Wanted(
            tables=('children = ["t2.k2"]\norphans = "default"', 'paths = [["k1"]]\norphans = "default"'), tenant=TENANT
        ),
        first=plan.Phase.BACKFILL,
        second=plan.Phase.ENFORCE,
    ),
}


@pytest.mark.parametrize("what", FOUND)
def test_found_once(what: str, shop: Shop) -> None:
    """Pairs that once became neither one nor the other."""
    follow(shop, FOUND[what])
