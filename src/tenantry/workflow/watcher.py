"""Whom a command tells what it does: the screen, the log, or nobody."""

from __future__ import annotations

from typing import Protocol

from tenantry.execution.progress import Progress
from tenantry.execution.runner import Event
from tenantry.model.finding import Finding
from tenantry.model.name import Name


class Watcher(Progress, Protocol):
    """Told by a command as it goes; may be called from several threads, one at a time."""

    def began(self, command: str, run: str) -> None:
        """A run begins."""

    def step(self, event: Event) -> None:
        """A step was begun, applied, reverted, or found in force."""

    def found(self, finding: Finding) -> None:
        """The preflight found something."""

    def said(self, message: str, **facts: object) -> None:
        """Anything else worth a line."""


class Nobody:
    """Says nothing."""

    def began(self, command: str, run: str) -> None: ...
    def step(self, event: Event) -> None: ...
    def found(self, finding: Finding) -> None: ...
    def said(self, message: str, **facts: object) -> None: ...
    def started(self, relation: Name, total_pages: int) -> None: ...
    def advanced(self, relation: Name, pages: int, rows: int) -> None: ...
    def paused(self, reason: str) -> None: ...
    def finished(self, relation: Name, rows: int) -> None: ...
