"""A database that was migrated for one spec follows another one: it becomes what a fresh one would be."""

from __future__ import annotations

import pytest

from daily import nightly
from spec_changes.conftest import Changes
from spec_changes.following import LEDGERED, UNTIL, follow
from spec_changes.specs import SPECS
from tenantry.model.plan import Phase

OTHERS = [name for name in SPECS if name not in ("first", "leaf mixed")]
THERE = [("first", name) for name in OTHERS]
BACK = [(name, "first") for name in OTHERS if name != "left out"]


def until_of(number: int) -> Phase:
    """Most pairs go to the end; each phase has some."""
    return UNTIL[number % 4] if number % 3 else Phase.CONTRACT


ALWAYS = {
    *(("first", name) for name in ("partitioned shared", "assign csv", "table added", "much at once", "left out")),
    ("much at once", "first"), ("first + ledger", "setting + ledger"), ("much at once + ledger", "first + ledger"),
    ("first + ledger", "leaf mixed + ledger"), ("first + ledger", "leaf shared + ledger"),
}  # fmt: skip
"""What test_random has none of, and each way that a change with balances may go."""
CASES = [(*pair, until_of(number)) for number, pair in enumerate((*THERE, *BACK, *LEDGERED))]
BETWEEN = [("quarantine", "default", Phase.ENFORCE), ("default", "mixed", Phase.ISOLATE)]
"""One tenant of ours goes as another comes; what the second spec wants in a later phase than the first."""


@pytest.mark.parametrize(
    ("before", "after", "until"), [*BETWEEN, *(case if case[:2] in ALWAYS else nightly(case) for case in CASES)]
)
def test_follows(before: str, after: str, until: Phase, changes: Changes) -> None:
    """What a fresh migration would have made, the same rows in the same tenants; or refused, and nothing changed."""
    follow(changes, before, after, until)
