"""A process that makes fixes, or takes them back, and kills itself around a statement: ARGUMENTS is one JSON document."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from typing import Any

import psycopg

from checks.repairing import fixed
from servers import Database
from tenantry.commands.undo import undo_fixes
from tenantry.postgres.connect import Target


def main() -> None:
    """`statement` is a pattern, the `number`-th match of which is died at: `moment` before, or after it."""
    order = json.loads(sys.argv[1])
    seen = 0

    def text(query: Any) -> str:
        return (
            query.decode() if isinstance(query, bytes) else query if isinstance(query, str) else query.as_string(None)
        )

    original = psycopg.Cursor.execute

    def execute(self: Any, query: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal seen
        matched = re.search(order["statement"], text(query)) is not None
        seen += matched
        if matched and seen == order["number"] and order["moment"] == "before":
            die()
        result = original(self, query, *arguments, **options)
        if matched and seen == order["number"]:
            die()
        return result

    psycopg.Cursor.execute = execute  # type: ignore[method-assign]
    if order["command"] == "fix":
        fixed(Database(server=None, name=""), dsn=order["dsn"], rows=10)  # type: ignore[arg-type]
    else:
        undo_fixes(Target(order["dsn"]), order["run"], rows=10)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


main()
