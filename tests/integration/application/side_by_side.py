"""Workloads beside a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from application.shops import Shop
from application.workloads import Beside, Side
from servers import Database
from tenantry import MigrateOptions, RollbackOptions, migrate, rollback
from tenantry.model.backup import BackupKind
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

UNTIL = (Phase.EXPAND, Phase.BACKFILL, Phase.ENFORCE)


def migrated(database: Database, shop: Shop, until: Phase) -> Database:
    options = MigrateOptions(until=until, backup=BackupKind.NONE, workers=1)
    migrate(Target(database.dsn), Spec.parse(shop.spec), options)
    return database


@contextmanager
def beside(shop: Shop, new_database: Callable[..., Database]) -> Iterator[Beside]:
    """The twin; a database in each phase before contract; and one that was rolled back."""
    twin = new_database()
    twin.execute(shop.script)
    found: dict[str, Database] = {}
    last = twin
    for until in UNTIL:
        last = found[str(until)] = migrated(new_database(last.name), shop, until)
    found["rollback"] = new_database(last.name)
    rollback(Target(found["rollback"].dsn), RollbackOptions(backup=BackupKind.NONE))
    twin.execute(shop.oracle)
    with ExitStack() as stack:
        sides = [
            stack.enter_context(Side.of(name, database, complete=name == Phase.ENFORCE))
            for name, database in found.items()
        ]
        first = stack.enter_context(Side.of("before", twin))
        yield Beside(shop=shop, major=twin.server.major, twin=first, others=tuple(sides))
