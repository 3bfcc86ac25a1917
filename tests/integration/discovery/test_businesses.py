"""Of business schemas that are drawn, nearly all tables are decided rightly, and none is wrong in silence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from discovery.drawn_businesses import tried


def test_drawn_businesses(new_database: Callable[..., Any]) -> None:
    tried(range(8), new_database)
