"""A process that makes or restores backups, or begins with one, and dies before its n-th statement, as a program: an order a line, a fork
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

from tenantry import (
    BackupOptions,
    MigrateOptions,
    RestoreOptions,
    RollbackOptions,
    create_backup,
    migrate,
    prune_backups,
    restore,
    rollback,
)
from tenantry.backups import create
from tenantry.errors import TenantryError
from tenantry.model.backup import BackupKind
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target


def _aim(number: int, *, automatic: bool) -> None:
    """Die before statement `number` of this process, counted from 1; transactions' ends count, too. `automatic`: only
    those of the backup that a run begins with are counted."""
    seen, execute, finish, make = [0], psycopg.Cursor.execute, psycopg.Transaction.__exit__, create.write_backup
    counting = not automatic

    def making(*arguments: Any) -> Any:
        nonlocal counting
        counting = True
        try:
            return make(*arguments)
        finally:
            counting = False

    def count() -> None:
        seen[0] += counting
        if counting and seen[0] == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def watched(self: Any, *arguments: Any, **options: Any) -> Any:
        count()
        return execute(self, *arguments, **options)

    def ending(self: Any, *arguments: Any) -> Any:
        count()
        return finish(self, *arguments)

    psycopg.Cursor.execute = watched  # type: ignore[method-assign,assignment]
    psycopg.Transaction.__exit__ = ending  # type: ignore[method-assign]
    if automatic:
        create.write_backup = making


def _perform(order: dict[str, Any]) -> str:
    target = Target(order["dsn"])
    match order["command"]:
        case "create":
            options = BackupOptions(kind=BackupKind(order["kind"]), folder=Path(order["folder"]))
            return create_backup(target, Spec.parse(order["spec"]), options).id
        case "restore":
            return str(restore(target, order["backup"], RestoreOptions(force=True)).saved)
        case "migrate":
            return str(migrate(target, Spec.parse(order["spec"]), MigrateOptions()).applied)
        case "rollback":
            return str(rollback(target, RollbackOptions()).applied)
        case _:
            return str(len(prune_backups(target, keep=1)))


def main() -> None:
    gc.freeze()  # forks share what is there
    for line in sys.stdin:
        order = json.loads(line)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            status = 70
            try:
                _aim(order["number"], automatic=order["command"] in ("migrate", "rollback"))
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
