"""Phases and locks, in order."""

from __future__ import annotations

import pytest

from tenantry.model.plan import LockMode, Phase

WRITERS_GO_ON = ("ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE")
"""https://www.postgresql.org/docs/current/explicit-locking.html: what does not conflict with ROW EXCLUSIVE."""


def test_phases() -> None:
    ordered = sorted(Phase, key=lambda phase: phase.position)
    assert ordered == ["expand", "backfill", "enforce", "isolate", "contract", "distribute"]
    assert Phase.CONTRACT.option == "--until contract"
    assert Phase.DISTRIBUTE.option == "--until distribute --prepare"


@pytest.mark.parametrize("mode", LockMode)
def test_what_writers_wait_for(mode: LockMode) -> None:
    assert mode.blocks_writers == (mode not in WRITERS_GO_ON)


def test_the_strongest_lock() -> None:
    assert max(LockMode, key=lambda mode: mode.strength) is LockMode.ACCESS_EXCLUSIVE
    assert min(LockMode, key=lambda mode: mode.strength) is LockMode.ACCESS_SHARE
