"""The options of every command: accepted before and behind its name, from the environment, and never ignored."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer

from conftest import Command
from servers import Database
from tenantry.cli import app
from tenantry.cli.commands import COMMANDS, Group
from tenantry.cli.commands import Command as Entry
from tenantry.cli.settings import NO_REPORT, NO_SPEC, REPORTS
from tenantry.presets import spec_path

MISSING = "nowhere.toml"
ROOT_PARSER: Any = typer.main.get_command(app)


def paths(entries: Mapping[str, Entry | Group], before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The commands of the table, each as its words."""
    for name, entry in entries.items():
        if isinstance(entry, Group):
            yield from paths(entry.commands, (*before, name))
        else:
            yield (*before, name)


def parser(path: tuple[str, ...]) -> Any:
    found = ROOT_PARSER
    for name in path:
        found = found.commands[name]
    return found


NEEDED = {
    ("sample",): ["estoque"],
    ("export",): ["django"],
    ("keys", "create"): ["acme", "--name", "n"],
    ("tenants", "export"): ["acme", "--output", "f"],
    ("tenants", "move"): ["acme", "--to", "host=127.0.0.1 port=1"],
    ("balances", "review", "accept"): ["1", "--note", "n"],
    ("balances", "review", "reject"): ["1", "--note", "n"],
}
"""What some commands cannot do without, where it is not an argument that may be any word."""


def needed(path: tuple[str, ...]) -> list[str]:
    """What stands behind a command."""
    return NEEDED.get(path) or ["abcdefgh" for one in parser(path).params if one.required]


NO_SERVER = "host=127.0.0.1 port=1"
ALL = list(paths(COMMANDS))


def called(*words: str) -> int:
    """The exit status of a command, called in this process: a process each for hundreds takes minutes."""
    return int(ROOT_PARSER.main(args=list(words), prog_name="tenantry", standalone_mode=False))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command is called, with estoque's spec, and no server behind the DSN of the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", NO_SERVER)
    (tmp_path / "tenantry.toml").write_text(spec_path("estoque").read_text())
    return tmp_path


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_takes_them(folder: Path, capsys: pytest.CaptureFixture[str], path: tuple[str, ...]) -> None:
    """Before, between and behind the words of a command: --config names a file that it reads, and with all other
    options what stops it is that there is no such server."""
    others = ["--dsn", NO_SERVER, "--json", "--log-dir", "l", "--report-dir", "r", "--verbose", "-v", "--quiet",
              "-q", "--no-color", "--export-report"]  # fmt: skip
    for place in range(len(path) + 1):
        before, behind = path[:place], (*path[place:], *needed(path))
        # What discover exports, it is told where.
        file = ["page.html"] if path == ("discover",) and place else []
        assert called(*before, "--config", MISSING, *behind) == 2
        assert f"cannot read the spec {MISSING}" in capsys.readouterr().err
        # The demo wants no server that runs, and an import reads its folder first.
        expected = 2 if path in (("demo",), ("tenants", "import")) else 3
        assert called(*before, *others, *file, *behind) == expected
        assert json.loads(capsys.readouterr().out)["command"] == " ".join(path)
    assert not (folder / "logs").exists()
    assert not (folder / "reports").exists()


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("arguments", ["housekeeping --purge", "status --terminate 1", "discover --update"])
def test_without_use_for_a_spec(capsys: pytest.CaptureFixture[str], arguments: str) -> None:
    """What only some runs of a command need is not ignored by the others."""
    assert called(*arguments.split(), "-c", MISSING) == 2
    assert MISSING in capsys.readouterr().err


def test_help_says_what_has_no_use() -> None:
    """A command that needs no spec, or leaves no report, says so of these options; all others say what they do."""
    for path in paths(COMMANDS):
        entry: Any = COMMANDS
        for name in path:
            entry = entry[name] if isinstance(entry, Mapping) else entry.commands[name]
        said = {one.name: one.help for one in parser(path).params}
        for name in said.keys() & set(REPORTS):
            assert (said[name] == NO_REPORT[name]) != entry.reports, (*path, name)
        if path[0] in ("rollback", "fixes") or path in (("backups", "list"), ("backups", "restore")):
            assert said["config"] == NO_SPEC["config"], path


