"""A process that dies before its n-th statement, for the programs of tests: an order a line, a fork each, and one JSON
document a line about how it ended."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from tenantry.errors import TenantryError

KILLED = -signal.SIGKILL
SOURCES = Path(__file__).parents[1] / "src"
Order = Callable[[dict[str, Any]], tuple[int, str]]
"""Has an order performed; returns how it ended, and what was told."""


@contextmanager
def served(program: Path) -> Iterator[Order]:
    """Starts a program that performs orders by `serve`, for the block."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    process = subprocess.Popen(
        [sys.executable, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=environment | {"PYTHONPATH": str(SOURCES)}, start_new_session=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    orders, answers = process.stdin, process.stdout

    def give(order: dict[str, Any]) -> tuple[int, str]:
        orders.write(json.dumps(order) + "\n")
        orders.flush()
        answer = json.loads(answers.readline())
        return answer["ended"], answer["said"]

    try:
        yield give
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        orders.close()
        answers.close()


def aim(number: int, counting: Callable[[], bool] = lambda: True) -> None:
    """Die before statement `number` of this process, counted from 1; transactions' ends count, too. Only those are
    counted for which `counting` is true."""
    seen, execute, finish = 0, psycopg.Cursor.execute, psycopg.Transaction.__exit__

    def count() -> None:
        nonlocal seen
        if counting():
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)

    def watched(self: Any, *arguments: Any, **options: Any) -> Any:
        count()
        return execute(self, *arguments, **options)

    def ending(self: Any, *arguments: Any) -> Any:
        count()
        return finish(self, *arguments)

    psycopg.Cursor.execute = watched  # type: ignore[method-assign,assignment]
    psycopg.Transaction.__exit__ = ending  # type: ignore[method-assign]


def serve(perform: Callable[[dict[str, Any]], str]) -> None:
    """Perform orders until the input ends; `perform` returns what is to be told."""
    gc.freeze()  # forks share what is there
    for line in sys.stdin:
        order = json.loads(line)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            status = 70
            try:
                os.write(writing, perform(order).encode())
                status = 0
            except TenantryError as error:
                os.write(writing, error.message.encode())
                status = int(error.status)
            finally:
                os._exit(status)
        os.close(writing)
        _, ended = os.waitpid(child, 0)
        said = os.read(reading, 10_000).decode()
        os.close(reading)
        print(json.dumps({"ended": os.waitstatus_to_exitcode(ended), "said": said}), flush=True)
