"""The emergency with millions of rows: two seconds, once it has its locks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from servers import Database
from tenantry.errors import ExitStatus
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target
from tenantry.presets import load, spec_path
from tenantry.workflow import MigrateOptions, RollbackOptions, migrate, rollback

ROWS = 3_000_000
SECONDS = 2.0
NOISE = 2.0
"""Seconds that a machine with other things to do may add."""


@pytest.mark.timeout(1800)
def test_emergency(database: Database, role: Callable[..., str]) -> None:
    """--preserve-data --force: every row keeps its tenant, nothing else of ours is left; and the next migrate fills
    nothing."""
    with database.connect() as connection:
        load(connection, preset="estoque", rows=ROWS, seed=5)
    spec = Spec.read(spec_path("estoque"))
    application = spec.application.model_copy(update={"role": role(create=False, name="app")})
    spec, target = spec.model_copy(update={"application": application}), Target(database.dsn)
    migrate(target, spec, MigrateOptions())
    result = rollback(target, RollbackOptions(preserve_data=True, force=True))
    print(f"{result.applied} steps in {result.seconds:.2f} s, {result.longest_lock:.2f} s for locks")
    assert result.exit_status is ExitStatus.DONE, result.findings
    assert result.seconds - result.longest_lock < SECONDS + NOISE
    assert database.rows("SELECT count(*) FROM estoque_movimentacoes WHERE tenant_id IS NULL") == [(0,)]
    assert migrate(target, spec, MigrateOptions()).rows == 0
