"""Whatever goes wrong in a command becomes one sentence and an exit status, without a secret."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest
from psycopg import errors

from tenantry.cli.runner import run
from tenantry.cli.settings import Settings
from tenantry.errors import ExitStatus, Refused

SECRET = "s3cr3t!"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("PGPASSWORD", SECRET)


def failing(error: BaseException, **settings: object) -> ExitStatus:
    def function(terminal: object) -> ExitStatus:
        raise error

    return run("plan", Settings(**settings), function, {})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (Refused("It is unsafe", remedy="do that"), 4, "It is unsafe"),
        (KeyboardInterrupt(), 130, "continues where it stopped"),
        (errors.InsufficientPrivilege("no right"), 3, "Missing privileges: no right"),
        (errors.UntranslatableCharacter("no such sign"), 2, "Choose another name"),
        (errors.CharacterNotInRepertoire("0xff"), 2, "not valid UTF-8"),
        (psycopg.DataError("NUL"), 2, "cannot be sent"),
        (errors.AdminShutdown("terminating"), 5, "The connection was lost"),
        (errors.DiskFull("no space"), 5, "Free space"),
        (errors.UndefinedTable("no table"), 5, "PostgreSQL reports: no table"),
        (FileNotFoundError(2, "No such file", "spec.toml"), 2, "spec.toml: No such file"),
        (UnicodeEncodeError("utf-8", "\udcff", 0, 1, "x"), 2, "not a valid character"),
        (RuntimeError("nobody knows\nwhy"), 5, "Unexpected error (RuntimeError: nobody knows)"),
    ],
)
def test_errors(capsys: pytest.CaptureFixture[str], error: BaseException, status: int, words: str) -> None:
    assert failing(error) == status
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said
    assert said.count("tenantry: ") == 1


def test_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither on the screen, nor in the document, nor in the log of what nobody expected."""
    dsn = "postgresql://maria:0ther-one@host/db"
    for json_ in (False, True):
        failing(RuntimeError(f"{SECRET} 0ther-one {dsn}"), dsn=dsn, json=json_)
        out, err = capsys.readouterr()
        assert SECRET not in out + err
        assert "0ther-one" not in out + err
    logs = "".join(path.read_text() for path in Path("logs").iterdir())
    assert "RuntimeError" in logs
    assert SECRET not in logs
    assert "0ther-one" not in logs


def test_the_document_of_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    failing(Refused("no", remedy="do", details=["a"]), json=True)
    document = json.loads(capsys.readouterr().out)
    assert (document["command"], document["exit_status"]) == ("plan", 4)
    assert document["error"] == {"message": "no", "remedy": "do", "details": ["a"]}


def test_options_that_have_no_effect_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    """A report that was asked for, of a command that leaves none."""
    settings = Settings(export_report=True, named=frozenset({"export_report"}))
    assert run("plan", settings, lambda terminal: ExitStatus.DONE, {}) is ExitStatus.DONE
    assert "--export-report had no effect" in capsys.readouterr().err
