-- public.count_lines
DROP TRIGGER IF EXISTS "~tenantry_defer" ON "public"."count_lines";
DELETE FROM "tenantry"."names" AS known WHERE known.own = pg_catalog.to_regclass('"public"."count_lines"') AND known.trigger = '~tenantry_defer';
DROP FUNCTION IF EXISTS "tenantry"."defer_public__count_lines"();
-- public.count_sheets
DROP TRIGGER IF EXISTS "~tenantry_defer" ON "public"."count_sheets";
DELETE FROM "tenantry"."names" AS known WHERE known.own = pg_catalog.to_regclass('"public"."count_sheets"') AND known.trigger = '~tenantry_defer';
DROP FUNCTION IF EXISTS "tenantry"."defer_public__count_sheets"();
-- public.inventory_ledger
DROP TRIGGER IF EXISTS "~tenantry_defer" ON "public"."inventory_ledger";
DELETE FROM "tenantry"."names" AS known WHERE known.own = pg_catalog.to_regclass('"public"."inventory_ledger"') AND known.trigger = '~tenantry_defer';
DROP FUNCTION IF EXISTS "tenantry"."defer_public__inventory_ledger"();
-- public.organizations
DROP TRIGGER IF EXISTS "~tenantry_defer" ON "public"."organizations";
DELETE FROM "tenantry"."names" AS known WHERE known.own = pg_catalog.to_regclass('"public"."organizations"') AND known.trigger = '~tenantry_defer';
DROP FUNCTION IF EXISTS "tenantry"."defer_public__organizations"();
-- public.audit_logs
DROP TRIGGER "audit_logs_append_only" ON "public"."audit_logs";
-- public.count_sheets
DROP TRIGGER "count_sheets_updated_at" ON "public"."count_sheets";
-- public.feature_flags
DROP TRIGGER "feature_flags_updated_at" ON "public"."feature_flags";
-- public.items
DROP TRIGGER "items_updated_at" ON "public"."items";
-- public.locations
DROP TRIGGER "locations_updated_at" ON "public"."locations";
-- public.users
DROP TRIGGER "users_updated_at" ON "public"."users";
-- public.audit_logs
DROP POLICY IF EXISTS "tenantry_application" ON "public"."audit_logs";
DROP POLICY IF EXISTS "tenantry_application_select" ON "public"."audit_logs";
DROP POLICY IF EXISTS "tenantry_application_insert" ON "public"."audit_logs";
DROP POLICY IF EXISTS "tenantry_application_update" ON "public"."audit_logs";
DROP POLICY IF EXISTS "tenantry_application_delete" ON "public"."audit_logs";
DROP POLICY IF EXISTS "tenantry_floor" ON "public"."audit_logs";
DROP POLICY IF EXISTS "tenantry_floor_select" ON "public"."audit_logs";
DROP POLICY IF EXISTS "tenantry_floor_insert" ON "public"."audit_logs";
DROP POLICY IF EXISTS "tenantry_floor_update" ON "public"."audit_logs";
DROP POLICY IF EXISTS "tenantry_floor_delete" ON "public"."audit_logs";
DROP POLICY IF EXISTS "tenantry_floor_member" ON "public"."audit_logs";
DROP POLICY IF EXISTS "tenantry_operator" ON "public"."audit_logs";
DROP POLICY IF EXISTS "tenantry_legacy" ON "public"."audit_logs";
DROP POLICY IF EXISTS "tenantry_quarantine" ON "public"."audit_logs";
CREATE POLICY "tenantry_application" ON "public"."audit_logs" AS PERMISSIVE FOR ALL TO "tenantry_app" USING ("org_id" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid) WITH CHECK ("org_id" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid);
ALTER TABLE "public"."audit_logs" ENABLE ROW LEVEL SECURITY;
ALTER TABLE "public"."audit_logs" FORCE ROW LEVEL SECURITY;
-- public.count_lines
DROP POLICY IF EXISTS "tenantry_application" ON "public"."count_lines";
DROP POLICY IF EXISTS "tenantry_application_select" ON "public"."count_lines";
DROP POLICY IF EXISTS "tenantry_application_insert" ON "public"."count_lines";
DROP POLICY IF EXISTS "tenantry_application_update" ON "public"."count_lines";
DROP POLICY IF EXISTS "tenantry_application_delete" ON "public"."count_lines";
DROP POLICY IF EXISTS "tenantry_floor" ON "public"."count_lines";
DROP POLICY IF EXISTS "tenantry_floor_select" ON "public"."count_lines";
DROP POLICY IF EXISTS "tenantry_floor_insert" ON "public"."count_lines";
DROP POLICY IF EXISTS "tenantry_floor_update" ON "public"."count_lines";
DROP POLICY IF EXISTS "tenantry_floor_delete" ON "public"."count_lines";
DROP POLICY IF EXISTS "tenantry_floor_member" ON "public"."count_lines";
DROP POLICY IF EXISTS "tenantry_operator" ON "public"."count_lines";
DROP POLICY IF EXISTS "tenantry_legacy" ON "public"."count_lines";
DROP POLICY IF EXISTS "tenantry_quarantine" ON "public"."count_lines";
CREATE POLICY "tenantry_application" ON "public"."count_lines" AS PERMISSIVE FOR ALL TO "tenantry_app" USING ("org_id" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid) WITH CHECK ("org_id" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid);
ALTER TABLE "public"."count_lines" ENABLE ROW LEVEL SECURITY;
ALTER TABLE "public"."count_lines" FORCE ROW LEVEL SECURITY;
-- public.count_sheets
DROP POLICY IF EXISTS "tenantry_application" ON "public"."count_sheets";
DROP POLICY IF EXISTS "tenantry_application_select" ON "public"."count_sheets";
DROP POLICY IF EXISTS "tenantry_application_insert" ON "public"."count_sheets";
DROP POLICY IF EXISTS "tenantry_application_update" ON "public"."count_sheets";
DROP POLICY IF EXISTS "tenantry_application_delete" ON "public"."count_sheets";
DROP POLICY IF EXISTS "tenantry_floor" ON "public"."count_sheets";
DROP POLICY IF EXISTS "tenantry_floor_select" ON "public"."count_sheets";
DROP POLICY IF EXISTS "tenantry_floor_insert" ON "public"."count_sheets";
DROP POLICY IF EXISTS "tenantry_floor_update" ON "public"."count_sheets";
DROP POLICY IF EXISTS "tenantry_floor_delete" ON "public"."count_sheets";
DROP POLICY IF EXISTS "tenantry_floor_member" ON "public"."count_sheets";
DROP POLICY IF EXISTS "tenantry_operator" ON "public"."count_sheets";
DROP POLICY IF EXISTS "tenantry_legacy" ON "public"."count_sheets";
DROP POLICY IF EXISTS "tenantry_quarantine" ON "public"."count_sheets";
CREATE POLICY "tenantry_application" ON "public"."count_sheets" AS PERMISSIVE FOR ALL TO "tenantry_app" USING ("org_id" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid) WITH CHECK ("org_id" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid);
ALTER TABLE "public"."count_sheets" ENABLE ROW LEVEL SECURITY;
ALTER TABLE "public"."count_sheets" FORCE ROW LEVEL SECURITY;
-- public.feature_flags
DROP POLICY IF EXISTS "tenantry_application" ON "public"."feature_flags";
DROP POLICY IF EXISTS "tenantry_application_select" ON "public"."feature_flags";
DROP POLICY IF EXISTS "tenantry_application_insert" ON "public"."feature_flags";
DROP POLICY IF EXISTS "tenantry_application_update" ON "public"."feature_flags";
DROP POLICY IF EXISTS "tenantry_application_delete" ON "public"."feature_flags";
DROP POLICY IF EXISTS "tenantry_floor" ON "public"."feature_flags";
DROP POLICY IF EXISTS "tenantry_floor_select" ON "public"."feature_flags";
DROP POLICY IF EXISTS "tenantry_floor_insert" ON "public"."feature_flags";
DROP POLICY IF EXISTS "tenantry_floor_update" ON "public"."feature_flags";
DROP POLICY IF EXISTS "tenantry_floor_delete" ON "public"."feature_flags";
DROP POLICY IF EXISTS "tenantry_floor_member" ON "public"."feature_flags";
DROP POLICY IF EXISTS "tenantry_operator" ON "public"."feature_flags";
DROP POLICY IF EXISTS "tenantry_legacy" ON "public"."feature_flags";
DROP POLICY IF EXISTS "tenantry_quarantine" ON "public"."feature_flags";
CREATE POLICY "tenantry_application" ON "public"."feature_flags" AS PERMISSIVE FOR ALL TO "tenantry_app" USING ("org_id" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid) WITH CHECK ("org_id" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid);
ALTER TABLE "public"."feature_flags" ENABLE ROW LEVEL SECURITY;
ALTER TABLE "public"."feature_flags" FORCE ROW LEVEL SECURITY;
-- public.inventory_ledger
DROP POLICY IF EXISTS "tenantry_application" ON "public"."inventory_ledger";
DROP POLICY IF EXISTS "tenantry_application_select" ON "public"."inventory_ledger";
DROP POLICY IF EXISTS "tenantry_application_insert" ON "public"."inventory_ledger";
DROP POLICY IF EXISTS "tenantry_application_update" ON "public"."inventory_ledger";
DROP POLICY IF EXISTS "tenantry_application_delete" ON "public"."inventory_ledger";
DROP POLICY IF EXISTS "tenantry_floor" ON "public"."inventory_ledger";
DROP POLICY IF EXISTS "tenantry_floor_select" ON "public"."inventory_ledger";
DROP POLICY IF EXISTS "tenantry_floor_insert" ON "public"."inventory_ledger";
DROP POLICY IF EXISTS "tenantry_floor_update" ON "public"."inventory_ledger";
DROP POLICY IF EXISTS "tenantry_floor_delete" ON "public"."inventory_ledger";
DROP POLICY IF EXISTS "tenantry_floor_member" ON "public"."inventory_ledger";
DROP POLICY IF EXISTS "tenantry_operator" ON "public"."inventory_ledger";
DROP POLICY IF EXISTS "tenantry_legacy" ON "public"."inventory_ledger";
DROP POLICY IF EXISTS "tenantry_quarantine" ON "public"."inventory_ledger";
CREATE POLICY "tenantry_application" ON "public"."inventory_ledger" AS PERMISSIVE FOR ALL TO "tenantry_app" USING ("org_id" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid) WITH CHECK ("org_id" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid);
ALTER TABLE "public"."inventory_ledger" ENABLE ROW LEVEL SECURITY;
ALTER TABLE "public"."inventory_ledger" FORCE ROW LEVEL SECURITY;
-- public.items
DROP POLICY IF EXISTS "tenantry_application" ON "public"."items";
DROP POLICY IF EXISTS "tenantry_application_select" ON "public"."items";
DROP POLICY IF EXISTS "tenantry_application_insert" ON "public"."items";
DROP POLICY IF EXISTS "tenantry_application_update" ON "public"."items";
DROP POLICY IF EXISTS "tenantry_application_delete" ON "public"."items";
DROP POLICY IF EXISTS "tenantry_floor" ON "public"."items";
DROP POLICY IF EXISTS "tenantry_floor_select" ON "public"."items";
DROP POLICY IF EXISTS "tenantry_floor_insert" ON "public"."items";
DROP POLICY IF EXISTS "tenantry_floor_update" ON "public"."items";
DROP POLICY IF EXISTS "tenantry_floor_delete" ON "public"."items";
DROP POLICY IF EXISTS "tenantry_floor_member" ON "public"."items";
DROP POLICY IF EXISTS "tenantry_operator" ON "public"."items";
DROP POLICY IF EXISTS "tenantry_legacy" ON "public"."items";
DROP POLICY IF EXISTS "tenantry_quarantine" ON "public"."items";
CREATE POLICY "tenantry_application" ON "public"."items" AS PERMISSIVE FOR ALL TO "tenantry_app" USING ("org_id" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid) WITH CHECK ("org_id" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid);
ALTER TABLE "public"."items" ENABLE ROW LEVEL SECURITY;
ALTER TABLE "public"."items" FORCE ROW LEVEL SECURITY;
-- public.locations
DROP POLICY IF EXISTS "tenantry_application" ON "public"."locations";
DROP POLICY IF EXISTS "tenantry_application_select" ON "public"."locations";
DROP POLICY IF EXISTS "tenantry_application_insert" ON "public"."locations";
DROP POLICY IF EXISTS "tenantry_application_update" ON "public"."locations";
DROP POLICY IF EXISTS "tenantry_application_delete" ON "public"."locations";
DROP POLICY IF EXISTS "tenantry_floor" ON "public"."locations";
DROP POLICY IF EXISTS "tenantry_floor_select" ON "public"."locations";
DROP POLICY IF EXISTS "tenantry_floor_insert" ON "public"."locations";
DROP POLICY IF EXISTS "tenantry_floor_update" ON "public"."locations";
DROP POLICY IF EXISTS "tenantry_floor_delete" ON "public"."locations";
DROP POLICY IF EXISTS "tenantry_floor_member" ON "public"."locations";
DROP POLICY IF EXISTS "tenantry_operator" ON "public"."locations";
DROP POLICY IF EXISTS "tenantry_legacy" ON "public"."locations";
DROP POLICY IF EXISTS "tenantry_quarantine" ON "public"."locations";
CREATE POLICY "tenantry_application" ON "public"."locations" AS PERMISSIVE FOR ALL TO "tenantry_app" USING ("org_id" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid) WITH CHECK ("org_id" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid);
ALTER TABLE "public"."locations" ENABLE ROW LEVEL SECURITY;
ALTER TABLE "public"."locations" FORCE ROW LEVEL SECURITY;
-- public.lots
DROP POLICY IF EXISTS "tenantry_application" ON "public"."lots";
DROP POLICY IF EXISTS "tenantry_application_select" ON "public"."lots";
DROP POLICY IF EXISTS "tenantry_application_insert" ON "public"."lots";
DROP POLICY IF EXISTS "tenantry_application_update" ON "public"."lots";
DROP POLICY IF EXISTS "tenantry_application_delete" ON "public"."lots";
DROP POLICY IF EXISTS "tenantry_floor" ON "public"."lots";
DROP POLICY IF EXISTS "tenantry_floor_select" ON "public"."lots";
DROP POLICY IF EXISTS "tenantry_floor_insert" ON "public"."lots";
DROP POLICY IF EXISTS "tenantry_floor_update" ON "public"."lots";
DROP POLICY IF EXISTS "tenantry_floor_delete" ON "public"."lots";
DROP POLICY IF EXISTS "tenantry_floor_member" ON "public"."lots";
DROP POLICY IF EXISTS "tenantry_operator" ON "public"."lots";
DROP POLICY IF EXISTS "tenantry_legacy" ON "public"."lots";
DROP POLICY IF EXISTS "tenantry_quarantine" ON "public"."lots";
CREATE POLICY "tenantry_application" ON "public"."lots" AS PERMISSIVE FOR ALL TO "tenantry_app" USING ("org_id" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid) WITH CHECK ("org_id" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid);
ALTER TABLE "public"."lots" ENABLE ROW LEVEL SECURITY;
ALTER TABLE "public"."lots" FORCE ROW LEVEL SECURITY;
-- public.users
DROP POLICY IF EXISTS "tenantry_application" ON "public"."users";
DROP POLICY IF EXISTS "tenantry_application_select" ON "public"."users";
DROP POLICY IF EXISTS "tenantry_application_insert" ON "public"."users";
DROP POLICY IF EXISTS "tenantry_application_update" ON "public"."users";
DROP POLICY IF EXISTS "tenantry_application_delete" ON "public"."users";
DROP POLICY IF EXISTS "tenantry_floor" ON "public"."users";
DROP POLICY IF EXISTS "tenantry_floor_select" ON "public"."users";
DROP POLICY IF EXISTS "tenantry_floor_insert" ON "public"."users";
DROP POLICY IF EXISTS "tenantry_floor_update" ON "public"."users";
DROP POLICY IF EXISTS "tenantry_floor_delete" ON "public"."users";
DROP POLICY IF EXISTS "tenantry_floor_member" ON "public"."users";
DROP POLICY IF EXISTS "tenantry_operator" ON "public"."users";
DROP POLICY IF EXISTS "tenantry_legacy" ON "public"."users";
DROP POLICY IF EXISTS "tenantry_quarantine" ON "public"."users";
CREATE POLICY "tenantry_application" ON "public"."users" AS PERMISSIVE FOR ALL TO "tenantry_app" USING ("org_id" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid) WITH CHECK ("org_id" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid);
ALTER TABLE "public"."users" ENABLE ROW LEVEL SECURITY;
ALTER TABLE "public"."users" FORCE ROW LEVEL SECURITY;
-- public.organizations
DROP POLICY IF EXISTS "tenantry_application" ON "public"."organizations";
DROP POLICY IF EXISTS "tenantry_application_select" ON "public"."organizations";
DROP POLICY IF EXISTS "tenantry_application_insert" ON "public"."organizations";
DROP POLICY IF EXISTS "tenantry_application_update" ON "public"."organizations";
DROP POLICY IF EXISTS "tenantry_application_delete" ON "public"."organizations";
DROP POLICY IF EXISTS "tenantry_floor" ON "public"."organizations";
DROP POLICY IF EXISTS "tenantry_floor_select" ON "public"."organizations";
DROP POLICY IF EXISTS "tenantry_floor_insert" ON "public"."organizations";
DROP POLICY IF EXISTS "tenantry_floor_update" ON "public"."organizations";
DROP POLICY IF EXISTS "tenantry_floor_delete" ON "public"."organizations";
DROP POLICY IF EXISTS "tenantry_floor_member" ON "public"."organizations";
DROP POLICY IF EXISTS "tenantry_operator" ON "public"."organizations";
DROP POLICY IF EXISTS "tenantry_legacy" ON "public"."organizations";
DROP POLICY IF EXISTS "tenantry_quarantine" ON "public"."organizations";
CREATE POLICY "tenantry_application" ON "public"."organizations" AS PERMISSIVE FOR SELECT TO "tenantry_app" USING ("id" = NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid);
ALTER TABLE "public"."organizations" ENABLE ROW LEVEL SECURITY;
ALTER TABLE "public"."organizations" FORCE ROW LEVEL SECURITY;
-- public.lots
DROP INDEX CONCURRENTLY IF EXISTS "public"."tenantry_lots__lots_item_id_lot_code_key_wide";
CREATE UNIQUE INDEX CONCURRENTLY "tenantry_lots__lots_item_id_lot_code_key_wide" ON "public"."lots" USING btree ("org_id", item_id, lot_code);
-- public.audit_logs
ALTER TABLE "public"."audit_logs" DROP CONSTRAINT IF EXISTS "tenantry_audit_logs_user_id_fkey", ADD CONSTRAINT "tenantry_audit_logs_user_id_fkey" FOREIGN KEY ("user_id", "org_id") REFERENCES "public"."users" ("id", "org_id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID;
-- public.count_lines
ALTER TABLE "public"."count_lines" DROP CONSTRAINT IF EXISTS "tenantry_count_lines_count_sheet_id_fkey", ADD CONSTRAINT "tenantry_count_lines_count_sheet_id_fkey" FOREIGN KEY ("count_sheet_id", "org_id") REFERENCES "public"."count_sheets" ("id", "org_id") ON UPDATE NO ACTION ON DELETE CASCADE NOT VALID;
-- public.count_lines
ALTER TABLE "public"."count_lines" DROP CONSTRAINT IF EXISTS "tenantry_count_lines_item_id_fkey", ADD CONSTRAINT "tenantry_count_lines_item_id_fkey" FOREIGN KEY ("item_id", "org_id") REFERENCES "public"."items" ("id", "org_id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID;
-- public.count_lines
ALTER TABLE "public"."count_lines" DROP CONSTRAINT IF EXISTS "tenantry_count_lines_lot_id_fkey", ADD CONSTRAINT "tenantry_count_lines_lot_id_fkey" FOREIGN KEY ("lot_id", "org_id") REFERENCES "public"."lots" ("id", "org_id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID;
-- public.count_sheets
ALTER TABLE "public"."count_sheets" DROP CONSTRAINT IF EXISTS "tenantry_count_sheets_approved_by_fkey", ADD CONSTRAINT "tenantry_count_sheets_approved_by_fkey" FOREIGN KEY ("approved_by", "org_id") REFERENCES "public"."users" ("id", "org_id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID;
-- public.count_sheets
ALTER TABLE "public"."count_sheets" DROP CONSTRAINT IF EXISTS "tenantry_count_sheets_created_by_fkey", ADD CONSTRAINT "tenantry_count_sheets_created_by_fkey" FOREIGN KEY ("created_by", "org_id") REFERENCES "public"."users" ("id", "org_id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID;
-- public.count_sheets
ALTER TABLE "public"."count_sheets" DROP CONSTRAINT IF EXISTS "tenantry_count_sheets_location_id_fkey", ADD CONSTRAINT "tenantry_count_sheets_location_id_fkey" FOREIGN KEY ("location_id", "org_id") REFERENCES "public"."locations" ("id", "org_id") ON UPDATE NO ACTION ON DELETE CASCADE NOT VALID;
-- public.inventory_ledger
ALTER TABLE "public"."inventory_ledger" DROP CONSTRAINT IF EXISTS "tenantry_inventory_ledger_item_id_fkey", ADD CONSTRAINT "tenantry_inventory_ledger_item_id_fkey" FOREIGN KEY ("item_id", "org_id") REFERENCES "public"."items" ("id", "org_id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID;
-- public.inventory_ledger
ALTER TABLE "public"."inventory_ledger" DROP CONSTRAINT IF EXISTS "tenantry_inventory_ledger_location_id_fkey", ADD CONSTRAINT "tenantry_inventory_ledger_location_id_fkey" FOREIGN KEY ("location_id", "org_id") REFERENCES "public"."locations" ("id", "org_id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID;
-- public.inventory_ledger
ALTER TABLE "public"."inventory_ledger" DROP CONSTRAINT IF EXISTS "tenantry_inventory_ledger_lot_id_fkey", ADD CONSTRAINT "tenantry_inventory_ledger_lot_id_fkey" FOREIGN KEY ("lot_id", "org_id") REFERENCES "public"."lots" ("id", "org_id") ON UPDATE NO ACTION ON DELETE RESTRICT NOT VALID;
-- public.inventory_ledger
ALTER TABLE "public"."inventory_ledger" DROP CONSTRAINT IF EXISTS "tenantry_inventory_ledger_user_id_fkey", ADD CONSTRAINT "tenantry_inventory_ledger_user_id_fkey" FOREIGN KEY ("user_id", "org_id") REFERENCES "public"."users" ("id", "org_id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID;
-- public.locations
ALTER TABLE "public"."locations" DROP CONSTRAINT IF EXISTS "tenantry_locations_parent_id_fkey", ADD CONSTRAINT "tenantry_locations_parent_id_fkey" FOREIGN KEY ("parent_id", "org_id") REFERENCES "public"."locations" ("id", "org_id") ON UPDATE NO ACTION ON DELETE RESTRICT NOT VALID;
-- public.lots
ALTER TABLE "public"."lots" DROP CONSTRAINT IF EXISTS "tenantry_lots_item_id_fkey", ADD CONSTRAINT "tenantry_lots_item_id_fkey" FOREIGN KEY ("item_id", "org_id") REFERENCES "public"."items" ("id", "org_id") ON UPDATE NO ACTION ON DELETE CASCADE NOT VALID;
-- public.audit_logs
ALTER TABLE "public"."audit_logs" DROP CONSTRAINT IF EXISTS "tenantry_tenant_fkey", ADD CONSTRAINT "tenantry_tenant_fkey" FOREIGN KEY ("org_id") REFERENCES "public"."organizations" ("id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID;
-- public.count_lines
ALTER TABLE "public"."count_lines" DROP CONSTRAINT IF EXISTS "tenantry_tenant_fkey", ADD CONSTRAINT "tenantry_tenant_fkey" FOREIGN KEY ("org_id") REFERENCES "public"."organizations" ("id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID;
-- public.count_sheets
ALTER TABLE "public"."count_sheets" DROP CONSTRAINT IF EXISTS "tenantry_tenant_fkey", ADD CONSTRAINT "tenantry_tenant_fkey" FOREIGN KEY ("org_id") REFERENCES "public"."organizations" ("id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID;
-- public.feature_flags
ALTER TABLE "public"."feature_flags" DROP CONSTRAINT IF EXISTS "tenantry_tenant_fkey", ADD CONSTRAINT "tenantry_tenant_fkey" FOREIGN KEY ("org_id") REFERENCES "public"."organizations" ("id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID;
-- public.inventory_ledger
ALTER TABLE "public"."inventory_ledger" DROP CONSTRAINT IF EXISTS "tenantry_tenant_fkey", ADD CONSTRAINT "tenantry_tenant_fkey" FOREIGN KEY ("org_id") REFERENCES "public"."organizations" ("id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID;
-- public.items
ALTER TABLE "public"."items" DROP CONSTRAINT IF EXISTS "tenantry_tenant_fkey", ADD CONSTRAINT "tenantry_tenant_fkey" FOREIGN KEY ("org_id") REFERENCES "public"."organizations" ("id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID;
-- public.locations
ALTER TABLE "public"."locations" DROP CONSTRAINT IF EXISTS "tenantry_tenant_fkey", ADD CONSTRAINT "tenantry_tenant_fkey" FOREIGN KEY ("org_id") REFERENCES "public"."organizations" ("id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID;
-- public.lots
ALTER TABLE "public"."lots" DROP CONSTRAINT IF EXISTS "tenantry_tenant_fkey", ADD CONSTRAINT "tenantry_tenant_fkey" FOREIGN KEY ("org_id") REFERENCES "public"."organizations" ("id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID;
-- public.users
ALTER TABLE "public"."users" DROP CONSTRAINT IF EXISTS "tenantry_tenant_fkey", ADD CONSTRAINT "tenantry_tenant_fkey" FOREIGN KEY ("org_id") REFERENCES "public"."organizations" ("id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID;
-- public.audit_logs
ALTER TABLE "public"."audit_logs" VALIDATE CONSTRAINT "tenantry_audit_logs_user_id_fkey";
-- public.count_lines
ALTER TABLE "public"."count_lines" VALIDATE CONSTRAINT "tenantry_count_lines_count_sheet_id_fkey";
-- public.count_lines
ALTER TABLE "public"."count_lines" VALIDATE CONSTRAINT "tenantry_count_lines_item_id_fkey";
-- public.count_lines
ALTER TABLE "public"."count_lines" VALIDATE CONSTRAINT "tenantry_count_lines_lot_id_fkey";
-- public.count_sheets
ALTER TABLE "public"."count_sheets" VALIDATE CONSTRAINT "tenantry_count_sheets_approved_by_fkey";
-- public.count_sheets
ALTER TABLE "public"."count_sheets" VALIDATE CONSTRAINT "tenantry_count_sheets_created_by_fkey";
-- public.count_sheets
ALTER TABLE "public"."count_sheets" VALIDATE CONSTRAINT "tenantry_count_sheets_location_id_fkey";
-- public.inventory_ledger
ALTER TABLE "public"."inventory_ledger" VALIDATE CONSTRAINT "tenantry_inventory_ledger_item_id_fkey";
-- public.inventory_ledger
ALTER TABLE "public"."inventory_ledger" VALIDATE CONSTRAINT "tenantry_inventory_ledger_location_id_fkey";
-- public.inventory_ledger
ALTER TABLE "public"."inventory_ledger" VALIDATE CONSTRAINT "tenantry_inventory_ledger_lot_id_fkey";
-- public.inventory_ledger
ALTER TABLE "public"."inventory_ledger" VALIDATE CONSTRAINT "tenantry_inventory_ledger_user_id_fkey";
-- public.locations
ALTER TABLE "public"."locations" VALIDATE CONSTRAINT "tenantry_locations_parent_id_fkey";
-- public.lots
ALTER TABLE "public"."lots" VALIDATE CONSTRAINT "tenantry_lots_item_id_fkey";
-- public.audit_logs
ALTER TABLE "public"."audit_logs" VALIDATE CONSTRAINT "tenantry_tenant_fkey";
-- public.count_lines
ALTER TABLE "public"."count_lines" VALIDATE CONSTRAINT "tenantry_tenant_fkey";
-- public.count_sheets
ALTER TABLE "public"."count_sheets" VALIDATE CONSTRAINT "tenantry_tenant_fkey";
-- public.feature_flags
ALTER TABLE "public"."feature_flags" VALIDATE CONSTRAINT "tenantry_tenant_fkey";
-- public.inventory_ledger
ALTER TABLE "public"."inventory_ledger" VALIDATE CONSTRAINT "tenantry_tenant_fkey";
-- public.items
ALTER TABLE "public"."items" VALIDATE CONSTRAINT "tenantry_tenant_fkey";
-- public.locations
ALTER TABLE "public"."locations" VALIDATE CONSTRAINT "tenantry_tenant_fkey";
-- public.lots
ALTER TABLE "public"."lots" VALIDATE CONSTRAINT "tenantry_tenant_fkey";
-- public.users
ALTER TABLE "public"."users" VALIDATE CONSTRAINT "tenantry_tenant_fkey";
-- public.audit_logs
ALTER TABLE "public"."audit_logs" DROP CONSTRAINT "audit_logs_user_id_fkey";
-- public.count_lines
ALTER TABLE "public"."count_lines" DROP CONSTRAINT "count_lines_count_sheet_id_fkey";
-- public.count_lines
ALTER TABLE "public"."count_lines" DROP CONSTRAINT "count_lines_item_id_fkey";
-- public.count_lines
ALTER TABLE "public"."count_lines" DROP CONSTRAINT "count_lines_lot_id_fkey";
-- public.count_sheets
ALTER TABLE "public"."count_sheets" DROP CONSTRAINT "count_sheets_approved_by_fkey";
-- public.count_sheets
ALTER TABLE "public"."count_sheets" DROP CONSTRAINT "count_sheets_created_by_fkey";
-- public.count_sheets
ALTER TABLE "public"."count_sheets" DROP CONSTRAINT "count_sheets_location_id_fkey";
-- public.inventory_ledger
ALTER TABLE "public"."inventory_ledger" DROP CONSTRAINT "inventory_ledger_item_id_fkey";
-- public.inventory_ledger
ALTER TABLE "public"."inventory_ledger" DROP CONSTRAINT "inventory_ledger_location_id_fkey";
-- public.inventory_ledger
ALTER TABLE "public"."inventory_ledger" DROP CONSTRAINT "inventory_ledger_lot_id_fkey";
-- public.inventory_ledger
ALTER TABLE "public"."inventory_ledger" DROP CONSTRAINT "inventory_ledger_user_id_fkey";
-- public.locations
ALTER TABLE "public"."locations" DROP CONSTRAINT "locations_parent_id_fkey";
-- public.lots
ALTER TABLE "public"."lots" DROP CONSTRAINT "lots_item_id_fkey";
-- public.audit_logs
ALTER TABLE "public"."audit_logs" DROP CONSTRAINT "audit_logs_pkey", ADD CONSTRAINT "audit_logs_pkey" PRIMARY KEY USING INDEX "tenantry_audit_logs__id_key";
-- public.count_lines
ALTER TABLE "public"."count_lines" DROP CONSTRAINT "count_lines_pkey", ADD CONSTRAINT "count_lines_pkey" PRIMARY KEY USING INDEX "tenantry_count_lines__id_key";
-- public.count_sheets
ALTER TABLE "public"."count_sheets" DROP CONSTRAINT "count_sheets_pkey", ADD CONSTRAINT "count_sheets_pkey" PRIMARY KEY USING INDEX "tenantry_count_sheets__id_key";
-- public.feature_flags
ALTER TABLE "public"."feature_flags" DROP CONSTRAINT "feature_flags_pkey", ADD CONSTRAINT "feature_flags_pkey" PRIMARY KEY USING INDEX "tenantry_feature_flags__id_key";
-- public.inventory_ledger
ALTER TABLE "public"."inventory_ledger" DROP CONSTRAINT "inventory_ledger_pkey", ADD CONSTRAINT "inventory_ledger_pkey" PRIMARY KEY USING INDEX "tenantry_inventory_ledger__id_key";
-- public.items
ALTER TABLE "public"."items" DROP CONSTRAINT "items_pkey", ADD CONSTRAINT "items_pkey" PRIMARY KEY USING INDEX "tenantry_items__id_key";
-- public.locations
ALTER TABLE "public"."locations" DROP CONSTRAINT "locations_pkey", ADD CONSTRAINT "locations_pkey" PRIMARY KEY USING INDEX "tenantry_locations__id_key";
-- public.lots
ALTER TABLE "public"."lots" DROP CONSTRAINT "lots_item_id_lot_code_key", ADD CONSTRAINT "lots_item_id_lot_code_key" UNIQUE USING INDEX "tenantry_lots__lots_item_id_lot_code_key_wide";
-- public.lots
ALTER TABLE "public"."lots" DROP CONSTRAINT "lots_pkey", ADD CONSTRAINT "lots_pkey" PRIMARY KEY USING INDEX "tenantry_lots__id_key";
-- public.users
ALTER TABLE "public"."users" DROP CONSTRAINT "users_pkey", ADD CONSTRAINT "users_pkey" PRIMARY KEY USING INDEX "tenantry_users__id_key";
