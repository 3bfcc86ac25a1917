"""What tenantry shares with the application's side is as docs/contract.md says."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tenantry.model.spec import Spec
from unit.sources import tree

ROOT = Path(__file__).parents[2]


def stated() -> dict[str, str]:
    """The values of the contract's first table, by what they are."""
    rows = re.findall(r"^\| ([^|]+?) \| [^|]*?`([^`]+)` \|", (ROOT / "docs" / "contract.md").read_text(), re.MULTILINE)
    return dict(rows)


def test_defaults() -> None:
    spec = Spec.parse('[tenant]\ntable = "tenants"')
    assert stated()["the setting"] == spec.tenant.setting
    assert stated()["the application's role"] == spec.application.role


def test_neither_imports_the_other() -> None:
    for folder, other in ((ROOT / "src", "tenantry_app"), (ROOT / "application" / "src", "tenantry")):
        files = list(folder.rglob("*.py"))
        assert files
        for file in files:
            for node in ast.walk(tree(file)):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                assert not [name for name in names if name.split(".")[0] == other], file
