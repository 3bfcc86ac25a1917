"""The runner of a command: its counts, how its backfills run, and how it is stopped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from tenantry.execution.backfill.run import BackfillOptions, FillSessions, backfill
from tenantry.execution.backfill.throttle import Throttle
from tenantry.execution.events import Event, Notice, Observer, StepEvent
from tenantry.execution.prospect import MigrateOptions
from tenantry.execution.runner import Runner
from tenantry.execution.session import Session
from tenantry.execution.transaction import LockPolicy
from tenantry.model.run import StepAction
from tenantry.postgres.connect import PinnedConnection, Target, connect
from tenantry.steps import Backfill


@dataclass(slots=True)
class RunCounts:
    """Counts the runner's events, and passes them on."""

    observer: Observer
    applied: int = 0
    found: int = 0
    rows: int = 0
    longest_lock: float = 0.0
    retries: int = 0

    def __call__(self, event: Event) -> None:
        match event:
            case StepEvent(action=StepAction.APPLIED | StepAction.REVERTED | StepAction.KEPT):
                self.applied += 1
                self.rows += event.rows or 0
                self.longest_lock = max(self.longest_lock, event.waited / 1000)
                self.retries += event.tries - 1
            case StepEvent(action=StepAction.FOUND):
                self.found += 1
        self.observer(event)


def make_runner(session: Session, run: str, observer: Observer, tally: RunCounts, options: MigrateOptions) -> Runner:
    """A runner over the session's connection, for steps without a backfill: see `filling`."""
    locks = session.spec.locks
    patience = LockPolicy(timeout=options.lock_timeout or locks.timeout, budget=options.lock_budget or locks.budget)
    return Runner(
        connection=session.connection, journal=session.journal, run=run, patience=patience,
        backfill=no_fill, observer=tally,
    )  # fmt: skip


def no_fill(fill: Backfill) -> int:
    raise AssertionError("these steps fill nothing")


@contextmanager
def filling(runner: Runner, target: Target, observer: Observer, workers: int) -> Iterator[None]:
    """Within the block the runner fills with `workers` connections of its own, which its fills share, and can open
    others."""

    def fill(step: Backfill) -> int:
        result = backfill(
            step,
            connections=sessions,
            workers=workers,
            observer=observer,
            stop=runner.stop,
            throttle=Throttle(),
            options=BackfillOptions(budget=runner.patience.budget),
        )
        return result.rows

    def open_connection(purpose: str) -> PinnedConnection:
        return connect(target, run=runner.run, purpose=purpose)

    with closing(FillSessions(open_connection)) as sessions:
        runner.backfill, runner.connect = fill, open_connection
        yield


def stop(runner: Runner, observer: Observer) -> None:
    """The effect of Ctrl-C: the current batch, or a step that cannot be cancelled, is finished."""
    observer(Notice("Stopping after the current batch or step; press Ctrl-C again to stop at once …"))
    runner.interrupt()
