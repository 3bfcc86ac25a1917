"""Reports as files, each of them whole or not there."""

from __future__ import annotations

from pathlib import Path

from tenantry import private_files
from tenantry.errors import UsageError
from tenantry.reports import table
from tenantry.reports.document import to_json
from tenantry.reports.log import title
from tenantry.reports.report import Report


def report_path(folder: Path, command: str, run: str) -> Path:
    """Where the JSON report of a run is; the others are beside it."""
    return folder / f"{title(command)}-report-{run}.json"


def begin(path: Path, report: Report) -> None:
    """Write the report of a run that begins. Raises UsageError where that cannot be."""
    try:
        private_files.make_folder(path.parent)
        write(path, report)
    except OSError as error:
        raise UsageError(
            f"The report {path} cannot be written: {error.strerror or error}",
            remedy="Choose a folder that you can write to: --report-dir PATH.",
        ) from error


def write(path: Path, report: Report) -> None:
    """Write the JSON report over the one that is there. Raises OSError."""
    private_files.write_text(path, to_json(report.model_dump(mode="json"), indent=2) + "\n")


def exports(path: Path) -> tuple[Path, ...]:
    """The files that `export` writes."""
    return path.with_suffix(".csv"), path.with_suffix(".html")


def export(path: Path) -> None:
    """Write CSV and HTML beside the JSON report `path`, from what it says. Raises OSError."""
    with private_files.open_existing(path) as file:
        report = Report.model_validate_json(file.read())
    rows, whole = exports(path)
    # A byte order mark, without which Excel takes UTF-8 for something else.
    private_files.write_text(rows, "\ufeff" + table.csv(report))
    # Only who exports waits for the import of what fills templates.
    from tenantry.reports import page

    private_files.write_text(whole, page.html(report))
