"""A process that reconciles, and kills itself around a statement: its argument is one JSON document."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import Any

import psycopg

from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target
from tenantry.workflow import reconcile as module  # noqa: F401  (loaded before anything is counted)
from tenantry.workflow import reconcile_balances


def main() -> None:
    """`statement` is text, at the `number`-th statement that has it the process dies: `moment` before, or after it."""
    order, seen, original = json.loads(sys.argv[1]), 0, psycopg.Cursor.execute

    def execute(self: Any, query: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal seen
        text = query.decode() if isinstance(query, bytes) else query if isinstance(query, str) else query.as_string()
        hit = order["statement"] in text
        seen += hit
        if hit and seen == order["number"] and order["moment"] == "before":
            die()
        result = original(self, query, *arguments, **options)
        if hit and seen == order["number"]:
            die()
        return result

    psycopg.Cursor.execute = execute  # type: ignore[method-assign]
    import tenantry.balances.reconciliation as reconciliation

    reconciliation.BATCHED = 2
    reconcile_balances(Target(order["dsn"]), Spec.parse(order["text"]))


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


main()
