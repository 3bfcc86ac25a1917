"""The process that dies, as a program: it reads one order a line, forks for each, and writes what happened, one JSON
document a line.

The child calls the product's functions; where it is to die, it kills itself from the watcher (at a step's event) or
around a statement that the wrapped cursor sends. The product knows nothing of it.
"""

from __future__ import annotations

import gc
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from psycopg.sql import SQL, Composable, Composed
from tenacity import wait_fixed

from tenantry import MigrateOptions, RollbackOptions, migrate, remove_balances, rollback
from tenantry.errors import TenantryError
from tenantry.execution import message, transaction
from tenantry.execution.backfill.run import BackfillOptions
from tenantry.execution.events import (
    CommandBegan,
    Event,
    FillAdvanced,
    FillFinished,
    FillPaused,
    FillStarted,
    LocksRefused,
    Notice,
    StepEvent,
)
from tenantry.model.backup import BackupKind
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target


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


class _Reporter:
    """The watcher of the child: tells everything, and kills at the event that the order names."""

    def __init__(self, kill: Mapping[str, Any]) -> None:
        self.kill = kill
        self.seen = 0
        self.armed = threading.Event()
        """Set at the first step: statements are counted from there."""

    def __call__(self, event: Event) -> None:
        match event:
            case StepEvent():
                _say(event=event.action, key=event.step.key, kind=_kind(event.step), rows=event.rows)
                if event.action == "started":
                    self.armed.set()
                if event.action == self.kill.get("event") and self.kill["kind"] in ("", _kind(event.step)):
                    self.seen += 1
                    if self.seen == self.kill["number"]:
                        _stop(self.kill)
            case CommandBegan(command, run):
                _say(began=command, run=run)
            case LocksRefused(reason, _, pause):
                _say(blocked=pause, reason=reason)
            case Notice(message):
                _say(said=message)
            case FillStarted(relation, total_pages):
                _say(started=str(relation), pages=total_pages)
            case FillAdvanced(relation, pages, rows):
                _say(advanced=str(relation), pages=pages, rows=rows)
            case FillPaused(reason):
                _say(paused=reason)
            case FillFinished(relation, rows):
                _say(finished=str(relation), rows=rows)


END = SQL("\n  PERFORM pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid());")


def _aim_inside(kill: Mapping[str, Any], armed: threading.Event) -> dict[str, int]:
    """Count what goes to the server in one message, and have it end there before the one that the order names."""
    pattern, number, counted = re.compile(kill["statement"]), kill["number"], {"statements": 0}
    make, send = message._part, transaction.send

    def part(place: int, one: Any, connection: Any) -> Composed:
        made = make(place, one, connection)
        matches = armed.is_set() and pattern.search(one.sql.as_string(connection)) is not None
        counted["statements"] += matches
        return END + made if matches and counted["statements"] == number else made

    def sending(*arguments: Any) -> Any:
        try:
            return send(*arguments)
        except psycopg.OperationalError:
            if counted["statements"] >= number:
                _die()
            raise

    message._part, transaction.send = part, sending
    return counted


def _aim(kill: Mapping[str, Any], armed: threading.Event) -> dict[str, int]:
    """Count the statements that match, and kill before, during or after the one that the order names."""
    if kill["moment"] == "inside":
        return _aim_inside(kill, armed)
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
    kill, target, backup = order["kill"], Target(order["dsn"]), BackupKind(order["backup"])
    watcher = _Reporter(kill)
    counted = _aim(kill, watcher.armed) if kill.get("statement") is not None else {}
    # Small batches, so that a small table has many instants between them.
    sys.modules["tenantry.execution.runs"].BackfillOptions = partial(BackfillOptions, **order["batches"])
    if order["pause"] is not None:
        transaction.wait_random_exponential = lambda **growing: wait_fixed(order["pause"])
    try:
        if order["command"] == "migrate":
            until = Phase(order["until"])
            options = MigrateOptions(
                until=until, prepare=until is Phase.DISTRIBUTE, force=True, workers=order["workers"], backup=backup
            )  # fmt: skip
            result = migrate(target, Spec.read(Path(order["spec"])), options, watcher)
        elif order["command"] == "balances remove":
            result = remove_balances(target, Spec.read(Path(order["spec"])), observer=watcher)
        else:
            keep = order["command"] == "rollback --preserve-data"
            result = rollback(target, RollbackOptions(preserve_data=keep, backup=backup), watcher)
    except TenantryError as error:
        _say(error=error.message, remedy=error.remedy, kind=type(error).__name__, **counted)
        return int(error.status)
    _say(outcome=result.outcome, applied=result.applied, found=result.found, rows=result.rows, **counted)
    return int(result.exit_status)


def main() -> None:
    """Serve orders until the input ends; a fork each, so that the imports are paid once."""
    gc.freeze()  # so that a fork's collections of garbage leave alone, and shared, what it was born with
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


if __name__ == "__main__":
    main()
