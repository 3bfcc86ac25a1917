-- public.tenants: pass SET LOCAL of sessions of tenantry_app on to all nodes
DO $tenantry$DECLARE one record; BEGIN FOR one IN SELECT u.* FROM (
WITH RECURSIVE users(oid) AS (
  SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = 'tenantry_app'
  UNION
  SELECT m.member FROM users AS u JOIN pg_catalog.pg_auth_members m ON m.roleid = u.oid
)
SELECT r.oid, r.rolname::pg_catalog.text AS name,
  r.rolcanlogin AND pg_catalog.pg_has_role(r.oid, (SELECT a.oid FROM pg_catalog.pg_roles a WHERE a.rolname = 'tenantry_app'),
    'USAGE') AS login,
  (SELECT pg_catalog.substring(c, '=(.*)$') FROM pg_catalog.pg_db_role_setting s, pg_catalog.unnest(s.setconfig) AS c
   WHERE s.setrole = r.oid AND s.setdatabase = (SELECT d.oid FROM pg_catalog.pg_database d
     WHERE d.datname = pg_catalog.current_database())
   AND pg_catalog.starts_with(c, 'citus.propagate_set_commands=')) AS value
FROM users AS u JOIN pg_catalog.pg_roles r ON r.oid = u.oid
WHERE r.rolname = 'tenantry_app' OR r.rolcanlogin AND NOT r.rolsuper) AS u WHERE u.value IS DISTINCT FROM 'local' LOOP EXECUTE pg_catalog.format('ALTER ROLE %I IN DATABASE %I SET citus.propagate_set_commands = ''local''', one.name, pg_catalog.current_database()); END LOOP; END$tenantry$;
-- public.estoque_escolas: drop the foreign key tenantry_estoque_escolas_escola_id_fkey to public.escolas until the tables are distributed
ALTER TABLE "public"."estoque_escolas" DROP CONSTRAINT IF EXISTS "tenantry_estoque_escolas_escola_id_fkey";
-- public.estoque_escolas_historico: drop the foreign key tenantry_estoque_escolas_historico_escola_id_fkey to public.escolas until the tables are distributed
ALTER TABLE "public"."estoque_escolas_historico" DROP CONSTRAINT IF EXISTS "tenantry_estoque_escolas_historico_escola_id_fkey";
-- public.estoque_escolas_historico: drop the foreign key tenantry_estoque_escolas_historico_estoque_escola_id_fkey to public.estoque_escolas until the tables are distributed
ALTER TABLE "public"."estoque_escolas_historico" DROP CONSTRAINT IF EXISTS "tenantry_estoque_escolas_historico_estoque_escola_id_fkey";
-- public.estoque_movimentacoes: drop the foreign key tenantry_estoque_movimentacoes_escola_id_fkey to public.escolas until the tables are distributed
ALTER TABLE "public"."estoque_movimentacoes" DROP CONSTRAINT IF EXISTS "tenantry_estoque_movimentacoes_escola_id_fkey";
-- public.usuarios: drop the foreign key tenantry_usuarios_escola_id_fkey to public.escolas until the tables are distributed
ALTER TABLE "public"."usuarios" DROP CONSTRAINT IF EXISTS "tenantry_usuarios_escola_id_fkey";
-- public.estoque_escolas: drop the foreign key tenantry_estoque_escolas_usuario_ultima_atualizacao_fkey to public.usuarios until the tables are distributed
ALTER TABLE "public"."estoque_escolas" DROP CONSTRAINT IF EXISTS "tenantry_estoque_escolas_usuario_ultima_atualizacao_fkey";
-- public.estoque_escolas_historico: drop the foreign key tenantry_estoque_escolas_historico_usuario_id_fkey to public.usuarios until the tables are distributed
ALTER TABLE "public"."estoque_escolas_historico" DROP CONSTRAINT IF EXISTS "tenantry_estoque_escolas_historico_usuario_id_fkey";
-- public.estoque_movimentacoes: drop the foreign key tenantry_estoque_movimentacoes_lote_id_fkey to public.estoque_lotes until the tables are distributed
ALTER TABLE "public"."estoque_movimentacoes" DROP CONSTRAINT IF EXISTS "tenantry_estoque_movimentacoes_lote_id_fkey";
-- public.estoque_movimentacoes: drop the foreign key tenantry_estoque_movimentacoes_usuario_id_fkey to public.usuarios until the tables are distributed
ALTER TABLE "public"."estoque_movimentacoes" DROP CONSTRAINT IF EXISTS "tenantry_estoque_movimentacoes_usuario_id_fkey";
-- public.estoque_alertas: drop the foreign key tenantry_estoque_alertas_lote_id_fkey to public.estoque_lotes until the tables are distributed
ALTER TABLE "public"."estoque_alertas" DROP CONSTRAINT IF EXISTS "tenantry_estoque_alertas_lote_id_fkey";
-- public.estoque_escolas: drop the foreign key tenantry_tenant_fkey to public.tenants until the tables are distributed
ALTER TABLE "public"."estoque_escolas" DROP CONSTRAINT IF EXISTS "tenantry_tenant_fkey";
-- public.estoque_escolas_historico: drop the foreign key tenantry_tenant_fkey to public.tenants until the tables are distributed
ALTER TABLE "public"."estoque_escolas_historico" DROP CONSTRAINT IF EXISTS "tenantry_tenant_fkey";
-- public.estoque_lotes: drop the foreign key tenantry_tenant_fkey to public.tenants until the tables are distributed
ALTER TABLE "public"."estoque_lotes" DROP CONSTRAINT IF EXISTS "tenantry_tenant_fkey";
-- public.estoque_movimentacoes: drop the foreign key tenantry_tenant_fkey to public.tenants until the tables are distributed
ALTER TABLE "public"."estoque_movimentacoes" DROP CONSTRAINT IF EXISTS "tenantry_tenant_fkey";
-- public.estoque_alertas: drop the foreign key tenantry_tenant_fkey to public.tenants until the tables are distributed
ALTER TABLE "public"."estoque_alertas" DROP CONSTRAINT IF EXISTS "tenantry_tenant_fkey";
-- public.usuarios: drop the foreign key tenantry_tenant_fkey to public.tenants until the tables are distributed
ALTER TABLE "public"."usuarios" DROP CONSTRAINT IF EXISTS "tenantry_tenant_fkey";
-- public.escolas: drop the foreign key escolas_tenant_id_fkey to public.tenants until the tables are distributed
ALTER TABLE "public"."escolas" DROP CONSTRAINT IF EXISTS "escolas_tenant_id_fkey";
-- public.estoque_alertas: drop the foreign key estoque_alertas_produto_id_fkey to public.produtos until the tables are distributed
ALTER TABLE "public"."estoque_alertas" DROP CONSTRAINT IF EXISTS "estoque_alertas_produto_id_fkey";
-- public.estoque_escolas: drop the foreign key estoque_escolas_produto_id_fkey to public.produtos until the tables are distributed
ALTER TABLE "public"."estoque_escolas" DROP CONSTRAINT IF EXISTS "estoque_escolas_produto_id_fkey";
-- public.estoque_escolas_historico: drop the foreign key estoque_escolas_historico_produto_id_fkey to public.produtos until the tables are distributed
ALTER TABLE "public"."estoque_escolas_historico" DROP CONSTRAINT IF EXISTS "estoque_escolas_historico_produto_id_fkey";
-- public.estoque_lotes: drop the foreign key estoque_lotes_produto_id_fkey to public.produtos until the tables are distributed
ALTER TABLE "public"."estoque_lotes" DROP CONSTRAINT IF EXISTS "estoque_lotes_produto_id_fkey";
-- public.estoque_movimentacoes: drop the foreign key estoque_movimentacoes_produto_id_fkey to public.produtos until the tables are distributed
ALTER TABLE "public"."estoque_movimentacoes" DROP CONSTRAINT IF EXISTS "estoque_movimentacoes_produto_id_fkey";
-- public.produtos: copy to each node
SET LOCAL "TimeZone" = 'UTC';
SET LOCAL "DateStyle" = 'ISO, YMD';
SET LOCAL "IntervalStyle" = 'postgres';
SET LOCAL "extra_float_digits" = '1';
SET LOCAL "bytea_output" = 'hex';
DO $tenantry$
DECLARE
  rows_before pg_catalog.text;
  rows_after pg_catalog.text;
  -- Citus copies rows with COPY, which is refused while policies apply to the role: to an owner, because of FORCE.
  hidden CONSTANT pg_catalog.bool := pg_catalog.row_security_active(pg_catalog.to_regclass('"public"."produtos"'));
BEGIN
  IF hidden THEN
    EXECUTE 'ALTER TABLE "public"."produtos" NO FORCE ROW LEVEL SECURITY';
  END IF;
  EXECUTE 'SELECT ROW(pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(t::pg_catalog.text, 0)))::pg_catalog.text FROM "public"."produtos" AS t' INTO rows_before;
  PERFORM pg_catalog.create_reference_table('"public"."produtos"'::pg_catalog.regclass);
  EXECUTE 'SELECT ROW(pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(t::pg_catalog.text, 0)))::pg_catalog.text FROM "public"."produtos" AS t' INTO rows_after;
  IF rows_before <> rows_after THEN
    RAISE EXCEPTION 'the rows of % differ: % before, and % after', 'public.produtos', rows_before, rows_after;
  END IF;
  IF hidden THEN
    EXECUTE 'ALTER TABLE "public"."produtos" FORCE ROW LEVEL SECURITY';
  END IF;
END
$tenantry$;
-- public.tenants: copy to each node
SET LOCAL "TimeZone" = 'UTC';
SET LOCAL "DateStyle" = 'ISO, YMD';
SET LOCAL "IntervalStyle" = 'postgres';
SET LOCAL "extra_float_digits" = '1';
SET LOCAL "bytea_output" = 'hex';
DO $tenantry$
DECLARE
  rows_before pg_catalog.text;
  rows_after pg_catalog.text;
  -- Citus copies rows with COPY, which is refused while policies apply to the role: to an owner, because of FORCE.
  hidden CONSTANT pg_catalog.bool := pg_catalog.row_security_active(pg_catalog.to_regclass('"public"."tenants"'));
