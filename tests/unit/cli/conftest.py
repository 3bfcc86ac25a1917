"""The command line, in a folder with a spec and without a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenantry.presets import spec_path
from unit.cli.calling import NO_SERVER, CommandLine


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", NO_SERVER)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("tenantry.cli.application.make_ready", lambda: None)
    (tmp_path / "tenantry.toml").write_text(spec_path("estoque").read_text())
    return CommandLine(monkeypatch, capsys)
