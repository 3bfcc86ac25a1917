"""How the rows of a table are spread over tenants."""

from __future__ import annotations

import pytest

from tenantry.model.distribution import LARGEST, Distribution
from unit.schemas import name

SLUGS = {"1": "north", "2": "south", "3": "east"}


def test_of_counts() -> None:
    """Rows without a tenant count as rows; a tenant that is gone is named by its key."""
    found = Distribution.of(name("sales"), {"1": 6, None: 10, "2": 2, "9": 1}, SLUGS)
    assert (found.rows, found.without_tenant, found.tenants, found.empty) == (19, 10, 3, 1)
    assert found.largest == (("north", 6), ("south", 2), ("9", 1))
    assert found.typical == 2
    assert found.share == pytest.approx(6 / 9)


def test_the_largest_only() -> None:
    """Of equals those that come first by their keys, so that two runs say the same."""
    found = Distribution.of(name("sales"), {f"{number:03}": 5 for number in reversed(range(100))}, {})
    assert [slug for slug, _ in found.largest] == [f"{number:03}" for number in range(LARGEST)]


@pytest.mark.parametrize("counts", [{}, {None: 3}])
def test_nobodys_rows(counts: dict[str | None, int]) -> None:
    found = Distribution.of(name("sales"), counts, SLUGS)
    assert (found.tenants, found.empty, found.typical, found.share) == (0, 3, 0.0, 0.0)
