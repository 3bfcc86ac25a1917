"""Runs migrate and rollback in processes that die by SIGKILL at an instant that a test names.

As a program it is the driver: it reads one order a line, forks for each, and writes what happened, one JSON document
a line. The child calls the product's functions; where it is to die, it kills itself from the watcher (at a step's
event) or around a statement that the driver's wrapped cursor sends. The product knows nothing of it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from psycopg.sql import Composable

from tenantry.errors import TenantryError
from tenantry.execution.backfill import BackfillOptions
from tenantry.execution.runner import Event
from tenantry.model.name import Name
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target
from tenantry.workflow import MigrateOptions, Nobody, RollbackOptions, migrate, rollback

ROOT = Path(__file__).parents[2]

# What a statement is, by its text: where a kill can be aimed at.
BATCH = r"WITH batch AS|WITH changed AS"
CHECKPOINT = r"UPDATE tenantry\.progress"
BUILD = r"CREATE (UNIQUE )?INDEX CONCURRENTLY"
UNBUILD = r"DROP INDEX CONCURRENTLY"
VALIDATE = r"VALIDATE CONSTRAINT"
BEGUN = r"INSERT INTO tenantry\.steps"
DONE = r"UPDATE tenantry\.steps SET state = 'done'"
FORGOTTEN = r"DELETE FROM tenantry\.steps"
EVENT = r"INSERT INTO tenantry\.events"
ANY = ""


# -- The driver


def _say(**facts: Any) -> None:
    os.write(1, (json.dumps(facts) + "\n").encode())


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def _stop(kill: Mapping[str, Any]) -> None:
    """Die, or stand still until the test lets go on."""
    if not kill["stops"]:
        _die()
    _say(stopped=True)
    os.kill(os.getpid(), signal.SIGSTOP)


def _kind(step: Any) -> str:
    return str(step.kind)


class _Reporter(Nobody):
    """The watcher of the child: tells everything, and kills at the event that the order names."""

    def __init__(self, kill: Mapping[str, Any]) -> None:
        self.kill = kill
        self.seen = 0
        self.armed = threading.Event()
        """Set at the first step: statements are counted from there."""

    def step(self, event: Event) -> None:
        _say(event=event.action, key=event.step.key, kind=_kind(event.step), rows=event.rows)
        if event.action == "started":
            self.armed.set()
        if event.action == self.kill.get("event") and self.kill["kind"] in ("", _kind(event.step)):
            self.seen += 1
            if self.seen == self.kill["number"]:
                _stop(self.kill)

    def began(self, command: str, run: str) -> None:
        _say(began=command, run=run)

    def said(self, message: str, **facts: object) -> None:
        _say(said=message)

    def started(self, relation: Name, total_pages: int) -> None:
        _say(started=str(relation), pages=total_pages)

    def advanced(self, relation: Name, pages: int, rows: int) -> None:
        _say(advanced=str(relation), pages=pages, rows=rows)

    def paused(self, reason: str) -> None:
        _say(paused=reason)

    def finished(self, relation: Name, rows: int) -> None:
        _say(finished=str(relation), rows=rows)


def _aim(kill: Mapping[str, Any], armed: threading.Event) -> dict[str, int]:
    """Count the statements that match, and kill before, during or after the one that the order names."""
    pattern, number, moment = re.compile(kill["statement"]), kill["number"], kill["moment"]
    counted, lock, execute = {"statements": 0}, threading.Lock(), psycopg.Cursor.execute

    def watched(self: Any, query: Any, *arguments: Any, **options: Any) -> Any:
        text = query.as_string(None) if isinstance(query, Composable) else query
        text = text.decode() if isinstance(text, bytes) else text
        with lock:
            matches = armed.is_set() and pattern.search(text) is not None
            counted["statements"] += matches
            hit = matches and counted["statements"] == number
        if hit and moment == "before":
            _stop(kill)
        if hit and moment == "during":
            threading.Timer(kill["delay"], _die).start()
        result = execute(self, query, *arguments, **options)
        if hit and moment == "after":
            _stop(kill)
        return result

    psycopg.Cursor.execute = watched  # type: ignore[method-assign,assignment]
    return counted


def _perform(order: Mapping[str, Any]) -> int:
    """Run one command in this process and tell how it ended; its exit status."""
    kill, target = order["kill"], Target(order["dsn"])
    watcher = _Reporter(kill)
    counted = _aim(kill, watcher.armed) if kill.get("statement") is not None else {}
    # Small batches, so that a small table has many instants between them.
    sys.modules["tenantry.workflow.migrate"].BackfillOptions = partial(BackfillOptions, **order["batches"])
    try:
        if order["command"] == "migrate":
            options = MigrateOptions(until=Phase(order["until"]), force=True, workers=order["workers"])
            result = migrate(target, Spec.read(Path(order["spec"])), options, watcher)
        else:
            keep = order["command"] == "rollback --preserve-data"
            result = rollback(target, RollbackOptions(preserve_data=keep), watcher)
    except TenantryError as error:
        _say(error=error.message, remedy=error.remedy, kind=type(error).__name__, **counted)
        return int(error.status)
    _say(outcome=result.outcome, applied=result.applied, found=result.found, rows=result.rows, **counted)
    return int(result.exit_status)


def main() -> None:
    """Serve orders until the input ends; a fork each, so that the imports are paid once."""
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            status = 70
            try:
                _say(pid=os.getpid())
                status = _perform(order)
            except BaseException as error:
                _say(crash=f"{type(error).__name__}: {error}")
            finally:
                os._exit(status)
        _, ended = os.waitpid(child, 0)
        _say(ended=os.waitstatus_to_exitcode(ended))


# -- The harness


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """Where the process dies: at the n-th event of an action (and of a kind of step), or around the n-th statement
    that matches.

    `delay` in seconds, for the moment "during". Counted from 1 in each run's first step on; a kill that is not reached does nothing.
    """

    number: int
    event: str = ""
    kind: str = ""
    statement: str | None = None
    moment: str = "before"
    delay: float = 0.0

    stops: bool = False
    """Stands still instead, until SIGCONT; not for the moment "during"."""


@dataclass(slots=True)
class Ended:
    """What a process said, and how it ended: an exit status, or minus a signal's number."""

    status: int = 0
    lines: list[dict[str, Any]] = field(default_factory=list)

    @property
    def killed(self) -> bool:
        return self.status == -signal.SIGKILL

    @property
    def last_step(self) -> str:
        """The action and key of the last step that it told of, for the record of kills."""
        steps = [f"{line['event']} {line['key']}" for line in self.lines if "event" in line]
        return steps[-1] if steps else "before the first step"

    @property
    def kinds(self) -> set[str]:
        """The kinds of the steps that it began."""
        return {line["kind"] for line in self.lines if line.get("event") == "started"}

    @property
    def said(self) -> str:
        """The last line: outcome or error."""
        return json.dumps(self.lines[-1]) if self.lines else "nothing"

    def get(self, name: str) -> Any:
        """The value of a fact, from the last line that tells it."""
        return next((line[name] for line in reversed(self.lines) if name in line), None)


