"""Which of a test's cases every run takes, and which only the nightly one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def daily(cases: Iterable[Any], count: int = 1) -> list[Any]:
    """Parameters of which the first `count` run always; the others are marked `nightly`."""
    return [case if number < count else nightly(case) for number, case in enumerate(cases)]


def nightly(case: Any) -> Any:
    """A case, or the tuple of a test's parameters, that is left to the nightly run."""
    if isinstance(case, type(pytest.param())):
        return pytest.param(*case.values, marks=[*case.marks, pytest.mark.nightly], id=case.id)
    return pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.nightly)
