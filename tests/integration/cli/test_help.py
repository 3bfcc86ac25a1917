"""Help, its page and its completion, as a process shows them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from conftest import ROOT, Command
from unit.cli.calling import parsers


def test_list_of_commands_is_whole(tenantry: Command) -> None:
    """What a command does is said to the end, in a narrow terminal too."""
    shown = tenantry("--help", environment={"COLUMNS": "60"}).stdout
    assert "..." not in shown[shown.index("Commands:") :]


def test_page() -> None:
    """docs/commands.md is what docs/commands.py makes."""
    made = subprocess.run([sys.executable, ROOT / "docs" / "commands.py"], capture_output=True, text=True, check=True)
    page = (ROOT / "docs" / "commands.md").read_text()
    assert page == made.stdout
    for path, command in parsers():
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


@pytest.mark.parametrize(("arguments", "without"), {
    "--help": {"psycopg", "pydantic", "rich.console", "tenantry.commands"},
    "--version": {"psycopg", "pydantic", "rich.console"},
    "plan --help": {"jinja2", "networkx", "pygments", "vl_convert"},
}.items())  # fmt: skip
def test_what_is_not_needed_is_not_imported(arguments: str, without: set[str]) -> None:
    """Imports are nearly all of the time that a command takes to begin."""
    program = (
        f"import sys\ntry: from tenantry.cli import main; main({arguments.split()})\n"
        f"except SystemExit: print(sorted({without} & set(sys.modules)), file=sys.stderr)"
    )
    environment = {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


def test_completion(command: Callable[[str], Command]) -> None:
    """A shell that completes is told the commands, their options and the values of these."""
    tenantry = command("")
    for words, expected in {
        "tenantry mig": ["migrate"],
        "tenantry backups re": ["restore"],
        "tenantry migrate --unt": ["--until"],
        "tenantry migrate --until ex": ["expand"],
    }.items():
        environment = {
            "_TENANTRY_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" ")),
        }  # fmt: skip
        assert tenantry(environment=environment).stdout.split() == expected
    # Else the shell that the tests were started from is asked for, whatever that is.
    named = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    assert "_TENANTRY_COMPLETE" in tenantry("--show-completion", "bash", environment=named).stdout
