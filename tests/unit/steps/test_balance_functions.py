"""The functions that add movements to balances."""

from __future__ import annotations

from tenantry.steps.balance_functions import BalanceFunctions
from unit.steps.examples import EXPAND, LEDGER, assert_statements


def test_the_functions() -> None:
    step = BalanceFunctions(phase=EXPAND, table=LEDGER.table, ledger=LEDGER)
    assert_statements(
        step.apply(),
        """DO $tenantry$DECLARE role oid; BEGIN IF pg_catalog.to_regclass('"tenantry"."names"') IS NULL THEN CREATE TABLE…OP; END IF; END$tenantry$""",
        'GRANT USAGE ON SCHEMA "tenantry" TO "owner"',
        'GRANT SELECT ON "tenantry"."names" TO "owner"',
        'CREATE OR REPLACE FUNCTION "tenantry"."move_public__movements"() RETURNS trigger LANGUAGE plpgsql SECURITY DEF…TURN NULL; END $tenantry$',
        "DO $tenantry$DECLARE role oid; BEGIN FOR role IN SELECT DISTINCT e.grantee FROM pg_catalog.pg_proc p, pg_catal…; END LOOP; END$tenantry$",
        'GRANT USAGE, CREATE ON SCHEMA "tenantry" TO "owner"',
        'ALTER FUNCTION "tenantry"."move_public__movements"() OWNER TO "owner"',
        'REVOKE CREATE ON SCHEMA "tenantry" FROM "owner"',
        """DELETE FROM "tenantry"."names" AS known WHERE known.own = pg_catalog.to_regclass('"public"."movements"') AND known.trigger = 'move'""",
        'WITH one AS MATERIALIZED (SELECT pg_catalog.gen_random_uuid() AS made) INSERT INTO "tenantry"."names" (made, o…me AND NOT a.attisdropped',
        "DO $tenantry$DECLARE code text; one record; BEGIN code := pg_catalog.pg_get_functiondef(pg_catalog.to_regproce…ECUTE code; END$tenantry$",
        'CREATE OR REPLACE FUNCTION "tenantry"."replicate_public__movements"() RETURNS trigger LANGUAGE plpgsql SECURIT…TURN NULL; END $tenantry$',
        "DO $tenantry$DECLARE role oid; BEGIN FOR role IN SELECT DISTINCT e.grantee FROM pg_catalog.pg_proc p, pg_catal…; END LOOP; END$tenantry$",
        'GRANT USAGE, CREATE ON SCHEMA "tenantry" TO "owner"',
        'ALTER FUNCTION "tenantry"."replicate_public__movements"() OWNER TO "owner"',
        'REVOKE CREATE ON SCHEMA "tenantry" FROM "owner"',
        """DELETE FROM "tenantry"."names" AS known WHERE known.own = pg_catalog.to_regclass('"public"."movements"') AND known.trigger = 'replicate'""",
        'WITH one AS MATERIALIZED (SELECT pg_catalog.gen_random_uuid() AS made) INSERT INTO "tenantry"."names" (made, o…me AND NOT a.attisdropped',
        "DO $tenantry$DECLARE code text; one record; BEGIN code := pg_catalog.pg_get_functiondef(pg_catalog.to_regproce…ECUTE code; END$tenantry$",
        'CREATE OR REPLACE FUNCTION "tenantry"."truncate_public__movements"() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on…RAISE EXCEPTION…TURN NULL; END $tenantry$',
        "DO $tenantry$DECLARE role oid; BEGIN FOR role IN SELECT DISTINCT e.grantee FROM pg_catalog.pg_proc p, pg_catal…; END LOOP; END$tenantry$",
        'GRANT USAGE, CREATE ON SCHEMA "tenantry" TO "owner"',
        'ALTER FUNCTION "tenantry"."truncate_public__movements"() OWNER TO "owner"',
        'REVOKE CREATE ON SCHEMA "tenantry" FROM "owner"',
        """DELETE FROM "tenantry"."names" AS known WHERE known.own = pg_catalog.to_regclass('"public"."movements"') AND known.trigger = 'truncate'""",
        'WITH one AS MATERIALIZED (SELECT pg_catalog.gen_random_uuid() AS made) INSERT INTO "tenantry"."names" (made, o…me AND NOT a.attisdropped',
        "DO $tenantry$DECLARE code text; one record; BEGIN code := pg_catalog.pg_get_functiondef(pg_catalog.to_regproce…ECUTE code; END$tenantry$",
    )
    assert_statements(
        step.revert({}),
        'DROP FUNCTION IF EXISTS "tenantry"."move_public__movements"()',
        'DROP FUNCTION IF EXISTS "tenantry"."replicate_public__movements"()',
        'DROP FUNCTION IF EXISTS "tenantry"."truncate_public__movements"()',
        'DROP FUNCTION IF EXISTS "tenantry"."cross_public__movements"()',
        'DROP FUNCTION IF EXISTS "tenantry"."begin_public__movements"()',
        """DELETE FROM "tenantry"."names" AS known WHERE known.own = pg_catalog.to_regclass('"public"."movements"') AND known.trigger = 'move'""",
        """DELETE FROM "tenantry"."names" AS known WHERE known.own = pg_catalog.to_regclass('"public"."movements"') AND known.trigger = 'replicate'""",
        """DELETE FROM "tenantry"."names" AS known WHERE known.own = pg_catalog.to_regclass('"public"."movements"') AND known.trigger = 'truncate'""",
        'DROP TABLE IF EXISTS "tenantry"."crossings_public__movements"',
    )
