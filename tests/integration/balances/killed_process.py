"""The process that dies: it reads one order a line, forks for each, and says how the child ended.

The child calls the product's functions, and kills itself around a statement that the wrapped cursor sends.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import psycopg

import tenantry.balances.reconciliation as reconciliation
from tenantry import (
    ReviewDecision,
    backfill_balances,
    decide_reviews,
    install_balances,
    reconcile_balances,
    remove_balances,
)
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

COMMANDS: Mapping[str, Callable[[Target, Spec], Any]] = {
    "install": install_balances,
    "backfill": backfill_balances,
    "remove": remove_balances,
    "reconcile": reconcile_balances,
    "accept": lambda target, spec: decide_reviews(target, spec, (), ReviewDecision(accept=True, by="a test")),
    "reject": lambda target, spec: decide_reviews(
        target, spec, (), ReviewDecision(accept=False, by="a test", note="so")
    ),
}


def aim(statement: str, number: int, moment: str) -> None:
    """At the `number`-th statement that has this text the process dies, before it or after it."""
    seen, original = 0, psycopg.Cursor.execute

    def execute(self: Any, query: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal seen
        text = query.decode() if isinstance(query, bytes) else query if isinstance(query, str) else query.as_string()
        hit = statement in text
        seen += hit
        if hit and seen == number and moment == "before":
            die()
        result = original(self, query, *arguments, **options)
        if hit and seen == number:
            die()
        return result

    psycopg.Cursor.execute = execute  # type: ignore[method-assign]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def main() -> None:
    """Serve orders until the input ends."""
    reconciliation.BATCHED = 2
    gc.freeze()  # forks share what is there
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            status = 70
            try:
                aim(order["statement"], order["number"], order["moment"])
                COMMANDS[order["command"]](Target(order["dsn"]), Spec.parse(order["text"]))
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        _, ended = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(ended), flush=True)


if __name__ == "__main__":
    main()
