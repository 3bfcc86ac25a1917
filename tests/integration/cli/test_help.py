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
from tenantry.presets import PRESETS


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


def test_presets_are_named() -> None:
    """--preset names each that there is."""
    (preset,) = [one for one in ALL[0][1].params if one.name == "preset"]
    assert all(name in preset.help for name in PRESETS)


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


def test_a_list_says_what_the_command_says() -> None:
    """The words of a list of commands are the first paragraph of the command's own help."""
    for path, group in ALL:
        entries = getattr(group, "commands", None)
        for name, entry in entries.entries.items() if entries is not None else ():
            first = entries[name].help.partition("\n\n")[0]
            assert " ".join(first.split()) == entry.help, (*path, name)


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


@pytest.mark.parametrize(("path", "command"), ALL, ids=[" ".join(path) or "tenantry" for path, _ in ALL])
def test_help_in_a_narrow_terminal(path: tuple[str, ...], command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 60 columns no line is longer, and all of each option's help is there."""
    monkeypatch.setenv("COLUMNS", "60")
    with command.make_context(" ".join(("tenantry", *path)), [], resilient_parsing=True) as context:
        shown = command.get_help(context)
    assert [line for line in shown.splitlines() if len(line) > 60] == []
    words = "".join(shown.split())
    for parameter in command.params:
        assert "".join(parameter.help.split()) in words, parameter.name


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
    assert "_TENANTRY_COMPLETE" in tenantry("--show-completion", "bash").stdout
