"""The tenant that takes the place of NULL in mixed tables."""

from __future__ import annotations

from dataclasses import replace

from tenantry.model.name import Name
from tenantry.model.plan import ExecutionMode, Phase
from tenantry.steps import from_json, to_json
from tenantry.steps.derivation import ByKey
from tenantry.steps.fill import RelationFill
from tenantry.steps.index import TenantIndex
from tenantry.steps.row_security import EVERY, DirectPolicies, RowSecurity, Sight
from tenantry.steps.sentinel import (
    SENTINEL,
    DropSharedUnique,
    SentinelDefault,
    SentinelFill,
    SentinelPolicies,
    SentinelRow,
)
from unit.steps.examples import ISOLATE, SALES, TENANT, TENANTS, assert_statements, texts

ZERO = "00000000-0000-0000-0000-000000000000"
KEY = f"'{ZERO}'::uuid"
FOUND = "(SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true)) IS NOT NULL"


def test_its_row() -> None:
    """Its key may be one that the table would number itself. On the way back its row is locked before the last rows get
    NULL: a writer that has not committed is waited for, and one that comes later is refused."""
    step = SentinelRow(
        phase=Phase.DISTRIBUTE, table=TENANTS, tenant=TENANT, slug=SENTINEL, name="rows of all tenants",
        columns=("name",), value=ZERO, type="uuid", shared=((SALES, "tenant_id"),),
    )  # fmt: skip
    assert_statements(
        step.apply(),
        'INSERT INTO "public"."tenants" ("name", "slug", "id") OVERRIDING SYSTEM VALUE'
        f" SELECT 'rows of all tenants', 'tenantry-everybody', {KEY} WHERE {FOUND}",
        "DO $tenantry$BEGIN IF NOT EXISTS (…) THEN RAISE …; END IF; END$tenantry$",
    )
    assert all(one.when is not None for one in step.apply()), "it may be there already"
    assert_statements(
        step.revert({}),
        f'WITH held AS MATERIALIZED (SELECT FROM "public"."tenants" AS tenant WHERE tenant."id" = {KEY} FOR UPDATE)'
        " SELECT pg_catalog.count(*) FROM held",
        f'UPDATE "public"."sales" AS row SET "tenant_id" = NULL WHERE row."tenant_id" = {KEY} AND {FOUND}',
        f"""DELETE FROM "public"."tenants" AS tenant WHERE tenant."slug"::text = 'tenantry-everybody' AND {FOUND}""",
    )
    assert {one.manner for one in step.revert({})} == {ExecutionMode.VALIDATION}, "one transaction"
    more = replace(step, shared=(*step.shared, (Name("public", "more"), "tenant_id")))
    assert more.key == step.key
    assert more.wanted != step.wanted


def fill(purpose: str) -> SentinelFill:
    one = RelationFill(
        relation=SALES, column="tenant_id", sources=(ByKey(value=ZERO, type="uuid"),), overrides=False, keyed=True
    )  # fmt: skip
    return SentinelFill(phase=Phase.DISTRIBUTE, table=SALES, purpose=purpose, fills=(one,))  # type: ignore[arg-type]


def test_its_rows() -> None:
    """A batch takes rows without a tenant, and one of the way back those with its key; no session's rows are waited for."""
    step = fill("everybody")
    pages = "AND row.ctid >= $1::tid AND row.ctid < $2::tid …"
    assert_statements(
        step.apply(),
        'WITH batch AS MATERIALIZED (SELECT row.ctid AS address, derived.tenant FROM ONLY "public"."sales" AS row CROSS'
        f" JOIN LATERAL (SELECT {KEY} AS tenant OFFSET 0) AS derived WHERE derived.tenant IS NOT NULL AND"
        f' row."tenant_id" IS NULL {pages} FOR UPDATE OF row SKIP LOCKED) UPDATE ONLY "public"."sales" AS row SET'
        ' "tenant_id" = batch.tenant FROM batch WHERE row.ctid = batch.address …',
    )
    assert step.undoing is not None
    assert_statements(
        step.undoing.apply(),
        'WITH batch AS MATERIALIZED (SELECT row.ctid AS address, NULL::uuid AS tenant FROM ONLY "public"."sales" AS row'
        f' WHERE row."tenant_id" = {KEY} {pages} FOR UPDATE OF row SKIP LOCKED) UPDATE ONLY "public"."sales" AS row SET'
        ' "tenant_id" = batch.tenant FROM batch WHERE row.ctid = batch.address …',
    )
    assert step.revert({}) == ()
    assert (step.key, fill("everybody_sweep").key) == (
        "distribute_everybody:public.sales", "distribute_everybody_sweep:public.sales"
    )  # fmt: skip
    assert fill("everybody_sweep").undoing is None, "rows without a tenant are refused while it is reverted"
    assert (step.allotted, step.values(), step.restores) == ((), None, False)
    assert step.over([step, fill("everybody_sweep")]) is step
    assert from_json(to_json(step)) == step


