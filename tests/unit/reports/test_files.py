"""Where reports are, and that each file is whole or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports.reporting import read_report, read_table, reported
from tenantry.errors import UsageError
from tenantry.reports import files


@pytest.mark.parametrize(
    ("command", "called"),
    [("migrate", "migration"), ("validate", "validation"), ("backups create", "backup"), ("rollback", "rollback")],
)
def test_names(command: str, called: str) -> None:
    path = files.report_path(Path("reports"), command, "1")
    assert path == Path(f"reports/{called}-report-1.json")
    assert files.exports(path) == (Path(f"reports/{called}-report-1.csv"), Path(f"reports/{called}-report-1.html"))


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """It is said before anything is changed."""
    (tmp_path / "reports").write_text("a file")
    with pytest.raises(UsageError, match="cannot be written") as refused:
        reported(tmp_path / "reports")
    assert "--report-dir" in refused.value.remedy


def test_exports_come_from_the_json_alone(tmp_path: Path) -> None:
    """For their owner; with the mark that a spreadsheet needs."""
    path = reported(tmp_path).path
    assert path is not None
    files.export(path)
    rows, page = files.exports(path)
    assert read_table(rows) == []
    assert rows.read_bytes().startswith("\ufeff".encode())
    assert "<html" in page.read_text()
    assert {one.stat().st_mode & 0o777 for one in (path, rows, page)} == {0o600}
    assert read_report(path)["verdict"] == "running"
