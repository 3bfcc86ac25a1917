-- name: holdings
SELECT (SELECT count(*) FROM tenantry.steps), (SELECT count(*) FROM tenantry.runs),
       (SELECT coalesce(sum(pg_catalog.pg_total_relation_size(c.oid)), 0)::bigint FROM pg_catalog.pg_class c
        WHERE c.relnamespace = 'tenantry'::regnamespace AND c.relkind = 'r')

-- name: used
-- Functions of tenantry's that triggers call.
SELECT DISTINCT p.oid::regprocedure::text
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_trigger t ON t.tgfoid = p.oid
WHERE p.pronamespace = 'tenantry'::regnamespace ORDER BY 1

-- name: drop_journal
DROP TABLE IF EXISTS tenantry.journal, tenantry.runs, tenantry.steps, tenantry.events, tenantry.progress, tenantry.filled, tenantry.backups, tenantry.described,
  tenantry.fixed_rows, tenantry.fixes, tenantry.removals, tenantry.moves

-- name: drop_schema
DROP SCHEMA tenantry CASCADE