BEGIN
  IF hidden THEN
    EXECUTE 'ALTER TABLE "public"."tenants" NO FORCE ROW LEVEL SECURITY';
  END IF;
  EXECUTE 'SELECT ROW(pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(t::pg_catalog.text, 0)))::pg_catalog.text FROM "public"."tenants" AS t' INTO rows_before;
  PERFORM pg_catalog.create_reference_table('"public"."tenants"'::pg_catalog.regclass);
  EXECUTE 'SELECT ROW(pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(t::pg_catalog.text, 0)))::pg_catalog.text FROM "public"."tenants" AS t' INTO rows_after;
  IF rows_before <> rows_after THEN
    RAISE EXCEPTION 'the rows of % differ: % before, and % after', 'public.tenants', rows_before, rows_after;
  END IF;
  IF hidden THEN
    EXECUTE 'ALTER TABLE "public"."tenants" FORCE ROW LEVEL SECURITY';
  END IF;
END
$tenantry$;
-- public.escolas: distribute by tenant_id
DO $tenantry$BEGIN RAISE EXCEPTION USING MESSAGE = pg_catalog.format('the rows of %s differed once it was distributed, and those from before are in %s', 'public.escolas', 'tenantry.before_distribution_escolas_72e08bf3'), HINT = 'Compare and correct them, drop that table, and run the same command again.'; END$tenantry$;
SET LOCAL "TimeZone" = 'UTC';
SET LOCAL "DateStyle" = 'ISO, YMD';
SET LOCAL "IntervalStyle" = 'postgres';
SET LOCAL "extra_float_digits" = '1';
SET LOCAL "bytea_output" = 'hex';
DO $tenantry$
DECLARE
  rows_before pg_catalog.text;
  rows_after pg_catalog.text;
  -- Citus copies rows with COPY, which is refused while policies apply to the role: to an owner, because of FORCE.
  hidden CONSTANT pg_catalog.bool := pg_catalog.row_security_active(pg_catalog.to_regclass('"public"."escolas"'));
BEGIN
  IF hidden THEN
    EXECUTE 'ALTER TABLE "public"."escolas" NO FORCE ROW LEVEL SECURITY';
  END IF;
  EXECUTE 'SELECT ROW(pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(t::pg_catalog.text, 0)))::pg_catalog.text FROM "public"."escolas" AS t' INTO rows_before;
  PERFORM pg_catalog.create_distributed_table('"public"."escolas"'::pg_catalog.regclass, 'tenant_id', colocate_with => 'none');
  EXECUTE 'SELECT ROW(pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(t::pg_catalog.text, 0)))::pg_catalog.text FROM "public"."escolas" AS t' INTO rows_after;
  IF rows_before <> rows_after THEN
    RAISE EXCEPTION 'the rows of % differ: % before, and % after', 'public.escolas', rows_before, rows_after;
  END IF;
  IF hidden THEN
    EXECUTE 'ALTER TABLE "public"."escolas" FORCE ROW LEVEL SECURITY';
  END IF;
END
$tenantry$;
-- public.estoque_alertas: distribute by tenant_id
DO $tenantry$BEGIN RAISE EXCEPTION USING MESSAGE = pg_catalog.format('the rows of %s differed once it was distributed, and those from before are in %s', 'public.estoque_alertas', 'tenantry.before_distribution_estoque_alertas_993f1e40'), HINT = 'Compare and correct them, drop that table, and run the same command again.'; END$tenantry$;
SET LOCAL "TimeZone" = 'UTC';
SET LOCAL "DateStyle" = 'ISO, YMD';
SET LOCAL "IntervalStyle" = 'postgres';
SET LOCAL "extra_float_digits" = '1';
SET LOCAL "bytea_output" = 'hex';
DO $tenantry$
DECLARE
  rows_before pg_catalog.text;
  rows_after pg_catalog.text;
  -- Citus copies rows with COPY, which is refused while policies apply to the role: to an owner, because of FORCE.
  hidden CONSTANT pg_catalog.bool := pg_catalog.row_security_active(pg_catalog.to_regclass('"public"."estoque_alertas"'));
BEGIN
  IF hidden THEN
    EXECUTE 'ALTER TABLE "public"."estoque_alertas" NO FORCE ROW LEVEL SECURITY';
  END IF;
  EXECUTE 'SELECT ROW(pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(t::pg_catalog.text, 0)))::pg_catalog.text FROM "public"."estoque_alertas" AS t' INTO rows_before;
  PERFORM pg_catalog.create_distributed_table('"public"."estoque_alertas"'::pg_catalog.regclass, 'tenant_id', colocate_with => '"public"."escolas"');
  EXECUTE 'SELECT ROW(pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(t::pg_catalog.text, 0)))::pg_catalog.text FROM "public"."estoque_alertas" AS t' INTO rows_after;
  IF rows_before <> rows_after THEN
    RAISE EXCEPTION 'the rows of % differ: % before, and % after', 'public.estoque_alertas', rows_before, rows_after;
  END IF;
  IF hidden THEN
    EXECUTE 'ALTER TABLE "public"."estoque_alertas" FORCE ROW LEVEL SECURITY';
  END IF;
END
$tenantry$;
-- public.estoque_escolas: distribute by tenant_id
DO $tenantry$BEGIN RAISE EXCEPTION USING MESSAGE = pg_catalog.format('the rows of %s differed once it was distributed, and those from before are in %s', 'public.estoque_escolas', 'tenantry.before_distribution_estoque_escolas_2844622e'), HINT = 'Compare and correct them, drop that table, and run the same command again.'; END$tenantry$;
SET LOCAL "TimeZone" = 'UTC';
SET LOCAL "DateStyle" = 'ISO, YMD';
SET LOCAL "IntervalStyle" = 'postgres';
SET LOCAL "extra_float_digits" = '1';
SET LOCAL "bytea_output" = 'hex';
DO $tenantry$
DECLARE
  rows_before pg_catalog.text;
  rows_after pg_catalog.text;
  -- Citus copies rows with COPY, which is refused while policies apply to the role: to an owner, because of FORCE.
  hidden CONSTANT pg_catalog.bool := pg_catalog.row_security_active(pg_catalog.to_regclass('"public"."estoque_escolas"'));
BEGIN
  IF hidden THEN
    EXECUTE 'ALTER TABLE "public"."estoque_escolas" NO FORCE ROW LEVEL SECURITY';
  END IF;
  EXECUTE 'SELECT ROW(pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(t::pg_catalog.text, 0)))::pg_catalog.text FROM "public"."estoque_escolas" AS t' INTO rows_before;
  PERFORM pg_catalog.create_distributed_table('"public"."estoque_escolas"'::pg_catalog.regclass, 'tenant_id', colocate_with => '"public"."escolas"');
  EXECUTE 'SELECT ROW(pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(t::pg_catalog.text, 0)))::pg_catalog.text FROM "public"."estoque_escolas" AS t' INTO rows_after;
  IF rows_before <> rows_after THEN
    RAISE EXCEPTION 'the rows of % differ: % before, and % after', 'public.estoque_escolas', rows_before, rows_after;
  END IF;
  IF hidden THEN
    EXECUTE 'ALTER TABLE "public"."estoque_escolas" FORCE ROW LEVEL SECURITY';
  END IF;
END
$tenantry$;
-- public.estoque_escolas_historico: distribute by tenant_id
DO $tenantry$BEGIN RAISE EXCEPTION USING MESSAGE = pg_catalog.format('the rows of %s differed once it was distributed, and those from before are in %s', 'public.estoque_escolas_historico', 'tenantry.before_distribution_estoque_escolas_historico_359a2fab'), HINT = 'Compare and correct them, drop that table, and run the same command again.'; END$tenantry$;
SET LOCAL "TimeZone" = 'UTC';
SET LOCAL "DateStyle" = 'ISO, YMD';
SET LOCAL "IntervalStyle" = 'postgres';
SET LOCAL "extra_float_digits" = '1';
SET LOCAL "bytea_output" = 'hex';
DO $tenantry$
DECLARE
  rows_before pg_catalog.text;
  rows_after pg_catalog.text;
  -- Citus copies rows with COPY, which is refused while policies apply to the role: to an owner, because of FORCE.
  hidden CONSTANT pg_catalog.bool := pg_catalog.row_security_active(pg_catalog.to_regclass('"public"."estoque_escolas_historico"'));
BEGIN
  IF hidden THEN
    EXECUTE 'ALTER TABLE "public"."estoque_escolas_historico" NO FORCE ROW LEVEL SECURITY';
  END IF;
  EXECUTE 'SELECT ROW(pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(t::pg_catalog.text, 0)))::pg_catalog.text FROM "public"."estoque_escolas_historico" AS t' INTO rows_before;
  PERFORM pg_catalog.create_distributed_table('"public"."estoque_escolas_historico"'::pg_catalog.regclass, 'tenant_id', colocate_with => '"public"."escolas"');
  EXECUTE 'SELECT ROW(pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(t::pg_catalog.text, 0)))::pg_catalog.text FROM "public"."estoque_escolas_historico" AS t' INTO rows_after;
  IF rows_before <> rows_after THEN
    RAISE EXCEPTION 'the rows of % differ: % before, and % after', 'public.estoque_escolas_historico', rows_before, rows_after;
  END IF;
  IF hidden THEN
    EXECUTE 'ALTER TABLE "public"."estoque_escolas_historico" FORCE ROW LEVEL SECURITY';
  END IF;
