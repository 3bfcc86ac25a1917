"""What to do next, as the words of a status suggest; and what status refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tenantry.cli.status import _next, _word
from tenantry.model.run import MigrationState, Status, TableStatus
from unit.cli.calling import CommandLine
from unit.model.moves import MOVE
from unit.schemas import name

STATUS = Status(database="shop", word=MigrationState.NOT_STARTED, tables=(), steps=(0, 9))


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({}, "`tenantry plan`, then `tenantry migrate`"),
        ({"word": MigrationState.IN_PROGRESS}, "tenantry migrate"),
        ({"running": True, "misfits": ("x",)}, "wait for the run"),
        ({"misfits": ("x",)}, "do not fit the database"),
        ({"steps": (0, None)}, "--config"),
        ({"tables": (TableStatus(table=name("a"), kind="undecided"),)}, "decide about 1 undecided"),
        ({"refusals": ("x",)}, "refused below"),
        ({"altered": ("x",)}, "what was altered"),
        ({"found": True}, "tenantry validate"),
        ({"moves": (MOVE,)}, "`tenantry tenants move two --to …` completes the move that has begun; with --abort"),
        ({"moves": (replace(MOVE, state="switched"),)}, "completes the move that has begun."),
    ],
)
def test_what_to_do_next(facts: dict[str, Any], words: str) -> None:
    assert words in _next(replace(STATUS, **facts))


@pytest.mark.parametrize(
    ("kind", "not_null", "shown"),
    [
        ("owned", True, "yes"),
        ("owned", False, "no"),
        ("mixed", False, "–"),
        ("mixed", True, "yes"),
        ("shared", True, "–"),
    ],
)
def test_not_null(kind: str, not_null: bool, shown: str) -> None:
    """A mixed table's column is NOT NULL in the phase distribute."""
    assert _word(TableStatus(table=name("a"), kind=kind, not_null=not_null)) == shown


def test_options(line: CommandLine) -> None:
    (spec,) = line("status.run_status", "status").positional
    assert spec is not None
    called = line("stuck.end_blocker", "status --terminate 7 --force")
    assert called.positional == (7,)
    assert called.named["agreed"](None) is True
    assert "exclude each other" in line.refused("status --watch --terminate 7")
    assert "--force needs --terminate" in line.refused("status --force")
    assert "--terminate" in line.refused("status --terminate 0")
