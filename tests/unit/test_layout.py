"""Tests stand by themselves: what two of them share is in a module of its own."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import ROOT
from unit.sources import tree

TESTS = sorted((ROOT / "tests").rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports, by whatever name."""
    for node in ast.walk(tree(path)):
        match node:
            case ast.ImportFrom(module=str(module), names=names):
                yield module
                yield from (f"{module}.{one.name}" for one in names)
            case ast.Import(names=names):
                yield from (one.name for one in names)
            case ast.Call(func=ast.Name(id="import_module") | ast.Attribute(attr="import_module"), args=[first, *_]):
                if isinstance(first, ast.Constant):
                    yield str(first.value)


MIRRORED = ("model", "steps", "planning", "discovery", "reports", "cli")
"""Packages of which each module has a file of unit tests, which need no server."""
ELSEWHERE = {
    "cli/interview.py": "asks in a terminal: tests/integration/discovery/test_interview.py has one",
    "cli/observed.py": "only joins the observers of others",
}


@pytest.mark.parametrize("package", MIRRORED)
def test_each_module_has_unit_tests(package: str) -> None:
    """Under its own name; and what is said to be tested elsewhere is there."""
    modules = {path.name for path in (ROOT / "src" / "tenantry" / package).glob("[!_]*.py")}
    there = {path.name.removeprefix("test_") for path in (ROOT / "tests" / "unit" / package).glob("test_*.py")}
    elsewhere = {name.partition("/")[2] for name in ELSEWHERE if name.startswith(f"{package}/")}
    assert modules - there == elsewhere


@pytest.mark.parametrize("folder", sorted({path.parent for path in TESTS}), ids=lambda path: path.name)
def test_no_test_imports_from_a_test(folder: Path) -> None:
    found = {
        f"{path.name}: {module}"
        for path in TESTS if path.parent == folder
        for module in imported(path) if module.rpartition(".")[2].startswith("test_")
    }  # fmt: skip
    assert found == set()
