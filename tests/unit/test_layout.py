"""Tests stand by themselves: what two of them share is in a module of its own."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from conftest import ROOT
from tenantry.steps import AnyStep

TESTS = sorted((ROOT / "tests").rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports, by whatever name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.ImportFrom(module=str(module), names=names):
                yield module
                yield from (f"{module}.{one.name}" for one in names)
            case ast.Import(names=names):
                yield from (one.name for one in names)
            case ast.Call(func=ast.Name(id="import_module") | ast.Attribute(attr="import_module"), args=[first, *_]):
                if isinstance(first, ast.Constant):
                    yield str(first.value)


def test_each_kind_of_step_has_its_statements_written_down() -> None:
    """A module with kinds of steps has a file of unit tests of the same name."""
    kinds = get_args(get_args(AnyStep)[0])
    modules = {kind.__module__.rpartition(".")[2] for kind in kinds}
    there = {path.stem.removeprefix("test_") for path in (ROOT / "tests" / "unit" / "steps").glob("test_*.py")}
    assert modules - there == set()


@pytest.mark.parametrize("folder", sorted({path.parent for path in TESTS}), ids=lambda path: path.name)
def test_no_test_imports_from_a_test(folder: Path) -> None:
    found = {
        f"{path.name}: {module}"
        for path in TESTS if path.parent == folder
        for module in imported(path) if module.rpartition(".")[2].startswith("test_")
    }  # fmt: skip
    assert found == set()
