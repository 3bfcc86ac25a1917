"""A sweep that gives a row another tenant takes along, in its own transaction, what derives from that row."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from acceptance.migrating_under_load import estoque, estoque_spec
from servers import Database
from tenantry import MigrateOptions, migrate
from tenantry.model.plan import Phase
from tenantry.postgres.connect import Target
from tenantry.steps.fill import FILLING_NOW
from tenantry.steps.trigger import SWEEPING

pytestmark = pytest.mark.server


def test_rows_go_along(database: Database, role: Callable[..., str]) -> None:
    """Left to the next sweep, they would stay behind for good where a move of the application is under way: it looks
    for the tenant before, and does not see what a sweep is writing."""
    estoque(database, role(name="owner"), role(name="plain"), rows=300, seed=1)
    migrate(
        Target(database.dsn), estoque_spec(role(create=False, name="app"), []), MigrateOptions(until=Phase.BACKFILL)
    )
    database.execute("UPDATE estoque_alertas SET lote_id = (SELECT min(id) FROM estoque_lotes)")
    alerts = (
        "SELECT DISTINCT a.tenant_id = l.tenant_id, a.titulo IS NULL FROM estoque_alertas a"
        " JOIN estoque_lotes l ON l.id = a.lote_id"
    )
    assert database.rows(alerts) == [(True, False)]
    with database.connect() as fill, fill.transaction():
        fill.execute(FILLING_NOW)
        fill.execute(f"SET LOCAL {SWEEPING} = 'on'")
        fill.execute(
            "UPDATE estoque_lotes l SET tenant_id = (SELECT id FROM tenants t WHERE t.id <> l.tenant_id LIMIT 1)"
            " WHERE id = (SELECT min(id) FROM estoque_lotes)"
        )
        assert fill.execute(alerts).fetchall() == [(True, False)]
