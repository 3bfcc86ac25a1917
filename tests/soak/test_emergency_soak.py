"""The emergency with millions of rows: two seconds, once it has its locks."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from servers import Database
from tenantry import MigrateOptions, RollbackOptions, migrate, rollback
from tenantry.errors import ExitStatus
from tenantry.execution.events import Event, StepEvent
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target
from tenantry.presets import load, spec_path

FEW, MANY = 3000, 3_000_000
SECONDS = 2.0
GROWTH = 4.0
"""Of the time with few rows, where the machine is busy: indexes of a hundred megabytes are deleted by the file system."""


class Stopwatch:
    """Knows when the first lock was granted."""

    locked: float | None = None

    def __call__(self, event: Event) -> None:
        match event:
            case StepEvent():
                if event.lock_held and self.locked is None:
                    self.locked = time.monotonic() - event.lock_held / 1000


def emergency(database: Database, spec: Spec, rows: int) -> float:
    """Seconds from the first lock to the end."""
    with database.connect() as connection:
        load(connection, preset="estoque", rows=rows, seed=5)
    target, watch = Target(database.dsn), Stopwatch()
    migrate(target, spec, MigrateOptions())
    # As on a server that keeps what it has said.
    database.server.execute(f"ALTER DATABASE {database.name} SET synchronous_commit = on")
    result = rollback(target, RollbackOptions(preserve_data=True, force=True), watch)
    assert watch.locked is not None
    seconds = time.monotonic() - watch.locked
    assert result.exit_status is ExitStatus.DONE, result.findings
    print(f"{rows:,} rows: {result.applied} steps, {seconds:.2f} s from the first lock to the end")
    assert database.rows("SELECT count(*) FROM estoque_movimentacoes WHERE tenant_id IS NULL") == [(0,)]
    assert migrate(target, spec, MigrateOptions()).rows == 0
    return seconds


@pytest.mark.timeout(1800)
def test_emergency(new_database: Callable[..., Database], role: Callable[..., str]) -> None:
    """--preserve-data --force: every row keeps its tenant, nothing else of ours is left; the next migrate fills nothing;
    and the number of rows does not matter."""
    spec = Spec.read(spec_path("estoque"))
    application = spec.application.model_copy(update={"role": role(create=False, name="app")})
    spec = spec.model_copy(update={"application": application})
    few, many = (emergency(new_database(), spec, rows) for rows in (FEW, MANY))
    assert many < max(SECONDS, GROWTH * few)
