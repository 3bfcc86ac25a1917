"""A process that removes or imports a tenant and dies before its n-th statement, as a program: an order a line, a fork
each, and one JSON document a line about how it ended."""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import psycopg

from tenantry import RemoveOptions, import_tenant, remove_tenant
from tenantry.errors import TenantryError
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target


def _aim(number: int) -> None:
    """Die before statement `number` of this process, counted from 1; transactions' ends count, too."""
    seen, execute, finish = [0], psycopg.Cursor.execute, psycopg.Transaction.__exit__

    def count() -> None:
        seen[0] += 1
        if seen[0] == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def watched(self: Any, *arguments: Any, **options: Any) -> Any:
        count()
        return execute(self, *arguments, **options)

    def ending(self: Any, *arguments: Any) -> Any:
        count()
        return finish(self, *arguments)

    psycopg.Cursor.execute = watched  # type: ignore[method-assign,assignment]
    psycopg.Transaction.__exit__ = ending  # type: ignore[method-assign]


def _perform(order: dict[str, Any]) -> str:
    target, spec, folder = Target(order["dsn"]), Spec.parse(order["spec"]), Path(order["folder"])
    if order["command"] == "import":
        return str(import_tenant(target, spec, folder).rows)
    return str(remove_tenant(target, spec, order["slug"], RemoveOptions(folder=folder)).rows)


def main() -> None:
    gc.freeze()  # forks share what is there
    for line in sys.stdin:
        order = json.loads(line)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            status = 70
            try:
                _aim(order["number"])
                os.write(writing, _perform(order).encode())
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


if __name__ == "__main__":
    main()
