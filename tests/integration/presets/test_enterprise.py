"""Sample rows of the preset enterprise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from servers import Database
from tenantry.presets import LoadedSample, fault_kinds, load

ROWS = 4000
TABLES = (
    "organizations", "users", "items", "locations", "lots", "inventory_ledger", "count_sheets", "count_lines",
    "audit_logs", "feature_flags",
)  # fmt: skip
NEGATIVE_LOTS = """
    SELECT lot_id FROM (
        SELECT lot_id, sum(quantity) OVER (PARTITION BY item_id, location_id, lot_id ORDER BY id) AS level
        FROM inventory_ledger
    ) running
    WHERE level < 0
"""
EXPIRED_LOTS = "SELECT id FROM lots WHERE expires_on < manufactured_on"
SYMPTOMS = {"negative-stock": NEGATIVE_LOTS, "expired-before-made": EXPIRED_LOTS}


def fill(database: Database, **options: Any) -> LoadedSample:
    with database.connect() as connection:
        return load(connection, **{"preset": "enterprise", "rows": ROWS, **options})


def contents(database: Database) -> dict[str, list[Any]]:
    return {table: database.rows(f"SELECT * FROM {table} ORDER BY id") for table in TABLES}


def findings_of(database: Database) -> dict[str, set[int]]:
    return {kind: {key for (key,) in database.rows(query)} for kind, query in SYMPTOMS.items()}


@pytest.fixture
def enterprise(template: Callable[..., Database]) -> Database:
    return template("sample_enterprise", lambda database: fill(database))


def test_same_seed_gives_the_same_rows(new_database: Callable[..., Database], enterprise: Database) -> None:
    again, other = new_database(), new_database()
    fill(again)
    fill(other, seed=2)
    assert contents(again) == contents(enterprise)
    assert contents(other)["inventory_ledger"] != contents(enterprise)["inventory_ledger"]


@pytest.mark.parametrize("rows", [1, 2, 99, 1000])
def test_rows_are_movements(database: Database, rows: int) -> None:
    loaded = fill(database, rows=rows)
    assert loaded.rows["inventory_ledger"] == rows
    assert dict(loaded.rows) == {table: database.rows(f"SELECT count(*) FROM {table}")[0][0] for table in TABLES}


def test_ledger_never_falls_below_zero(enterprise: Database) -> None:
    assert findings_of(enterprise) == {"negative-stock": set(), "expired-before-made": set()}


def test_rows_fit_together(enterprise: Database) -> None:
    """A movement's lot is of its item, stores lie in sites, and some movements have no lot."""
    ((astray, in_sites, without_lot, with_lot),) = enterprise.rows("""
        SELECT count(*) FILTER (WHERE t.item_id <> l.item_id), count(*) FILTER (WHERE p.parent_id IS NULL),
               count(*) FILTER (WHERE l.lot_id IS NULL), count(l.lot_id)
        FROM inventory_ledger l
        JOIN locations p ON p.id = l.location_id
        LEFT JOIN lots t ON t.id = l.lot_id
    """)
    assert (astray, in_sites) == (0, 0)
    assert without_lot > 0
    assert with_lot > 0


def test_there_is_one_organization(enterprise: Database) -> None:
    assert enterprise.rows("SELECT slug, status FROM organizations") == [("default", "active")]


@pytest.mark.parametrize("kind", [*SYMPTOMS, "all"])
def test_faults_are_planted_and_nothing_else(database: Database, enterprise: Database, kind: str) -> None:
    loaded = fill(database, faults=[kind])
    planted = {name: {fault.key for fault in loaded.faults if fault.kind == name} for name in SYMPTOMS}
    assert findings_of(database) == planted
    assert {name: len(keys) for name, keys in planted.items()} == {
        name: 3 if kind in (name, "all") else 0 for name in SYMPTOMS
    }
    before, after = contents(enterprise), contents(database)
    assert all(after[table][: len(rows)] == rows for table, rows in before.items())
    assert set(fault_kinds("enterprise")) == set(SYMPTOMS)


def test_audit_log_refuses_changes(enterprise: Database) -> None:
    with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
        enterprise.execute("UPDATE audit_logs SET action = 'none'")


def test_the_application_can_go_on(database: Database) -> None:
    """Identity columns stand behind the last row, planted ones included."""
    fill(database, rows=50, faults="all")
    database.execute("""
        INSERT INTO users (email, full_name, role) VALUES ('new@example', 'New', 'clerk');
        INSERT INTO items (code, name, category, unit, unit_cost) VALUES ('NEW', 'New', 'none', 'kg', 1);
        INSERT INTO locations (code, name, kind) VALUES ('NEW', 'New', 'site');
        INSERT INTO lots (item_id, lot_code) VALUES (1, 'NEW');
        INSERT INTO inventory_ledger (item_id, location_id, movement_type, quantity)
            VALUES (1, 2, 'receipt', 1);
        INSERT INTO count_sheets (location_id, counted_on) VALUES (2, '2025-07-01');
        INSERT INTO count_lines (count_sheet_id, item_id, expected_quantity, counted_quantity)
            VALUES (1, 1, 1, 1);
        INSERT INTO audit_logs (action, entity) VALUES ('create', 'lots');
        INSERT INTO feature_flags (key) VALUES ('new');
    """)
