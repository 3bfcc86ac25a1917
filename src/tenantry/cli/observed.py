"""A command that a log, the screen, and the report of the run watch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tenantry.cli.progress import Lines
from tenantry.cli.terminal import Terminal
from tenantry.execution.events import Observer, notify_all
from tenantry.reports.log import LogObserver


@contextmanager
def watched(terminal: Terminal, screen: Observer) -> Iterator[Observer]:
    """The observer of all of them; bars are taken away at the end, whatever it was."""
    try:
        yield notify_all(LogObserver(terminal.log), *filter(None, (terminal.report,)), screen)
    finally:
        if isinstance(screen, Lines):
            screen.close()
