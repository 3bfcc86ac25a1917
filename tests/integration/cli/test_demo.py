"""tenantry demo: everything that it claims holds, and it cleans up."""

from __future__ import annotations

import runpy
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import ROOT, Command
from daily import daily
from tenantry.presets import PRESETS

README = runpy.run_path(str(ROOT / "docs" / "demo.py"))


@pytest.mark.parametrize("preset", daily(PRESETS))
def test_demo(command: Callable[[str], Command], preset: str) -> None:
    """Every claim holds, nothing is left behind."""
    before = set(Path("/tmp").glob("tenantry-demo-*"))
    outcome = command("")("demo", "--preset", preset, "--rows", "1500", "--json")
    assert outcome.status == 0, outcome.stdout + outcome.stderr
    assert all(claim["holds"] for claim in outcome.json["claims"])
    assert len(outcome.json["claims"]) == 10
    assert outcome.json["old_application"]["statements"] > 50
    assert set(Path("/tmp").glob("tenantry-demo-*")) <= before


@pytest.mark.parametrize("named", daily([False, True]))
def test_keep(command: Callable[[str], Command], named: bool) -> None:
    """--keep, or a folder of one's own: the folder stays, and another command can look into it. What is printed is
    what README.md shows."""
    where = ["--dsn", "embedded:/tmp/tenantry-demo-named"] if named else ["--keep"]
    outcome = command("")("demo", "--rows", "300", *where)
    assert not {"migrate", "rollback"} & set(outcome.stdout.splitlines()), "chapters have titles of their own"
    printed = README["shown"](outcome.stdout.partition("The server's folder is kept")[0])
    assert README["masked"](README["in_readme"]()) == README["masked"](printed), "run: python docs/demo.py"
    folder = outcome.stdout.rsplit("embedded:", 1)[1].strip()
    try:
        assert not named or folder == "/tmp/tenantry-demo-named"
        status = command("")("status", "--preset", "estoque", "--dsn", f"embedded:{folder}", "--json")
        assert status.json["word"] == "NOT_STARTED"
    finally:
        shutil.rmtree(folder)


def test_unknown_preset(command: Callable[[str], Command]) -> None:
    """Exit 2 before a server is made."""
    outcome = command("")("demo", "--preset", "estoqe")
    assert (outcome.status, 'did you mean "estoque"' in outcome.stderr) == (2, True)
