"""What stands around every command: the run lock, the journal's row, and who is told of it."""

from __future__ import annotations

import ast

import pytest

from conftest import ROOT
from unit.sources import tree


@pytest.mark.parametrize("name", ["CommandBegan", "CommandEnded", "begin_run", "finish_run", "new_run"])
def test_no_command_does_it_by_itself(name: str) -> None:
    """Run ids, the journal's rows and what the observer is told of them come from one place."""
    commands = ROOT / "src" / "tenantry" / "commands"
    for path in sorted(commands.glob("*.py")):
        calls = [node.func for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
        called = {ast.unparse(called).rpartition(".")[2] for called in calls}
        assert name not in called or path.name in ("running.py",), path
