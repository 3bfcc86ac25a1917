"""Options that several commands share."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from tenantry.model.backup import BackupKind
from tenantry.model.size import parse_size


def size(text: str) -> int:
    """Bytes from `500MB`, `1GB`, `1.5 GiB` or a plain number. Raises typer.BadParameter."""
    try:
        return parse_size(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


SPANS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}


def span(text: str) -> timedelta:
    """A time from `90s`, `45m`, `26h`, `30d` or `2w`. Raises typer.BadParameter."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|min|h|d|w)\s*", text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a duration; write 90s, 45m, 26h, 30d or 2w")
    try:
        return timedelta(seconds=float(match.group(1)) * SPANS[match.group(2)])
    except OverflowError as error:
        raise typer.BadParameter(f"{text!r} is too long") from error


def moment(text: str) -> datetime:
    """A time from ISO 8601, UTC unless it says otherwise. Raises typer.BadParameter."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a time; write 2026-01-31T04:00:00Z") from error
    found = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    if found > datetime.now(UTC) + timedelta(minutes=5):
        raise typer.BadParameter(f"{text!r} is in the future")
    return found


def positive(number: float | None) -> float | None:
    """A callback that checks seconds and counts. Raises typer.BadParameter."""
    if number is not None and number <= 0:
        raise typer.BadParameter(f"{number:g} is not more than 0")
    return number


DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and change nothing.")]
LockTimeout = Annotated[
    float | None,
    typer.Option(
        "--lock-timeout", metavar="SECONDS", callback=positive, show_default=False,
        help="How many seconds a statement may wait for a lock while it blocks writers; by default the spec's (2).",
    ),
]  # fmt: skip
LockBudget = Annotated[
    float | None,
    typer.Option(
        "--lock-budget", metavar="SECONDS", callback=positive, show_default=False,
        help="How many seconds all tries for a lock may take; by default the spec's (600).",
    ),
]  # fmt: skip
Backup = Annotated[
    BackupKind | None,
    typer.Option(
        "--backup", show_default=False,
        help="The automatic backup: copies of the owned tables, a dump by pg_dump, or none. By default copies, up to"
        " the spec's max_size.",
    ),
]  # fmt: skip
DumpDir = Annotated[
    Path | None,
    typer.Option(
        "--dump-dir", metavar="FOLDER", show_default=False,
        help="The folder for dumps; by default the spec's (backups).",
    ),
]  # fmt: skip
FreeSpace = Annotated[
    int | None,
    typer.Option(
        "--free-space",
        metavar="SIZE",
        parser=size,
        show_default=False,
        help="Free disk space of the server, such as 500MB or 20GB, for servers that do not report it.",
    ),
]
Detailed = Annotated[bool, typer.Option("--detailed", help="Each step, and each statement with its time.")]
DetailedSteps = Annotated[bool, typer.Option("--detailed", help="Each step, and each statement with its locks.")]
