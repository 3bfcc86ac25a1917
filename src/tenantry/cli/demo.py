"""tenantry demo."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from tenantry.cli.progress import Live, watching
from tenantry.cli.terminal import Terminal
from tenantry.commands.demo import Claim, Demonstration
from tenantry.commands.demo import demo as run_demo
from tenantry.errors import ExitStatus, UsageError
from tenantry.execution.events import notify_all
from tenantry.model.spec import Spec
from tenantry.postgres.connect import resolve_target
from tenantry.presets import PRESETS, spec_path
from tenantry.reports.log import LogObserver


def demo(
    terminal: Terminal,
    rows: Annotated[
        int, typer.Option("--rows", min=1, metavar="N", help="Rows of the largest table; all tables grow with it.")
    ] = 20_000,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the server's folder, and show its path.")] = False,
) -> ExitStatus:
    """Migrate a sample database on a temporary server, while an old application writes to it.

    Then the application ends, each tenant sees only its own rows, and a rollback restores the schema byte for byte.
    Every figure is measured; exits 1 if a check failed.
    """
    settings = terminal.settings
    preset = (settings.preset if "preset" in settings.named else None) or PRESETS[0]
    named = settings.config if "config" in settings.named else None
    spec = Spec.read(named or spec_path(preset))
    screen = watching(terminal, brief=True)
    with _folder(settings.dsn, keep=keep) as folder, resolve_target(f"embedded:{folder}") as database:
        terminal.say(f"A PostgreSQL server for the demo, in {folder}")
        try:
            shown = run_demo(
                database, preset=preset, spec=spec, rows=rows, observer=notify_all(LogObserver(terminal.log), screen),
                chapter=lambda title: terminal.say(Text(f"\n{title}", style="bold")),
                say=lambda sentence: terminal.say(f"  {sentence}"),
                claim=lambda claim: _show_claim(terminal, claim),
            )  # fmt: skip
        finally:
            if isinstance(screen, Live):
                screen.close()
    _finish(terminal, shown)
    if keep or settings.dsn is not None:
        terminal.answer(folder=folder)
        terminal.show(f"The server's folder is kept: --dsn embedded:{folder}")
    return ExitStatus.DONE if shown.holds else ExitStatus.FINDINGS


def _show_claim(terminal: Terminal, claim: Claim) -> None:
    mark, style = ("✓", "green") if claim.holds else ("✗ NOT SO:", "bold red")
    terminal.say(Text.assemble((f"  {mark} ", style), claim.sentence))


def _finish(terminal: Terminal, shown: Demonstration) -> None:
    terminal.answer(
        preset=shown.preset, holds=shown.holds, claims=shown.claims, seconds=round(shown.seconds, 2),
        rows=shown.loaded.rows if shown.loaded is not None else {}, sights=shown.sights, owned_rows=shown.owned_rows,
        old_application={
            "statements": shown.statements, "errors": shown.errors,
            "longest_before_seconds": round(shown.longest_before, 4),
            "longest_during_seconds": round(shown.longest_during, 4),
        },
        refusal=shown.refusal,
    )  # fmt: skip
    held = sum(claim.holds for claim in shown.claims)
    terminal.say()
    terminal.show(
        Text(f"{held} of {len(shown.claims)} claims held, in {shown.seconds:.0f} s.",
             style="bold green" if shown.holds else "bold red")
    )  # fmt: skip


@contextmanager
def _folder(dsn: str | None, *, keep: bool) -> Iterator[Path]:
    """The folder that the DSN names, or a new one, which is removed unless it is to be kept."""
    if dsn is not None:
        place = dsn.removeprefix("embedded:")
        if place in (dsn, "") or "?" in place:
            raise UsageError(
                "The demo uses a server of its own, and changes no other",
                remedy="Omit --dsn, or choose a folder for that server: --dsn embedded:FOLDER.",
            )
        yield Path(place)
        return
    # Not below the user's home: the server may have to run as another account.
    folder = Path(tempfile.mkdtemp(prefix="tenantry-demo-", dir="/tmp"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
