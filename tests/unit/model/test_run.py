"""Ids of runs: by time, and none twice."""

from __future__ import annotations

import re

from tenantry.model.run import new_run


def test_ids() -> None:
    """A later second sorts behind, and two of one second are two."""
    made = [new_run() for _ in range(100)]
    assert len(set(made)) == 100
    assert all(re.fullmatch(r"20\d{12}-[0-9a-f]{8}", one) for one in made)
    assert [one[:14] for one in made] == sorted(one[:14] for one in made)
