"""Which tests run on which version of PostgreSQL."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

from servers import installed

TESTS = Path(__file__).parent
SOURCES = TESTS.parent / "src" / "tenantry"
ASKS = re.compile(
    r"\bmajor\s*[<>=!]=?\s*\w"  # schema.major < 15
    r"|\bserver_version\s*(//|[<>=!])"
    r"|server_version_num'\)::int\s*[<>=!]"
    r"|\bto_jsonb\(\w+\)\s*->"  # a column that an older version has not
)


def asking() -> set[str]:
    """The files of src that do something else by the server's version."""
    files = [path for pattern in ("*.py", "*.sql") for path in SOURCES.rglob(pattern)]
    return {str(path.relative_to(SOURCES)) for path in files if any(map(ASKS.search, _statements(path.read_text())))}


def _statements(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.lstrip().startswith(("#", "--"))]


def marked() -> set[str]:
    """The files that the marker `differs` names, of whatever test."""
    found: set[str] = set()
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.differs":
                found |= {ast.literal_eval(argument) for argument in node.args}
    return found


def test_whoever_asks_for_the_version_is_tested_on_each() -> None:
    """Each file of src that asks for it is named by a test that is marked `differs`, and no other file is."""
    assert asking() == marked()
    assert {"planning/context.py", "postgres/sql/catalog.sql"} < asking()


CASES = """
import pytest

@pytest.mark.server
def test_behaviour(server_version): ...

@pytest.mark.server
@pytest.mark.pg(">= 15")
def test_newer(server_version): ...

@pytest.mark.server
@pytest.mark.differs
def test_differing(server_version): ...

@pytest.mark.server
@pytest.mark.differs
@pytest.mark.parametrize("case", ["any", pytest.param("newer", marks=pytest.mark.pg(">= 16"))])
def test_differing_cases(case, server_version): ...

@pytest.mark.server
@pytest.mark.parametrize("case", ["any", pytest.param("newer", marks=pytest.mark.pg(">= 16"))])
def test_cases(case, server_version): ...

@pytest.mark.parametrize("case", ["any", pytest.param("marked", marks=pytest.mark.server)])
def test_marked_cases(case, server_version): ...

@pytest.mark.parametrize("case", ["any", pytest.param("varied", marks=pytest.mark.nightly)])
def test_any(case, server_version): ...

def test_none(): ...
"""


def collected(folder: Path, *options: str) -> dict[str, list[int]]:
    """The versions that each test of the cases runs on, 0 where it takes no server."""
    (folder / "test_cases.py").write_text(CASES)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-c", TESTS.parent / "pyproject.toml", "-p", "conftest",
         "-p", "no:cacheprovider", "--rootdir", folder, *options, folder],
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": f"{TESTS}:{SOURCES.parent}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, list[int]] = {}
    for name, parameters in re.findall(r"::test_(\w+)(?:\[(.+)\])?$", done.stdout, re.MULTILINE):
        version = re.search(r"pg(\d+)", parameters)
        case = re.sub(r"-?pg\d+-?", "", parameters)
        found.setdefault(f"{name} {case}".strip(), []).append(int(version[1]) if version else 0)
    return found


def test_matrix(tmp_path: Path) -> None:
    """On the oldest that it is for; what differs on each. PostgreSQL 18 is left to `make test`."""
    older = [major for major in installed() if 14 <= major < 18]
    assert older, "make servers"
    newer, newest = [[major for major in older if major >= first] for first in (15, 16)]
    assert collected(tmp_path, "--pg", "matrix", "-m", "server") == {
        "behaviour": older[:1], "newer": newer[:1], "differing": older, "differing_cases any": older,
        "differing_cases newer": newest, "cases any": older[:1], "cases newer": newest[:1],
        "marked_cases marked": older[:1],
    }  # fmt: skip


def test_nightly(tmp_path: Path) -> None:
    """Everything on every version; what is marked `nightly` nowhere else, unless it is asked for."""
    every = [major for major in installed() if major >= 14]
    found = collected(tmp_path, "--pg", "all")
    assert found["behaviour"] == found["differing"] == found["any any"] == found.pop("any varied") == every
    assert found["cases newer"] == [major for major in every if major >= 16]
    assert found["none"] == [0]
    assert collected(tmp_path, "--pg", "18") == {
        name: [0] if name == "none" else [18] for name in found
    }  # fmt: skip
    assert collected(tmp_path, "--pg", "18", "--nightly")["any varied"] == [18]


def test_soak_has_every_long_test() -> None:
    """`make soak`, and with it `make nightly`, looks wherever a test is long: in tests/soak, or marked `soak`."""
    for target in ("soak", "nightly"):
        said = subprocess.run(
            ["make", "-n", "-o", "servers", target], cwd=TESTS.parent, capture_output=True, text=True, check=True
        ).stdout  # fmt: skip
        soaks = [line.split() for line in said.replace(";", "\n").splitlines() if "--soak" in line.split()]
        folders = [[TESTS.parent / word for word in words if word.startswith("tests")] or [TESTS] for words in soaks]
        assert len(folders) == 1, said
        long = [path for path in TESTS.rglob("test_*.py") if path.parent.name == "soak" or _is_marked_soak(path)]
        assert {"soak", "acceptance"} <= {path.parent.name for path in long}
        assert [path for path in long if not any(path.is_relative_to(folder) for folder in folders[0])] == []


def _is_marked_soak(path: Path) -> bool:
    return any(
        isinstance(node, ast.Attribute) and ast.unparse(node) == "pytest.mark.soak"
        for node in ast.walk(ast.parse(path.read_text()))
    )
