"""Reports as files, each of them written completely or not at all."""

from __future__ import annotations

from pathlib import Path

from tenantry import private_files
from tenantry.errors import UsageError
from tenantry.reports import table
from tenantry.reports.document import to_json
from tenantry.reports.log import title
from tenantry.reports.report import Report


def report_path(folder: Path, command: str, run: str) -> Path:
    """The path of a run's JSON report; the other files are beside it."""
    return folder / f"{title(command)}-report-{run}.json"


def begin(path: Path, report: Report) -> None:
    """Write the report of a run that begins. Raises UsageError if that is not possible."""
    try:
        private_files.make_folder(path.parent)
        write(path, report)
    except OSError as error:
        raise UsageError(
            f"The report {path} cannot be written: {error.strerror or error}",
            remedy="Choose a folder that you can write to: --report-dir PATH.",
        ) from error


def write(path: Path, report: Report) -> None:
    """Replace the JSON report. Raises OSError."""
    private_files.write_text(path, to_json(report.model_dump(mode="json"), indent=2) + "\n")


def exports(path: Path) -> tuple[Path, ...]:
    """The files that `export` writes."""
    return path.with_suffix(".csv"), path.with_suffix(".html")


def export(path: Path) -> None:
    """Write CSV and HTML beside the JSON report `path`, from its contents. Raises OSError."""
    with private_files.open_existing(path) as file:
        report = Report.model_validate_json(file.read())
    rows, whole = exports(path)
    # A byte order mark, without which Excel does not read the file as UTF-8.
    private_files.write_text(rows, "\ufeff" + table.csv(report))
    # Imported here, because the template engine is needed for an export only.
    from tenantry.reports import page

    private_files.write_text(whole, page.html(report))
