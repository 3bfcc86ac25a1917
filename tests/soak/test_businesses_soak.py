"""Two hundred drawn business schemas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from discovery.drawn_businesses import tried


@pytest.mark.parametrize("first", range(8, 208, 20))
def test_drawn_businesses(first: int, new_database: Callable[..., Any]) -> None:
    tried(range(first, first + 20), new_database)
