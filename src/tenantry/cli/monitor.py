"""tenantry backups monitor."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from tenantry.backups.monitor import MonitorLimits
from tenantry.cli import options
from tenantry.cli.runner import target
from tenantry.cli.terminal import Terminal
from tenantry.commands.monitor import MonitorOptions
from tenantry.commands.monitor import monitor as run_monitor
from tenantry.errors import ExitStatus


def monitor(
    terminal: Terminal,
    max_age: Annotated[
        timedelta, typer.Option("--max-age", metavar="TIME", parser=options.span, help="The newest may be this old.")
    ] = "26h",  # type: ignore[assignment]  # Typer parses it
    max_unverified: Annotated[
        timedelta,
        typer.Option(
            "--max-unverified", metavar="TIME", parser=options.span, help="At least one must have been verified since."
        ),
    ] = "7d",  # type: ignore[assignment]
    smallest: Annotated[
        float, typer.Option("--smallest", min=0, max=1, help="The newest must have this share of the usual size.")
    ] = MonitorLimits().smallest,
    full_within: Annotated[
        timedelta,
        typer.Option(
            "--full-within", metavar="TIME", parser=options.span,
            help="Report a disk that would be full in this time at the present rate without pruning; there must be room"
            " for two more backups in any case.",
        ),
    ] = "0s",  # type: ignore[assignment]
    dump_dir: Annotated[
        list[Path],
        typer.Option(
            "--dump-dir", metavar="FOLDER", show_default=False,
            help="Also check the dumps of another tool in this folder; may be repeated.",
        ),
    ] = [],  # noqa: B006  (Typer's way to say that there may be none)
    last_snapshot: Annotated[
        datetime | None,
        typer.Option(
            "--last-snapshot", metavar="TIME", parser=options.moment, show_default=False,
            help="When the provider made its last snapshot, such as 2026-01-31T04:00:00Z.",
        ),
    ] = None,
    free_space: options.FreeSpace = None,
) -> ExitStatus:  # fmt: skip
    """Report backups that are too old, too small, unverified for too long, or about to fill the disk; for cron.

    If there are any, it writes a line for each on standard error, and a JSON document on standard output, and exits 1.
    """
    chosen = MonitorOptions(
        limits=MonitorLimits(
            max_age=max_age, max_unverified=max_unverified, smallest=smallest, full_within=full_within
        ),
        dump_folders=tuple(dump_dir), last_snapshot=last_snapshot, free_space=free_space,
    )  # fmt: skip
    with target(terminal) as database:
        seen = run_monitor(database, chosen)
    terminal.answer(monitor=seen)
    if not seen.findings:
        terminal.show(f"Backups are in order; the newest is {seen.newest}.")
        for room in seen.rooms:
            terminal.say(f"{room}.")
        return ExitStatus.DONE
    for finding in seen.findings:
        terminal.warn(f"{finding.message}. {finding.remedy}")
    # cron mails both streams.
    terminal.settings = replace(terminal.settings, json=True)
    return ExitStatus.FINDINGS
