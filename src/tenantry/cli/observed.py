"""The log, the screen and the report as one observer of a command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tenantry.cli.progress import Lines
from tenantry.cli.terminal import Terminal
from tenantry.execution.events import Observer, notify_all
from tenantry.reports.log import LogObserver


@contextmanager
def watched(terminal: Terminal, screen: Observer) -> Iterator[Observer]:
    """The observer for all of them; the progress bars are removed at the end, also after an error."""
    try:
        yield notify_all(LogObserver(terminal.log), *filter(None, (terminal.report,)), screen)
    finally:
        if isinstance(screen, Lines):
            screen.close()
