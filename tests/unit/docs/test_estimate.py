"""The estimate in docs/scale-out.md: computed, and as the page has it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

PATH = Path(__file__).parents[3] / "docs" / "estimate.py"


@pytest.fixture(scope="module")
def estimate() -> Any:
    found = importlib.util.spec_from_file_location("estimate", PATH)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules["estimate"] = module
    found.loader.exec_module(module)
    return module


def test_the_page_has_it(estimate: Any) -> None:
    assert estimate.in_page() == estimate.lines()


def test_sizes_add_up(estimate: Any) -> None:
    sizes = estimate.Sizes(tenants=4, total=25.0)
    assert [sizes.of(rank) for rank in range(1, 5)] == pytest.approx([12, 6, 4, 3])
    assert sizes.share(4) == pytest.approx(1)


@pytest.mark.parametrize(
    ("seconds", "text"), [(119, "119 s"), (120, "2 min"), (7_199, "120 min"), (7_200, "2 hours"), (172_800, "2 days")]
)
def test_durations(estimate: Any, seconds: float, text: str) -> None:
    assert estimate.shown(seconds) == text
