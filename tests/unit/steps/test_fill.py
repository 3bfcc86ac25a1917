"""The backfill of existing rows."""

from __future__ import annotations

from tenantry.model.name import Name
from tenantry.model.plan import Phase
from tenantry.steps.fill import AssignedRows, Backfill, RelationFill
from unit.steps.examples import BY_STORE, ENFORCE, EXPAND, SALES, assert_statements


def test_by_path() -> None:
    """A batch is a range of pages; rows that others hold are left to a later pass."""
    step = Backfill(
        phase=Phase.BACKFILL,
        table=SALES,
        fills=(RelationFill(relation=SALES, column="tenant_id", sources=(BY_STORE,), overrides=False),),
    )
    assert_statements(
        step.apply(),
        """WITH batch AS MATERIALIZED (SELECT row.ctid AS address, derived.tenant FROM ONLY "public"."sales" AS row CROSS JOIN LATERAL (SELECT (SELECT "hop1"."tenant_id" FROM "public"."stores" AS "hop1" WHERE "hop1"."id" OPERATOR("pg_catalog".=) "row"."store_id") AS tenant OFFSET 0) AS derived WHERE derived.tenant IS NOT NULL AND row."tenant_id" IS NULL AND row.ctid >= $1::tid AND row.ctid < $2::tid AND ($3::int = 1 OR pg_catalog.get_byte(pg_catalog.tidsend(row.ctid), 5) % $3::int = $4::int) FOR NO KEY UPDATE OF row SKIP LOCKED) UPDATE ONLY "public"."sales" AS row SET "tenant_id" = batch.tenant FROM batch WHERE row.ctid = batch.address AND row.ctid >= $1::tid AND row.ctid < $2::tid AND (SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true)) IS NOT NULL""",
    )
    assert_statements(
        step.revert({}),
    )


def test_that_sets_right() -> None:
    """A tenant that differs from the derived one is corrected."""
    step = Backfill(
        phase=ENFORCE,
        table=SALES,
        fills=(RelationFill(relation=SALES, column="tenant_id", sources=(BY_STORE,), overrides=True),),
        purpose="sweep",
    )
    assert_statements(
        step.apply(),
        """WITH batch AS MATERIALIZED (SELECT row.ctid AS address, derived.tenant FROM ONLY "public"."sales" AS row CROSS JOIN LATERAL (SELECT (SELECT "hop1"."tenant_id" FROM "public"."stores" AS "hop1" WHERE "hop1"."id" OPERATOR("pg_catalog".=) "row"."store_id") AS tenant OFFSET 0) AS derived WHERE derived.tenant IS NOT NULL AND row."tenant_id" IS DISTINCT FROM derived.tenant AND row.ctid >= $1::tid AND row.ctid < $2::tid AND ($3::int = 1 OR pg_catalog.get_byte(pg_catalog.tidsend(row.ctid), 5) % $3::int = $4::int) FOR NO KEY UPDATE OF row SKIP LOCKED) UPDATE ONLY "public"."sales" AS row SET "tenant_id" = batch.tenant FROM batch WHERE row.ctid = batch.address AND row.ctid >= $1::tid AND row.ctid < $2::tid AND (SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true)) IS NOT NULL""",
    )


def test_assigned_rows() -> None:
    """The tenants that a file names, row by row."""
    step = AssignedRows(
        phase=EXPAND,
        table=SALES,
        name=Name("tenantry", "assigned_public__sales"),
        owner="owner",
        rows=(("7", "north"),),
    )
    assert_statements(
        step.apply(),
        'CREATE TABLE IF NOT EXISTS "tenantry"."assigned_public__sales" ("key1" text NOT NULL, tenant text NOT NULL, PRIMARY KEY ("key1"))',
        "DO $tenantry$DECLARE one record; BEGIN FOR one IN SELECT DISTINCT c.oid::regclass AS named, c.relkind, e.grant…REVOKE ALL ON %s %s FROM %s…; END LOOP; END$tenantry$",
        'GRANT SELECT ON "tenantry"."assigned_public__sales" TO "owner"',
        'DELETE FROM "tenantry"."assigned_public__sales"',
        """INSERT INTO "tenantry"."assigned_public__sales" VALUES ('7', 'north')""",
    )
    assert_statements(
        step.revert({}),
        'DROP TABLE IF EXISTS "tenantry"."assigned_public__sales"',
    )