END
$tenantry$;
-- public.estoque_lotes: distribute by tenant_id
DO $tenantry$BEGIN RAISE EXCEPTION USING MESSAGE = pg_catalog.format('the rows of %s differed once it was distributed, and those from before are in %s', 'public.estoque_lotes', 'tenantry.before_distribution_estoque_lotes_57deef3a'), HINT = 'Compare and correct them, drop that table, and run the same command again.'; END$tenantry$;
SET LOCAL "TimeZone" = 'UTC';
SET LOCAL "DateStyle" = 'ISO, YMD';
SET LOCAL "IntervalStyle" = 'postgres';
SET LOCAL "extra_float_digits" = '1';
SET LOCAL "bytea_output" = 'hex';
DO $tenantry$
DECLARE
  rows_before pg_catalog.text;
  rows_after pg_catalog.text;
  -- Citus copies rows with COPY, which is refused while policies apply to the role: to an owner, because of FORCE.
  hidden CONSTANT pg_catalog.bool := pg_catalog.row_security_active(pg_catalog.to_regclass('"public"."estoque_lotes"'));
BEGIN
  IF hidden THEN
    EXECUTE 'ALTER TABLE "public"."estoque_lotes" NO FORCE ROW LEVEL SECURITY';
  END IF;
  EXECUTE 'SELECT ROW(pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(t::pg_catalog.text, 0)))::pg_catalog.text FROM "public"."estoque_lotes" AS t' INTO rows_before;
  PERFORM pg_catalog.create_distributed_table('"public"."estoque_lotes"'::pg_catalog.regclass, 'tenant_id', colocate_with => '"public"."escolas"');
  EXECUTE 'SELECT ROW(pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(t::pg_catalog.text, 0)))::pg_catalog.text FROM "public"."estoque_lotes" AS t' INTO rows_after;
  IF rows_before <> rows_after THEN
    RAISE EXCEPTION 'the rows of % differ: % before, and % after', 'public.estoque_lotes', rows_before, rows_after;
  END IF;
  IF hidden THEN
    EXECUTE 'ALTER TABLE "public"."estoque_lotes" FORCE ROW LEVEL SECURITY';
  END IF;
END
$tenantry$;
-- public.estoque_movimentacoes: distribute by tenant_id
DO $tenantry$BEGIN RAISE EXCEPTION USING MESSAGE = pg_catalog.format('the rows of %s differed once it was distributed, and those from before are in %s', 'public.estoque_movimentacoes', 'tenantry.before_distribution_estoque_movimentacoes_e3a79d50'), HINT = 'Compare and correct them, drop that table, and run the same command again.'; END$tenantry$;
SET LOCAL "TimeZone" = 'UTC';
SET LOCAL "DateStyle" = 'ISO, YMD';
SET LOCAL "IntervalStyle" = 'postgres';
SET LOCAL "extra_float_digits" = '1';
SET LOCAL "bytea_output" = 'hex';
DO $tenantry$
DECLARE
  rows_before pg_catalog.text;
  rows_after pg_catalog.text;
  -- Citus copies rows with COPY, which is refused while policies apply to the role: to an owner, because of FORCE.
  hidden CONSTANT pg_catalog.bool := pg_catalog.row_security_active(pg_catalog.to_regclass('"public"."estoque_movimentacoes"'));
BEGIN
  IF hidden THEN
    EXECUTE 'ALTER TABLE "public"."estoque_movimentacoes" NO FORCE ROW LEVEL SECURITY';
  END IF;
  EXECUTE 'SELECT ROW(pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(t::pg_catalog.text, 0)))::pg_catalog.text FROM "public"."estoque_movimentacoes" AS t' INTO rows_before;
  PERFORM pg_catalog.create_distributed_table('"public"."estoque_movimentacoes"'::pg_catalog.regclass, 'tenant_id', colocate_with => '"public"."escolas"');
  EXECUTE 'SELECT ROW(pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(t::pg_catalog.text, 0)))::pg_catalog.text FROM "public"."estoque_movimentacoes" AS t' INTO rows_after;
  IF rows_before <> rows_after THEN
    RAISE EXCEPTION 'the rows of % differ: % before, and % after', 'public.estoque_movimentacoes', rows_before, rows_after;
  END IF;
  IF hidden THEN
    EXECUTE 'ALTER TABLE "public"."estoque_movimentacoes" FORCE ROW LEVEL SECURITY';
  END IF;
END
$tenantry$;
-- public.usuarios: distribute by tenant_id
DO $tenantry$BEGIN RAISE EXCEPTION USING MESSAGE = pg_catalog.format('the rows of %s differed once it was distributed, and those from before are in %s', 'public.usuarios', 'tenantry.before_distribution_usuarios_c8208ef3'), HINT = 'Compare and correct them, drop that table, and run the same command again.'; END$tenantry$;
SET LOCAL "TimeZone" = 'UTC';
SET LOCAL "DateStyle" = 'ISO, YMD';
SET LOCAL "IntervalStyle" = 'postgres';
SET LOCAL "extra_float_digits" = '1';
SET LOCAL "bytea_output" = 'hex';
DO $tenantry$
DECLARE
  rows_before pg_catalog.text;
  rows_after pg_catalog.text;
  -- Citus copies rows with COPY, which is refused while policies apply to the role: to an owner, because of FORCE.
  hidden CONSTANT pg_catalog.bool := pg_catalog.row_security_active(pg_catalog.to_regclass('"public"."usuarios"'));
BEGIN
  IF hidden THEN
    EXECUTE 'ALTER TABLE "public"."usuarios" NO FORCE ROW LEVEL SECURITY';
  END IF;
  EXECUTE 'SELECT ROW(pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(t::pg_catalog.text, 0)))::pg_catalog.text FROM "public"."usuarios" AS t' INTO rows_before;
  PERFORM pg_catalog.create_distributed_table('"public"."usuarios"'::pg_catalog.regclass, 'tenant_id', colocate_with => '"public"."escolas"');
  EXECUTE 'SELECT ROW(pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(t::pg_catalog.text, 0)))::pg_catalog.text FROM "public"."usuarios" AS t' INTO rows_after;
  IF rows_before <> rows_after THEN
    RAISE EXCEPTION 'the rows of % differ: % before, and % after', 'public.usuarios', rows_before, rows_after;
  END IF;
  IF hidden THEN
    EXECUTE 'ALTER TABLE "public"."usuarios" FORCE ROW LEVEL SECURITY';
  END IF;
