"""The application role, and what it is granted and denied."""

from __future__ import annotations

from tenantry.steps.role import ApplicationGrants, ApplicationRole, FunctionGrant, SchemaUsage
from unit.steps.examples import ISOLATE, SALES, TENANTS, assert_statements


def test_the_role() -> None:
    """With nothing but LOGIN where it is not there."""
    step = ApplicationRole(phase=ISOLATE, table=TENANTS, role="app")
    assert_statements(
        step.apply(),
        'CREATE ROLE "app" NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS',
    )
    assert_statements(
        step.revert({}),
        """DO $tenantry$ BEGIN IF pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT') THEN IF EXISTS (SELECT FROM pg_catalog.pg_authid a WHERE a.rolname OPERATOR(pg_catalog.=) 'app' AND a.rolpassword IS NOT NULL) THEN RETURN; END IF; END IF; DROP ROLE "app"; END $tenantry$""",
    )


def test_the_schema() -> None:
    step = SchemaUsage(phase=ISOLATE, table=SALES, role="app")
    assert_statements(
        step.apply(),
        'GRANT USAGE ON SCHEMA "public" TO "app"',
    )
    assert_statements(
        step.revert({}),
        'REVOKE USAGE ON SCHEMA "public" FROM "app"',
    )


def test_a_table() -> None:
    """TRUNCATE and REFERENCES, which policies do not hold, are taken from everybody who is not the owner."""
    step = ApplicationGrants(
        phase=ISOLATE,
        table=SALES,
        role="app",
        grants=("SELECT", "INSERT", "UPDATE", "DELETE"),
        revokes=(("TRUNCATE", "app"), ("REFERENCES", "app")),
    )
    assert_statements(
        step.apply(),
        'GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE "public"."sales" TO "app"',
        'REVOKE TRUNCATE ON TABLE "public"."sales" FROM "app" CASCADE',
        'REVOKE REFERENCES ON TABLE "public"."sales" FROM "app" CASCADE',
    )


def test_a_function() -> None:
    step = FunctionGrant(
        phase=ISOLATE, table=SALES, role="app", signature="public.next_number(integer)", used_by=(SALES,)
    )
    assert_statements(
        step.apply(),
        'GRANT EXECUTE ON ROUTINE public.next_number(integer) TO "app"',
    )
