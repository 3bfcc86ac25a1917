"""The pages name commands and options, sections, and files of the repository that there are."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import typer

from conftest import ROOT
from tenantry.cli.application import app

PAGES = ("../README.md", *sorted(page.name for page in (ROOT / "docs").glob("*.md")))
_COMMAND = re.compile(r"(?:(?<!from )\btenantry|/bin/tenantry) ((?:[a-z][a-z-]*(?: |$))+[^\n`|;&)]*)", re.MULTILINE)


def named(text: str) -> Iterator[str]:
    """What stands in code, over lines that end with a backslash."""
    text = text.replace("\\\n", " ")
    code = re.findall(r"`([^`\n]+)`|^ {4}(.*)$|^\$ (.*)$", text, re.MULTILINE)
    for found in code:
        for command in _COMMAND.finditer(" ".join(found)):
            yield command[1].strip()


@pytest.mark.parametrize("page", PAGES)
def test_commands(page: str) -> None:
    """Each is a command of ours, or a group of them by itself, with options that it has."""
    commands = list(named((ROOT / "docs" / page).read_text(encoding="utf-8")))
    assert not [wrong for command in commands if (wrong := _wrong(command))]
    assert len(commands) > 50 or page != "runbook.md"


def _wrong(command: str) -> str:
    words = command.split()
    found = typer.main.get_command(app)
    while words and words[0] in getattr(found, "commands", {}):
        found = found.commands[words.pop(0)]  # type: ignore[attr-defined]
    if getattr(found, "commands", {}) and words:
        return f"there is no such command: tenantry {command}"
    known = {option for parameter in found.params for option in parameter.opts}
    of_others = command.partition("$(")[2].split()
    unknown = [word for word in words if word.startswith("--") and word not in known and word not in of_others]
    return f"tenantry {command} has no {', '.join(unknown)}" if unknown else ""


@pytest.mark.parametrize("page", PAGES)
def test_links(page: str) -> None:
    """Each link leads to a page, and to a heading of it."""
    here = (ROOT / "docs" / page).resolve()
    text = here.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]*(?:#[^)]*)?)\)", text):
        name, _, anchor = target.partition("#")
        if name.startswith("https:"):
            continue
        there = here.parent / name if name else here
        assert there.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", there.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, target


_FILE = re.compile(r"`((?:tests|bench|docs|examples|application|[a-z]+)/[a-z0-9_/]*(?:\.[a-z]+)?)(?:::\w+)?`")
SOURCES = ROOT / "src" / "tenantry"
PACKAGES = {path.name for path in SOURCES.iterdir() if path.is_dir()}


@pytest.mark.parametrize("page", [*PAGES, "../CONTRIBUTING.md", "../SECURITY.md"])
def test_files(page: str) -> None:
    """A path below the repository, or below the package, leads to a file or folder."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    named = {name for name in _FILE.findall(text) if name.partition("/")[0] in PACKAGES | {"tests", "bench"}}
    assert [name for name in sorted(named) if not ((ROOT / name).exists() or (SOURCES / name).exists())] == []
