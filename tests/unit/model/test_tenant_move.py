"""A move of a tenant as the journal has it."""

from __future__ import annotations

from dataclasses import replace

from unit.model.moves import MOVE


def test_its_objects_have_one_name() -> None:
    """A slot's name has lower-case letters, digits and underscores only, and fits into 63 bytes with an ending."""
    assert MOVE.object_name == "tenantry_move_0123456789ab"
    assert len(f"~{MOVE.object_name}_truncate") < 63


def test_complete() -> None:
    assert [replace(MOVE, state=state).complete for state in ("begun", "switched", "moved")] == [False, False, True]