END
$tenantry$;
-- public.produtos: remove the rows that the coordinator has besides the shards
SELECT pg_catalog.truncate_local_data_after_distributing_table('"public"."produtos"'::pg_catalog.regclass);
-- public.tenants: remove the rows that the coordinator has besides the shards
SELECT pg_catalog.truncate_local_data_after_distributing_table('"public"."tenants"'::pg_catalog.regclass);
-- public.escolas: remove the rows that the coordinator has besides the shards
SELECT pg_catalog.truncate_local_data_after_distributing_table('"public"."escolas"'::pg_catalog.regclass);
-- public.estoque_alertas: remove the rows that the coordinator has besides the shards
SELECT pg_catalog.truncate_local_data_after_distributing_table('"public"."estoque_alertas"'::pg_catalog.regclass);
-- public.estoque_escolas: remove the rows that the coordinator has besides the shards
SELECT pg_catalog.truncate_local_data_after_distributing_table('"public"."estoque_escolas"'::pg_catalog.regclass);
-- public.estoque_escolas_historico: remove the rows that the coordinator has besides the shards
SELECT pg_catalog.truncate_local_data_after_distributing_table('"public"."estoque_escolas_historico"'::pg_catalog.regclass);
-- public.estoque_lotes: remove the rows that the coordinator has besides the shards
SELECT pg_catalog.truncate_local_data_after_distributing_table('"public"."estoque_lotes"'::pg_catalog.regclass);
-- public.estoque_movimentacoes: remove the rows that the coordinator has besides the shards
SELECT pg_catalog.truncate_local_data_after_distributing_table('"public"."estoque_movimentacoes"'::pg_catalog.regclass);
-- public.usuarios: remove the rows that the coordinator has besides the shards
SELECT pg_catalog.truncate_local_data_after_distributing_table('"public"."usuarios"'::pg_catalog.regclass);
-- public.estoque_escolas: add the foreign key tenantry_estoque_escolas_escola_id_fkey to public.escolas on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."estoque_escolas" ADD CONSTRAINT "tenantry_estoque_escolas_escola_id_fkey" FOREIGN KEY ("escola_id", "tenant_id") REFERENCES "public"."escolas" ("id", "tenant_id") ON UPDATE NO ACTION ON DELETE CASCADE NOT VALID; END$tenantry$;
-- public.estoque_escolas_historico: add the foreign key tenantry_estoque_escolas_historico_escola_id_fkey to public.escolas on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."estoque_escolas_historico" ADD CONSTRAINT "tenantry_estoque_escolas_historico_escola_id_fkey" FOREIGN KEY ("escola_id", "tenant_id") REFERENCES "public"."escolas" ("id", "tenant_id") ON UPDATE NO ACTION ON DELETE CASCADE NOT VALID; END$tenantry$;
-- public.estoque_escolas_historico: add the foreign key tenantry_estoque_escolas_historico_estoque_escola_id_fkey to public.estoque_escolas on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."estoque_escolas_historico" ADD CONSTRAINT "tenantry_estoque_escolas_historico_estoque_escola_id_fkey" FOREIGN KEY ("estoque_escola_id", "tenant_id") REFERENCES "public"."estoque_escolas" ("id", "tenant_id") ON UPDATE NO ACTION ON DELETE CASCADE NOT VALID; END$tenantry$;
-- public.estoque_movimentacoes: add the foreign key tenantry_estoque_movimentacoes_escola_id_fkey to public.escolas on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."estoque_movimentacoes" ADD CONSTRAINT "tenantry_estoque_movimentacoes_escola_id_fkey" FOREIGN KEY ("escola_id", "tenant_id") REFERENCES "public"."escolas" ("id", "tenant_id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID; END$tenantry$;
-- public.usuarios: add the foreign key tenantry_usuarios_escola_id_fkey to public.escolas on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."usuarios" ADD CONSTRAINT "tenantry_usuarios_escola_id_fkey" FOREIGN KEY ("escola_id", "tenant_id") REFERENCES "public"."escolas" ("id", "tenant_id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID; END$tenantry$;
-- public.estoque_escolas: add the foreign key tenantry_estoque_escolas_usuario_ultima_atualizacao_fkey to public.usuarios on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."estoque_escolas" ADD CONSTRAINT "tenantry_estoque_escolas_usuario_ultima_atualizacao_fkey" FOREIGN KEY ("usuario_ultima_atualizacao", "tenant_id") REFERENCES "public"."usuarios" ("id", "tenant_id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID; END$tenantry$;
-- public.estoque_escolas_historico: add the foreign key tenantry_estoque_escolas_historico_usuario_id_fkey to public.usuarios on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."estoque_escolas_historico" ADD CONSTRAINT "tenantry_estoque_escolas_historico_usuario_id_fkey" FOREIGN KEY ("usuario_id", "tenant_id") REFERENCES "public"."usuarios" ("id", "tenant_id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID; END$tenantry$;
-- public.estoque_movimentacoes: add the foreign key tenantry_estoque_movimentacoes_lote_id_fkey to public.estoque_lotes on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."estoque_movimentacoes" ADD CONSTRAINT "tenantry_estoque_movimentacoes_lote_id_fkey" FOREIGN KEY ("lote_id", "tenant_id") REFERENCES "public"."estoque_lotes" ("id", "tenant_id") ON UPDATE NO ACTION ON DELETE CASCADE NOT VALID; END$tenantry$;
-- public.estoque_movimentacoes: add the foreign key tenantry_estoque_movimentacoes_usuario_id_fkey to public.usuarios on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."estoque_movimentacoes" ADD CONSTRAINT "tenantry_estoque_movimentacoes_usuario_id_fkey" FOREIGN KEY ("usuario_id", "tenant_id") REFERENCES "public"."usuarios" ("id", "tenant_id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID; END$tenantry$;
-- public.estoque_alertas: add the foreign key tenantry_estoque_alertas_lote_id_fkey to public.estoque_lotes on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."estoque_alertas" ADD CONSTRAINT "tenantry_estoque_alertas_lote_id_fkey" FOREIGN KEY ("lote_id", "tenant_id") REFERENCES "public"."estoque_lotes" ("id", "tenant_id") ON UPDATE NO ACTION ON DELETE CASCADE NOT VALID; END$tenantry$;
-- public.estoque_escolas: add the foreign key tenantry_tenant_fkey to public.tenants on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."estoque_escolas" ADD CONSTRAINT "tenantry_tenant_fkey" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants" ("id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID; END$tenantry$;
-- public.estoque_escolas_historico: add the foreign key tenantry_tenant_fkey to public.tenants on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."estoque_escolas_historico" ADD CONSTRAINT "tenantry_tenant_fkey" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants" ("id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID; END$tenantry$;
-- public.estoque_lotes: add the foreign key tenantry_tenant_fkey to public.tenants on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."estoque_lotes" ADD CONSTRAINT "tenantry_tenant_fkey" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants" ("id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID; END$tenantry$;
-- public.estoque_movimentacoes: add the foreign key tenantry_tenant_fkey to public.tenants on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."estoque_movimentacoes" ADD CONSTRAINT "tenantry_tenant_fkey" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants" ("id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID; END$tenantry$;
-- public.estoque_alertas: add the foreign key tenantry_tenant_fkey to public.tenants on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."estoque_alertas" ADD CONSTRAINT "tenantry_tenant_fkey" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants" ("id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID; END$tenantry$;
-- public.usuarios: add the foreign key tenantry_tenant_fkey to public.tenants on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."usuarios" ADD CONSTRAINT "tenantry_tenant_fkey" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants" ("id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID; END$tenantry$;
-- public.escolas: add the foreign key escolas_tenant_id_fkey to public.tenants on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."escolas" ADD CONSTRAINT "escolas_tenant_id_fkey" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants" ("id") ON UPDATE NO ACTION ON DELETE RESTRICT NOT VALID; END$tenantry$;
-- public.estoque_alertas: add the foreign key estoque_alertas_produto_id_fkey to public.produtos on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."estoque_alertas" ADD CONSTRAINT "estoque_alertas_produto_id_fkey" FOREIGN KEY ("produto_id") REFERENCES "public"."produtos" ("id") ON UPDATE NO ACTION ON DELETE CASCADE NOT VALID; END$tenantry$;
-- public.estoque_escolas: add the foreign key estoque_escolas_produto_id_fkey to public.produtos on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."estoque_escolas" ADD CONSTRAINT "estoque_escolas_produto_id_fkey" FOREIGN KEY ("produto_id") REFERENCES "public"."produtos" ("id") ON UPDATE NO ACTION ON DELETE RESTRICT NOT VALID; END$tenantry$;
-- public.estoque_escolas_historico: add the foreign key estoque_escolas_historico_produto_id_fkey to public.produtos on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."estoque_escolas_historico" ADD CONSTRAINT "estoque_escolas_historico_produto_id_fkey" FOREIGN KEY ("produto_id") REFERENCES "public"."produtos" ("id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID; END$tenantry$;
-- public.estoque_lotes: add the foreign key estoque_lotes_produto_id_fkey to public.produtos on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."estoque_lotes" ADD CONSTRAINT "estoque_lotes_produto_id_fkey" FOREIGN KEY ("produto_id") REFERENCES "public"."produtos" ("id") ON UPDATE NO ACTION ON DELETE RESTRICT NOT VALID; END$tenantry$;
-- public.estoque_movimentacoes: add the foreign key estoque_movimentacoes_produto_id_fkey to public.produtos on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."estoque_movimentacoes" ADD CONSTRAINT "estoque_movimentacoes_produto_id_fkey" FOREIGN KEY ("produto_id") REFERENCES "public"."produtos" ("id") ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID; END$tenantry$;
-- public.estoque_escolas: validate the foreign key tenantry_estoque_escolas_escola_id_fkey to public.escolas on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."estoque_escolas" VALIDATE CONSTRAINT "tenantry_estoque_escolas_escola_id_fkey"; END$tenantry$;
-- public.estoque_escolas_historico: validate the foreign key tenantry_estoque_escolas_historico_escola_id_fkey to public.escolas on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."estoque_escolas_historico" VALIDATE CONSTRAINT "tenantry_estoque_escolas_historico_escola_id_fkey"; END$tenantry$;
-- public.estoque_escolas_historico: validate the foreign key tenantry_estoque_escolas_historico_estoque_escola_id_fkey to public.estoque_escolas on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."estoque_escolas_historico" VALIDATE CONSTRAINT "tenantry_estoque_escolas_historico_estoque_escola_id_fkey"; END$tenantry$;
-- public.estoque_movimentacoes: validate the foreign key tenantry_estoque_movimentacoes_escola_id_fkey to public.escolas on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."estoque_movimentacoes" VALIDATE CONSTRAINT "tenantry_estoque_movimentacoes_escola_id_fkey"; END$tenantry$;
-- public.usuarios: validate the foreign key tenantry_usuarios_escola_id_fkey to public.escolas on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."usuarios" VALIDATE CONSTRAINT "tenantry_usuarios_escola_id_fkey"; END$tenantry$;
-- public.estoque_escolas: validate the foreign key tenantry_estoque_escolas_usuario_ultima_atualizacao_fkey to public.usuarios on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."estoque_escolas" VALIDATE CONSTRAINT "tenantry_estoque_escolas_usuario_ultima_atualizacao_fkey"; END$tenantry$;
-- public.estoque_escolas_historico: validate the foreign key tenantry_estoque_escolas_historico_usuario_id_fkey to public.usuarios on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."estoque_escolas_historico" VALIDATE CONSTRAINT "tenantry_estoque_escolas_historico_usuario_id_fkey"; END$tenantry$;
-- public.estoque_movimentacoes: validate the foreign key tenantry_estoque_movimentacoes_lote_id_fkey to public.estoque_lotes on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."estoque_movimentacoes" VALIDATE CONSTRAINT "tenantry_estoque_movimentacoes_lote_id_fkey"; END$tenantry$;
-- public.estoque_movimentacoes: validate the foreign key tenantry_estoque_movimentacoes_usuario_id_fkey to public.usuarios on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."estoque_movimentacoes" VALIDATE CONSTRAINT "tenantry_estoque_movimentacoes_usuario_id_fkey"; END$tenantry$;
-- public.estoque_alertas: validate the foreign key tenantry_estoque_alertas_lote_id_fkey to public.estoque_lotes on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."estoque_alertas" VALIDATE CONSTRAINT "tenantry_estoque_alertas_lote_id_fkey"; END$tenantry$;
-- public.estoque_escolas: validate the foreign key tenantry_tenant_fkey to public.tenants on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."estoque_escolas" VALIDATE CONSTRAINT "tenantry_tenant_fkey"; END$tenantry$;
-- public.estoque_escolas_historico: validate the foreign key tenantry_tenant_fkey to public.tenants on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."estoque_escolas_historico" VALIDATE CONSTRAINT "tenantry_tenant_fkey"; END$tenantry$;
-- public.estoque_lotes: validate the foreign key tenantry_tenant_fkey to public.tenants on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."estoque_lotes" VALIDATE CONSTRAINT "tenantry_tenant_fkey"; END$tenantry$;
-- public.estoque_movimentacoes: validate the foreign key tenantry_tenant_fkey to public.tenants on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."estoque_movimentacoes" VALIDATE CONSTRAINT "tenantry_tenant_fkey"; END$tenantry$;
-- public.estoque_alertas: validate the foreign key tenantry_tenant_fkey to public.tenants on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."estoque_alertas" VALIDATE CONSTRAINT "tenantry_tenant_fkey"; END$tenantry$;
-- public.usuarios: validate the foreign key tenantry_tenant_fkey to public.tenants on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."usuarios" VALIDATE CONSTRAINT "tenantry_tenant_fkey"; END$tenantry$;
-- public.escolas: validate the foreign key escolas_tenant_id_fkey to public.tenants on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."escolas" VALIDATE CONSTRAINT "escolas_tenant_id_fkey"; END$tenantry$;
-- public.estoque_alertas: validate the foreign key estoque_alertas_produto_id_fkey to public.produtos on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."estoque_alertas" VALIDATE CONSTRAINT "estoque_alertas_produto_id_fkey"; END$tenantry$;
-- public.estoque_escolas: validate the foreign key estoque_escolas_produto_id_fkey to public.produtos on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."estoque_escolas" VALIDATE CONSTRAINT "estoque_escolas_produto_id_fkey"; END$tenantry$;
-- public.estoque_escolas_historico: validate the foreign key estoque_escolas_historico_produto_id_fkey to public.produtos on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."estoque_escolas_historico" VALIDATE CONSTRAINT "estoque_escolas_historico_produto_id_fkey"; END$tenantry$;
-- public.estoque_lotes: validate the foreign key estoque_lotes_produto_id_fkey to public.produtos on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."estoque_lotes" VALIDATE CONSTRAINT "estoque_lotes_produto_id_fkey"; END$tenantry$;
-- public.estoque_movimentacoes: validate the foreign key estoque_movimentacoes_produto_id_fkey to public.produtos on all nodes
DO $tenantry$BEGIN SET LOCAL citus.multi_shard_modify_mode = 'sequential'; ALTER TABLE "public"."estoque_movimentacoes" VALIDATE CONSTRAINT "estoque_movimentacoes_produto_id_fkey"; END$tenantry$;
-- public.produtos: compare the policies and privileges of its shards on all nodes
DO $tenantry$DECLARE one record; BEGIN FOR one IN SELECT p.nodename, p.nodeport, p.shardid, p.success, p.result, (
WITH pinned AS MATERIALIZED (SELECT pg_catalog.set_config('search_path', 'pg_catalog', true))
SELECT concat_ws(E'\n', 'row security ' || c.relrowsecurity, 'forced ' || c.relforcerowsecurity,
  (SELECT string_agg(concat_ws(' ', quote_ident(p.polname),
     CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END,
     p.polcmd, ARRAY(SELECT CASE r WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(r)::text END
                     FROM unnest(p.polroles) AS r ORDER BY 1),
     'using', pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid)),
     E'\n' ORDER BY p.polname)
   FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid),
  (SELECT string_agg(concat(CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(e.grantee)::text END, ' ',
     e.privilege_type), E'\n' ORDER BY CASE e.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(e.grantee)::text END,
     e.privilege_type)
   FROM aclexplode(c.relacl) AS e WHERE e.grantee <> c.relowner))
FROM pinned, pg_catalog.pg_class c WHERE c.oid = '"public"."produtos"'::pg_catalog.regclass) AS wanted FROM pg_catalog.run_command_on_placements('"public"."produtos"'::pg_catalog.regclass,  E'
WITH pinned AS MATERIALIZED (SELECT pg_catalog.set_config(''search_path'', ''pg_catalog'', true))
SELECT concat_ws(E''\\n'', ''row security '' || c.relrowsecurity, ''forced '' || c.relforcerowsecurity,
  (SELECT string_agg(concat_ws('' '', quote_ident(p.polname),
     CASE WHEN p.polpermissive THEN ''permissive'' ELSE ''restrictive'' END,
     p.polcmd, ARRAY(SELECT CASE r WHEN 0 THEN ''PUBLIC'' ELSE pg_get_userbyid(r)::text END
                     FROM unnest(p.polroles) AS r ORDER BY 1),
     ''using'', pg_get_expr(p.polqual, p.polrelid), ''check'', pg_get_expr(p.polwithcheck, p.polrelid)),
     E''\\n'' ORDER BY p.polname)
   FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid),
  (SELECT string_agg(concat(CASE e.grantee WHEN 0 THEN ''PUBLIC'' ELSE pg_get_userbyid(e.grantee)::text END, '' '',
     e.privilege_type), E''\\n'' ORDER BY CASE e.grantee WHEN 0 THEN '''' ELSE pg_get_userbyid(e.grantee)::text END,
     e.privilege_type)
   FROM aclexplode(c.relacl) AS e WHERE e.grantee <> c.relowner))
FROM pinned, pg_catalog.pg_class c WHERE c.oid = ''%1$s''::pg_catalog.regclass') AS p WHERE NOT p.success OR p.result IS DISTINCT FROM (
WITH pinned AS MATERIALIZED (SELECT pg_catalog.set_config('search_path', 'pg_catalog', true))
SELECT concat_ws(E'\n', 'row security ' || c.relrowsecurity, 'forced ' || c.relforcerowsecurity,
  (SELECT string_agg(concat_ws(' ', quote_ident(p.polname),
     CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END,
     p.polcmd, ARRAY(SELECT CASE r WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(r)::text END
                     FROM unnest(p.polroles) AS r ORDER BY 1),
     'using', pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid)),
     E'\n' ORDER BY p.polname)
   FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid),
  (SELECT string_agg(concat(CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(e.grantee)::text END, ' ',
     e.privilege_type), E'\n' ORDER BY CASE e.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(e.grantee)::text END,
     e.privilege_type)
   FROM aclexplode(c.relacl) AS e WHERE e.grantee <> c.relowner))
FROM pinned, pg_catalog.pg_class c WHERE c.oid = '"public"."produtos"'::pg_catalog.regclass) LOOP RAISE EXCEPTION USING MESSAGE = pg_catalog.format('shard %s of %s on %s:%s has other policies or privileges than the table', one.shardid, '"public.produtos"', one.nodename, one.nodeport), DETAIL = pg_catalog.format(E'The shard:\n%s\nThe table:\n%s', one.result, one.wanted); END LOOP; END$tenantry$;
-- public.tenants: compare the policies and privileges of its shards on all nodes
DO $tenantry$DECLARE one record; BEGIN FOR one IN SELECT p.nodename, p.nodeport, p.shardid, p.success, p.result, (
WITH pinned AS MATERIALIZED (SELECT pg_catalog.set_config('search_path', 'pg_catalog', true))
SELECT concat_ws(E'\n', 'row security ' || c.relrowsecurity, 'forced ' || c.relforcerowsecurity,
  (SELECT string_agg(concat_ws(' ', quote_ident(p.polname),
     CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END,
     p.polcmd, ARRAY(SELECT CASE r WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(r)::text END
                     FROM unnest(p.polroles) AS r ORDER BY 1),
     'using', pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid)),
     E'\n' ORDER BY p.polname)
   FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid),
  (SELECT string_agg(concat(CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(e.grantee)::text END, ' ',
     e.privilege_type), E'\n' ORDER BY CASE e.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(e.grantee)::text END,
     e.privilege_type)
   FROM aclexplode(c.relacl) AS e WHERE e.grantee <> c.relowner))
FROM pinned, pg_catalog.pg_class c WHERE c.oid = '"public"."tenants"'::pg_catalog.regclass) AS wanted FROM pg_catalog.run_command_on_placements('"public"."tenants"'::pg_catalog.regclass,  E'
WITH pinned AS MATERIALIZED (SELECT pg_catalog.set_config(''search_path'', ''pg_catalog'', true))
SELECT concat_ws(E''\\n'', ''row security '' || c.relrowsecurity, ''forced '' || c.relforcerowsecurity,
  (SELECT string_agg(concat_ws('' '', quote_ident(p.polname),
     CASE WHEN p.polpermissive THEN ''permissive'' ELSE ''restrictive'' END,
     p.polcmd, ARRAY(SELECT CASE r WHEN 0 THEN ''PUBLIC'' ELSE pg_get_userbyid(r)::text END
                     FROM unnest(p.polroles) AS r ORDER BY 1),
     ''using'', pg_get_expr(p.polqual, p.polrelid), ''check'', pg_get_expr(p.polwithcheck, p.polrelid)),
     E''\\n'' ORDER BY p.polname)
   FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid),
  (SELECT string_agg(concat(CASE e.grantee WHEN 0 THEN ''PUBLIC'' ELSE pg_get_userbyid(e.grantee)::text END, '' '',
     e.privilege_type), E''\\n'' ORDER BY CASE e.grantee WHEN 0 THEN '''' ELSE pg_get_userbyid(e.grantee)::text END,
     e.privilege_type)
   FROM aclexplode(c.relacl) AS e WHERE e.grantee <> c.relowner))
FROM pinned, pg_catalog.pg_class c WHERE c.oid = ''%1$s''::pg_catalog.regclass') AS p WHERE NOT p.success OR p.result IS DISTINCT FROM (
WITH pinned AS MATERIALIZED (SELECT pg_catalog.set_config('search_path', 'pg_catalog', true))
SELECT concat_ws(E'\n', 'row security ' || c.relrowsecurity, 'forced ' || c.relforcerowsecurity,
  (SELECT string_agg(concat_ws(' ', quote_ident(p.polname),
     CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END,
     p.polcmd, ARRAY(SELECT CASE r WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(r)::text END
                     FROM unnest(p.polroles) AS r ORDER BY 1),
     'using', pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid)),
     E'\n' ORDER BY p.polname)
   FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid),
  (SELECT string_agg(concat(CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(e.grantee)::text END, ' ',
     e.privilege_type), E'\n' ORDER BY CASE e.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(e.grantee)::text END,
     e.privilege_type)
   FROM aclexplode(c.relacl) AS e WHERE e.grantee <> c.relowner))
FROM pinned, pg_catalog.pg_class c WHERE c.oid = '"public"."tenants"'::pg_catalog.regclass) LOOP RAISE EXCEPTION USING MESSAGE = pg_catalog.format('shard %s of %s on %s:%s has other policies or privileges than the table', one.shardid, '"public.tenants"', one.nodename, one.nodeport), DETAIL = pg_catalog.format(E'The shard:\n%s\nThe table:\n%s', one.result, one.wanted); END LOOP; END$tenantry$;
-- public.escolas: compare the policies and privileges of its shards on all nodes
DO $tenantry$DECLARE one record; BEGIN FOR one IN SELECT p.nodename, p.nodeport, p.shardid, p.success, p.result, (
WITH pinned AS MATERIALIZED (SELECT pg_catalog.set_config('search_path', 'pg_catalog', true))
SELECT concat_ws(E'\n', 'row security ' || c.relrowsecurity, 'forced ' || c.relforcerowsecurity,
  (SELECT string_agg(concat_ws(' ', quote_ident(p.polname),
     CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END,
     p.polcmd, ARRAY(SELECT CASE r WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(r)::text END
                     FROM unnest(p.polroles) AS r ORDER BY 1),
     'using', pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid)),
     E'\n' ORDER BY p.polname)
   FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid),
  (SELECT string_agg(concat(CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(e.grantee)::text END, ' ',
     e.privilege_type), E'\n' ORDER BY CASE e.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(e.grantee)::text END,
     e.privilege_type)
   FROM aclexplode(c.relacl) AS e WHERE e.grantee <> c.relowner))
FROM pinned, pg_catalog.pg_class c WHERE c.oid = '"public"."escolas"'::pg_catalog.regclass) AS wanted FROM pg_catalog.run_command_on_placements('"public"."escolas"'::pg_catalog.regclass,  E'
WITH pinned AS MATERIALIZED (SELECT pg_catalog.set_config(''search_path'', ''pg_catalog'', true))
SELECT concat_ws(E''\\n'', ''row security '' || c.relrowsecurity, ''forced '' || c.relforcerowsecurity,
  (SELECT string_agg(concat_ws('' '', quote_ident(p.polname),
     CASE WHEN p.polpermissive THEN ''permissive'' ELSE ''restrictive'' END,
     p.polcmd, ARRAY(SELECT CASE r WHEN 0 THEN ''PUBLIC'' ELSE pg_get_userbyid(r)::text END
                     FROM unnest(p.polroles) AS r ORDER BY 1),
     ''using'', pg_get_expr(p.polqual, p.polrelid), ''check'', pg_get_expr(p.polwithcheck, p.polrelid)),
     E''\\n'' ORDER BY p.polname)
   FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid),
  (SELECT string_agg(concat(CASE e.grantee WHEN 0 THEN ''PUBLIC'' ELSE pg_get_userbyid(e.grantee)::text END, '' '',
     e.privilege_type), E''\\n'' ORDER BY CASE e.grantee WHEN 0 THEN '''' ELSE pg_get_userbyid(e.grantee)::text END,
     e.privilege_type)
   FROM aclexplode(c.relacl) AS e WHERE e.grantee <> c.relowner))
FROM pinned, pg_catalog.pg_class c WHERE c.oid = ''%1$s''::pg_catalog.regclass') AS p WHERE NOT p.success OR p.result IS DISTINCT FROM (
WITH pinned AS MATERIALIZED (SELECT pg_catalog.set_config('search_path', 'pg_catalog', true))
SELECT concat_ws(E'\n', 'row security ' || c.relrowsecurity, 'forced ' || c.relforcerowsecurity,
  (SELECT string_agg(concat_ws(' ', quote_ident(p.polname),
     CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END,
     p.polcmd, ARRAY(SELECT CASE r WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(r)::text END
                     FROM unnest(p.polroles) AS r ORDER BY 1),
     'using', pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid)),
     E'\n' ORDER BY p.polname)
   FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid),
  (SELECT string_agg(concat(CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(e.grantee)::text END, ' ',
     e.privilege_type), E'\n' ORDER BY CASE e.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(e.grantee)::text END,
     e.privilege_type)
   FROM aclexplode(c.relacl) AS e WHERE e.grantee <> c.relowner))
FROM pinned, pg_catalog.pg_class c WHERE c.oid = '"public"."escolas"'::pg_catalog.regclass) LOOP RAISE EXCEPTION USING MESSAGE = pg_catalog.format('shard %s of %s on %s:%s has other policies or privileges than the table', one.shardid, '"public.escolas"', one.nodename, one.nodeport), DETAIL = pg_catalog.format(E'The shard:\n%s\nThe table:\n%s', one.result, one.wanted); END LOOP; END$tenantry$;
-- public.estoque_alertas: compare the policies and privileges of its shards on all nodes
DO $tenantry$DECLARE one record; BEGIN FOR one IN SELECT p.nodename, p.nodeport, p.shardid, p.success, p.result, (
WITH pinned AS MATERIALIZED (SELECT pg_catalog.set_config('search_path', 'pg_catalog', true))
SELECT concat_ws(E'\n', 'row security ' || c.relrowsecurity, 'forced ' || c.relforcerowsecurity,
  (SELECT string_agg(concat_ws(' ', quote_ident(p.polname),
     CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END,
     p.polcmd, ARRAY(SELECT CASE r WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(r)::text END
                     FROM unnest(p.polroles) AS r ORDER BY 1),
     'using', pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid)),
     E'\n' ORDER BY p.polname)
   FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid),
  (SELECT string_agg(concat(CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(e.grantee)::text END, ' ',
     e.privilege_type), E'\n' ORDER BY CASE e.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(e.grantee)::text END,
     e.privilege_type)
   FROM aclexplode(c.relacl) AS e WHERE e.grantee <> c.relowner))
FROM pinned, pg_catalog.pg_class c WHERE c.oid = '"public"."estoque_alertas"'::pg_catalog.regclass) AS wanted FROM pg_catalog.run_command_on_placements('"public"."estoque_alertas"'::pg_catalog.regclass,  E'
WITH pinned AS MATERIALIZED (SELECT pg_catalog.set_config(''search_path'', ''pg_catalog'', true))
SELECT concat_ws(E''\\n'', ''row security '' || c.relrowsecurity, ''forced '' || c.relforcerowsecurity,
  (SELECT string_agg(concat_ws('' '', quote_ident(p.polname),
     CASE WHEN p.polpermissive THEN ''permissive'' ELSE ''restrictive'' END,
     p.polcmd, ARRAY(SELECT CASE r WHEN 0 THEN ''PUBLIC'' ELSE pg_get_userbyid(r)::text END
                     FROM unnest(p.polroles) AS r ORDER BY 1),
     ''using'', pg_get_expr(p.polqual, p.polrelid), ''check'', pg_get_expr(p.polwithcheck, p.polrelid)),
     E''\\n'' ORDER BY p.polname)
   FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid),
  (SELECT string_agg(concat(CASE e.grantee WHEN 0 THEN ''PUBLIC'' ELSE pg_get_userbyid(e.grantee)::text END, '' '',
     e.privilege_type), E''\\n'' ORDER BY CASE e.grantee WHEN 0 THEN '''' ELSE pg_get_userbyid(e.grantee)::text END,
     e.privilege_type)
   FROM aclexplode(c.relacl) AS e WHERE e.grantee <> c.relowner))
FROM pinned, pg_catalog.pg_class c WHERE c.oid = ''%1$s''::pg_catalog.regclass') AS p WHERE NOT p.success OR p.result IS DISTINCT FROM (
WITH pinned AS MATERIALIZED (SELECT pg_catalog.set_config('search_path', 'pg_catalog', true))
SELECT concat_ws(E'\n', 'row security ' || c.relrowsecurity, 'forced ' || c.relforcerowsecurity,
  (SELECT string_agg(concat_ws(' ', quote_ident(p.polname),
     CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END,
     p.polcmd, ARRAY(SELECT CASE r WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(r)::text END
                     FROM unnest(p.polroles) AS r ORDER BY 1),
     'using', pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid)),
     E'\n' ORDER BY p.polname)
   FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid),
  (SELECT string_agg(concat(CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(e.grantee)::text END, ' ',
     e.privilege_type), E'\n' ORDER BY CASE e.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(e.grantee)::text END,
     e.privilege_type)
   FROM aclexplode(c.relacl) AS e WHERE e.grantee <> c.relowner))
FROM pinned, pg_catalog.pg_class c WHERE c.oid = '"public"."estoque_alertas"'::pg_catalog.regclass) LOOP RAISE EXCEPTION USING MESSAGE = pg_catalog.format('shard %s of %s on %s:%s has other policies or privileges than the table', one.shardid, '"public.estoque_alertas"', one.nodename, one.nodeport), DETAIL = pg_catalog.format(E'The shard:\n%s\nThe table:\n%s', one.result, one.wanted); END LOOP; END$tenantry$;
-- public.estoque_escolas: compare the policies and privileges of its shards on all nodes
DO $tenantry$DECLARE one record; BEGIN FOR one IN SELECT p.nodename, p.nodeport, p.shardid, p.success, p.result, (
WITH pinned AS MATERIALIZED (SELECT pg_catalog.set_config('search_path', 'pg_catalog', true))
SELECT concat_ws(E'\n', 'row security ' || c.relrowsecurity, 'forced ' || c.relforcerowsecurity,
  (SELECT string_agg(concat_ws(' ', quote_ident(p.polname),
     CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END,
     p.polcmd, ARRAY(SELECT CASE r WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(r)::text END
                     FROM unnest(p.polroles) AS r ORDER BY 1),
     'using', pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid)),
     E'\n' ORDER BY p.polname)
   FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid),
  (SELECT string_agg(concat(CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(e.grantee)::text END, ' ',
     e.privilege_type), E'\n' ORDER BY CASE e.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(e.grantee)::text END,
     e.privilege_type)
   FROM aclexplode(c.relacl) AS e WHERE e.grantee <> c.relowner))
FROM pinned, pg_catalog.pg_class c WHERE c.oid = '"public"."estoque_escolas"'::pg_catalog.regclass) AS wanted FROM pg_catalog.run_command_on_placements('"public"."estoque_escolas"'::pg_catalog.regclass,  E'
WITH pinned AS MATERIALIZED (SELECT pg_catalog.set_config(''search_path'', ''pg_catalog'', true))
SELECT concat_ws(E''\\n'', ''row security '' || c.relrowsecurity, ''forced '' || c.relforcerowsecurity,
  (SELECT string_agg(concat_ws('' '', quote_ident(p.polname),
     CASE WHEN p.polpermissive THEN ''permissive'' ELSE ''restrictive'' END,
     p.polcmd, ARRAY(SELECT CASE r WHEN 0 THEN ''PUBLIC'' ELSE pg_get_userbyid(r)::text END
                     FROM unnest(p.polroles) AS r ORDER BY 1),
     ''using'', pg_get_expr(p.polqual, p.polrelid), ''check'', pg_get_expr(p.polwithcheck, p.polrelid)),
     E''\\n'' ORDER BY p.polname)
   FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid),
  (SELECT string_agg(concat(CASE e.grantee WHEN 0 THEN ''PUBLIC'' ELSE pg_get_userbyid(e.grantee)::text END, '' '',
     e.privilege_type), E''\\n'' ORDER BY CASE e.grantee WHEN 0 THEN '''' ELSE pg_get_userbyid(e.grantee)::text END,
     e.privilege_type)
   FROM aclexplode(c.relacl) AS e WHERE e.grantee <> c.relowner))
FROM pinned, pg_catalog.pg_class c WHERE c.oid = ''%1$s''::pg_catalog.regclass') AS p WHERE NOT p.success OR p.result IS DISTINCT FROM (
WITH pinned AS MATERIALIZED (SELECT pg_catalog.set_config('search_path', 'pg_catalog', true))
SELECT concat_ws(E'\n', 'row security ' || c.relrowsecurity, 'forced ' || c.relforcerowsecurity,
  (SELECT string_agg(concat_ws(' ', quote_ident(p.polname),
     CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END,
     p.polcmd, ARRAY(SELECT CASE r WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(r)::text END
                     FROM unnest(p.polroles) AS r ORDER BY 1),
     'using', pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid)),
     E'\n' ORDER BY p.polname)
   FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid),
  (SELECT string_agg(concat(CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(e.grantee)::text END, ' ',
     e.privilege_type), E'\n' ORDER BY CASE e.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(e.grantee)::text END,
     e.privilege_type)
   FROM aclexplode(c.relacl) AS e WHERE e.grantee <> c.relowner))
FROM pinned, pg_catalog.pg_class c WHERE c.oid = '"public"."estoque_escolas"'::pg_catalog.regclass) LOOP RAISE EXCEPTION USING MESSAGE = pg_catalog.format('shard %s of %s on %s:%s has other policies or privileges than the table', one.shardid, '"public.estoque_escolas"', one.nodename, one.nodeport), DETAIL = pg_catalog.format(E'The shard:\n%s\nThe table:\n%s', one.result, one.wanted); END LOOP; END$tenantry$;
-- public.estoque_escolas_historico: compare the policies and privileges of its shards on all nodes
DO $tenantry$DECLARE one record; BEGIN FOR one IN SELECT p.nodename, p.nodeport, p.shardid, p.success, p.result, (
WITH pinned AS MATERIALIZED (SELECT pg_catalog.set_config('search_path', 'pg_catalog', true))
SELECT concat_ws(E'\n', 'row security ' || c.relrowsecurity, 'forced ' || c.relforcerowsecurity,
  (SELECT string_agg(concat_ws(' ', quote_ident(p.polname),
     CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END,
     p.polcmd, ARRAY(SELECT CASE r WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(r)::text END
                     FROM unnest(p.polroles) AS r ORDER BY 1),
     'using', pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid)),
     E'\n' ORDER BY p.polname)
   FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid),
  (SELECT string_agg(concat(CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(e.grantee)::text END, ' ',
     e.privilege_type), E'\n' ORDER BY CASE e.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(e.grantee)::text END,
     e.privilege_type)
   FROM aclexplode(c.relacl) AS e WHERE e.grantee <> c.relowner))
FROM pinned, pg_catalog.pg_class c WHERE c.oid = '"public"."estoque_escolas_historico"'::pg_catalog.regclass) AS wanted FROM pg_catalog.run_command_on_placements('"public"."estoque_escolas_historico"'::pg_catalog.regclass,  E'
WITH pinned AS MATERIALIZED (SELECT pg_catalog.set_config(''search_path'', ''pg_catalog'', true))
SELECT concat_ws(E''\\n'', ''row security '' || c.relrowsecurity, ''forced '' || c.relforcerowsecurity,
  (SELECT string_agg(concat_ws('' '', quote_ident(p.polname),
     CASE WHEN p.polpermissive THEN ''permissive'' ELSE ''restrictive'' END,
     p.polcmd, ARRAY(SELECT CASE r WHEN 0 THEN ''PUBLIC'' ELSE pg_get_userbyid(r)::text END
                     FROM unnest(p.polroles) AS r ORDER BY 1),
     ''using'', pg_get_expr(p.polqual, p.polrelid), ''check'', pg_get_expr(p.polwithcheck, p.polrelid)),
     E''\\n'' ORDER BY p.polname)
   FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid),
  (SELECT string_agg(concat(CASE e.grantee WHEN 0 THEN ''PUBLIC'' ELSE pg_get_userbyid(e.grantee)::text END, '' '',
     e.privilege_type), E''\\n'' ORDER BY CASE e.grantee WHEN 0 THEN '''' ELSE pg_get_userbyid(e.grantee)::text END,
     e.privilege_type)
   FROM aclexplode(c.relacl) AS e WHERE e.grantee <> c.relowner))
FROM pinned, pg_catalog.pg_class c WHERE c.oid = ''%1$s''::pg_catalog.regclass') AS p WHERE NOT p.success OR p.result IS DISTINCT FROM (
WITH pinned AS MATERIALIZED (SELECT pg_catalog.set_config('search_path', 'pg_catalog', true))
SELECT concat_ws(E'\n', 'row security ' || c.relrowsecurity, 'forced ' || c.relforcerowsecurity,
  (SELECT string_agg(concat_ws(' ', quote_ident(p.polname),
     CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END,
     p.polcmd, ARRAY(SELECT CASE r WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(r)::text END
                     FROM unnest(p.polroles) AS r ORDER BY 1),
     'using', pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid)),
     E'\n' ORDER BY p.polname)
   FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid),
  (SELECT string_agg(concat(CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(e.grantee)::text END, ' ',
     e.privilege_type), E'\n' ORDER BY CASE e.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(e.grantee)::text END,
     e.privilege_type)
   FROM aclexplode(c.relacl) AS e WHERE e.grantee <> c.relowner))
FROM pinned, pg_catalog.pg_class c WHERE c.oid = '"public"."estoque_escolas_historico"'::pg_catalog.regclass) LOOP RAISE EXCEPTION USING MESSAGE = pg_catalog.format('shard %s of %s on %s:%s has other policies or privileges than the table', one.shardid, '"public.estoque_escolas_historico"', one.nodename, one.nodeport), DETAIL = pg_catalog.format(E'The shard:\n%s\nThe table:\n%s', one.result, one.wanted); END LOOP; END$tenantry$;
-- public.estoque_lotes: compare the policies and privileges of its shards on all nodes
DO $tenantry$DECLARE one record; BEGIN FOR one IN SELECT p.nodename, p.nodeport, p.shardid, p.success, p.result, (
WITH pinned AS MATERIALIZED (SELECT pg_catalog.set_config('search_path', 'pg_catalog', true))
SELECT concat_ws(E'\n', 'row security ' || c.relrowsecurity, 'forced ' || c.relforcerowsecurity,
  (SELECT string_agg(concat_ws(' ', quote_ident(p.polname),
     CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END,
     p.polcmd, ARRAY(SELECT CASE r WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(r)::text END
                     FROM unnest(p.polroles) AS r ORDER BY 1),
     'using', pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid)),
     E'\n' ORDER BY p.polname)
   FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid),
  (SELECT string_agg(concat(CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(e.grantee)::text END, ' ',
     e.privilege_type), E'\n' ORDER BY CASE e.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(e.grantee)::text END,
     e.privilege_type)
   FROM aclexplode(c.relacl) AS e WHERE e.grantee <> c.relowner))
