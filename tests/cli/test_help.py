"""Every command and every option is documented."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import typer

from conftest import ROOT, Command
from tenantry.cli import app


def commands(group: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    """Every command and group, with its path."""
    found = [(path, group)]
    for name, command in getattr(group, "commands", {}).items():
        found += commands(command, (*path, name))
    return found


ALL = commands(typer.main.get_command(app))


@pytest.mark.parametrize(("path", "command"), ALL, ids=[" ".join(path) or "tenantry" for path, _ in ALL])
def test_documented(path: tuple[str, ...], command: Any) -> None:
    """The command says what it does, and each option what it means."""
    assert command.help
    for parameter in command.params:
        assert parameter.help, f"{' '.join(path)} {parameter.name}"


def test_list_of_commands_is_whole(tenantry: Command) -> None:
    """What a command does is said to the end, in a narrow terminal too."""
    shown = tenantry("--help", environment={"COLUMNS": "60"}).stdout
    assert "..." not in shown[shown.index("Commands:") :]


def test_page() -> None:
    """docs/commands.md is what docs/commands.py makes."""
    made = subprocess.run([sys.executable, ROOT / "docs" / "commands.py"], capture_output=True, text=True, check=True)
    page = (ROOT / "docs" / "commands.md").read_text()
    assert page == made.stdout
    for path, command in ALL:
        if not hasattr(command, "commands"):
            assert f"## tenantry {' '.join(path)}\n" in page
            # An argument is shown by what stands for it.
            options = [name for parameter in command.params for name in parameter.opts if name.startswith("-")]
            assert all(name in page for name in options), path


def test_help_of_the_process(command: Callable[[str], Command]) -> None:
    """--help and --version exit 0; no command shows the help, and exits 2."""
    tenantry = command("")
    assert "migrate" in tenantry("--help").stdout
    assert "--until" in tenantry("migrate", "-h").stdout
    assert tenantry("--version").stdout.startswith("tenantry ")
    bare = tenantry()
    assert (bare.status, "Usage:" in bare.stdout) == (2, True)


def test_what_few_commands_need_is_not_waited_for() -> None:
    """To load what only reports and demonstrations use, or what rich draws source code with, takes a large part of the
    time in which a command begins."""
    late = ("jinja2", "networkx", "pygments", "structlog", "vl_convert")
    program = f"import sys, tenantry.cli.application; print([name for name in {late} if name in sys.modules])"
    environment = {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
