"""A tenant moves its own stock, and sees its own balances, only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from balances.stock import Stock
from servers import Database
from tenantry import (
    MigrateOptions,
    ReconcileOptions,
    list_reviews,
    migrate,
    reconcile_balances,
    sample,
)
from tenantry.errors import Refused
from tenantry.execution.events import Event, FindingReported
from tenantry.model.finding import Finding
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target
from tenantry.presets import spec_path

pytestmark = pytest.mark.server

ROWS = "SELECT org_id::text, item_id, location_id, lot_id, quantity, movements FROM inventory_balances"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kitchens(Stock):
    """The preset's database, isolated, with two organizations."""

    role: str
    north: str
    south: str

    def as_tenant(self, tenant: str | None, *statements: str) -> list[tuple[Any, ...]]:
        """What the last statement gives the application's role."""
        with self.connect() as session:
            session.execute(f'SET LOCAL ROLE "{self.role}"')
            if tenant is not None:
                session.execute(f"SET LOCAL app.tenant_id = '{tenant}'")
            for statement in statements:
                cursor = session.execute(statement)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture
def kitchens(database: Database, role: Callable[..., str]) -> Kitchens:
    """Balances of an isolated ledger, backfilled."""
    name = role(create=False, name="app")
    text = spec_path("enterprise").read_text().replace('"tenantry_app"', f'"{name}"')
    target = Target(database.dsn)
    sample(target, "enterprise", rows=400)
    migrate(target, Spec.parse(text), MigrateOptions(until=Phase.ISOLATE))
    database.execute("INSERT INTO organizations (name, slug) VALUES ('South', 'south')")
    tenants = dict(database.rows("SELECT slug, id::text FROM organizations"))
    shop = Kitchens(database=database, text=text, role=name, north=tenants["default"], south=tenants["south"])
    shop.install()
    shop.backfill()
    return shop


def _move(item: str = "(SELECT min(id) FROM items)") -> str:
    return (
        "INSERT INTO inventory_ledger (item_id, location_id, movement_type, quantity)"
        f" SELECT {item}, (SELECT min(id) FROM locations), 'receipt', 7"
    )


def test_own_balances_only(kitchens: Kitchens) -> None:
    """Without a tenant none; with one, those of its own rows, exactly; the operator sees all."""
    kitchens.execute(
        f"INSERT INTO items (code, name, category, unit, unit_cost, org_id) VALUES ('s', 's', 's', 'kg', 1, '{kitchens.south}');"
        f"INSERT INTO locations (code, name, kind, org_id) VALUES ('s', 's', 'site', '{kitchens.south}')"
    )
    assert kitchens.as_tenant(kitchens.south, ROWS) == []
    kitchens.as_tenant(kitchens.south, _move())
    with kitchens.connect() as session:
        session.execute(f"SET LOCAL ROLE \"{kitchens.role}\"; SET LOCAL app.tenant_id = '{kitchens.south}'")
        session.execute(_move())
    south = kitchens.as_tenant(kitchens.south, ROWS)
    assert [(row[0], int(row[4])) for row in south] == [(kitchens.south, 14)]
    north = kitchens.as_tenant(kitchens.north, ROWS)
    assert {row[0] for row in north} == {kitchens.north}
    assert kitchens.as_tenant(None, ROWS) == []
    assert kitchens.as_tenant("", ROWS) == []
    assert len(kitchens.rows(ROWS)) == len(north) + len(south)
    assert kitchens.failing() == []


def test_the_owner_and_legacy_roles_follow_their_policies(kitchens: Kitchens, role: Callable[..., str]) -> None:
    """A reader under row security without a policy of ours sees none; one that the legacy policy names sees all."""
    reader = role()
    kitchens.execute(f"GRANT SELECT ON inventory_ledger, inventory_balances TO {reader}")
    with kitchens.connect(user=reader, autocommit=True) as session:
        assert session.execute(ROWS).fetchall() == []
        kitchens.execute(f"CREATE POLICY tenantry_legacy ON inventory_ledger TO {reader} USING (true)")
        assert len(session.execute(ROWS).fetchall()) == len(kitchens.rows(ROWS))


