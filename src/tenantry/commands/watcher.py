"""Whom a command tells what it does: the screen, the log, or nobody."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from tenantry.execution.backfill.progress import Progress
from tenantry.execution.runner import Event
from tenantry.model.distribution import Distribution
from tenantry.model.finding import Finding
from tenantry.model.name import Name
from tenantry.model.plan import Statement
from tenantry.model.run import Activity
from tenantry.postgres.connect import Server


class Observer(Progress, Protocol):
    """Told by a command as it goes; may be called from several threads, one at a time."""

    def began(self, command: str, run: str) -> None:
        """A run begins, or a further part of one that has begun."""

    def connected(self, server: Server) -> None:
        """There is a connection, to this server."""

    def looking(self, at: str) -> None:
        """Before anything is changed: something is looked at that may take a while."""

    def step(self, event: Event) -> None:
        """A step was begun, applied, reverted, or found in force."""

    def found(self, finding: Finding) -> None:
        """A preflight or a check found something."""

    def distributed(self, distribution: Distribution) -> None:
        """The rows of a table were counted by tenant."""

    def statement(self, statement: Statement, milliseconds: float) -> None:
        """A statement of a step was run; batches of fills are not told one by one."""

    def activity(self, activity: Activity | None) -> None:
        """What the run's session is doing now, every second or so: it waits, or builds an index. None: nothing of
        the kind any more."""

    def blocked(self, reason: str, blockers: Sequence[str], pause: float) -> None:
        """A try for locks has failed, for `blockers` have them; the next one comes after `pause` seconds."""

    def said(self, message: str, **facts: object) -> None:
        """Anything else worth a line."""

    def concluded(self, outcome: str, next_step: str) -> None:
        """The run, or a part of it, has come to its end: what it has come to, and what to do next."""


class SilentObserver:
    """Says nothing."""

    def began(self, command: str, run: str) -> None: ...
    def connected(self, server: Server) -> None: ...
    def looking(self, at: str) -> None: ...
    def step(self, event: Event) -> None: ...
    def found(self, finding: Finding) -> None: ...
    def distributed(self, distribution: Distribution) -> None: ...
    def statement(self, statement: Statement, milliseconds: float) -> None: ...
    def activity(self, activity: Activity | None) -> None: ...
    def blocked(self, reason: str, blockers: Sequence[str], pause: float) -> None: ...
    def said(self, message: str, **facts: object) -> None: ...
    def concluded(self, outcome: str, next_step: str) -> None: ...
    def started(self, relation: Name, total_pages: int) -> None: ...
    def advanced(self, relation: Name, pages: int, rows: int) -> None: ...
    def paused(self, reason: str) -> None: ...
    def finished(self, relation: Name, rows: int) -> None: ...


class Observers:
    """Tells all of several watchers, in their order, one call at a time."""

    def __init__(self, *watchers: Observer) -> None:
        self.watchers = watchers
        self._one = threading.RLock()

    def _tell(self, tell: Callable[[Observer], None]) -> None:
        with self._one:
            for watcher in self.watchers:
                tell(watcher)

    def began(self, command: str, run: str) -> None:
        self._tell(lambda watcher: watcher.began(command, run))

    def connected(self, server: Server) -> None:
        self._tell(lambda watcher: watcher.connected(server))

    def looking(self, at: str) -> None:
        self._tell(lambda watcher: watcher.looking(at))

    def step(self, event: Event) -> None:
        self._tell(lambda watcher: watcher.step(event))

    def found(self, finding: Finding) -> None:
        self._tell(lambda watcher: watcher.found(finding))

    def distributed(self, distribution: Distribution) -> None:
        self._tell(lambda watcher: watcher.distributed(distribution))

    def statement(self, statement: Statement, milliseconds: float) -> None:
        self._tell(lambda watcher: watcher.statement(statement, milliseconds))

    def activity(self, activity: Activity | None) -> None:
        self._tell(lambda watcher: watcher.activity(activity))

    def blocked(self, reason: str, blockers: Sequence[str], pause: float) -> None:
        self._tell(lambda watcher: watcher.blocked(reason, blockers, pause))

    def said(self, message: str, **facts: object) -> None:
        self._tell(lambda watcher: watcher.said(message, **facts))

    def concluded(self, outcome: str, next_step: str) -> None:
        self._tell(lambda watcher: watcher.concluded(outcome, next_step))

    def started(self, relation: Name, total_pages: int) -> None:
        self._tell(lambda watcher: watcher.started(relation, total_pages))

    def advanced(self, relation: Name, pages: int, rows: int) -> None:
        self._tell(lambda watcher: watcher.advanced(relation, pages, rows))

    def paused(self, reason: str) -> None:
        self._tell(lambda watcher: watcher.paused(reason))

    def finished(self, relation: Name, rows: int) -> None:
        self._tell(lambda watcher: watcher.finished(relation, rows))
