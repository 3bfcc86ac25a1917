"""Numbers, times and counts of rows in messages."""

from __future__ import annotations

import pytest

from tenantry.model.wording import counted, duration, without_tenant


@pytest.mark.parametrize(
    ("count", "plural", "text"),
    [(0, "", "0 rows"), (1, "", "1 row"), (2000, "", "2,000 rows"), (2, "people", "2 people")],
)
def test_counted(count: int, plural: str, text: str) -> None:
    assert counted(count, "row", plural) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0, "0 ms"), (0.0123, "12 ms"), (0.9996, "1.0 s"), (3.44, "3.4 s"), (59.94, "59.9 s"), (59.96, "1 min 00 s"),
     (320, "5 min 20 s"), (3599.6, "1 h 00 min"), (7500, "2 h 05 min")],
)  # fmt: skip
def test_durations(seconds: float | None, text: str) -> None:
    """The next unit begins where the number would be one of it once it is rounded."""
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(1, "1 row of a still has no tenant"), (2, "2 rows of a still have no tenant")]
)
def test_rows_without_a_tenant(count: int, text: str) -> None:
    assert without_tenant(count, "a") == text
