"""Runs migrate and rollback in processes that die by SIGKILL at an instant that a test names."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DRIVER = Path(__file__).with_name("killed_process.py")

# What a statement is, by its text: where a kill can be aimed at.
BATCH = r"WITH batch AS|WITH changed AS"
CHECKPOINT = r"UPDATE tenantry\.progress"
BUILD = r"CREATE (UNIQUE )?INDEX CONCURRENTLY"
UNBUILD = r"DROP INDEX CONCURRENTLY"
VALIDATE = r"VALIDATE CONSTRAINT"
VALIDATING = rf'{VALIDATE}|FROM "pg_temp"\."tenantry_|LOCK TABLE .* IN SHARE UPDATE EXCLUSIVE MODE'
"""The same as other sessions see it: an operator has it run within a function, as the table's owner, and takes its lock
before that."""
BEGUN = r"INSERT INTO tenantry\.steps"
DONE = r"UPDATE tenantry\.steps SET state = '+done'"
FORGOTTEN = r"DELETE FROM tenantry\.steps"
EVENT = r"INSERT INTO tenantry\.events"
ANY = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """Where the process dies: at the n-th event of an action (and of a kind of step), or around the n-th statement
    that matches.

    `delay` in seconds, for the moment "during". "inside" is for what goes to the server along with others, in one
    message: the server's session ends between it and the one before, and the process with it. Counted from 1, from a
    run's first step on; a kill that is not reached does nothing.
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
    backup: str = "none"
    """Two databases with backups, whose names have the time in them, could not be compared."""
    batches: dict[str, Any] = field(default_factory=dict)
    pause: float | None = None
    """Seconds between two tries to have locks; None: as the product has them, growing."""
    kills: list[str] = field(default_factory=list)
    current: Ended = field(default_factory=Ended)
    running: int | None = None

    def start(self, command: str, kill: Kill | None = None) -> int:
        """Begin a run and return its pid at once."""
        order = {
            "command": command, "dsn": self.dsn, "spec": str(self.spec), "until": self.until,
            "backup": self.backup, "workers": self.workers, "batches": self.batches, "pause": self.pause,
            "kill": asdict(kill) if kill else {},
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
        [sys.executable, DRIVER],
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
