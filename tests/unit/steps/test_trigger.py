"""What trigger functions of ours share: whose they are, what they see, and that nobody else can call them."""

from __future__ import annotations

from psycopg import sql

from tenantry.model.name import Name
from tenantry.steps.trigger import (
    drop_trigger,
    drop_triggers,
    function_name,
    knows_no_tenants,
    make_function,
    named,
    shut_function,
)  # fmt: skip
from unit.schemas import name
from unit.steps.examples import SALES, texts


def test_names_of_functions() -> None:
    """One for each table and purpose, of all schemas."""
    names = {
        function_name(table, purpose, *parts)
        for table in (SALES, Name("old", "sales"), name("Sales")) for purpose in ("assign", "adopt")
        for parts in ((), ("2",))
    }  # fmt: skip
    assert len(names) == 12
    assert {one.schema for one in names} == {"tenantry"}


def test_functions_run_as_their_owner() -> None:
    """With a pinned path; and EXECUTE goes from all others before it is handed over."""
    made = texts(make_function(Name("tenantry", "f"), "owner", sql.SQL("BEGIN END"), "SET row_security = off"))
    assert made[0].startswith(
        'CREATE OR REPLACE FUNCTION "tenantry"."f"() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER'
        " SET search_path = pg_catalog, pg_temp SET row_security = off AS $"
    )
    assert "REVOKE ALL ON FUNCTION" in made[1]
    assert made[3] == 'ALTER FUNCTION "tenantry"."f"() OWNER TO "owner"'
    assert "CASCADE" in shut_function("tenantry.it's()").sql.as_string(None)


def test_who_names_no_tenant() -> None:
    """An old application, or the operator: it names none, and may see all rows."""
    text = knows_no_tenants(sql.SQL("42"), "app.tenant_id").as_string(None)
    assert text.startswith("(NULLIF(pg_catalog.current_setting('app.tenant_id', true), '') IS NULL AND ")
    assert "rolbypassrls" in text
    assert named("a").as_string(None) in knows_no_tenants(sql.SQL("1"), "a").as_string(None)


def test_taking_away() -> None:
    """The triggers first, of partitions that were detached as well, and then the function, which they need."""
    dropped = texts(drop_trigger(SALES, "~t", Name("tenantry", "f"), (name("sales_1"),)))
    assert dropped[-1] == 'DROP FUNCTION IF EXISTS "tenantry"."f"()'
    assert any('"public"."sales_1"' in one and "DROP TRIGGER" in one for one in dropped)
    assert texts(drop_triggers(SALES, "~t", ()))[0] == 'DROP TRIGGER IF EXISTS "~t" ON "public"."sales"'