FROM pinned, pg_catalog.pg_class c WHERE c.oid = '"public"."estoque_lotes"'::pg_catalog.regclass) AS wanted FROM pg_catalog.run_command_on_placements('"public"."estoque_lotes"'::pg_catalog.regclass,  E'
WITH pinned AS MATERIALIZED (SELECT pg_catalog.set_config(''search_path'', ''pg_catalog'', true))
SELECT concat_ws(E''\\n'', ''row security '' || c.relrowsecurity, ''forced '' || c.relforcerowsecurity,
  (SELECT string_agg(concat_ws('' '', quote_ident(p.polname),
     CASE WHEN p.polpermissive THEN ''permissive'' ELSE ''restrictive'' END,
     p.polcmd, ARRAY(SELECT CASE r WHEN 0 THEN ''PUBLIC'' ELSE pg_get_userbyid(r)::text END
                     FROM unnest(p.polroles) AS r ORDER BY 1),
     ''using'', pg_get_expr(p.polqual, p.polrelid), ''check'', pg_get_expr(p.polwithcheck, p.polrelid)),
     E''\\n'' ORDER BY p.polname)
   FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid),
  (SELECT string_agg(concat(CASE e.grantee WHEN 0 THEN ''PUBLIC'' ELSE pg_get_userbyid(e.grantee)::text END, '' '',
     e.privilege_type), E''\\n'' ORDER BY CASE e.grantee WHEN 0 THEN '''' ELSE pg_get_userbyid(e.grantee)::text END,
     e.privilege_type)
   FROM aclexplode(c.relacl) AS e WHERE e.grantee <> c.relowner))
FROM pinned, pg_catalog.pg_class c WHERE c.oid = ''%1$s''::pg_catalog.regclass') AS p WHERE NOT p.success OR p.result IS DISTINCT FROM (
WITH pinned AS MATERIALIZED (SELECT pg_catalog.set_config('search_path', 'pg_catalog', true))
SELECT concat_ws(E'\n', 'row security ' || c.relrowsecurity, 'forced ' || c.relforcerowsecurity,
  (SELECT string_agg(concat_ws(' ', quote_ident(p.polname),
     CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END,
     p.polcmd, ARRAY(SELECT CASE r WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(r)::text END
                     FROM unnest(p.polroles) AS r ORDER BY 1),
     'using', pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid)),
     E'\n' ORDER BY p.polname)
   FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid),
  (SELECT string_agg(concat(CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(e.grantee)::text END, ' ',
     e.privilege_type), E'\n' ORDER BY CASE e.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(e.grantee)::text END,
     e.privilege_type)
   FROM aclexplode(c.relacl) AS e WHERE e.grantee <> c.relowner))
FROM pinned, pg_catalog.pg_class c WHERE c.oid = '"public"."estoque_lotes"'::pg_catalog.regclass) LOOP RAISE EXCEPTION USING MESSAGE = pg_catalog.format('shard %s of %s on %s:%s has other policies or privileges than the table', one.shardid, '"public.estoque_lotes"', one.nodename, one.nodeport), DETAIL = pg_catalog.format(E'The shard:\n%s\nThe table:\n%s', one.result, one.wanted); END LOOP; END$tenantry$;
-- public.estoque_movimentacoes: compare the policies and privileges of its shards on all nodes
DO $tenantry$DECLARE one record; BEGIN FOR one IN SELECT p.nodename, p.nodeport, p.shardid, p.success, p.result, (
WITH pinned AS MATERIALIZED (SELECT pg_catalog.set_config('search_path', 'pg_catalog', true))
SELECT concat_ws(E'\n', 'row security ' || c.relrowsecurity, 'forced ' || c.relforcerowsecurity,
  (SELECT string_agg(concat_ws(' ', quote_ident(p.polname),
     CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END,
     p.polcmd, ARRAY(SELECT CASE r WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(r)::text END
                     FROM unnest(p.polroles) AS r ORDER BY 1),
     'using', pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid)),
     E'\n' ORDER BY p.polname)
   FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid),
  (SELECT string_agg(concat(CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(e.grantee)::text END, ' ',
     e.privilege_type), E'\n' ORDER BY CASE e.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(e.grantee)::text END,
     e.privilege_type)
   FROM aclexplode(c.relacl) AS e WHERE e.grantee <> c.relowner))
FROM pinned, pg_catalog.pg_class c WHERE c.oid = '"public"."estoque_movimentacoes"'::pg_catalog.regclass) AS wanted FROM pg_catalog.run_command_on_placements('"public"."estoque_movimentacoes"'::pg_catalog.regclass,  E'
WITH pinned AS MATERIALIZED (SELECT pg_catalog.set_config(''search_path'', ''pg_catalog'', true))
SELECT concat_ws(E''\\n'', ''row security '' || c.relrowsecurity, ''forced '' || c.relforcerowsecurity,
  (SELECT string_agg(concat_ws('' '', quote_ident(p.polname),
     CASE WHEN p.polpermissive THEN ''permissive'' ELSE ''restrictive'' END,
     p.polcmd, ARRAY(SELECT CASE r WHEN 0 THEN ''PUBLIC'' ELSE pg_get_userbyid(r)::text END
                     FROM unnest(p.polroles) AS r ORDER BY 1),
     ''using'', pg_get_expr(p.polqual, p.polrelid), ''check'', pg_get_expr(p.polwithcheck, p.polrelid)),
     E''\\n'' ORDER BY p.polname)
   FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid),
  (SELECT string_agg(concat(CASE e.grantee WHEN 0 THEN ''PUBLIC'' ELSE pg_get_userbyid(e.grantee)::text END, '' '',
     e.privilege_type), E''\\n'' ORDER BY CASE e.grantee WHEN 0 THEN '''' ELSE pg_get_userbyid(e.grantee)::text END,
     e.privilege_type)
   FROM aclexplode(c.relacl) AS e WHERE e.grantee <> c.relowner))
FROM pinned, pg_catalog.pg_class c WHERE c.oid = ''%1$s''::pg_catalog.regclass') AS p WHERE NOT p.success OR p.result IS DISTINCT FROM (
WITH pinned AS MATERIALIZED (SELECT pg_catalog.set_config('search_path', 'pg_catalog', true))
SELECT concat_ws(E'\n', 'row security ' || c.relrowsecurity, 'forced ' || c.relforcerowsecurity,
  (SELECT string_agg(concat_ws(' ', quote_ident(p.polname),
     CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END,
     p.polcmd, ARRAY(SELECT CASE r WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(r)::text END
                     FROM unnest(p.polroles) AS r ORDER BY 1),
     'using', pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid)),
     E'\n' ORDER BY p.polname)
   FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid),
  (SELECT string_agg(concat(CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(e.grantee)::text END, ' ',
     e.privilege_type), E'\n' ORDER BY CASE e.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(e.grantee)::text END,
     e.privilege_type)
   FROM aclexplode(c.relacl) AS e WHERE e.grantee <> c.relowner))
