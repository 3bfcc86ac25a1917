"""The pages name commands and options, sections, and files of the repository that there are."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from conftest import ROOT
from tenantry.cli.application import app

PAGES = ("../README.md", *sorted(page.name for page in (ROOT / "docs").glob("*.md")))
_UsageError: Any = typer.BadParameter.__base__
"""That of click, which newer versions of typer bring along under a name of their own."""
_COMMAND = re.compile(r"(?:(?<!from )(?<![\w./-])tenantry|/bin/tenantry) ((?:--)?[a-z][^\n`|;&)#>]*)")
_PLACEHOLDER = re.compile(r"[\[\]…]|\.\.\.")


def named(text: str) -> Iterator[str]:
    """Commands in code, over lines that end with a backslash: inline, indented, or in a fenced block, where only lines
    that run them count, and not what they print."""
    text = re.sub(r'"\$\(.*\)"', "VALUE", text.replace("\\\n", " "))
    for block in re.findall(r"^```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if re.match(r"(\$ |- run: |(cd \S+ && )?tenantry )", line):
                yield from _COMMAND.findall(line)
    for found in re.findall(r"`([^`\n]+)`|^ {4}(.*)$", text, re.MULTILINE):
        yield from _COMMAND.findall(" ".join(found))


@pytest.mark.parametrize("page", [*PAGES, "../application/README.md", "../CHANGELOG.md", "../CONTRIBUTING.md"])
def test_commands(page: str) -> None:
    """Each is a command of ours, or a group of them by itself, with options and arguments that it takes."""
    commands = list(named((ROOT / "docs" / page).read_text(encoding="utf-8")))
    assert [wrong for command in commands if (wrong := _wrong(command))] == []
    assert len(commands) > 50 or page != "runbook.md"


@pytest.mark.parametrize(
    "command",
    ["migrat", "migrate --untl enforce", "tenants lists", "migrate --until", "status now", "--versions", "--dsn x y"],
)
def test_what_is_wrong_is_seen(command: str) -> None:
    """A name, an option, or an argument that there is not, before and behind the command."""
    assert _wrong(command)


def _wrong(command: str) -> str:
    """What the parser of the command line says of it, without asking whether values fit."""
    words = shlex.split(_PLACEHOLDER.sub(" ", command))
    found = typer.main.get_command(app)
    context = typer.Context(found)
    try:
        while True:
            _, words, _ = found.make_parser(context).parse_args(words)
            commands = getattr(found, "commands", {})
            if not words:
                return ""
            if words[0] not in commands:
                return f"tenantry {command}: there is no {words[0]}"
            found = commands[words.pop(0)]
            context = typer.Context(found, parent=context)
    except _UsageError as error:
        return f"tenantry {command}: {error}"


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
