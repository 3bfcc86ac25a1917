"""The wheel in an environment of its own, with nothing but what it asks for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT
from servers import Database
from tenantry import __version__


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs of a new environment, into which the wheel was installed."""
    folder = tmp_path_factory.mktemp("install")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", folder, ROOT], check=True)
    (wheel,) = folder.glob("tenantry-*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "clean"], check=True)
    subprocess.run([*pip, "--python", folder / "clean" / "bin" / "python", "install", wheel], check=True)
    return folder / "clean" / "bin"


@pytest.mark.nightly
def test_a_clean_environment(programs: Path, database: Database, tmp_path: Path) -> None:
    """The wheel has all that it needs: it loads a sample, migrates, validates and goes back, exactly; a report is
    exported without the package that draws charts."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PG"))}
    environment |= {"DATABASE_URL": database.dsn, "TENANTRY_PRESET": "estoque"}

    def tenantry(*arguments: str) -> str:
        done = subprocess.run(
            [programs / "tenantry", *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert tenantry("--version") == f"tenantry {__version__}\n"
    tenantry("sample", "estoque", "--rows", "200")
    before = database.dump()
    assert "migrated" in tenantry("migrate", "--until", "contract", "--export-report")
    assert {path.suffix for path in (tmp_path / "reports").iterdir()} == {".json", ".csv", ".html"}
    assert "COMPLETED" in tenantry("status")
    tenantry("validate")
    tenantry("rollback", "--confirm")
    assert database.dump() == before
