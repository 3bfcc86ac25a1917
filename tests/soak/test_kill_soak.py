"""kill -9, the long run: every boundary of both presets, and many more seeds."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from acceptance.comparing import State
from acceptance.kill_points import boundaries, random_instants
from acceptance.kill_targets import Subject
from acceptance.kill_targets import process as process
from acceptance.kill_targets import subject as subject
from acceptance.kill_targets import undisturbed as undisturbed
from tenantry.presets import PRESETS

SEEDS = int(os.environ.get("TENANTRY_SEEDS") or 8)


@pytest.mark.parametrize("name", [*PRESETS, "bazaar", "harbour", "depot"])
def test_every_boundary(name: str, subject: Callable[..., Subject], undisturbed: Callable[..., State]) -> None:
    """Killed after every single step, on the way there and on the way back."""
    boundaries(subject, undisturbed, name, 1)


@pytest.mark.parametrize("name", ["bazaar", "harbour"])
def test_as_the_owner(name: str, subject: Callable[..., Subject], undisturbed: Callable[..., State]) -> None:
    """The same where the operator is held to the policies that it makes."""
    boundaries(subject, undisturbed, name, 1, owned=True)


@pytest.mark.parametrize("seed", range(100, 100 + SEEDS))
def test_random_instants(seed: int, subject: Callable[..., Subject], undisturbed: Callable[..., State]) -> None:
    """Thirty instants a seed."""
    random_instants(subject, undisturbed("big estoque"), seed, kills=30)
