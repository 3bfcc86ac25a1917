"""The events of a command: each is a value, and an observer is any callable that takes it."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tenantry.model.distribution import Distribution
from tenantry.model.finding import Finding
from tenantry.model.name import Name
from tenantry.model.plan import Statement
from tenantry.model.run import Activity, StepAction
from tenantry.postgres.connect import Server
from tenantry.steps import Step


class Event:
    """Something that happened in a run."""

    __slots__ = ()


class Observer(Protocol):
    """Is called with each event of a run, possibly from several threads, but one call at a time."""

    def __call__(self, event: Event, /) -> None: ...


@dataclass(frozen=True, slots=True)
class CommandBegan(Event):
    """A run begins, or a further part of it."""

    command: str
    run: str


@dataclass(frozen=True, slots=True)
class Connected(Event):
    """The connection to this server is open."""

    server: Server


@dataclass(frozen=True, slots=True)
class Reading(Event):
    """Something is being read that may take a while, such as "the rows of orders"."""

    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEvent(Event):
    """A step was begun, applied, reverted, or found applied; `milliseconds` in total, of which it `waited` for locks
    and, for `lock_held`, had locks."""

    step: Step
    action: StepAction
    number: int
    total: int
    milliseconds: float = 0.0
    waited: float = 0.0
    lock_held: float = 0.0
    tries: int = 1
    rows: int | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class FindingReported(Event):
    """A preflight or a check found something."""

    finding: Finding


@dataclass(frozen=True, slots=True)
class Distributed(Event):
    """The rows of a table were counted by tenant."""

    distribution: Distribution


@dataclass(frozen=True, slots=True)
class StatementRan(Event):
    """A statement of a step was run; batches of backfills have no events of their own."""

    statement: Statement
    milliseconds: float


@dataclass(frozen=True, slots=True)
class SessionActivity(Event):
    """What the run's session is doing, about once a second: it waits, or builds an index. None: it no longer does."""

    activity: Activity | None


@dataclass(frozen=True, slots=True)
class LocksRefused(Event):
    """A try for locks has failed because of `blockers`; the next one follows after `pause` seconds."""

    reason: str
    blockers: Sequence[str]
    pause: float


@dataclass(frozen=True, slots=True)
class Notice(Event):
    """Any other message, with the facts that the log keeps."""

    message: str
    facts: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CommandEnded(Event):
    """The end of a run, or of a part of it: its result, and what to do next."""

    outcome: str
    next_step: str


@dataclass(frozen=True, slots=True)
class FillStarted(Event):
    """A relation's backfill begins; `pages` are to be processed, without those of an earlier run."""

    relation: Name
    pages: int


@dataclass(frozen=True, slots=True)
class FillAdvanced(Event):
    """`pages` more were processed, `rows` more have their tenant; in a relation's later passes `pages` is 0."""

    relation: Name
    pages: int
    rows: int


@dataclass(frozen=True, slots=True)
class FillPaused(Event):
    """A backfill waits, or slows down; `reason` is a sentence for users."""

    reason: str


@dataclass(frozen=True, slots=True)
class FillFinished(Event):
    """All rows of the relation are filled; `rows` were filled in this run."""

    relation: Name
    rows: int


def ignore(event: Event) -> None:
    """The observer that ignores every event."""


def notify_all(*observers: Observer) -> Observer:
    """An observer that passes each event to all of these, in their order, one at a time."""
    lock = threading.RLock()

    def tell(event: Event) -> None:
        with lock:
            for observer in observers:
                observer(event)

    return tell