def test_its_default() -> None:
    step = SentinelDefault(
        phase=Phase.DISTRIBUTE, table=SALES, column="tenant_id", type="uuid", setting="app.tenant_id", value=ZERO
    )  # fmt: skip
    assert_statements(
        step.apply(),
        'ALTER TABLE ONLY "public"."sales" ALTER COLUMN "tenant_id" SET DEFAULT'
        f" COALESCE(NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid, {KEY})",
    )
    before = "NULLIF(current_setting('app.tenant_id'::text, true), ''::text)::uuid"
    assert_statements(
        step.revert({"default": before}),
        f'ALTER TABLE ONLY "public"."sales" ALTER COLUMN "tenant_id" SET DEFAULT {before}',
    )
    assert step.ends == ("context_default:public.sales:tenant_id",)


SECURITY = RowSecurity(
    phase=ISOLATE, table=SALES, column="tenant_id", type="uuid", setting="app.tenant_id", sight=Sight.MIXED, role="app",
    operators=("ops",),
)  # fmt: skip
MINE = "\"tenant_id\" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid"


def policies(seen: str) -> list[str]:
    created = 'CREATE POLICY "tenantry_application_{}" ON "public"."sales" AS PERMISSIVE FOR {} TO "app" '
    own = f'{MINE} AND "tenant_id" <> {KEY}'
    return [
        created.format("select", "SELECT") + f"USING ({seen})",
        created.format("insert", "INSERT") + f"WITH CHECK ({own})",
        created.format("update", "UPDATE") + f"USING ({own}) WITH CHECK ({own})",
        created.format("delete", "DELETE") + f"USING ({own})",
    ]


def test_its_policies() -> None:
    """While rows move from NULL to its key all see both; then only its own; on the way back both again. Nobody writes
    them, not even a session that names it as its tenant."""
    moving = DirectPolicies(phase=Phase.DISTRIBUTE, table=SALES, security=SECURITY, sentinel=ZERO)
    both, last = (
        policies(f'"tenant_id" IS NULL OR "tenant_id" = {KEY} OR {MINE}'),
        policies(f'"tenant_id" = {KEY} OR {MINE}'),
    )
    assert texts(moving.apply())[len(EVERY) : len(EVERY) + 4] == both
    step = SentinelPolicies(phase=Phase.DISTRIBUTE, table=SALES, security=SECURITY, sentinel=ZERO, nulls=False)
    assert texts(step.apply())[len(EVERY) : len(EVERY) + 4] == last
    assert texts(step.revert({})) == texts(moving.apply())
    assert step.ends == ("direct_policies:public.sales",)
    owned = DirectPolicies(
        phase=Phase.DISTRIBUTE, table=SALES, security=replace(SECURITY, sight=Sight.OWN), sentinel=ZERO
    )  # fmt: skip
    assert f'USING ({MINE} AND "tenant_id" <> {KEY})' in texts(owned.apply())[len(EVERY)]


def test_the_unique_index_of_rows_without_a_tenant() -> None:
    index = TenantIndex(
        phase=Phase.ENFORCE, table=SALES, index=Name("public", "tenantry_sales__code_shared"), column="code",
        unique=True, only_shared="tenant_id",
    )  # fmt: skip
    step = DropSharedUnique(phase=Phase.DISTRIBUTE, table=SALES, index=index)
    assert_statements(step.apply(), 'DROP INDEX CONCURRENTLY IF EXISTS "public"."tenantry_sales__code_shared"')
    assert_statements(
        step.revert({}),
        'DROP INDEX CONCURRENTLY IF EXISTS "public"."tenantry_sales__code_shared"',
        'CREATE UNIQUE INDEX CONCURRENTLY "tenantry_sales__code_shared" ON "public"."sales" USING btree ("code")'
        ' WHERE "tenant_id" IS NULL',
    )
    assert step.ends == (index.key,)
