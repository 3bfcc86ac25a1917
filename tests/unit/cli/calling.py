"""The command line in this process, with nothing behind it: what it makes of its words, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import typer

from tenantry.cli.application import app, main
from tenantry.errors import Refused

NO_SERVER = "host=127.0.0.1 port=1"


def parsers(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The parser of every command and group, with its path."""
    group = group if group is not None else typer.main.get_command(app)
    yield path, group
    for name, command in getattr(group, "commands", {}).items():
        yield from parsers(command, (*path, name))


@dataclass
class Called:
    """A command's function, and what it was called with behind the database."""

    function: str
    positional: tuple[Any, ...]
    named: dict[str, Any]


@dataclass
class CommandLine:
    """`line("migrate.run_migrate", "migrate --force")` is how the command line calls that function of tenantry.cli;
    `line.refused("migrate --force")` what it says, with exit status 2, before it has called anything."""

    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]
    made: list[Called] = field(default_factory=list)

    def __call__(self, function: str, words: str) -> Called:
        with self.monkeypatch.context() as patched:
            patched.setattr(f"tenantry.cli.{function}", self._recording(function))
            assert self.run(words) == Refused.status, self.capsys.readouterr().err
        self.capsys.readouterr()
        return self.made.pop()

    def _recording(self, function: str) -> Any:
        def record(target: Any, *positional: Any, **named: Any) -> Any:
            self.made.append(Called(function, positional, named))
            raise Refused("It goes no further in this test")

        return record

    def run(self, words: str) -> int:
        """The exit status."""
        with pytest.raises(SystemExit) as ended:
            main(words.split())
        return int(ended.value.code or 0)

    def refused(self, words: str) -> str:
        assert self.run(words) == 2
        said = self.capsys.readouterr().err
        assert said.startswith("tenantry: ")
        assert "Traceback" not in said
        return " ".join(said.split())
