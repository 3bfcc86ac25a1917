-- public.estoque_escolas
DROP TRIGGER IF EXISTS "~tenantry_defer" ON "public"."estoque_escolas";
DELETE FROM "tenantry"."names" AS known WHERE known.own = pg_catalog.to_regclass('"public"."estoque_escolas"') AND known.trigger = '~tenantry_defer';
DROP FUNCTION IF EXISTS "tenantry"."defer_public__estoque_escolas"();
-- public.estoque_escolas_historico
DROP TRIGGER IF EXISTS "~tenantry_defer" ON "public"."estoque_escolas_historico";
DELETE FROM "tenantry"."names" AS known WHERE known.own = pg_catalog.to_regclass('"public"."estoque_escolas_historico"') AND known.trigger = '~tenantry_defer';
DROP FUNCTION IF EXISTS "tenantry"."defer_public__estoque_escolas_historico"();
-- public.estoque_movimentacoes
DROP TRIGGER IF EXISTS "~tenantry_defer" ON "public"."estoque_movimentacoes";
DELETE FROM "tenantry"."names" AS known WHERE known.own = pg_catalog.to_regclass('"public"."estoque_movimentacoes"') AND known.trigger = '~tenantry_defer';
DROP FUNCTION IF EXISTS "tenantry"."defer_public__estoque_movimentacoes"();
-- public.tenants
DROP TRIGGER IF EXISTS "~tenantry_defer" ON "public"."tenants";
DELETE FROM "tenantry"."names" AS known WHERE known.own = pg_catalog.to_regclass('"public"."tenants"') AND known.trigger = '~tenantry_defer';
DROP FUNCTION IF EXISTS "tenantry"."defer_public__tenants"();
-- public.estoque_escolas
DROP TRIGGER "estoque_escolas_ultima_atualizacao" ON "public"."estoque_escolas";
-- public.tenants
INSERT INTO "public"."tenants" ("name", "slug", "id") OVERRIDING SYSTEM VALUE SELECT 'rows of all tenants', 'tenantry-everybody', '00000000-0000-0000-0000-000000000000'::uuid WHERE (SELECT pg_catalog.set_config('search_path', 'pg_catalog, public, pg_temp', true)) IS NOT NULL;
DO $tenantry$BEGIN IF NOT EXISTS (SELECT tenant."id"::pg_catalog.text FROM "public"."tenants" AS tenant WHERE tenant."id" = '00000000-0000-0000-0000-000000000000'::uuid AND tenant."slug"::pg_catalog.text OPERATOR(pg_catalog.=) 'tenantry-everybody') THEN RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'a trigger of public.tenants changes the slug of the new row'; END IF; END$tenantry$;
-- public.escolas
DROP POLICY IF EXISTS "tenantry_application" ON "public"."escolas";
DROP POLICY IF EXISTS "tenantry_application_select" ON "public"."escolas";
DROP POLICY IF EXISTS "tenantry_application_insert" ON "public"."escolas";
DROP POLICY IF EXISTS "tenantry_application_update" ON "public"."escolas";
DROP POLICY IF EXISTS "tenantry_application_delete" ON "public"."escolas";
DROP POLICY IF EXISTS "tenantry_floor" ON "public"."escolas";
DROP POLICY IF EXISTS "tenantry_floor_select" ON "public"."escolas";
DROP POLICY IF EXISTS "tenantry_floor_insert" ON "public"."escolas";
DROP POLICY IF EXISTS "tenantry_floor_update" ON "public"."escolas";
DROP POLICY IF EXISTS "tenantry_floor_delete" ON "public"."escolas";
DROP POLICY IF EXISTS "tenantry_floor_member" ON "public"."escolas";
DROP POLICY IF EXISTS "tenantry_operator" ON "public"."escolas";
DROP POLICY IF EXISTS "tenantry_legacy" ON "public"."escolas";
DROP POLICY IF EXISTS "tenantry_quarantine" ON "public"."escolas";
CREATE POLICY "tenantry_application" ON "public"."escolas" AS PERMISSIVE FOR ALL TO "tenantry_app" USING ("tenant_id" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid AND "tenant_id" <> '00000000-0000-0000-0000-000000000000'::uuid) WITH CHECK ("tenant_id" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid AND "tenant_id" <> '00000000-0000-0000-0000-000000000000'::uuid);
ALTER TABLE "public"."escolas" ENABLE ROW LEVEL SECURITY;
ALTER TABLE "public"."escolas" FORCE ROW LEVEL SECURITY;
-- public.estoque_escolas
DROP POLICY IF EXISTS "tenantry_application" ON "public"."estoque_escolas";
DROP POLICY IF EXISTS "tenantry_application_select" ON "public"."estoque_escolas";
DROP POLICY IF EXISTS "tenantry_application_insert" ON "public"."estoque_escolas";
DROP POLICY IF EXISTS "tenantry_application_update" ON "public"."estoque_escolas";
DROP POLICY IF EXISTS "tenantry_application_delete" ON "public"."estoque_escolas";
DROP POLICY IF EXISTS "tenantry_floor" ON "public"."estoque_escolas";
DROP POLICY IF EXISTS "tenantry_floor_select" ON "public"."estoque_escolas";
DROP POLICY IF EXISTS "tenantry_floor_insert" ON "public"."estoque_escolas";
DROP POLICY IF EXISTS "tenantry_floor_update" ON "public"."estoque_escolas";
DROP POLICY IF EXISTS "tenantry_floor_delete" ON "public"."estoque_escolas";
DROP POLICY IF EXISTS "tenantry_floor_member" ON "public"."estoque_escolas";
DROP POLICY IF EXISTS "tenantry_operator" ON "public"."estoque_escolas";
DROP POLICY IF EXISTS "tenantry_legacy" ON "public"."estoque_escolas";
DROP POLICY IF EXISTS "tenantry_quarantine" ON "public"."estoque_escolas";
CREATE POLICY "tenantry_application" ON "public"."estoque_escolas" AS PERMISSIVE FOR ALL TO "tenantry_app" USING ("tenant_id" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid AND "tenant_id" <> '00000000-0000-0000-0000-000000000000'::uuid) WITH CHECK ("tenant_id" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid AND "tenant_id" <> '00000000-0000-0000-0000-000000000000'::uuid);
ALTER TABLE "public"."estoque_escolas" ENABLE ROW LEVEL SECURITY;
ALTER TABLE "public"."estoque_escolas" FORCE ROW LEVEL SECURITY;
-- public.estoque_escolas_historico
DROP POLICY IF EXISTS "tenantry_application" ON "public"."estoque_escolas_historico";
DROP POLICY IF EXISTS "tenantry_application_select" ON "public"."estoque_escolas_historico";
DROP POLICY IF EXISTS "tenantry_application_insert" ON "public"."estoque_escolas_historico";
DROP POLICY IF EXISTS "tenantry_application_update" ON "public"."estoque_escolas_historico";
DROP POLICY IF EXISTS "tenantry_application_delete" ON "public"."estoque_escolas_historico";
DROP POLICY IF EXISTS "tenantry_floor" ON "public"."estoque_escolas_historico";
DROP POLICY IF EXISTS "tenantry_floor_select" ON "public"."estoque_escolas_historico";
DROP POLICY IF EXISTS "tenantry_floor_insert" ON "public"."estoque_escolas_historico";
DROP POLICY IF EXISTS "tenantry_floor_update" ON "public"."estoque_escolas_historico";
DROP POLICY IF EXISTS "tenantry_floor_delete" ON "public"."estoque_escolas_historico";
DROP POLICY IF EXISTS "tenantry_floor_member" ON "public"."estoque_escolas_historico";
DROP POLICY IF EXISTS "tenantry_operator" ON "public"."estoque_escolas_historico";
DROP POLICY IF EXISTS "tenantry_legacy" ON "public"."estoque_escolas_historico";
DROP POLICY IF EXISTS "tenantry_quarantine" ON "public"."estoque_escolas_historico";
CREATE POLICY "tenantry_application" ON "public"."estoque_escolas_historico" AS PERMISSIVE FOR ALL TO "tenantry_app" USING ("tenant_id" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid AND "tenant_id" <> '00000000-0000-0000-0000-000000000000'::uuid) WITH CHECK ("tenant_id" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid AND "tenant_id" <> '00000000-0000-0000-0000-000000000000'::uuid);
ALTER TABLE "public"."estoque_escolas_historico" ENABLE ROW LEVEL SECURITY;
ALTER TABLE "public"."estoque_escolas_historico" FORCE ROW LEVEL SECURITY;
-- public.estoque_lotes
DROP POLICY IF EXISTS "tenantry_application" ON "public"."estoque_lotes";
DROP POLICY IF EXISTS "tenantry_application_select" ON "public"."estoque_lotes";
DROP POLICY IF EXISTS "tenantry_application_insert" ON "public"."estoque_lotes";
DROP POLICY IF EXISTS "tenantry_application_update" ON "public"."estoque_lotes";
DROP POLICY IF EXISTS "tenantry_application_delete" ON "public"."estoque_lotes";
DROP POLICY IF EXISTS "tenantry_floor" ON "public"."estoque_lotes";
DROP POLICY IF EXISTS "tenantry_floor_select" ON "public"."estoque_lotes";
DROP POLICY IF EXISTS "tenantry_floor_insert" ON "public"."estoque_lotes";
DROP POLICY IF EXISTS "tenantry_floor_update" ON "public"."estoque_lotes";
DROP POLICY IF EXISTS "tenantry_floor_delete" ON "public"."estoque_lotes";
DROP POLICY IF EXISTS "tenantry_floor_member" ON "public"."estoque_lotes";
DROP POLICY IF EXISTS "tenantry_operator" ON "public"."estoque_lotes";
DROP POLICY IF EXISTS "tenantry_legacy" ON "public"."estoque_lotes";
DROP POLICY IF EXISTS "tenantry_quarantine" ON "public"."estoque_lotes";
CREATE POLICY "tenantry_application" ON "public"."estoque_lotes" AS PERMISSIVE FOR ALL TO "tenantry_app" USING ("tenant_id" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid AND "tenant_id" <> '00000000-0000-0000-0000-000000000000'::uuid) WITH CHECK ("tenant_id" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid AND "tenant_id" <> '00000000-0000-0000-0000-000000000000'::uuid);
ALTER TABLE "public"."estoque_lotes" ENABLE ROW LEVEL SECURITY;
ALTER TABLE "public"."estoque_lotes" FORCE ROW LEVEL SECURITY;
-- public.estoque_movimentacoes
DROP POLICY IF EXISTS "tenantry_application" ON "public"."estoque_movimentacoes";
DROP POLICY IF EXISTS "tenantry_application_select" ON "public"."estoque_movimentacoes";
DROP POLICY IF EXISTS "tenantry_application_insert" ON "public"."estoque_movimentacoes";
DROP POLICY IF EXISTS "tenantry_application_update" ON "public"."estoque_movimentacoes";
DROP POLICY IF EXISTS "tenantry_application_delete" ON "public"."estoque_movimentacoes";
DROP POLICY IF EXISTS "tenantry_floor" ON "public"."estoque_movimentacoes";
DROP POLICY IF EXISTS "tenantry_floor_select" ON "public"."estoque_movimentacoes";
DROP POLICY IF EXISTS "tenantry_floor_insert" ON "public"."estoque_movimentacoes";
DROP POLICY IF EXISTS "tenantry_floor_update" ON "public"."estoque_movimentacoes";
DROP POLICY IF EXISTS "tenantry_floor_delete" ON "public"."estoque_movimentacoes";
DROP POLICY IF EXISTS "tenantry_floor_member" ON "public"."estoque_movimentacoes";
DROP POLICY IF EXISTS "tenantry_operator" ON "public"."estoque_movimentacoes";
DROP POLICY IF EXISTS "tenantry_legacy" ON "public"."estoque_movimentacoes";
DROP POLICY IF EXISTS "tenantry_quarantine" ON "public"."estoque_movimentacoes";
CREATE POLICY "tenantry_application" ON "public"."estoque_movimentacoes" AS PERMISSIVE FOR ALL TO "tenantry_app" USING ("tenant_id" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid AND "tenant_id" <> '00000000-0000-0000-0000-000000000000'::uuid) WITH CHECK ("tenant_id" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid AND "tenant_id" <> '00000000-0000-0000-0000-000000000000'::uuid);
ALTER TABLE "public"."estoque_movimentacoes" ENABLE ROW LEVEL SECURITY;
ALTER TABLE "public"."estoque_movimentacoes" FORCE ROW LEVEL SECURITY;
-- public.estoque_alertas
DROP POLICY IF EXISTS "tenantry_application" ON "public"."estoque_alertas";
DROP POLICY IF EXISTS "tenantry_application_select" ON "public"."estoque_alertas";
DROP POLICY IF EXISTS "tenantry_application_insert" ON "public"."estoque_alertas";
DROP POLICY IF EXISTS "tenantry_application_update" ON "public"."estoque_alertas";
DROP POLICY IF EXISTS "tenantry_application_delete" ON "public"."estoque_alertas";
DROP POLICY IF EXISTS "tenantry_floor" ON "public"."estoque_alertas";
DROP POLICY IF EXISTS "tenantry_floor_select" ON "public"."estoque_alertas";
DROP POLICY IF EXISTS "tenantry_floor_insert" ON "public"."estoque_alertas";
DROP POLICY IF EXISTS "tenantry_floor_update" ON "public"."estoque_alertas";
DROP POLICY IF EXISTS "tenantry_floor_delete" ON "public"."estoque_alertas";
DROP POLICY IF EXISTS "tenantry_floor_member" ON "public"."estoque_alertas";
DROP POLICY IF EXISTS "tenantry_operator" ON "public"."estoque_alertas";
DROP POLICY IF EXISTS "tenantry_legacy" ON "public"."estoque_alertas";
DROP POLICY IF EXISTS "tenantry_quarantine" ON "public"."estoque_alertas";
CREATE POLICY "tenantry_application_select" ON "public"."estoque_alertas" AS PERMISSIVE FOR SELECT TO "tenantry_app" USING ("tenant_id" IS NULL OR "tenant_id" = '00000000-0000-0000-0000-000000000000'::uuid OR "tenant_id" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid);
CREATE POLICY "tenantry_application_insert" ON "public"."estoque_alertas" AS PERMISSIVE FOR INSERT TO "tenantry_app" WITH CHECK ("tenant_id" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid AND "tenant_id" <> '00000000-0000-0000-0000-000000000000'::uuid);
CREATE POLICY "tenantry_application_update" ON "public"."estoque_alertas" AS PERMISSIVE FOR UPDATE TO "tenantry_app" USING ("tenant_id" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid AND "tenant_id" <> '00000000-0000-0000-0000-000000000000'::uuid) WITH CHECK ("tenant_id" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid AND "tenant_id" <> '00000000-0000-0000-0000-000000000000'::uuid);
CREATE POLICY "tenantry_application_delete" ON "public"."estoque_alertas" AS PERMISSIVE FOR DELETE TO "tenantry_app" USING ("tenant_id" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid AND "tenant_id" <> '00000000-0000-0000-0000-000000000000'::uuid);
ALTER TABLE "public"."estoque_alertas" ENABLE ROW LEVEL SECURITY;
ALTER TABLE "public"."estoque_alertas" FORCE ROW LEVEL SECURITY;
-- public.usuarios
DROP POLICY IF EXISTS "tenantry_application" ON "public"."usuarios";
DROP POLICY IF EXISTS "tenantry_application_select" ON "public"."usuarios";
DROP POLICY IF EXISTS "tenantry_application_insert" ON "public"."usuarios";
DROP POLICY IF EXISTS "tenantry_application_update" ON "public"."usuarios";
DROP POLICY IF EXISTS "tenantry_application_delete" ON "public"."usuarios";
DROP POLICY IF EXISTS "tenantry_floor" ON "public"."usuarios";
DROP POLICY IF EXISTS "tenantry_floor_select" ON "public"."usuarios";
DROP POLICY IF EXISTS "tenantry_floor_insert" ON "public"."usuarios";
DROP POLICY IF EXISTS "tenantry_floor_update" ON "public"."usuarios";
DROP POLICY IF EXISTS "tenantry_floor_delete" ON "public"."usuarios";
DROP POLICY IF EXISTS "tenantry_floor_member" ON "public"."usuarios";
DROP POLICY IF EXISTS "tenantry_operator" ON "public"."usuarios";
DROP POLICY IF EXISTS "tenantry_legacy" ON "public"."usuarios";
DROP POLICY IF EXISTS "tenantry_quarantine" ON "public"."usuarios";
CREATE POLICY "tenantry_application" ON "public"."usuarios" AS PERMISSIVE FOR ALL TO "tenantry_app" USING ("tenant_id" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid AND "tenant_id" <> '00000000-0000-0000-0000-000000000000'::uuid) WITH CHECK ("tenant_id" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid AND "tenant_id" <> '00000000-0000-0000-0000-000000000000'::uuid);
ALTER TABLE "public"."usuarios" ENABLE ROW LEVEL SECURITY;
ALTER TABLE "public"."usuarios" FORCE ROW LEVEL SECURITY;
-- public.tenants
DROP POLICY IF EXISTS "tenantry_application" ON "public"."tenants";
DROP POLICY IF EXISTS "tenantry_application_select" ON "public"."tenants";
DROP POLICY IF EXISTS "tenantry_application_insert" ON "public"."tenants";
DROP POLICY IF EXISTS "tenantry_application_update" ON "public"."tenants";
DROP POLICY IF EXISTS "tenantry_application_delete" ON "public"."tenants";
DROP POLICY IF EXISTS "tenantry_floor" ON "public"."tenants";
DROP POLICY IF EXISTS "tenantry_floor_select" ON "public"."tenants";
DROP POLICY IF EXISTS "tenantry_floor_insert" ON "public"."tenants";
DROP POLICY IF EXISTS "tenantry_floor_update" ON "public"."tenants";
DROP POLICY IF EXISTS "tenantry_floor_delete" ON "public"."tenants";
DROP POLICY IF EXISTS "tenantry_floor_member" ON "public"."tenants";
DROP POLICY IF EXISTS "tenantry_operator" ON "public"."tenants";
DROP POLICY IF EXISTS "tenantry_legacy" ON "public"."tenants";
DROP POLICY IF EXISTS "tenantry_quarantine" ON "public"."tenants";
CREATE POLICY "tenantry_application" ON "public"."tenants" AS PERMISSIVE FOR SELECT TO "tenantry_app" USING ("id" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid AND "id" <> '00000000-0000-0000-0000-000000000000'::uuid);
ALTER TABLE "public"."tenants" ENABLE ROW LEVEL SECURITY;
ALTER TABLE "public"."tenants" FORCE ROW LEVEL SECURITY;
-- public.estoque_alertas
WITH batch AS MATERIALIZED (SELECT row.ctid AS address, derived.tenant FROM ONLY "public"."estoque_alertas" AS row CROSS JOIN LATERAL (SELECT '00000000-0000-0000-0000-000000000000'::uuid AS tenant OFFSET 0) AS derived WHERE derived.tenant IS NOT NULL AND row."tenant_id" IS NULL AND row.ctid >= $1::tid AND row.ctid < $2::tid AND ($3::int = 1 OR pg_catalog.get_byte(pg_catalog.tidsend(row.ctid), 5) % $3::int = $4::int) FOR UPDATE OF row SKIP LOCKED) UPDATE ONLY "public"."estoque_alertas" AS row SET "tenant_id" = batch.tenant FROM batch WHERE row.ctid = batch.address AND row.ctid >= $1::tid AND row.ctid < $2::tid AND (SELECT pg_catalog.set_config('search_path', 'pg_catalog, public, pg_temp', true)) IS NOT NULL;
-- public.estoque_alertas
ALTER TABLE ONLY "public"."estoque_alertas" ALTER COLUMN "tenant_id" SET DEFAULT COALESCE(NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid, '00000000-0000-0000-0000-000000000000'::uuid);
-- public.estoque_alertas
ALTER TABLE "public"."estoque_alertas" ADD CONSTRAINT "tenantry_tenant_not_null" CHECK ("tenant_id" IS NOT NULL) NOT VALID;
-- public.estoque_alertas
WITH batch AS MATERIALIZED (SELECT row.ctid AS address, derived.tenant FROM ONLY "public"."estoque_alertas" AS row CROSS JOIN LATERAL (SELECT '00000000-0000-0000-0000-000000000000'::uuid AS tenant OFFSET 0) AS derived WHERE derived.tenant IS NOT NULL AND row."tenant_id" IS NULL AND row.ctid >= $1::tid AND row.ctid < $2::tid AND ($3::int = 1 OR pg_catalog.get_byte(pg_catalog.tidsend(row.ctid), 5) % $3::int = $4::int) FOR UPDATE OF row SKIP LOCKED) UPDATE ONLY "public"."estoque_alertas" AS row SET "tenant_id" = batch.tenant FROM batch WHERE row.ctid = batch.address AND row.ctid >= $1::tid AND row.ctid < $2::tid AND (SELECT pg_catalog.set_config('search_path', 'pg_catalog, public, pg_temp', true)) IS NOT NULL;
-- public.estoque_alertas
ALTER TABLE "public"."estoque_alertas" VALIDATE CONSTRAINT "tenantry_tenant_not_null";
-- public.estoque_alertas
ALTER TABLE "public"."estoque_alertas" ALTER COLUMN "tenant_id" SET NOT NULL;
ALTER TABLE "public"."estoque_alertas" DROP CONSTRAINT IF EXISTS "tenantry_tenant_not_null";
-- public.estoque_alertas
DROP POLICY IF EXISTS "tenantry_application" ON "public"."estoque_alertas";
DROP POLICY IF EXISTS "tenantry_application_select" ON "public"."estoque_alertas";
DROP POLICY IF EXISTS "tenantry_application_insert" ON "public"."estoque_alertas";
DROP POLICY IF EXISTS "tenantry_application_update" ON "public"."estoque_alertas";
DROP POLICY IF EXISTS "tenantry_application_delete" ON "public"."estoque_alertas";
DROP POLICY IF EXISTS "tenantry_floor" ON "public"."estoque_alertas";
DROP POLICY IF EXISTS "tenantry_floor_select" ON "public"."estoque_alertas";
DROP POLICY IF EXISTS "tenantry_floor_insert" ON "public"."estoque_alertas";
DROP POLICY IF EXISTS "tenantry_floor_update" ON "public"."estoque_alertas";
DROP POLICY IF EXISTS "tenantry_floor_delete" ON "public"."estoque_alertas";
DROP POLICY IF EXISTS "tenantry_floor_member" ON "public"."estoque_alertas";
DROP POLICY IF EXISTS "tenantry_operator" ON "public"."estoque_alertas";
DROP POLICY IF EXISTS "tenantry_legacy" ON "public"."estoque_alertas";
DROP POLICY IF EXISTS "tenantry_quarantine" ON "public"."estoque_alertas";
CREATE POLICY "tenantry_application_select" ON "public"."estoque_alertas" AS PERMISSIVE FOR SELECT TO "tenantry_app" USING ("tenant_id" = '00000000-0000-0000-0000-000000000000'::uuid OR "tenant_id" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid);
CREATE POLICY "tenantry_application_insert" ON "public"."estoque_alertas" AS PERMISSIVE FOR INSERT TO "tenantry_app" WITH CHECK ("tenant_id" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid AND "tenant_id" <> '00000000-0000-0000-0000-000000000000'::uuid);
CREATE POLICY "tenantry_application_update" ON "public"."estoque_alertas" AS PERMISSIVE FOR UPDATE TO "tenantry_app" USING ("tenant_id" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid AND "tenant_id" <> '00000000-0000-0000-0000-000000000000'::uuid) WITH CHECK ("tenant_id" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid AND "tenant_id" <> '00000000-0000-0000-0000-000000000000'::uuid);
CREATE POLICY "tenantry_application_delete" ON "public"."estoque_alertas" AS PERMISSIVE FOR DELETE TO "tenantry_app" USING ("tenant_id" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid AND "tenant_id" <> '00000000-0000-0000-0000-000000000000'::uuid);
ALTER TABLE "public"."estoque_alertas" ENABLE ROW LEVEL SECURITY;
ALTER TABLE "public"."estoque_alertas" FORCE ROW LEVEL SECURITY;
-- public.estoque_escolas
DROP INDEX CONCURRENTLY IF EXISTS "public"."tenantry_estoque_escolas__estoque_escolas_escola_id_pr_6647df91";
CREATE UNIQUE INDEX CONCURRENTLY "tenantry_estoque_escolas__estoque_escolas_escola_id_pr_6647df91" ON "public"."estoque_escolas" USING btree ("tenant_id", escola_id, produto_id);
-- public.estoque_escolas
ALTER TABLE "public"."estoque_escolas" DROP CONSTRAINT IF EXISTS "tenantry_estoque_escolas_escola_id_fkey", ADD CONSTRAINT "tenantry_estoque_escolas_escola_id_fkey" FOREIGN KEY ("escola_id", "tenant_id") REFERENCES "public"."escolas" ("id", "tenant_id") ON UPDATE NO ACTION ON DELETE CASCADE NOT VALID;
-- public.estoque_escolas_historico
ALTER TABLE "public"."estoque_escolas_historico" DROP CONSTRAINT IF EXISTS "tenantry_estoque_escolas_historico_escola_id_fkey", ADD CONSTRAINT "tenantry_estoque_escolas_historico_escola_id_fkey" FOREIGN KEY ("escola_id", "tenant_id") REFERENCES "public"."escolas" ("id", "tenant_id") ON UPDATE NO ACTION ON DELETE CASCADE NOT VALID;
-- public.estoque_escolas_historico
ALTER TABLE "public"."estoque_escolas_historico" DROP CONSTRAINT IF EXISTS "tenantry_estoque_escolas_historico_estoque_escola_id_fkey", ADD CONSTRAINT "tenantry_estoque_escolas_historico_estoque_escola_id_fkey" FOREIGN KEY ("estoque_escola_id", "tenant_id") REFERENCES "public"."estoque_escolas" ("id", "tenant_id") ON UPDATE NO ACTION ON DELETE CASCADE NOT VALID;
-- public.estoque_movimentacoes
ALTER TABLE "public"."estoque_movimentacoes" DROP CONSTRAINT IF EXISTS "tenantry_estoque_movimentacoes_escola_id_fkey", ADD CONSTRAINT "tenantry_estoque_movimentacoes_escola_id_fkey" FOREIGN KEY ("escola_id", "tenant_id") REFERENCES "public"."escolas" ("id", "tenant_id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID;
-- public.usuarios
ALTER TABLE "public"."usuarios" DROP CONSTRAINT IF EXISTS "tenantry_usuarios_escola_id_fkey", ADD CONSTRAINT "tenantry_usuarios_escola_id_fkey" FOREIGN KEY ("escola_id", "tenant_id") REFERENCES "public"."escolas" ("id", "tenant_id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID;
-- public.estoque_escolas
ALTER TABLE "public"."estoque_escolas" DROP CONSTRAINT IF EXISTS "tenantry_estoque_escolas_usuario_ultima_atualizacao_fkey", ADD CONSTRAINT "tenantry_estoque_escolas_usuario_ultima_atualizacao_fkey" FOREIGN KEY ("usuario_ultima_atualizacao", "tenant_id") REFERENCES "public"."usuarios" ("id", "tenant_id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID;
-- public.estoque_escolas_historico
ALTER TABLE "public"."estoque_escolas_historico" DROP CONSTRAINT IF EXISTS "tenantry_estoque_escolas_historico_usuario_id_fkey", ADD CONSTRAINT "tenantry_estoque_escolas_historico_usuario_id_fkey" FOREIGN KEY ("usuario_id", "tenant_id") REFERENCES "public"."usuarios" ("id", "tenant_id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID;
-- public.estoque_movimentacoes
ALTER TABLE "public"."estoque_movimentacoes" DROP CONSTRAINT IF EXISTS "tenantry_estoque_movimentacoes_lote_id_fkey", ADD CONSTRAINT "tenantry_estoque_movimentacoes_lote_id_fkey" FOREIGN KEY ("lote_id", "tenant_id") REFERENCES "public"."estoque_lotes" ("id", "tenant_id") ON UPDATE NO ACTION ON DELETE CASCADE NOT VALID;
-- public.estoque_movimentacoes
ALTER TABLE "public"."estoque_movimentacoes" DROP CONSTRAINT IF EXISTS "tenantry_estoque_movimentacoes_usuario_id_fkey", ADD CONSTRAINT "tenantry_estoque_movimentacoes_usuario_id_fkey" FOREIGN KEY ("usuario_id", "tenant_id") REFERENCES "public"."usuarios" ("id", "tenant_id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID;
-- public.estoque_alertas
ALTER TABLE "public"."estoque_alertas" DROP CONSTRAINT IF EXISTS "tenantry_estoque_alertas_lote_id_fkey", ADD CONSTRAINT "tenantry_estoque_alertas_lote_id_fkey" FOREIGN KEY ("lote_id", "tenant_id") REFERENCES "public"."estoque_lotes" ("id", "tenant_id") ON UPDATE NO ACTION ON DELETE CASCADE NOT VALID;
-- public.estoque_escolas
ALTER TABLE "public"."estoque_escolas" DROP CONSTRAINT IF EXISTS "tenantry_tenant_fkey", ADD CONSTRAINT "tenantry_tenant_fkey" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants" ("id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID;
-- public.estoque_escolas_historico
ALTER TABLE "public"."estoque_escolas_historico" DROP CONSTRAINT IF EXISTS "tenantry_tenant_fkey", ADD CONSTRAINT "tenantry_tenant_fkey" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants" ("id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID;
-- public.estoque_lotes
ALTER TABLE "public"."estoque_lotes" DROP CONSTRAINT IF EXISTS "tenantry_tenant_fkey", ADD CONSTRAINT "tenantry_tenant_fkey" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants" ("id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID;
-- public.estoque_movimentacoes
ALTER TABLE "public"."estoque_movimentacoes" DROP CONSTRAINT IF EXISTS "tenantry_tenant_fkey", ADD CONSTRAINT "tenantry_tenant_fkey" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants" ("id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID;
-- public.estoque_alertas
ALTER TABLE "public"."estoque_alertas" DROP CONSTRAINT IF EXISTS "tenantry_tenant_fkey", ADD CONSTRAINT "tenantry_tenant_fkey" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants" ("id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID;
-- public.usuarios
ALTER TABLE "public"."usuarios" DROP CONSTRAINT IF EXISTS "tenantry_tenant_fkey", ADD CONSTRAINT "tenantry_tenant_fkey" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants" ("id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID;
-- public.estoque_escolas
ALTER TABLE "public"."estoque_escolas" VALIDATE CONSTRAINT "tenantry_estoque_escolas_escola_id_fkey";
-- public.estoque_escolas_historico
ALTER TABLE "public"."estoque_escolas_historico" VALIDATE CONSTRAINT "tenantry_estoque_escolas_historico_escola_id_fkey";
-- public.estoque_escolas_historico
ALTER TABLE "public"."estoque_escolas_historico" VALIDATE CONSTRAINT "tenantry_estoque_escolas_historico_estoque_escola_id_fkey";
-- public.estoque_movimentacoes
ALTER TABLE "public"."estoque_movimentacoes" VALIDATE CONSTRAINT "tenantry_estoque_movimentacoes_escola_id_fkey";
-- public.usuarios
ALTER TABLE "public"."usuarios" VALIDATE CONSTRAINT "tenantry_usuarios_escola_id_fkey";
-- public.estoque_escolas
ALTER TABLE "public"."estoque_escolas" VALIDATE CONSTRAINT "tenantry_estoque_escolas_usuario_ultima_atualizacao_fkey";
-- public.estoque_escolas_historico
ALTER TABLE "public"."estoque_escolas_historico" VALIDATE CONSTRAINT "tenantry_estoque_escolas_historico_usuario_id_fkey";
-- public.estoque_movimentacoes
ALTER TABLE "public"."estoque_movimentacoes" VALIDATE CONSTRAINT "tenantry_estoque_movimentacoes_lote_id_fkey";
-- public.estoque_movimentacoes
ALTER TABLE "public"."estoque_movimentacoes" VALIDATE CONSTRAINT "tenantry_estoque_movimentacoes_usuario_id_fkey";
-- public.estoque_alertas
ALTER TABLE "public"."estoque_alertas" VALIDATE CONSTRAINT "tenantry_estoque_alertas_lote_id_fkey";
-- public.estoque_escolas
ALTER TABLE "public"."estoque_escolas" VALIDATE CONSTRAINT "tenantry_tenant_fkey";
-- public.estoque_escolas_historico
ALTER TABLE "public"."estoque_escolas_historico" VALIDATE CONSTRAINT "tenantry_tenant_fkey";
-- public.estoque_lotes
ALTER TABLE "public"."estoque_lotes" VALIDATE CONSTRAINT "tenantry_tenant_fkey";
-- public.estoque_movimentacoes
ALTER TABLE "public"."estoque_movimentacoes" VALIDATE CONSTRAINT "tenantry_tenant_fkey";
-- public.estoque_alertas
ALTER TABLE "public"."estoque_alertas" VALIDATE CONSTRAINT "tenantry_tenant_fkey";
-- public.usuarios
ALTER TABLE "public"."usuarios" VALIDATE CONSTRAINT "tenantry_tenant_fkey";
-- public.estoque_escolas
ALTER TABLE "public"."estoque_escolas" DROP CONSTRAINT "estoque_escolas_escola_id_fkey";
-- public.estoque_escolas
ALTER TABLE "public"."estoque_escolas" DROP CONSTRAINT "estoque_escolas_usuario_ultima_atualizacao_fkey";
-- public.estoque_escolas_historico
ALTER TABLE "public"."estoque_escolas_historico" DROP CONSTRAINT "estoque_escolas_historico_escola_id_fkey";
-- public.estoque_escolas_historico
ALTER TABLE "public"."estoque_escolas_historico" DROP CONSTRAINT "estoque_escolas_historico_estoque_escola_id_fkey";
-- public.estoque_escolas_historico
ALTER TABLE "public"."estoque_escolas_historico" DROP CONSTRAINT "estoque_escolas_historico_usuario_id_fkey";
-- public.estoque_movimentacoes
ALTER TABLE "public"."estoque_movimentacoes" DROP CONSTRAINT "estoque_movimentacoes_escola_id_fkey";
-- public.estoque_movimentacoes
ALTER TABLE "public"."estoque_movimentacoes" DROP CONSTRAINT "estoque_movimentacoes_lote_id_fkey";
-- public.estoque_movimentacoes
ALTER TABLE "public"."estoque_movimentacoes" DROP CONSTRAINT "estoque_movimentacoes_usuario_id_fkey";
-- public.estoque_alertas
ALTER TABLE "public"."estoque_alertas" DROP CONSTRAINT "estoque_alertas_lote_id_fkey";
-- public.usuarios
ALTER TABLE "public"."usuarios" DROP CONSTRAINT "usuarios_escola_id_fkey";
-- public.escolas
ALTER TABLE "public"."escolas" DROP CONSTRAINT "escolas_pkey", ADD CONSTRAINT "escolas_pkey" PRIMARY KEY USING INDEX "tenantry_escolas__id_key";
-- public.estoque_escolas
ALTER TABLE "public"."estoque_escolas" DROP CONSTRAINT "estoque_escolas_escola_id_produto_id_key", ADD CONSTRAINT "estoque_escolas_escola_id_produto_id_key" UNIQUE USING INDEX "tenantry_estoque_escolas__estoque_escolas_escola_id_pr_6647df91";
-- public.estoque_escolas
ALTER TABLE "public"."estoque_escolas" DROP CONSTRAINT "estoque_escolas_pkey", ADD CONSTRAINT "estoque_escolas_pkey" PRIMARY KEY USING INDEX "tenantry_estoque_escolas__id_key";
-- public.estoque_escolas_historico
ALTER TABLE "public"."estoque_escolas_historico" DROP CONSTRAINT "estoque_escolas_historico_pkey", ADD CONSTRAINT "estoque_escolas_historico_pkey" PRIMARY KEY USING INDEX "tenantry_estoque_escolas_historico__id_key";
-- public.estoque_lotes
ALTER TABLE "public"."estoque_lotes" DROP CONSTRAINT "estoque_lotes_pkey", ADD CONSTRAINT "estoque_lotes_pkey" PRIMARY KEY USING INDEX "tenantry_estoque_lotes__id_key";
-- public.estoque_movimentacoes
ALTER TABLE "public"."estoque_movimentacoes" DROP CONSTRAINT "estoque_movimentacoes_pkey", ADD CONSTRAINT "estoque_movimentacoes_pkey" PRIMARY KEY USING INDEX "tenantry_estoque_movimentacoes__id_key";
-- public.estoque_alertas
ALTER TABLE "public"."estoque_alertas" DROP CONSTRAINT "estoque_alertas_pkey", ADD CONSTRAINT "estoque_alertas_pkey" PRIMARY KEY USING INDEX "tenantry_estoque_alertas__id_key";
-- public.usuarios
ALTER TABLE "public"."usuarios" DROP CONSTRAINT "usuarios_pkey", ADD CONSTRAINT "usuarios_pkey" PRIMARY KEY USING INDEX "tenantry_usuarios__id_key";
