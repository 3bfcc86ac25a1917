"""The tenants, numbered: those in the table, and those that the spec will create."""

from __future__ import annotations

from dataclasses import replace

from psycopg import sql

from tenantry.discovery.tenants import key_of, numbered, tenants
from tenantry.model.ownership import Ownership, TenantTable
from unit.schemas import TENANTS, name, schema

TENANT = TenantTable(name=name("tenants"), key="id", slug="slug", type="integer")


def texts(tenant: TenantTable, *tables: object, columns: tuple[str, ...] = ()) -> list[str]:
    found = tenants(Ownership(tenant=tenant, setting="app.tenant_id"), schema(*tables), columns)  # type: ignore[arg-type]
    return [" ".join(one.as_string(None).split()) for one in found]


def test_those_that_are_there() -> None:
    """With the columns by which others refer to them."""
    create, analyze, words = texts(TENANT, TENANTS, columns=("code", "id"))
    assert create == (
        'CREATE TEMPORARY TABLE "tenantry_tenants" ON COMMIT DROP AS SELECT (row_number() OVER (ORDER BY "t"."id"))'
        '::integer AS tenant, "t"."slug"::text AS label, "t"."id"::text AS key, "t"."code" AS "c0", "t"."id" AS "c1"'
        ' FROM "public"."tenants" AS t'
    )
    assert analyze == 'ANALYZE "pg_temp"."tenantry_tenants"'
    assert "SELECT DISTINCT ON (w.word)" in words
    assert "ORDER BY w.word, w.rank, w.tenant" in words


def test_those_that_are_to_be_made() -> None:
    """Each slug once, behind the others; the table itself may be yet to come."""
    made = replace(TENANT, default="it's", quarantine="aside", slugs=("it's", "north"), type="uuid")
    create, insert, *_ = texts(made, columns=("code",))
    assert create.endswith('AS SELECT 0 AS tenant, NULL::text AS label, NULL::text AS key, NULL::uuid AS "c0" LIMIT 0')
    assert "ARRAY['it''s','aside','north']" in insert.replace(", ", ",") or "'{it''s,aside,north}'" in insert
    assert "WHERE NOT EXISTS" in insert


def test_a_table_without_slugs() -> None:
    """It is told by its key."""
    bare = replace(TENANTS, columns=TENANTS.columns[:1])
    assert '"t"."id"::text AS label' in texts(TENANT, bare)[0]


def test_numbers_and_keys() -> None:
    assert "WHERE t.label = 'it''s' ORDER BY t.tenant LIMIT 1" in numbered("it's").as_string(None)
    assert (
        key_of(sql.SQL("n")).as_string(None)
        == '(SELECT t.key FROM "pg_temp"."tenantry_tenants" AS t WHERE t.tenant = n)'
    )