FROM pinned, pg_catalog.pg_class c WHERE c.oid = '"public"."estoque_movimentacoes"'::pg_catalog.regclass) LOOP RAISE EXCEPTION USING MESSAGE = pg_catalog.format('shard %s of %s on %s:%s has other policies or privileges than the table', one.shardid, '"public.estoque_movimentacoes"', one.nodename, one.nodeport), DETAIL = pg_catalog.format(E'The shard:\n%s\nThe table:\n%s', one.result, one.wanted); END LOOP; END$tenantry$;
-- public.usuarios: compare the policies and privileges of its shards on all nodes
DO $tenantry$DECLARE one record; BEGIN FOR one IN SELECT p.nodename, p.nodeport, p.shardid, p.success, p.result, (
WITH pinned AS MATERIALIZED (SELECT pg_catalog.set_config('search_path', 'pg_catalog', true))
SELECT concat_ws(E'\n', 'row security ' || c.relrowsecurity, 'forced ' || c.relforcerowsecurity,
  (SELECT string_agg(concat_ws(' ', quote_ident(p.polname),
     CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END,
     p.polcmd, ARRAY(SELECT CASE r WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(r)::text END
                     FROM unnest(p.polroles) AS r ORDER BY 1),
     'using', pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid)),
     E'\n' ORDER BY p.polname)
   FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid),
  (SELECT string_agg(concat(CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(e.grantee)::text END, ' ',
     e.privilege_type), E'\n' ORDER BY CASE e.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(e.grantee)::text END,
     e.privilege_type)
   FROM aclexplode(c.relacl) AS e WHERE e.grantee <> c.relowner))
