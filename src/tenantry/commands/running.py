"""What surrounds every command: its observer, its connection and run lock, and its entry in the journal."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg

from tenantry.errors import ExitStatus, Interrupted, Refused, TenantryError
from tenantry.execution.events import CommandBegan, CommandEnded, Observer, ignore
from tenantry.execution.session import open_session
from tenantry.model.run import new_run
from tenantry.postgres.connect import Target
from tenantry.postgres.journal import Journal
from tenantry.postgres.locks import hold_run_lock
from tenantry.postgres.moves import Moves

_Unwritable = psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction


@dataclass(slots=True, kw_only=True)
class CommandReport:
    """A command that was reported to `observer` under its run id, and its result."""

    id: str
    command: str
    observer: Observer
    outcome: str | None = None
    next_step: str = ""

    def end_with(self, outcome: str, next_step: str = "") -> None:
        """What the observer is notified of at the end of the command."""
        self.outcome, self.next_step = outcome, next_step


@contextmanager
def report_command(command: str, observer: Observer | None) -> Iterator[CommandReport]:
    """Report a command to `observer`, and at the end of the block its result, unless it ended with an error."""
    report = CommandReport(id=new_run(), command=command, observer=observer or ignore)
    report.observer(CommandBegan(command, report.id))
    yield report
    if report.outcome is not None:
        report.observer(CommandEnded(report.outcome, report.next_step))


@dataclass(slots=True, kw_only=True)
class Run:
    """A running command on a database, over `connection`."""

    target: Target
    connection: psycopg.Connection[Any]
    report: CommandReport
    journal: Journal = field(init=False)
    _in_journal: bool = False
    """Whether its beginning is in the journal, and its end is not."""
    _lenient: bool = False

    def __post_init__(self) -> None:
        self.journal = Journal(self.connection)

    @property
    def id(self) -> str:
        return self.report.id

    @property
    def observer(self) -> Observer:
        return self.report.observer

    def begin(
        self, *, options: str = "", command: str | None = None, partial: bool = False, takes_back: bool = False,
        lenient: bool = False,
    ) -> None:  # fmt: skip
        """Write the run into the journal, which must be installed. Called only once there is something to do: a refused
        command leaves no trace. `command` replaces its name; `lenient`: without the privilege to write there, or on a
        standby, it goes on; the others are those of Journal.begin_run."""
        self._lenient = lenient
        with suppress(*_Unwritable if lenient else ()):
            self.journal.begin_run(
                self.id, command or self.report.command, options=options, partial=partial, takes_back=takes_back
            )
        self._in_journal = True

    def finish(
        self,
        outcome: str,
        next_step: str = "",
        *,
        exit_status: int = ExitStatus.DONE,
        reported_outcome: str | None = None,
    ) -> None:
        """Write the result of the run into the journal, if the run is in it; the observer is notified (of
        `reported_outcome`, if it is more than the journal needs) once the connection is closed."""
        if self._in_journal:
            self._record_end(exit_status, outcome)
        self.report.end_with(reported_outcome or outcome, next_step)

    def _record_end(self, exit_status: int, outcome: str) -> None:
        with suppress(*_Unwritable if self._lenient else ()):
            self.journal.finish_run(self.id, exit_status=exit_status, outcome=outcome)
        self._in_journal = False

    def _failed(self, error: BaseException) -> None:
        """Write into the journal that the run ends with an error, if it is in it and the connection still works."""
        if not self._in_journal:
            return
        status = error.status if isinstance(error, TenantryError) else ExitStatus.FAILED
        if isinstance(error, KeyboardInterrupt):
            status = Interrupted.status
        with suppress(psycopg.Error):
            self._record_end(status, str(error) or type(error).__name__)


@contextmanager
def run(target: Target, command: str, *, purpose: str, observer: Observer | None, locks: bool = True) -> Iterator[Run]:
    """A run of `command`: reported to `observer`, with a connection that is opened for `purpose`; with `locks` other
    runs are kept out of the database. However it ends after `Run.begin`, the journal has its end.

    Raises ConnectionFailed, Refused while another run is active, and Failed if the connection is lost.
    """
    with (
        report_command(command, observer) as report,
        open_session(target, run=report.id, purpose=purpose, observer=report.observer) as connection,
        hold_run_lock(connection, target) if locks else nullcontext(),
    ):
        under_way = Run(target=target, connection=connection, report=report)
        try:
            yield under_way
        except BaseException as error:
            under_way._failed(error)
            raise


@contextmanager
def second_database(
    current: Run, target: Target, *, purpose: str, refuse: Callable[[psycopg.Connection[Any]], None]
) -> Iterator[Run]:
    """The same run on a further database, from which other runs are kept out, too: `refuse` is called before. After
    `Run.begin`, the journal there has its end.

    Raises as `run` does.
    """
    report = CommandReport(id=current.id, command=current.report.command, observer=ignore)
    with open_session(target, run=current.id, purpose=purpose) as connection:
        refuse(connection)
        with hold_run_lock(connection, target):
            under_way = Run(target=target, connection=connection, report=report)
            try:
                yield under_way
            except BaseException as error:
                under_way._failed(error)
                raise


def refuse_during_move(connection: psycopg.Connection[Any]) -> None:
    """Raises Refused while a tenant is being moved from here or to here, also between two runs: replication depends on
    the tables, and on their rows. To be called once the journal is known to be trusted."""
    for move in Moves(connection).unfinished():
        there = "to" if move.side == "source" else "from"
        raise Refused(
            f"The tenant {move.slug!r} is being moved {there} {move.location}",
            remedy=f"Complete the move (`tenantry tenants move {move.slug} --to …`), or end it by --abort.",
        )


@contextmanager
def interruptible(interrupt: Callable[[], None]) -> Iterator[None]:
    """During the block Ctrl-C, or SIGTERM, asks for a stop; a second Ctrl-C raises KeyboardInterrupt."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        # The handler may interrupt a call into the driver: cancelling must not wait for it.
        threading.Thread(target=interrupt, daemon=True).start()

    for number in before:
        signal.signal(number, ask)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
