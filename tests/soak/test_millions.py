"""There and back with millions of rows."""

from __future__ import annotations

from collections.abc import Callable

from acceptance.round_trip import checksums
from servers import Database
from tenantry import MigrateOptions, RollbackOptions, migrate, rollback
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target
from tenantry.presets import load, spec_path

ROWS = 2_000_000
WRONG = """
    SELECT count(*) FROM estoque_movimentacoes m JOIN estoque_lotes l ON l.id = m.lote_id
    LEFT JOIN escolas e ON e.id = m.escola_id
    WHERE m.tenant_id IS DISTINCT FROM l.tenant_id OR m.tenant_id <> e.tenant_id
"""


def test_estoque(database: Database, role: Callable[..., str]) -> None:
    """To contract, every row in its tenant, and back as it was."""
    with database.connect() as connection:
        loaded = load(connection, preset="estoque", rows=ROWS, seed=5)
    assert sum(loaded.rows.values()) > ROWS
    dump, rows = database.dump(), checksums(database)
    spec = Spec.read(spec_path("estoque"))
    application = spec.application.model_copy(update={"role": role(create=False, name="app")})
    target = Target(database.dsn)
    result = migrate(target, spec.model_copy(update={"application": application}), MigrateOptions(until=Phase.CONTRACT))
    assert result.rows >= loaded.rows["estoque_movimentacoes"] + loaded.rows["estoque_escolas_historico"]
    assert database.rows(WRONG) == [(0,)]
    rollback(target, RollbackOptions())
    assert database.dump() == dump
    assert checksums(database) == rows
