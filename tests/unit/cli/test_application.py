"""The entry point: wrong usage is said in words or as a document, and ends with its exit status."""

from __future__ import annotations

import json

import pytest

from tenantry import __version__
from unit.cli.calling import CommandLine


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("migrat", "migrate"),
        ("serve", "serve"),
        ("migrate --untl expand", "--until"),
        ("migrate --until nowhere", "'--until': 'nowhere' is not one of 'expand'"),
        ("migrate --workers 0", "workers"),
        ("migrate --lock-timeout -1", "-1"),
        ("migrate --free-space much", "500MB"),
        ("migrate --backup copies", "tables"),
        ("rollback --confirm --preserve-data", "exclude each other"),
        ("validate --samples -1", "samples"),
        ("plan --preset estoqe", 'did you mean "estoque"'),
    ],
)
def test_wrong_usage(line: CommandLine, words: str, said: str) -> None:
    """Exit 2, and what would be right, in both forms."""
    assert said in line.refused(words)
    assert line.run(f"{words} --json") == 2
    out, err = line.capsys.readouterr()
    document = json.loads(out)
    assert (document["exit_status"], err) == (2, "")
    assert said in document["error"]["message"] + document["error"]["remedy"] + str(document["error"]["details"])


def test_version_and_help(line: CommandLine) -> None:
    assert line.run("--version") == 0
    assert line.capsys.readouterr().out == f"tenantry {__version__}\n"
    assert line.run("--help") == 0
    assert "Exit status: 0 done" in line.capsys.readouterr().out


def test_bytes_that_are_no_text(line: CommandLine) -> None:
    assert "is not valid UTF-8" in line.refused("tenants add \udcff")


def test_a_server_that_is_not_there(line: CommandLine) -> None:
    """Exit 3, and nothing is left behind: no log, no report."""
    assert line.run("migrate --dry-run") == 3
    assert "Cannot connect" in line.capsys.readouterr().err
