-- name: written
-- Rows written so far, by this transaction and by earlier ones of the session that are not yet in the statistics.
SELECT n.nspname::text AS schema, c.relname::text AS "table",
       pg_stat_get_xact_tuples_inserted(c.oid) + pg_stat_get_xact_tuples_updated(c.oid)
       + pg_stat_get_xact_tuples_deleted(c.oid) AS rows
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname NOT IN ('tenantry', 'pg_catalog', 'information_schema') AND c.relpersistence <> 't'
