"""The process of test_kill: makes or restores backups, or begins with one, and dies before a statement."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from killed import aim, serve
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
from tenantry.model.backup import BackupKind
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target


def aim_at_backup(number: int) -> None:
    """Only the statements of the backup that a run begins with are counted."""
    making, make = False, create.write_backup

    def made(*arguments: Any) -> Any:
        nonlocal making
        making = True
        try:
            return make(*arguments)
        finally:
            making = False

    create.write_backup = made
    aim(number, lambda: making)


def perform(order: dict[str, Any]) -> str:
    target = Target(order["dsn"])
    (aim_at_backup if order["command"] in ("migrate", "rollback") else aim)(order["number"])
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


if __name__ == "__main__":
    serve(perform)