def test_a_readers_own_function_sees_no_other_tenant(kitchens: Kitchens) -> None:
    """The view is a barrier: a cheap function in WHERE, which the planner would ask first, sees this tenant's rows
    alone."""
    kitchens.execute(
        "CREATE FUNCTION peek(bigint) RETURNS boolean LANGUAGE plpgsql STABLE COST 0.0001 AS"
        " 'BEGIN RAISE NOTICE ''%'', $1; RETURN true; END'"
    )
    seen: list[str] = []
    with kitchens.connect() as session:
        session.add_notice_handler(lambda notice: seen.append(notice.message_primary or ""))
        session.execute(f'SET LOCAL ROLE "{kitchens.role}"')
        session.execute(f"SET LOCAL app.tenant_id = '{kitchens.south}'")
        session.execute("SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off")
        session.execute("SELECT * FROM inventory_balances WHERE peek(item_id)")
    assert seen == []


def test_another_tenants_stock_cannot_be_moved(kitchens: Kitchens) -> None:
    """Neither its rows, nor its balances, nor a row that names it."""
    before = kitchens.rows(ROWS)
    refused = (
        psycopg.errors.InsufficientPrivilege,
        psycopg.errors.ForeignKeyViolation,
        psycopg.errors.NotNullViolation,
    )
    with pytest.raises(refused):
        kitchens.as_tenant(
            kitchens.south,
            "INSERT INTO inventory_ledger (org_id, item_id, location_id, movement_type, quantity)"
            f" VALUES ('{kitchens.north}', 1, 2, 'receipt', 7)",
        )
    kitchens.as_tenant(kitchens.south, "UPDATE inventory_ledger SET quantity = 99")
    kitchens.as_tenant(kitchens.south, "DELETE FROM inventory_ledger")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        kitchens.as_tenant(kitchens.south, 'UPDATE tenantry."balances_public__inventory_ledger" SET quantity = 0')
    assert kitchens.rows(ROWS) == before


def test_a_tenants_question_uses_the_index(kitchens: Kitchens) -> None:
    """By key: no scan of the other tenants' balances."""
    plan = kitchens.as_tenant(
        kitchens.north, "SET LOCAL enable_seqscan = off",
        "EXPLAIN (COSTS off) SELECT * FROM inventory_balances WHERE item_id = 3 AND location_id = 2",
    )  # fmt: skip
    text = "\n".join(line for (line,) in plan)
    assert "Index Cond: ((org_id = " in text
    assert "(item_id = 3)" in text


def test_whom_row_security_binds_reconciles_nothing(kitchens: Kitchens, role: Callable[..., str]) -> None:
    """What it does not see would be a difference: refused, and nothing is corrected."""
    blind = role("LOGIN")
    kitchens.execute(
        f"GRANT USAGE ON SCHEMA tenantry TO {blind}; GRANT ALL ON ALL TABLES IN SCHEMA public TO {blind};"
        f"GRANT ALL ON ALL TABLES IN SCHEMA tenantry TO {blind}"
    )
    target = Target(psycopg.conninfo.make_conninfo(kitchens.database.dsn, user=blind))
    with pytest.raises(Refused, match="may hide rows"):
        reconcile_balances(target, kitchens.spec)
    # A journal that others may write to is believed by nobody else.
    kitchens.execute(
        f"REVOKE ALL ON ALL TABLES IN SCHEMA tenantry FROM {blind};"
        f'GRANT UPDATE ON tenantry."balances_public__inventory_ledger" TO {blind}'
    )
    assert kitchens.failing() == ["row security"]
    assert kitchens.rows("SELECT count(*) FROM tenantry.discrepancies") == [(0,)]


def test_discrepancies_by_tenant(kitchens: Kitchens) -> None:
    """What differs is told by tenant, and each review has its own."""
    storage = 'tenantry."balances_public__inventory_ledger"'
    kitchens.execute(
        f"UPDATE {storage} SET quantity = quantity + 3 WHERE ctid = (SELECT min(ctid) FROM {storage} WHERE movements > 0)"
    )
    found: list[Finding] = []

    def keep(event: Event) -> None:
        if isinstance(event, FindingReported):
            found.append(event.finding)

    result = reconcile_balances(kitchens.target, kitchens.spec, ReconcileOptions(), keep)
    assert result.exit_status == 1
    [by_tenant] = [finding for finding in found if finding.name == "discrepancies-by-tenant"]
    assert dict(by_tenant.tenants) == {kitchens.north: 1}
    assert list_reviews(kitchens.target, kitchens.spec)[0].tenant == kitchens.north
