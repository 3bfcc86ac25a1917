"""The policies of a table, by who may see what, and what takes them away."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tenantry.model.name import Name
from tenantry.model.plan import Phase
from tenantry.steps.derivation import BySlug
from tenantry.steps.row_security import EVERY, DirectPolicies, DropLegacyPolicies, MembershipLink, RowSecurity, Sight
from unit.steps.examples import CONTRACT, EQUAL, ISOLATE, PRODUCTS, SALES, TENANT, TENANTS, assert_statements, texts


def row_security(**parts: Any) -> RowSecurity:
    """A tenant sees its own rows of sales; `parts` are what differs from that."""
    step = RowSecurity(
        phase=ISOLATE, table=SALES, column="tenant_id", type="uuid", setting="app.tenant_id", sight=Sight.OWN, role="app",
        operators=(),
    )  # fmt: skip
    return replace(step, **parts)


def test_own_rows() -> None:
    """A tenant has its own rows, in every way; operators have all."""
    step = row_security(operators=("ops",))
    assert_statements(
        step.apply(),
        'DROP POLICY IF EXISTS "tenantry_application" ON "public"."sales"',
        """CREATE POLICY "tenantry_application" ON "public"."sales" AS PERMISSIVE FOR ALL TO "app" USING ("tenant_id" = (SELECT NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid)) WITH CHECK ("tenant_id" = (SELECT NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid))""",
        'DROP POLICY IF EXISTS "tenantry_floor" ON "public"."sales"',
        """CREATE POLICY "tenantry_floor" ON "public"."sales" AS RESTRICTIVE FOR ALL TO PUBLIC USING ("tenant_id" = (SELECT NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid) OR (SELECT pg_catalog.pg_has_role(pg_catalog.to_regrole('"ops"'), 'usage'))) WITH CHECK ("tenant_id" = (SELECT NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid) OR (SELECT pg_catalog.pg_has_role(pg_catalog.to_regrole('"ops"'), 'usage')))""",
        'ALTER TABLE "public"."sales" ENABLE ROW LEVEL SECURITY',
        'ALTER TABLE "public"."sales" FORCE ROW LEVEL SECURITY',
    )
    assert_statements(
        step.revert({}),
        'ALTER TABLE "public"."sales" NO FORCE ROW LEVEL SECURITY',
        'ALTER TABLE "public"."sales" DISABLE ROW LEVEL SECURITY',
        'DROP POLICY IF EXISTS "tenantry_application" ON "public"."sales"',
        'DROP POLICY IF EXISTS "tenantry_application_select" ON "public"."sales"',
        'DROP POLICY IF EXISTS "tenantry_application_insert" ON "public"."sales"',
        'DROP POLICY IF EXISTS "tenantry_application_update" ON "public"."sales"',
        'DROP POLICY IF EXISTS "tenantry_application_delete" ON "public"."sales"',
        'DROP POLICY IF EXISTS "tenantry_floor" ON "public"."sales"',
        'DROP POLICY IF EXISTS "tenantry_floor_select" ON "public"."sales"',
        'DROP POLICY IF EXISTS "tenantry_floor_insert" ON "public"."sales"',
        'DROP POLICY IF EXISTS "tenantry_floor_update" ON "public"."sales"',
        'DROP POLICY IF EXISTS "tenantry_floor_delete" ON "public"."sales"',
        'DROP POLICY IF EXISTS "tenantry_floor_member" ON "public"."sales"',
        'DROP POLICY IF EXISTS "tenantry_operator" ON "public"."sales"',
        'DROP POLICY IF EXISTS "tenantry_legacy" ON "public"."sales"',
        'DROP POLICY IF EXISTS "tenantry_quarantine" ON "public"."sales"',
    )


def test_mixed_rows() -> None:
    """Rows without a tenant are read by all, and written by none of them."""
    step = row_security(sight=Sight.MIXED)
    assert_statements(
        step.apply(),
        'DROP POLICY IF EXISTS "tenantry_application_select" ON "public"."sales"',
        """CREATE POLICY "tenantry_application_select" ON "public"."sales" AS PERMISSIVE FOR SELECT TO "app" USING ("tenant_id" IS NULL OR "tenant_id" = (SELECT NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid))""",
        'DROP POLICY IF EXISTS "tenantry_application_insert" ON "public"."sales"',
        """CREATE POLICY "tenantry_application_insert" ON "public"."sales" AS PERMISSIVE FOR INSERT TO "app" WITH CHECK ("tenant_id" = (SELECT NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid))""",
        'DROP POLICY IF EXISTS "tenantry_application_update" ON "public"."sales"',
        """CREATE POLICY "tenantry_application_update" ON "public"."sales" AS PERMISSIVE FOR UPDATE TO "app" USING ("tenant_id" = (SELECT NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid)) WITH CHECK ("tenant_id" = (SELECT NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid))""",
        'DROP POLICY IF EXISTS "tenantry_application_delete" ON "public"."sales"',
        """CREATE POLICY "tenantry_application_delete" ON "public"."sales" AS PERMISSIVE FOR DELETE TO "app" USING ("tenant_id" = (SELECT NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid))""",
        'DROP POLICY IF EXISTS "tenantry_floor_select" ON "public"."sales"',
        """CREATE POLICY "tenantry_floor_select" ON "public"."sales" AS RESTRICTIVE FOR SELECT TO PUBLIC USING ("tenant_id" IS NULL OR "tenant_id" = (SELECT NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid))""",
        'DROP POLICY IF EXISTS "tenantry_floor_insert" ON "public"."sales"',
        """CREATE POLICY "tenantry_floor_insert" ON "public"."sales" AS RESTRICTIVE FOR INSERT TO PUBLIC WITH CHECK ("tenant_id" = (SELECT NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid))""",
        'DROP POLICY IF EXISTS "tenantry_floor_update" ON "public"."sales"',
        """CREATE POLICY "tenantry_floor_update" ON "public"."sales" AS RESTRICTIVE FOR UPDATE TO PUBLIC USING ("tenant_id" = (SELECT NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid)) WITH CHECK ("tenant_id" = (SELECT NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid))""",
        'DROP POLICY IF EXISTS "tenantry_floor_delete" ON "public"."sales"',
        """CREATE POLICY "tenantry_floor_delete" ON "public"."sales" AS RESTRICTIVE FOR DELETE TO PUBLIC USING ("tenant_id" = (SELECT NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid))""",
        'ALTER TABLE "public"."sales" ENABLE ROW LEVEL SECURITY',
        'ALTER TABLE "public"."sales" FORCE ROW LEVEL SECURITY',
    )


def test_the_tenant_table() -> None:
    """A tenant reads its own row, and writes none."""
    step = row_security(table=TENANTS, column="id", sight=Sight.READ)
    assert_statements(
        step.apply(),
        'DROP POLICY IF EXISTS "tenantry_application" ON "public"."tenants"',
        """CREATE POLICY "tenantry_application" ON "public"."tenants" AS PERMISSIVE FOR SELECT TO "app" USING ("id" = (SELECT NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid))""",
        'DROP POLICY IF EXISTS "tenantry_floor" ON "public"."tenants"',
        """CREATE POLICY "tenantry_floor" ON "public"."tenants" AS RESTRICTIVE FOR ALL TO PUBLIC USING ("id" = (SELECT NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid)) WITH CHECK ("id" = (SELECT NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid))""",
        'ALTER TABLE "public"."tenants" ENABLE ROW LEVEL SECURITY',
        'ALTER TABLE "public"."tenants" FORCE ROW LEVEL SECURITY',
    )


def test_legacy_and_quarantine() -> None:
    """Until contract the old application sees all; what is in quarantine the application does not."""
    step = row_security(legacy=("old",), quarantine=BySlug(tenant=TENANT, slug="lost"))
    assert_statements(
        step.apply(),
        'DROP POLICY IF EXISTS "tenantry_application" ON "public"."sales"',
        """CREATE POLICY "tenantry_application" ON "public"."sales" AS PERMISSIVE FOR ALL TO "app" USING ("tenant_id" = (SELECT NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid)) WITH CHECK ("tenant_id" = (SELECT NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid))""",
        'DROP POLICY IF EXISTS "tenantry_floor" ON "public"."sales"',
        """CREATE POLICY "tenantry_floor" ON "public"."sales" AS RESTRICTIVE FOR ALL TO PUBLIC USING ("tenant_id" = (SELECT NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid) OR (SELECT pg_catalog.pg_has_role(pg_catalog.to_regrole('"old"'), 'usage'))) WITH CHECK ("tenant_id" = (SELECT NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid) OR (SELECT pg_catalog.pg_has_role(pg_catalog.to_regrole('"old"'), 'usage')))""",
        'DROP POLICY IF EXISTS "tenantry_legacy" ON "public"."sales"',
        'CREATE POLICY "tenantry_legacy" ON "public"."sales" AS PERMISSIVE FOR ALL TO "old" USING (true) WITH CHECK (true)',
        'DROP POLICY IF EXISTS "tenantry_quarantine" ON "public"."sales"',
        """DO $tenantry$BEGIN EXECUTE pg_catalog.format('CREATE POLICY "tenantry_quarantine" ON "public"."sales" AS RESTRICTIVE FOR ALL TO "app" USING ("tenant_id" IS DISTINCT FROM %1$L) WITH CHECK ("tenant_id" IS DISTINCT FROM %1$L)', (SELECT tenant."id" FROM "public"."tenants" AS tenant WHERE tenant."slug"::text = 'lost')); END$tenantry$""",
        'ALTER TABLE "public"."sales" ENABLE ROW LEVEL SECURITY',
        'ALTER TABLE "public"."sales" FORCE ROW LEVEL SECURITY',
    )


def test_a_policy_with_a_quote_in_its_setting() -> None:
    """Whatever a setting or a role is called, it stays one literal."""
    step = row_security(
        table=Name("public", 'a"b'), column='c"d', type="text", setting="app.it's", sight=Sight.OWN, role='r"s'
    )
    assert_statements(
        step.apply(),
        'DROP POLICY IF EXISTS "tenantry_application" ON "public"."a""b"',
        """CREATE POLICY "tenantry_application" ON "public"."a""b" AS PERMISSIVE FOR ALL TO "r""s" USING ("c""d" = (SELECT NULLIF(pg_catalog.current_setting('app.it''s', true), '')::text)) WITH CHECK ("c""d" = (SELECT NULLIF(pg_catalog.current_setting('app.it''s', true), '')::text))""",
        'DROP POLICY IF EXISTS "tenantry_floor" ON "public"."a""b"',
        """CREATE POLICY "tenantry_floor" ON "public"."a""b" AS RESTRICTIVE FOR ALL TO PUBLIC USING ("c""d" = (SELECT NULLIF(pg_catalog.current_setting('app.it''s', true), '')::text)) WITH CHECK ("c""d" = (SELECT NULLIF(pg_catalog.current_setting('app.it''s', true), '')::text))""",
        'ALTER TABLE "public"."a""b" ENABLE ROW LEVEL SECURITY',
        'ALTER TABLE "public"."a""b" FORCE ROW LEVEL SECURITY',
    )


def test_legacy_policies_end() -> None:
    """Contract takes away what the old application saw."""
    step = DropLegacyPolicies(
        phase=CONTRACT,
        table=SALES,
        security=row_security(legacy=("old",)),
    )
    assert_statements(
        step.apply(),
        'DROP POLICY IF EXISTS "tenantry_application" ON "public"."sales"',
        """CREATE POLICY "tenantry_application" ON "public"."sales" AS PERMISSIVE FOR ALL TO "app" USING ("tenant_id" = (SELECT NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid)) WITH CHECK ("tenant_id" = (SELECT NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid))""",
        'DROP POLICY IF EXISTS "tenantry_floor" ON "public"."sales"',
        """CREATE POLICY "tenantry_floor" ON "public"."sales" AS RESTRICTIVE FOR ALL TO PUBLIC USING ("tenant_id" = (SELECT NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid) OR (SELECT pg_catalog.pg_has_role(pg_catalog.to_regrole('"old"'), 'usage'))) WITH CHECK ("tenant_id" = (SELECT NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid) OR (SELECT pg_catalog.pg_has_role(pg_catalog.to_regrole('"old"'), 'usage')))""",
        'DROP POLICY IF EXISTS "tenantry_legacy" ON "public"."sales"',
        'CREATE POLICY "tenantry_legacy" ON "public"."sales" AS PERMISSIVE FOR ALL TO "old" USING (true) WITH CHECK (true)',
        'ALTER TABLE "public"."sales" ENABLE ROW LEVEL SECURITY',
        'ALTER TABLE "public"."sales" FORCE ROW LEVEL SECURITY',
        'DROP POLICY IF EXISTS "tenantry_application_select" ON "public"."sales"',
        'DROP POLICY IF EXISTS "tenantry_application_insert" ON "public"."sales"',
        'DROP POLICY IF EXISTS "tenantry_application_update" ON "public"."sales"',
        'DROP POLICY IF EXISTS "tenantry_application_delete" ON "public"."sales"',
        'DROP POLICY IF EXISTS "tenantry_floor_select" ON "public"."sales"',
        'DROP POLICY IF EXISTS "tenantry_floor_insert" ON "public"."sales"',
        'DROP POLICY IF EXISTS "tenantry_floor_update" ON "public"."sales"',
        'DROP POLICY IF EXISTS "tenantry_floor_delete" ON "public"."sales"',
        'DROP POLICY IF EXISTS "tenantry_floor_member" ON "public"."sales"',
        'DROP POLICY IF EXISTS "tenantry_operator" ON "public"."sales"',
        'DROP POLICY IF EXISTS "tenantry_quarantine" ON "public"."sales"',
    )
    assert_statements(
        step.revert({}),
    )


def test_rows_of_members() -> None:
    """The link table stands in policies for the application alone, and in a RESTRICTIVE one, which no other widens."""
    link = MembershipLink(
        table=Name("public", "links"), columns=("product_id",), own_columns=("id",), operators=EQUAL, tenant="tenant_id"
    )
    step = row_security(table=PRODUCTS, column="id", sight=Sight.WRITING_MEMBER, operators=("ops",), link=link)
    member = """EXISTS (SELECT FROM "public"."links" AS member WHERE "public"."products"."id" OPERATOR("pg_catalog".=) "member"."product_id" AND member."tenant_id" = (SELECT NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid)) OR (SELECT pg_catalog.pg_has_role(pg_catalog.to_regrole('"ops"'), 'usage'))"""
    let_in = """false OR (SELECT pg_catalog.pg_has_role(pg_catalog.to_regrole('"app"'), 'usage')) OR (SELECT pg_catalog.pg_has_role(pg_catalog.to_regrole('"ops"'), 'usage'))"""
    assert_statements(
        step.apply(),
        'DROP POLICY IF EXISTS "tenantry_application_select" ON "public"."products"',
        'CREATE POLICY "tenantry_application_select" ON "public"."products" AS PERMISSIVE FOR SELECT TO "app" USING (true)',
        'DROP POLICY IF EXISTS "tenantry_application_update" ON "public"."products"',
        'CREATE POLICY "tenantry_application_update" ON "public"."products" AS PERMISSIVE FOR UPDATE TO "app" USING (true) WITH CHECK (true)',
        'DROP POLICY IF EXISTS "tenantry_floor" ON "public"."products"',
        f'CREATE POLICY "tenantry_floor" ON "public"."products" AS RESTRICTIVE FOR ALL TO PUBLIC USING ({let_in}) WITH CHECK ({let_in})',
        'DROP POLICY IF EXISTS "tenantry_floor_member" ON "public"."products"',
        f'CREATE POLICY "tenantry_floor_member" ON "public"."products" AS RESTRICTIVE FOR ALL TO "app" USING ({member}) WITH CHECK ({member})',
        'ALTER TABLE "public"."products" ENABLE ROW LEVEL SECURITY',
        'ALTER TABLE "public"."products" FORCE ROW LEVEL SECURITY',
    )
    assert [str(lock.table) for lock in step.locks] == ["public.products", "public.links"]


def test_direct_policies() -> None:
    """Without a subquery and without the floor; the quarantine tenant is kept out by the application's own policy, whose
    text is put together by the server, which looks its key up."""
    security = row_security(
        column="100% tenant", operators=("ops",), filtered=("ops",), quarantine=BySlug(tenant=TENANT, slug="unknown")
    )
    step = DirectPolicies(phase=Phase.DISTRIBUTE, table=SALES, security=security, legacy=True)
    found = texts(step.apply())
    assert found[: len(EVERY)] == [f'DROP POLICY IF EXISTS "{name}" ON "public"."sales"' for name in EVERY]
    value = "NULLIF(pg_catalog.current_setting(''app.tenant_id'', true), '''')::uuid"
    own = f'("100%% tenant" = {value}) AND "100%% tenant" IS DISTINCT FROM %1$L'
    assert_statements(
        step.apply()[len(EVERY) :],
        'CREATE POLICY "tenantry_operator" ON "public"."sales" AS PERMISSIVE FOR ALL TO "ops" USING (true) WITH CHECK (true)',
        f"""DO $tenantry$BEGIN IF (SELECT …'unknown'…) IS NULL THEN RAISE EXCEPTION …; END IF; EXECUTE pg_catalog.format('CREATE POLICY "tenantry_application" ON "public"."sales" AS PERMISSIVE FOR ALL TO "app" USING ({own}) WITH CHECK ({own})', (SELECT …'unknown'…)); END$tenantry$""",
        'ALTER TABLE "public"."sales" ENABLE ROW LEVEL SECURITY',
        'ALTER TABLE "public"."sales" FORCE ROW LEVEL SECURITY',
    )
    assert step.ends == ("row_security:public.sales", "legacy_sight:public.sales")
    assert step.policies == ("tenantry_operator", "tenantry_application")
    assert step.revert({}) == ()


def test_direct_policies_without_a_quarantine() -> None:
    security = row_security(table=TENANTS, column="id", sight=Sight.READ, operators=("ops",))
    step = DirectPolicies(phase=Phase.DISTRIBUTE, table=TENANTS, security=security)
    assert texts(step.apply())[len(EVERY) :] == [
        'CREATE POLICY "tenantry_application" ON "public"."tenants" AS PERMISSIVE FOR SELECT TO "app" USING ("id" ='
        " NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid)",
        'ALTER TABLE "public"."tenants" ENABLE ROW LEVEL SECURITY',
        'ALTER TABLE "public"."tenants" FORCE ROW LEVEL SECURITY',
    ]
