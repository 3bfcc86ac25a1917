"""A process that dies before its n-th statement, for the programs of tests: an order a line, a fork each, and one JSON
document a line about how it ended."""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import psycopg

from tenantry.errors import TenantryError


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