FROM pinned, pg_catalog.pg_class c WHERE c.oid = '"public"."usuarios"'::pg_catalog.regclass) AS wanted FROM pg_catalog.run_command_on_placements('"public"."usuarios"'::pg_catalog.regclass,  E'
WITH pinned AS MATERIALIZED (SELECT pg_catalog.set_config(''search_path'', ''pg_catalog'', true))
SELECT concat_ws(E''\\n'', ''row security '' || c.relrowsecurity, ''forced '' || c.relforcerowsecurity,
  (SELECT string_agg(concat_ws('' '', quote_ident(p.polname),
     CASE WHEN p.polpermissive THEN ''permissive'' ELSE ''restrictive'' END,
     p.polcmd, ARRAY(SELECT CASE r WHEN 0 THEN ''PUBLIC'' ELSE pg_get_userbyid(r)::text END
                     FROM unnest(p.polroles) AS r ORDER BY 1),
     ''using'', pg_get_expr(p.polqual, p.polrelid), ''check'', pg_get_expr(p.polwithcheck, p.polrelid)),
     E''\\n'' ORDER BY p.polname)
   FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid),
  (SELECT string_agg(concat(CASE e.grantee WHEN 0 THEN ''PUBLIC'' ELSE pg_get_userbyid(e.grantee)::text END, '' '',
     e.privilege_type), E''\\n'' ORDER BY CASE e.grantee WHEN 0 THEN '''' ELSE pg_get_userbyid(e.grantee)::text END,
     e.privilege_type)
   FROM aclexplode(c.relacl) AS e WHERE e.grantee <> c.relowner))
FROM pinned, pg_catalog.pg_class c WHERE c.oid = ''%1$s''::pg_catalog.regclass') AS p WHERE NOT p.success OR p.result IS DISTINCT FROM (
WITH pinned AS MATERIALIZED (SELECT pg_catalog.set_config('search_path', 'pg_catalog', true))
SELECT concat_ws(E'\n', 'row security ' || c.relrowsecurity, 'forced ' || c.relforcerowsecurity,
  (SELECT string_agg(concat_ws(' ', quote_ident(p.polname),
     CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END,
     p.polcmd, ARRAY(SELECT CASE r WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(r)::text END
                     FROM unnest(p.polroles) AS r ORDER BY 1),
     'using', pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid)),
     E'\n' ORDER BY p.polname)
   FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid),
  (SELECT string_agg(concat(CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(e.grantee)::text END, ' ',
     e.privilege_type), E'\n' ORDER BY CASE e.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(e.grantee)::text END,
     e.privilege_type)
   FROM aclexplode(c.relacl) AS e WHERE e.grantee <> c.relowner))
FROM pinned, pg_catalog.pg_class c WHERE c.oid = '"public"."usuarios"'::pg_catalog.regclass) LOOP RAISE EXCEPTION USING MESSAGE = pg_catalog.format('shard %s of %s on %s:%s has other policies or privileges than the table', one.shardid, '"public.usuarios"', one.nodename, one.nodeport), DETAIL = pg_catalog.format(E'The shard:\n%s\nThe table:\n%s', one.result, one.wanted); END LOOP; END$tenantry$;
