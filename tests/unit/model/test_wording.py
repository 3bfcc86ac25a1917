"""How numbers are said."""

from __future__ import annotations

import pytest

from tenantry.model.wording import counted


@pytest.mark.parametrize(
    ("count", "plural", "text"),
    [(0, "", "0 rows"), (1, "", "1 row"), (2000, "", "2,000 rows"), (2, "people", "2 people")],
)
def test_counted(count: int, plural: str, text: str) -> None:
    assert counted(count, "row", plural) == text