@pytest.fixture
def here(folder: Path, estoque: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """The database that the environment names, with estoque's tables."""
    monkeypatch.setenv("DATABASE_URL", estoque.dsn)
    (folder / "shop.toml").write_text((folder / "tenantry.toml").read_text())
    return estoque


ELSEWHERE = {"rollback --confirm": 0, "rollback": 0, "fixes list": 0, "backups prune": 0, "housekeeping --purge": 0}


@pytest.mark.parametrize(("arguments", "status"), ELSEWHERE.items())
def test_a_spec_of_another_database(
    here: Database, capsys: pytest.CaptureFixture[str], arguments: str, status: int
) -> None:
    """Exit 2, and nothing is changed: a command that needs no spec still does not work beside one that does not fit."""
    before = here.dump()
    assert called("--preset", "enterprise", *arguments.split()) == 2
    error = capsys.readouterr().err
    assert "does not fit this database" in error
    assert "needs no spec" in error
    assert here.dump() == before
    assert called(*arguments.split(), "--preset", "estoque") == called(*arguments.split()) == status


@pytest.mark.usefixtures("here")
def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """TENANTRY_CONFIG names the spec; the command line counts more, and what needs no spec does not ask for it."""
    Path("tenantry.toml").unlink()
    monkeypatch.setenv("TENANTRY_CONFIG", "shop.toml")
    assert called("tenants", "list") == called("conflicts") == 0
    monkeypatch.setenv("TENANTRY_CONFIG", MISSING)
    assert called("tenants", "list") == 2
    assert called("tenants", "list", "--config", "shop.toml") == 0
    assert called("--preset", "estoque", "tenants", "list") == 0
    assert called("--config", "shop.toml", "tenants", "list") == 0
    assert called("backups", "list") == 0
    # Of two places the one behind counts.
    assert called("--config", MISSING, "tenants", "list", "--config", "shop.toml") == 0
    assert called("--config", "shop.toml", "tenants", "list", "--preset", "estoque") == 2


@pytest.mark.usefixtures("here")
def test_environment_of_switches(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A switch can be set in the environment too, or be empty there."""
    monkeypatch.setenv("TENANTRY_JSON", "1")
    assert called("backups", "list") == 0
    assert json.loads(capsys.readouterr().out)["backups"] == []
    monkeypatch.setenv("TENANTRY_JSON", "")
    assert called("backups", "list") == 0
    assert capsys.readouterr().out.startswith("There are no backups")


def test_wrong_values_in_the_environment(command: Callable[[str], Command]) -> None:
    """What cannot be a switch is named with its variable; the document of --json is for wrong usage too."""
    tenantry = command("")
    wrong = tenantry("backups", "list", environment={"TENANTRY_QUIET": "banana"})
    assert (wrong.status, "TENANTRY_QUIET" in wrong.stderr) == (2, True)
    document = tenantry("backups", "lst", environment={"TENANTRY_JSON": "yes"})
    assert (document.status, document.json["exit_status"]) == (2, 2)


@pytest.mark.usefixtures("here")
def test_no_report(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Options about a report are not taken without a word where none is left: by a command that has none, or a dry
    run."""
    for arguments in ("plan", "migrate --dry-run"):
        called(*arguments.split(), "--export-report")
        assert "--export-report had no effect" in capsys.readouterr().err, arguments
    monkeypatch.setenv("TENANTRY_EXPORT_REPORT", "1")
    called("plan")
    assert called("backups", "create", "--report-dir", "found") == 0
    assert "had no effect" not in capsys.readouterr().err
    assert len(list(Path("found").iterdir())) == 3


@pytest.mark.usefixtures("folder")
def test_sample_with_a_spec(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A spec that does not fit the sample: nothing is loaded."""
    monkeypatch.setenv("DATABASE_URL", database.dsn)
    Path("other.toml").write_text(spec_path("enterprise").read_text())
    before = database.dump()
    assert called("sample", "estoque", "--rows", "50", "--config", "other.toml") == 2
    assert called("sample", "estoque", "--rows", "50", "--preset", "enterprise") == 2
    assert database.dump() == before
    assert called("--preset", "estoque", "sample", "estoque", "--rows", "50", "--config", "tenantry.toml") == 0


def test_demo_makes_its_own_server(here: Database, capsys: pytest.CaptureFixture[str]) -> None:
    """A DSN of a server that runs is refused, and nothing is changed there."""
    before = here.dump()
    assert called("demo", "--dsn", here.dsn) == 2
    assert "a server of its own" in capsys.readouterr().err
    assert here.dump() == before
