"""Movements, as the SQL that triggers and corrections share."""

from __future__ import annotations

from dataclasses import replace

from psycopg import sql

from tenantry.steps.movement import (
    add,
    alone,
    correct,
    indexed,
    measures,
    movements,
    netted,
    shown,
    unique_columns,
    writer_slot,
)  # fmt: skip
from unit.steps.examples import LEDGER

ROWS = sql.SQL("SELECT 1")


def test_a_movement_and_its_taking_back() -> None:
    """The same row with its signs turned, in every measure."""
    there, back = (measures(sql.SQL("q"), back=one).as_string(None) for one in (False, True))
    assert there.count(" AS ") == back.count(" AS ") == 6
    assert (
        back.replace("-CASE", "CASE").replace("-greatest", "greatest").replace("-1 ", "1 ").replace("-(", "(") == there
    )
    text = movements(LEDGER, sql.SQL("moved_in")).as_string(None)
    assert text.startswith('SELECT entry."tenant_id" AS "tenant_id", entry."product_id" AS "product_id", CASE')
    assert text.endswith("FROM moved_in AS entry")


def test_renamed_columns_keep_their_names_in_balances() -> None:
    first, second = LEDGER.key
    text = movements(replace(LEDGER, key=(first, replace(second, source="item_id"))), sql.SQL("x")).as_string(None)
    assert 'entry."item_id" AS "product_id"' in text


def test_keys_that_may_be_null() -> None:
    """NULLs are equal in arrays; what is never NULL comes first."""
    first, second = LEDGER.key
    loose = replace(LEDGER, key=(replace(first, nullable=True), second))
    assert unique_columns(loose).as_string(None) == '"product_id", (ARRAY["tenant_id"]), slot'
    assert indexed(first).as_string(None) == '"tenant_id"'


def test_what_changes_nothing_is_not_added() -> None:
    text = netted(LEDGER, ROWS).as_string(None)
    assert 'GROUP BY "tenant_id", "product_id" HAVING' in text
    assert "OR sum(moved.nans) <> 0" in text
    assert "GROUP BY" not in alone(LEDGER, ROWS).as_string(None)


def test_adding() -> None:
    """In the order of the key, so that no two statements wait for each other in a circle; a correction is no movement."""
    text = " ".join(add(LEDGER, ROWS, sql.SQL("0")).as_string(None).split())
    assert 'ORDER BY "tenant_id", "product_id" ON CONFLICT ("tenant_id", "product_id", slot) DO UPDATE SET' in text
    assert "quantity = balance.quantity + excluded.quantity" in text
    assert "ORDER BY" not in add(LEDGER, ROWS, sql.SQL("0"), single=True).as_string(None)
    assert "NULL::timestamptz FROM" in correct(LEDGER, ROWS).as_string(None)


def test_where_a_session_writes() -> None:
    """Slot 0 is the corrections' where writers are spread."""
    assert writer_slot(LEDGER).as_string(None) == "0"
    assert writer_slot(replace(LEDGER, slots=8)).as_string(None) == "1 + pg_catalog.pg_backend_pid() % 8"


def test_sums_of_what_is_not_finite() -> None:
    """As PostgreSQL's own sum has them: NaN before all, and both infinities together are NaN."""
    text = shown("quantity").as_string(None)
    assert text.startswith("CASE WHEN nans <> 0 OR infinities <> 0 AND negative_infinities <> 0 THEN 'NaN'::numeric")
    assert text.endswith("ELSE quantity END")
    assert "sum(b.nans)" in shown("total_in", "sum(b.{})").as_string(None)
