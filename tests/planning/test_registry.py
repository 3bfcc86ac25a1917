"""What every kind of step has to say of itself: whoever adds one, and forgets it, hears of it here."""

from __future__ import annotations

import ast
from dataclasses import fields
from typing import get_args

import pytest

from conftest import ROOT
from tenantry.steps import AnyStep, Step

KINDS: tuple[type[Step], ...] = get_args(get_args(AnyStep)[0])
BARE = {"Fill", "ReferenceProof"}
"""Kinds that leave no object of their own in the database."""
ASKED = {"ApplicationGrants", "AssignedRows", "ForeignKeyValid", "GlobalUniqueDropped", "IndexAttached",
         "LegacySightEnded", "NotNull", "NotNullCheck", "NotNullCheckValid", "ReferenceProof", "ApplicationRole",
         "SchemaUsage", "TenantColumn", "TenantRow", "TenantTableMade", "TriggerEnded", "Fill"}  # fmt: skip
"""Kinds whose definition says no more than that it is there, or may become another one without anybody's doing."""


def own(kind: type[Step], name: str) -> bool:
    """Whether the kind says it itself, and does not leave it at what all steps say."""
    return getattr(kind, name) is not getattr(Step, name)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_says_what_others_ask(kind: type[Step]) -> None:
    """Its object's name; whether it is compared; how many rows hold values in it; a name in the journal of its own."""
    if kind.planned:
        assert own(kind, "subject") or kind.__name__ in BARE, "what does it make?"
        assert kind.compared or kind.__name__ in ASKED, "can its definition be compared?"
    if kind.holds:
        assert own(kind, "values"), "how many rows have their values in it?"
    if kind.kept:
        assert kind.carries or own(kind, "keep") or kind.journaled, "others stand on what stays"
    names = [next(str(field.default) for field in fields(one) if field.name == "kind") for one in KINDS]  # type: ignore[arg-type]
    assert len(set(names)) == len(names)


def test_no_comparison_by_hand() -> None:
    """Whether a step is wanted otherwise is told from what it wants alone: no kind compares itself with an earlier
    one, and nobody but the comparison looks at the digest."""
    sources = ROOT / "src" / "tenantry"
    compare = {
        "execution/renames.py",
        "execution/runner.py",
        "planning/diff.py",
        "postgres/journal.py",
        "steps/step.py",
    }
    for path in sources.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert not names & {"revises", "contradicts"}, path
        looked = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert "wanted" not in looked or str(path.relative_to(sources)) in compare, path