@dataclass(slots=True, kw_only=True)
class Killing:
    """Orders runs on one database; `spec` is the spec file's path."""

    driver: subprocess.Popen[str]
    dsn: str
    spec: Path
    until: str = "contract"
    workers: int = 2
    batches: dict[str, Any] = field(default_factory=dict)
    kills: list[str] = field(default_factory=list)
    current: Ended = field(default_factory=Ended)
    running: int | None = None

    def start(self, command: str, kill: Kill | None = None) -> int:
        """Begin a run and return its pid at once."""
        order = {
            "command": command, "dsn": self.dsn, "spec": str(self.spec), "until": self.until,
            "workers": self.workers, "batches": self.batches, "kill": asdict(kill) if kill else {},
        }  # fmt: skip
        assert self.driver.stdin is not None
        self.driver.stdin.write(json.dumps(order) + "\n")
        self.driver.stdin.flush()
        self.current = Ended()
        self.running = int(self._read()["pid"])
        return self.running

    def _read(self) -> dict[str, Any]:
        assert self.driver.stdout is not None
        line = self.driver.stdout.readline()
        assert line, "the driver is gone"
        read: dict[str, Any] = json.loads(line)
        return read

    def until_said(self, name: str, value: Any = None, times: int = 1) -> None:
        """Wait until the running process has told a fact, `times` times; an end before that is an error."""
        while times:
            line = self._read()
            if "ended" in line:
                self.running = None
                raise AssertionError(f"ended before {name} was told: {self.current.lines[-3:]}")
            self.current.lines.append(line)
            times -= name in line and (value is None or line[name] == value)

    def finish(self) -> Ended:
        """Wait for the end of the run that was started."""
        while "ended" not in (line := self._read()):
            self.current.lines.append(line)
        self.current.status, self.running = line["ended"], None
        crash = self.current.get("crash")
        assert crash is None, f"an error that no user should see: {crash}\nkilled at: {self.kills}"
        if self.current.killed:
            self.kills.append(self.current.last_step)
        return self.current

    def abandon(self) -> None:
        """End a run that a failed test has left."""
        if self.running is not None:
            with suppress(ProcessLookupError):
                os.kill(self.running, signal.SIGKILL)
            while "ended" not in self._read():
                pass

    def run(self, command: str, kill: Kill | None = None) -> Ended:
        """A run from its beginning to its end."""
        self.start(command, kill)
        return self.finish()

    def complete(self, command: str) -> Ended:
        """A run that nobody kills and that succeeds."""
        ended = self.run(command)
        assert ended.status == 0, f"{command}: {ended.said}\nkilled at: {self.kills}"
        return ended


@contextmanager
def driver() -> Iterator[subprocess.Popen[str]]:
    """The driver's process; what it started ends with it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    process = subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment | {"PYTHONPATH": str(ROOT / "src")},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


if __name__ == "__main__":
    main()
