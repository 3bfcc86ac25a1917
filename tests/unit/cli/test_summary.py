"""What a run has come to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tenantry.cli.settings import Settings
from tenantry.cli.summary import show_result
from tenantry.cli.terminal import Terminal
from tenantry.errors import ExitStatus
from tenantry.model.run import Result
from tenantry.reports.log import Log

RESULT = Result(
    command="migrate", run="1", exit_status=ExitStatus.DONE, outcome="migrated", next_step="deploy", applied=3, rows=5000,
    seconds=61.0, longest_lock=0.25, retries=2,
)  # fmt: skip


def test_in_words_and_as_a_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = Log(tmp_path, command="migrate", run="1")
    show_result(Terminal(command="migrate", settings=Settings(), log=log), RESULT)
    said = capsys.readouterr().out
    assert said.startswith("Done: migrated.\n")
    assert "1 min 01 s, 5,000 rows filled, longest wait for a lock 250 ms, 2 retries." in said
    assert "Next: deploy" in said
    terminal = Terminal(command="migrate", settings=Settings(json=True), log=log)
    show_result(terminal, RESULT)
    terminal.finish(ExitStatus.DONE)
    document = json.loads(capsys.readouterr().out)
    assert (document["applied"], document["rows"], document["longest_lock_wait_seconds"]) == (3, 5000, 0.25)
