"""Prints docs/commands.md, from the commands themselves: python docs/commands.py > docs/commands.md"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from tenantry.cli import app
from tenantry.cli.application import EXITS
from tenantry.cli.settings import REPORTS


def page() -> str:
    """The page: what all commands have, then each command with its own options."""
    root = typer.main.get_command(app)
    lines = ["# Commands", "", "`docs/commands.py` generates this page from the help of the commands.", ""]
    lines += [EXITS, "", "## Options of every command", ""]
    lines += [
        "Give them before the command or after it; one after it overrides one before it. If the command line does"
    ]
    lines += ["not give an option, its environment variable is used.", ""]
    lines += _table([parameter for parameter in root.params if parameter.name not in ("help",)])
    for path, command in commands(root, "tenantry"):
        known = {one.name: one.help for one in root.params}
        own = [one for one in command.params if one.name != "help" and known.get(one.name) != one.help]
        own = [one for one in own if one.name not in REPORTS]
        lines += ["", f"## {path}", "", *_prose(command.help or "")]
        if any(one.name in REPORTS and known[one.name] == one.help for one in command.params):
            lines += ["", "Each run leaves a log and a report."]
        if own:
            lines += ["", *_table(own)]
    return "\n".join(lines) + "\n"


def commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Each command that does something, with its path."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def _prose(text: str) -> list[str]:
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n")).split("\n")


def _table(parameters: list[Any]) -> list[str]:
    rows = ["| option | meaning |", "|---|---|"]
    for parameter in parameters:
        names = ", ".join(f"`{name}`" for name in parameter.opts) if parameter.opts[0].startswith("-") else ""
        metavar = (parameter.metavar or "").replace("|", " or ")
        shown = f"{names} {metavar}".strip() if names else f"{metavar or parameter.name}"
        shown += f"; `{parameter.envvar}`" if parameter.envvar else ""
        rows.append(f"| {shown} | {' '.join((parameter.help or '').split())} |".replace("|…", "…"))
    return rows


if __name__ == "__main__":
    print(page(), end="")
