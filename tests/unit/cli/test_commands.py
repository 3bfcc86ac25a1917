"""Every command and every option says what it does, also where there is little room."""

from __future__ import annotations

from typing import Any

import pytest

from tenantry.presets import PRESETS
from unit.cli.calling import parsers

ALL = list(parsers())


@pytest.mark.parametrize(("path", "command"), ALL, ids=[" ".join(path) or "tenantry" for path, _ in ALL])
def test_documented(path: tuple[str, ...], command: Any) -> None:
    """The command says what it does, and each option what it means."""
    assert command.help
    for parameter in command.params:
        assert parameter.help, f"{' '.join(path)} {parameter.name}"


def test_presets_are_named() -> None:
    """--preset names each that there is."""
    (preset,) = [one for one in ALL[0][1].params if one.name == "preset"]
    assert all(name in preset.help for name in PRESETS)


def test_a_list_says_what_the_command_says() -> None:
    """The words of a list of commands are the first paragraph of the command's own help."""
    for path, group in ALL:
        entries = getattr(group, "commands", None)
        for name, entry in entries.entries.items() if entries is not None else ():
            first = entries[name].help.partition("\n\n")[0]
            assert " ".join(first.split()) == entry.help, (*path, name)


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
