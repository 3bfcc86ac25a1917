"""Reports as files, each of them whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

from tenantry.errors import UsageError
from tenantry.reports import charts, page, table
from tenantry.reports.document import to_json
from tenantry.reports.log import title
from tenantry.reports.report import Report


def report_path(folder: Path, command: str, run: str) -> Path:
    """Where the JSON report of a run is; the others are beside it."""
    return folder / f"{title(command)}-report-{run}.json"


def begin(path: Path, report: Report, *, export: bool) -> None:
    """Write the report of a run that begins. Raises UsageError where that cannot be, or cannot be exported."""
    if export:
        charts.require()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, report)
    except OSError as error:
        raise UsageError(
            f"The report {path} cannot be written: {error.strerror or error}",
            remedy="Name a folder that you can write to: --report-dir PATH.",
        ) from error


def write(path: Path, report: Report) -> None:
    """Write the JSON report over the one that is there. Raises OSError."""
    _replace(path, to_json(report.model_dump(mode="json"), indent=2) + "\n")


def exports(path: Path) -> tuple[Path, ...]:
    """The files that `export` writes."""
    return path.with_suffix(".csv"), path.with_suffix(".html")


def export(path: Path) -> None:
    """Write CSV and HTML beside the JSON report `path`, from what it says. Raises OSError."""
    report = Report.model_validate_json(path.read_text(encoding="utf-8"))
    rows, whole = exports(path)
    # A byte order mark, without which Excel takes UTF-8 for something else.
    _replace(rows, "\ufeff" + table.csv(report))
    _replace(whole, page.html(report))


def _replace(path: Path, text: str) -> None:
    """A reader, or a crash, finds the old text or the new one."""
    draft = path.with_name(f".{path.name}.draft")
    try:
        with draft.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
